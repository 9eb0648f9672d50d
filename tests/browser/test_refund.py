"""A refund, from an e-mail to a proven answer, decided by people in a browser."""

import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Locator, Page, Route, expect

from agentops.audit.verify import verify_tenant
from agentops.runs.models import Run
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.wire.parse import JSONObject
from approvals.models import Decision, Proposal
from approvals.services import Reconfirm
from tests.browser.conftest import OpenBrowser, Watch
from tests.browser.desk import approve, button, live_card, read, rows, sign_in, until
from tests.deciding import edit_and_approve
from tests.shop import drive, only_proposal, start
from tools.backoffice.models import Refund, Ticket

pytestmark = pytest.mark.browser

GOODWILL: JSONObject = {"order_ref": "A-1002", "amount_minor": 5000, "reason": "Parcel was late"}


def proposed(tool: str) -> Proposal:
    """Wait until the agent has proposed a call of this tool."""
    until(lambda: Proposal.objects.filter(tool=tool, status="pending").exists(), f"{tool} is proposed")
    return Proposal.objects.get(tool=tool, status="pending")


def reached(run: Run, state: str) -> None:
    until(lambda: Run.objects.get(pk=run.pk).state == state, f"the run is {state}")


def timeline(page: Page) -> Locator:
    return page.get_by_role("region", name="Timeline")


# --- decide ---------------------------------------------------------------------------------------------------------


def test_an_approved_refund_is_executed_once_and_every_step_can_be_read(
    shop: Tenant, bob: User, worker: None, open_browser: OpenBrowser
) -> None:
    run = start("support-email", {"message_id": "M-0001"})
    page = open_browser()
    sign_in(page, bob)
    page.get_by_role("main").get_by_role("link", name="Acme").click()
    refund_row = rows(page).filter(has_text="Refund EUR 124.00 for order A-1001")
    expect(refund_row).to_be_visible()
    refund_row.click()
    expect(live_card(page).get_by_role("heading", level=2)).to_have_text("Refund EUR 124.00 for order A-1001")
    refund = proposed("shop.issue_refund")

    approve(page)
    expect(page.get_by_role("status")).to_contain_text("Approved. shop.issue_refund runs now.")
    reply = proposed("mail.send")

    assert [(r.order.ref, r.amount_minor, r.currency) for r in Refund.objects.select_related("order")] == [
        ("A-1001", 12_400, "EUR")
    ]
    page.goto(f"proposals/{refund.pk}")
    receipt = page.get_by_role("region", name="Receipt")
    expect(receipt).to_contain_text("Approved digest = executed digest")
    digests = receipt.get_by_role("definition").filter(has_text=re.compile(r"^[0-9a-f]{64}$"))
    assert digests.all_text_contents() == [Decision.objects.get(proposal=refund).digest] * 2

    page.goto(f"proposals/{reply.pk}")
    live_card(page)
    approve(page)
    # The receipt arrives by itself.
    expect(receipt).to_contain_text("Approved digest = executed digest")
    reached(run, "succeeded")
    assert Refund.objects.count() == 1

    page.goto(f"runs/{run.pk}")
    expect(page.get_by_role("region", name="Answer", exact=True)).to_contain_text(
        "Refunded order A-1001 and told the customer."
    )
    for step in (
        "Planned 10 steps",
        "mail.read succeeded",
        "mail.triage succeeded",
        "shop.find_customer succeeded",
        "shop.find_order succeeded",
        "shop.issue_refund is put before a person",
        "shop.issue_refund approved by Bob",
        "shop.issue_refund started",
        "shop.issue_refund succeeded",
        "mail.send approved by Bob",
        "mail.send succeeded",
        "Finished",
    ):
        expect(timeline(page)).to_contain_text(step)

    page.get_by_role("link", name="Audit trail").click()
    recorded = page.get_by_role("table").inner_text()
    while (older := page.get_by_role("link", name="Older")).count():
        older.click()
        recorded += page.get_by_role("table").inner_text()
    for kind in (
        "run.submitted",
        "plan.made",
        "call.selected",
        "call.proposed",
        "proposal.decided",
        "call.started",
        "call.succeeded",
        "run.succeeded",
    ):
        assert kind in recorded
    assert not verify_tenant().findings


def test_a_rejected_refund_becomes_a_ticket_and_the_answer_quotes_the_note(
    shop: Tenant, bob: User, worker: None, open_browser: OpenBrowser
) -> None:
    run = start("support-email", {"message_id": "M-0001"})
    refund = proposed("shop.issue_refund")
    page = open_browser(bob)
    page.goto(f"proposals/{refund.pk}")
    live_card(page)
    button(page, "Reject").click()
    form = page.get_by_role("region", name="Reject")
    form.get_by_label("Reason").select_option("Not enough evidence")
    form.get_by_label("Note").fill("No photo of the damage")
    form.get_by_role("button", name="Reject this proposal").click()
    expect(page.get_by_role("status")).to_contain_text("Rejected. shop.issue_refund does not run")

    reached(run, "succeeded")
    assert not Refund.objects.exists()
    ticket = Ticket.objects.get()
    page.goto(f"runs/{run.pk}")
    answer = page.get_by_role("region", name="Answer", exact=True)
    expect(answer).to_contain_text(f"No photo of the damage). Ticket {ticket.ref} takes over.")
    expect(timeline(page)).to_contain_text("rejected by Bob, not enough evidence: No photo of the damage")


