"""Keys: they do what the card says, and nothing before the card is live or inside a text field."""

import re
import time

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from agentops.tenancy.models import Tenant
from approvals.models import Proposal
from tests.browser.conftest import OpenBrowser
from tests.browser.desk import a_moment_later, button, live_card, read, rows
from tests.shop import drive, start

pytestmark = pytest.mark.browser


@pytest.fixture
def three(shop: Tenant) -> list[str]:
    """Let three refunds wait, in the order of the queue; return their sentences."""
    for amount in (1100, 1200, 1300):
        drive(start("goodwill-refund", {"order_ref": "A-1002", "amount_minor": amount, "reason": "late"}).id)
    return [f"Refund EUR {amount}.00 for order A-1002" for amount in (11, 12, 13)]


@pytest.fixture
def page(three: list[str], bob: User, open_browser: OpenBrowser) -> Page:
    page = open_browser(bob)
    page.goto("queue")
    live_card(page)
    return page


def opened(page: Page, sentence: str) -> None:
    expect(page.get_by_role("article").get_by_role("heading", level=2)).to_have_text(sentence)
    live_card(page)


def test_j_and_k_move_through_the_queue_and_open_what_they_reach(page: Page, three: list[str]) -> None:
    opened(page, three[0])
    page.keyboard.press("j")
    opened(page, three[1])
    expect(rows(page).nth(1)).to_be_focused()
    page.keyboard.press("j")
    opened(page, three[2])
    page.keyboard.press("k")
    opened(page, three[1])
    assert page.url.endswith(f"open={Proposal.objects.order_by('created_at')[1].pk}")


def test_enter_opens_the_row_in_focus(page: Page, three: list[str]) -> None:
    rows(page).nth(2).focus()
    page.keyboard.press("Enter")
    opened(page, three[2])


def test_a_arms_enter_confirms_and_the_next_proposal_follows(page: Page, three: list[str]) -> None:
    read(page)
    page.keyboard.press("a")
    expect(button(page, "Confirm: approve")).to_be_focused()
    a_moment_later(page)
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Approved. shop.issue_refund runs now.")
    opened(page, three[1])
    assert list(Proposal.objects.order_by("created_at").values_list("status", flat=True)) == [
        "approved",
        "pending",
        "pending",
    ]


def test_escape_disarms(page: Page) -> None:
    page.keyboard.press("a")
    expect(button(page, "Confirm: approve")).to_be_visible()
    page.keyboard.press("Escape")
    expect(button(page, "Approve")).to_be_visible()
    a_moment_later(page)
    page.keyboard.press("Enter")
    expect(button(page, "Confirm: approve")).to_be_visible()
    assert not Proposal.objects.exclude(status="pending").exists()


def test_x_asks_for_the_reason_and_control_enter_rejects(page: Page, three: list[str]) -> None:
    page.keyboard.press("x")
    form = page.get_by_role("region", name="Reject")
    expect(form.get_by_label("Reason")).to_be_focused()
    form.get_by_label("Reason").select_option("Duplicate")
    form.get_by_label("Note").fill("see yesterday")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("status")).to_contain_text("Rejected.")
    opened(page, three[1])
    assert Proposal.objects.get(status="rejected").sentence


def test_e_opens_the_editor_and_escape_closes_it(page: Page) -> None:
    page.keyboard.press("e")
    form = page.get_by_role("region", name="Edit and approve")
    expect(form.get_by_label("amount_minor")).to_be_focused()
    page.keyboard.press("Escape")
    expect(form).to_be_hidden()
    expect(button(page, "Edit")).to_be_focused()


def test_q_asks_the_agent_and_the_answer_appears_by_itself(page: Page) -> None:
    proposal = Proposal.objects.get(pk=page.locator("#card").get_attribute("data-id") or "")
    page.keyboard.press("q")
    expect(page.get_by_label("Question")).to_be_focused()
    page.keyboard.type("Where is the amount from?")
    page.keyboard.press("Control+Enter")
    asked = page.get_by_role("region", name="Questions to the agent")
    expect(asked).to_contain_text("WAITING")
    drive(proposal.run_id)
    expect(asked).to_contain_text("From the recorded plan", timeout=15_000)


def test_the_question_mark_lists_the_keys(page: Page) -> None:
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keys on this page")
    expect(dialog).to_contain_text("approve, or arm it")
    page.keyboard.press("a")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(button(page, "Approve")).to_be_visible()


def test_letters_in_a_text_field_are_letters(page: Page, three: list[str]) -> None:
    page.keyboard.press("x")
    note = page.get_by_role("region", name="Reject").get_by_label("Note")
    note.press_sequentially("jake x? a.")
    expect(note).to_have_value("jake x? a.")
    opened(page, three[0])
    expect(button(page, "Approve")).to_be_visible()
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.get_by_role("region", name="Edit and approve")).to_be_hidden()


def test_keys_are_dead_until_the_card_is_live(three: list[str], bob: User, open_browser: OpenBrowser) -> None:
    page = open_browser(bob)
    page.clock.install(time=0)
    page.clock.pause_at(1000)
    page.goto(f"queue?open={Proposal.objects.order_by('created_at')[0].pk}")
    expect(button(page, "Approve")).to_be_visible()
    time.sleep(2.2)  # the server's clock goes on, and its time to read passes
    for key in ("a", "Enter", "x", "e"):
        page.keyboard.press(key)
    expect(button(page, "Approve")).to_be_visible()
    expect(page.get_by_role("region", name=re.compile("Reject|Edit and approve"))).to_have_count(0)

    page.clock.run_for(300)
    page.keyboard.press("a")
    expect(button(page, "Confirm: approve")).to_be_visible()
    # The same finger, still on its way up, confirms nothing.
    page.keyboard.press("Enter")
    expect(button(page, "Confirm: approve")).to_be_visible()
    page.clock.run_for(300)
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Approved.")

    # The card that came in its place is dead again.
    expect(button(page, "Approve")).to_be_visible()
    page.keyboard.press("a")
    expect(button(page, "Approve")).to_be_visible()
    page.clock.run_for(300)
    page.keyboard.press("a")
    expect(button(page, "Confirm: approve")).to_be_visible()
    assert Proposal.objects.filter(status="pending").count() == 2
