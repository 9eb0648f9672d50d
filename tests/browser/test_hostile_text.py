"""Hostile text in every slot stays text: nothing is made of it, nothing is asked for, nothing in it hides."""

import re

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from agentops.audit.models import Event
from agentops.runs.models import Run
from agentops.tenancy.models import Tenant
from approvals.models import Proposal
from tests.browser.conftest import OpenBrowser, Watch
from tests.browser.desk import button, live_card
from tests.browser.hostile import EVERYTHING, HIDDEN, MAIL, MARK
from tests.conftest import person
from tests.shop import drive, only_proposal, receive, start
from tools.backoffice.models import InboxMessage, Ticket

pytestmark = pytest.mark.browser

# What a page may be made of. Attributes that only carry text are no elements, requests or handlers.
MADE_OF_TEXT = """(mark) => {
  const carriers = ["value", "title", "aria-label", "placeholder", "data-cp"];
  const bad = [];
  for (const one of document.querySelectorAll("*")) {
    const name = one.localName;
    const foreign = ["iframe", "object", "embed", "base", "style", "marquee"].includes(name)
      || (name === "script" && !one.src) || (name === "img" && !one.src.includes("/static/admin/"));
    const hooks = [...one.attributes].filter(({ name, value }) =>
      name.startsWith("on") || name === "srcdoc" || /^\\s*javascript:/i.test(value)
      || (value.includes(mark) && !carriers.includes(name)));
    if (foreign || hooks.length) bad.push(one.outerHTML.slice(0, 200));
  }
  if (mark in window) bad.push(`ran: ${window[mark]}`);
  return bad;
}"""
# Text nodes that still hold a character nobody sees. What stands in form fields is data and must stay as it was typed.
UNSEEN = """() => {
  const hidden = /[\\u00ad\\u200b\\u200e\\u200f\\u202a-\\u202e\\u2060-\\u2069\\ufeff\\u{e0000}-\\u{e007f}]/u;
  const walker = document.createTreeWalker(document.documentElement, NodeFilter.SHOW_TEXT);
  const bad = [];
  for (let node = walker.nextNode(); node; node = walker.nextNode())
    if (hidden.test(node.data) && node.parentElement.localName !== "textarea")
      bad.push(`${node.parentElement.localName}: ${node.data.slice(0, 80)}`);
  return bad;
}"""


def harmless(page: Page, watch: Watch) -> None:
    """Fail when the page made anything of the hostile text, or lets it hide."""
    assert page.evaluate(MADE_OF_TEXT, MARK) == []
    assert page.evaluate(UNSEEN) == []
    assert [url for url in watch.requested if MARK in url] == []


def told_apart(page: Page) -> None:
    """Fail when the card does not draw what hides in it."""
    card = page.get_by_role("article")
    for drawn in ("U+202E RIGHT-TO-LEFT OVERRIDE", "U+200B ZERO WIDTH SPACE", "hidden text: “pay me”"):
        expect(card.get_by_text(drawn).first).to_be_visible()


def test_a_mail_that_attacks_from_every_part(shop: Tenant, bob: User, watch: Watch, open_browser: OpenBrowser) -> None:
    InboxMessage.objects.all().delete()
    receive(MAIL)
    run = drive(start("support-email", {"message_id": "M-0001"}).id)
    proposal = only_proposal()
    page = open_browser(bob)
    page.goto("queue")
    live_card(page)
    for section in ("arguments", "preview", "evidence"):
        closed = page.locator(f"#sec-{section}:not([open])")
        if closed.count() > 0:
            closed.locator("> summary").click()
    harmless(page, watch)
    told_apart(page)
    # Sources are quoted as they came, tags and all.
    expect(page.locator("#sec-evidence")).to_contain_text(f"<script>window.{MARK}=1</script>")
    expect(page.get_by_role("article").get_by_role("heading", level=2)).to_have_text(
        "Refund EUR 124.00 for order A-1001"
    )

    read = Event.objects.get(type="call.succeeded", tool="mail.read")
    for address in (f"proposals/{proposal.pk}", f"runs/{run.pk}", "runs", "audit", f"audit/events/{read.pk}"):
        page.goto(address)
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
        harmless(page, watch)