def test_an_edited_amount_is_what_executes_and_what_the_receipt_proves(
    shop: Tenant, bob: User, worker: None, open_browser: OpenBrowser
) -> None:
    run = start("goodwill-refund", GOODWILL)
    refund = proposed("shop.issue_refund")
    page = open_browser(bob)
    page.goto("queue")
    live_card(page)
    read(page)
    button(page, "Edit").click()
    form = page.get_by_role("region", name="Edit and approve")
    form.get_by_label("amount_minor").fill("12.34")
    form.get_by_role("button", name="Approve with these values").click()
    expect(page.get_by_role("status")).to_contain_text("runs now, with your values")

    reached(run, "succeeded")
    assert [one.amount_minor for one in Refund.objects.all()] == [1234]
    page.goto(f"proposals/{refund.pk}")
    card = page.get_by_role("article")
    expect(card.get_by_role("heading", level=2)).to_have_text("Refund EUR 12.34 for order A-1002")
    expect(card.get_by_role("deletion")).to_have_text("EUR 50.00")
    receipt = page.get_by_role("region", name="Receipt")
    expect(receipt).to_contain_text("Approved digest = executed digest")
    refund.refresh_from_db()
    expect(receipt).to_contain_text(refund.digest)
    expect(receipt).to_contain_text(Refund.objects.get().ref)


def test_an_amount_that_cannot_be_read_comes_back_as_it_was_typed(
    shop: Tenant, bob: User, open_browser: OpenBrowser
) -> None:
    drive(start("goodwill-refund", GOODWILL).id)
    page = open_browser(bob)
    page.goto("queue")
    live_card(page)
    button(page, "Edit").click()
    form = page.get_by_role("region", name="Edit and approve")
    form.get_by_label("amount_minor").fill("a lot")
    form.get_by_label("Note").fill("as promised on the phone")
    with page.expect_response("**/decide") as answered:
        form.get_by_role("button", name="Approve with these values").click()
    assert answered.value.status == 422
    expect(page.get_by_role("alert")).to_contain_text("Nothing was decided.")
    amount = form.get_by_label("amount_minor")
    expect(amount).to_have_value("a lot")
    expect(amount).to_be_focused()
    expect(form.get_by_label("Note")).to_have_value("as promised on the phone")
    assert only_proposal().version == 1


# --- live -----------------------------------------------------------------------------------------------------------


def test_a_new_proposal_appears_in_an_open_queue(shop: Tenant, bob: User, open_browser: OpenBrowser) -> None:
    drive(start("goodwill-refund", GOODWILL).id)
    page = open_browser(bob)
    page.goto("queue")
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    page.evaluate("window.untouched = true")
    expect(rows(page)).to_have_count(1)

    drive(start("support-email", {"message_id": "M-0001"}).id)
    pill = page.get_by_role("link", name="1 new, press . to show")
    expect(pill).to_be_visible()
    expect(rows(page)).to_have_count(1)
    page.keyboard.press(".")
    expect(rows(page)).to_have_count(2)
    expect(pill).to_be_hidden()
    expect(page.get_by_text("2 waiting")).to_be_visible()
    assert page.evaluate("window.untouched")


def test_without_an_event_stream_the_queue_asks_by_itself(
    shop: Tenant, bob: User, open_browser: OpenBrowser, watch: Watch
) -> None:
    watch.expected.append("live.*net::ERR_FAILED|net::ERR_FAILED")
    page = open_browser(bob)
    page.clock.install()
    page.context.route("**/live?*", lambda route: route.abort())
    page.goto("queue")
    expect(page.get_by_text("Nothing is waiting.")).to_be_visible()
    expect(page.get_by_text("reconnecting")).to_be_visible()
    drive(start("goodwill-refund", GOODWILL).id)

    def arrived() -> bool:
        page.clock.run_for(10_000)
        return rows(page).count() == 1

    until(arrived, "the new proposal is on the page")


def test_a_row_decided_by_somebody_else_is_struck_out_in_its_place(
    shop: Tenant, bob: User, sam: User, open_browser: OpenBrowser
) -> None:
    for amount in (100, 200):
        drive(start("goodwill-refund", {**GOODWILL, "amount_minor": amount}).id)
    mine, hers = open_browser(bob), open_browser(sam)
    mine.goto("queue")
    expect(mine.get_by_text("live", exact=True)).to_be_visible()
    hers.goto("queue")
    live_card(hers)
    approve(hers)
    expect(hers.get_by_role("status")).to_contain_text("Approved.")
    expect(mine.get_by_text("What is open here is no longer waiting")).to_be_visible()
    expect(mine.get_by_text("1 waiting")).to_be_visible()
    expect(rows(mine)).to_have_count(2)
    expect(button(mine, "Approve")).to_have_count(0)
    expect(mine.get_by_role("article")).to_contain_text("Sam")


def test_a_card_on_a_page_of_its_own_shows_what_somebody_else_decided(
    shop: Tenant, bob: User, sam: User, open_browser: OpenBrowser
) -> None:
    drive(start("goodwill-refund", {**GOODWILL, "amount_minor": 100}).id)
    mine, typing, hers = open_browser(bob, size=(390, 844)), open_browser(bob), open_browser(sam)
    for page in (mine, typing):
        page.goto(f"proposals/{only_proposal().pk}")
        live_card(page)
        expect(page.get_by_text("live", exact=True)).to_be_visible()
    button(typing, "Reject").click()
    typing.locator("#reject").get_by_label("Note").fill("My own words")
    hers.goto("queue")
    live_card(hers)
    approve(hers)
    expect(button(mine, "Approve")).to_have_count(0)
    expect(mine.get_by_role("article")).to_contain_text("Sam")
    expect(typing.get_by_role("alert")).to_have_text("What is open here is no longer waiting.")
    expect(typing.locator("#reject").get_by_label("Note")).to_have_value("My own words")


# --- together -------------------------------------------------------------------------------------------------------


def test_who_comes_second_is_told_who_was_first_and_gets_the_note_back(
    shop: Tenant, bob: User, sam: User, open_browser: OpenBrowser
) -> None:
    drive(start("goodwill-refund", GOODWILL).id)
    proposal = only_proposal()
    first, second = open_browser(sam), open_browser(bob)
    for page in (first, second):
        page.goto(f"proposals/{proposal.pk}")
        live_card(page)
    button(second, "Reject").click()
    form = second.get_by_role("region", name="Reject")
    form.get_by_label("Reason").select_option("Wrong amount")
    form.get_by_label("Note").fill("It was half of that")

    approve(first)
    expect(first.get_by_role("status")).to_contain_text("Approved.")
    with second.expect_response("**/decide") as answered:
        form.get_by_role("button", name="Reject this proposal").click()

    assert answered.value.status == 409
    told = second.get_by_role("alert")
    expect(told).to_contain_text("Sam approved this already, at ")
    expect(told).to_contain_text("Your note was: It was half of that")
    expect(told).to_be_focused()
    proposal.refresh_from_db()
    assert proposal.status == "approved"


def test_a_proposal_that_changed_meanwhile_is_shown_as_it_is_now_with_the_draft_kept(
    shop: Tenant, bob: User, sam: User, actor_of: Callable[[User, Tenant], Actor], open_browser: OpenBrowser
) -> None:
    drive(start("goodwill-refund", GOODWILL).id)
    proposal = only_proposal()
    page = open_browser(bob)
    page.goto(f"proposals/{proposal.pk}")
    live_card(page)
    button(page, "Reject").click()
    form = page.get_by_role("region", name="Reject")
    form.get_by_label("Reason").select_option("Wrong amount")
    form.get_by_label("Note").fill("It was half of that")
    # An edit that raises the band is not approved yet: it becomes the next version.
    edited = edit_and_approve(
        proposal_id=proposal.pk,
        actor=actor_of(sam, shop),
        version=1,
        digest=proposal.digest,
        arguments={**proposal.argument_values, "reason": "Torn\u202etent"},
    )
    assert isinstance(edited, Reconfirm)

    with page.expect_response("**/decide") as answered:
        form.get_by_role("button", name="Reject this proposal").click()
    assert answered.value.status == 409
    told = page.get_by_role("alert")
    expect(told).to_contain_text("This has changed since you opened it.")
    expect(told).to_contain_text("Somebody changed reason.")
    expect(form.get_by_label("Reason")).to_have_value("wrong_amount")
    expect(form.get_by_label("Note")).to_have_value("It was half of that")
    page.locator("#sec-arguments > summary").click()
    expect(page.get_by_role("article").get_by_role("deletion")).to_have_text("Parcel was late")

    form.get_by_role("button", name="Reject this proposal").click()
    expect(page.get_by_role("status")).to_contain_text("Rejected.")
    proposal.refresh_from_db()
    assert (proposal.version, proposal.status) == (2, "rejected")


def test_nobody_is_told_that_somebody_else_was_faster_about_their_own_decision(
    shop: Tenant, bob: User, open_browser: OpenBrowser
) -> None:
    for amount in (100, 200):
        drive(start("goodwill-refund", {**GOODWILL, "amount_minor": amount}).id)
    page = open_browser(bob)
    page.goto("queue")
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    live_card(page)

    def slowly(route: Route) -> None:
        """Hold the answer back until the page has read the new list."""
        answer = route.fetch()
        with page.expect_response(lambda response: "/queue" in response.url):
            pass
        route.fulfill(response=answer)

    page.route("**/decide", slowly)
    approve(page)
    expect(page.get_by_role("status")).to_contain_text("Approved. shop.issue_refund runs now.")
    expect(page.get_by_text("somebody was faster")).to_be_hidden()