def test_a_task_that_attacks_from_every_field(shop: Tenant, bob: User, watch: Watch, open_browser: OpenBrowser) -> None:
    page = open_browser(bob)
    page.goto("submit?task_type=access-request")
    for label in ("System", "Account of the colleague", "Role"):
        page.get_by_label(label).fill(HIDDEN)
    page.get_by_label("Reason").fill(EVERYTHING[:300])
    page.get_by_label("Title of the run").fill(f"<b onclick=window.{MARK}=6>{HIDDEN}")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("status")).to_contain_text("Submitted.")
    harmless(page, watch)

    run = Run.objects.get()
    assert drive(run.id).state == "awaiting_approval"
    proposal = only_proposal()
    for address in ("runs", f"runs/{run.id}", "queue", f"proposals/{proposal.pk}"):
        page.goto(address)
        harmless(page, watch)
    told_apart(page)
    assert proposal.risk_band in ("high", "critical")


def test_a_task_that_is_refused_comes_back_as_text(
    shop: Tenant, bob: User, watch: Watch, open_browser: OpenBrowser
) -> None:
    page = open_browser(bob)
    page.goto("submit?task_type=support-email")
    page.get_by_label("Title of the run").fill(EVERYTHING[:100])
    message = page.get_by_label("Message", exact=True)
    message.evaluate("field => field.removeAttribute('maxlength')")
    message.fill(EVERYTHING)
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("alert").first).to_contain_text("Nothing was submitted.")
    expect(page.get_by_label("Message", exact=True)).to_have_value(EVERYTHING)
    harmless(page, watch)


def test_a_note_that_attacks_the_next_reader(
    shop: Tenant, bob: User, sam: User, watch: Watch, open_browser: OpenBrowser
) -> None:
    run = drive(start("support-email", {"message_id": "M-0001"}).id)
    proposal = only_proposal()
    slow = open_browser(sam)
    slow.goto(f"proposals/{proposal.pk}?open=reject")
    live_card(slow)
    slow.get_by_label("Reason", exact=True).select_option("Other")
    slow.get_by_label("Note", exact=True).fill(EVERYTHING)

    page = open_browser(bob)
    page.goto(f"proposals/{proposal.pk}")
    live_card(page)
    button(page, "Reject").click()
    page.get_by_label("Reason", exact=True).select_option("Other")
    page.get_by_label("Note", exact=True).fill(EVERYTHING)
    page.get_by_role("button", name="Reject this proposal").click()
    expect(page.get_by_role("status")).to_contain_text("Rejected.")
    harmless(page, watch)
    assert drive(run.id).state == "succeeded"
    assert Ticket.objects.count() == 1

    # Who comes second is handed the own note back, as text as well.
    slow.get_by_role("button", name="Reject this proposal").click()
    expect(slow.get_by_role("alert")).to_contain_text("Bob rejected this already")
    harmless(slow, watch)

    for address in (f"proposals/{proposal.pk}", f"runs/{run.id}", "audit"):
        slow.goto(address)
        harmless(slow, watch)
    slow.goto(f"runs/{run.id}")
    answer = slow.get_by_role("region", name="Answer", exact=True)
    expect(answer).to_contain_text(f"<img src=/{MARK} onerror=window.{MARK}=2>")
    expect(answer).to_contain_text("U+202E RIGHT-TO-LEFT OVERRIDE")


def test_the_administration_shows_records_as_text(shop: Tenant, watch: Watch, open_browser: OpenBrowser) -> None:
    InboxMessage.objects.all().delete()
    receive(MAIL)
    Ticket.objects.create(ref="T-1", title=EVERYTHING[:200], body=EVERYTHING, priority="low", idempotency_key="k")
    page = open_browser(person("dana", shop, "operator", "admin"))
    for model in ("inboxmessage", "ticket"):
        page.goto(f"admin/backoffice/{model}/")
        assert page.evaluate(MADE_OF_TEXT, MARK) == []
        page.get_by_role("table").get_by_role("link", name=re.compile("^(M-0001|T-1)")).click()
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert page.evaluate(MADE_OF_TEXT, MARK) == []


def test_filters_repeat_what_was_asked_as_text(
    shop: Tenant, bob: User, watch: Watch, open_browser: OpenBrowser
) -> None:
    watch.expected.append("does not conform to the required format")
    page = open_browser(bob)
    for name in ("type", "actor", "tool", "run", "since", "subject"):
        page.goto(f"audit?{name}=%22%3E%3Cimg%20src=x%20onerror=window.hurt=1%3E")
        assert page.evaluate(MADE_OF_TEXT, "hurt") == []
    for name in ("q", "after", "open"):
        page.goto(f"queue?{name}=%22%3E%3Cimg%20src=x%20onerror=window.hurt=1%3E")
        assert page.evaluate(MADE_OF_TEXT, "hurt") == []
    assert not Proposal.objects.exists()
