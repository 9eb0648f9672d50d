"""The whole job with scripts switched off: pages and forms are enough."""

import re

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from agentops.runs.models import Run
from agentops.tenancy.models import Tenant
from agentops.wire.parse import JSONObject
from approvals.models import Proposal
from tests.browser.conftest import OpenBrowser
from tests.browser.desk import button, rows, sign_in
from tests.conftest import PASSWORD
from tests.shop import drive, only_proposal, start
from tools.backoffice.models import Refund, Ticket

pytestmark = pytest.mark.browser

GOODWILL: JSONObject = {"order_ref": "A-1002", "amount_minor": 5000, "reason": "Parcel was late"}


READING_MS = 2_200  # a card of medium risk must have been open for two seconds


@pytest.fixture
def page(shop: Tenant, bob: User, open_browser: OpenBrowser) -> Page:
    page = open_browser(bob, javascript=False)
    page.goto("queue")
    expect(page.get_by_role("heading", name="Queue")).to_be_visible()
    expect(page.get_by_text("live", exact=True)).to_be_hidden()
    return page


def test_signing_in_and_out(shop: Tenant, bob: User, open_browser: OpenBrowser) -> None:
    page = open_browser(javascript=False)
    sign_in(page, bob)
    page.get_by_role("main").get_by_role("link", name="Acme").click()
    expect(page.get_by_text("Nothing is waiting.")).to_be_visible()
    page.get_by_label("Your menu").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()


def test_asking_the_agent(page: Page) -> None:
    run = drive(start("goodwill-refund", GOODWILL).id)
    page.goto(f"proposals/{Proposal.objects.get().pk}")
    button(page, "Ask the agent").click()
    page.get_by_label("Question").fill("Where is the amount from?")
    page.get_by_role("region", name="Ask the agent").get_by_role("button", name=re.compile("^Ask ")).click()
    expect(page.get_by_role("region", name="Questions to the agent")).to_contain_text("WAITING")
    drive(run.id)
    page.reload()
    answered = page.get_by_role("region", name="Questions to the agent")
    expect(answered).to_contain_text("From the recorded plan of playbook goodwill-refund")
    expect(answered).to_contain_text("amount_minor is from the submitted task (amount_minor)")


def test_approving(page: Page) -> None:
    run = drive(start("goodwill-refund", GOODWILL).id)
    page.goto("queue")
    rows(page).filter(has_text="EUR 50.00").click()
    expect(page.get_by_role("article").get_by_role("heading", level=2)).to_have_text(
        "Refund EUR 50.00 for order A-1002"
    )
    page.wait_for_timeout(READING_MS)
    button(page, "Approve").click()
    expect(page.get_by_role("status")).to_contain_text("Approved. shop.issue_refund runs now.")
    expect(page.get_by_role("heading", name="Queue")).to_be_visible()

    assert drive(run.id).state == "succeeded"
    assert Refund.objects.get().amount_minor == 5000
    page.goto(f"proposals/{Proposal.objects.get().pk}")
    expect(page.get_by_role("region", name="Receipt")).to_contain_text("Approved digest = executed digest")


def test_rejecting_several_of_one_kind(page: Page) -> None:
    for amount in (1100, 1200):
        drive(start("goodwill-refund", {**GOODWILL, "amount_minor": amount}).id)
    page.goto("queue?q=amount<11.50")
    page.get_by_role("link", name="Reject several").click()
    expect(page.get_by_role("checkbox")).to_have_count(1)
    page.get_by_role("textbox", name="Filter").fill("tool:shop.issue_refund")
    page.get_by_role("button", name="Filter").click()
    page.get_by_role("link", name="Tick all shown").click()
    expect(page.get_by_role("checkbox", checked=True)).to_have_count(2)
    page.get_by_label("Reason").select_option("duplicate")
    page.get_by_role("button", name="Reject what is ticked").click()
    expect(page.get_by_role("status")).to_contain_text("2 of 2 rejected.")
    expect(page.get_by_text("Nothing more matches this filter.")).to_be_visible()
    assert set(Proposal.objects.values_list("status", flat=True)) == {"rejected"}


def test_a_form_of_a_session_that_ran_out_leads_back_to_its_card(page: Page, bob: User) -> None:
    drive(start("goodwill-refund", GOODWILL).id)
    card = f"proposals/{Proposal.objects.get().pk}"
    page.goto(card)
    page.context.clear_cookies(name="sessionid")
    page.get_by_role("button", name="Claim").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing of it was recorded.")
    page.get_by_label("Email").fill(bob.email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("article")).to_contain_text("Nobody has taken this.")
    assert page.url.endswith(card)


def test_editing(page: Page) -> None:
    run = drive(start("goodwill-refund", GOODWILL).id)
    page.goto("queue")
    rows(page).click()
    button(page, "Edit").click()
    form = page.get_by_role("region", name="Edit and approve")
    page.wait_for_timeout(READING_MS)
    form.get_by_label("amount_minor").fill("12,5x")
    form.get_by_role("button", name="Approve with these values").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was decided.")
    expect(form.get_by_label("amount_minor")).to_have_value("12,5x")
    form.get_by_label("amount_minor").fill("12.50")
    form.get_by_role("button", name="Approve with these values").click()
    expect(page.get_by_role("status")).to_contain_text("with your values")

    drive(run.id)
    assert Refund.objects.get().amount_minor == 1250


def test_rejecting(page: Page) -> None:
    run = drive(start("support-email", {"message_id": "M-0001"}).id)
    page.goto("queue")
    rows(page).click()
    button(page, "Reject").click()
    form = page.get_by_role("region", name="Reject")
    form.get_by_label("Reason").select_option("Other")
    form.get_by_label("Note").fill("Already paid by bank transfer")
    form.get_by_role("button", name="Reject this proposal").click()
    expect(page.get_by_role("status")).to_contain_text("Rejected.")

    drive(run.id)
    assert Ticket.objects.count() == 1
    page.goto(f"runs/{run.id}")
    expect(page.get_by_role("region", name="Answer", exact=True)).to_contain_text("Already paid by bank transfer")


def test_coming_second(page: Page, sam: User, open_browser: OpenBrowser) -> None:
    drive(start("goodwill-refund", GOODWILL).id)
    address = f"proposals/{only_proposal().pk}"
    page.goto(f"{address}?open=reject")
    other = open_browser(sam, javascript=False)
    other.goto(address)
    other.wait_for_timeout(READING_MS)
    button(other, "Approve").click()
    expect(other.get_by_role("status")).to_contain_text("Approved.")

    form = page.get_by_role("region", name="Reject")
    form.get_by_label("Reason").select_option("Wrong amount")
    form.get_by_label("Note").fill("It was half of that")
    form.get_by_role("button", name="Reject this proposal").click()
    expect(page.get_by_role("alert")).to_contain_text("Sam approved this already")
    expect(page.get_by_role("alert")).to_contain_text("It was half of that")


def test_filtering_the_queue(page: Page) -> None:
    drive(start("goodwill-refund", GOODWILL).id)
    drive(start("support-email", {"message_id": "M-0001"}).id)
    page.goto("queue")
    expect(rows(page)).to_have_count(2)
    line = page.get_by_role("textbox", name="Filter")
    line.fill("band:medium")
    page.get_by_role("button", name="Filter").click()
    expect(rows(page)).to_have_count(1)
    expect(rows(page)).to_contain_text("EUR 50.00")
    line.fill("band:medium tool:mail.send")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_text("Nothing matches this filter.")).to_be_visible()
    expect(page.get_by_text("tool:mail.send hides 1.")).to_be_visible()
    line.fill("bnd:medium")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_role("alert")).to_contain_text("Did you mean band?")
    expect(line).to_have_value("bnd:medium")
    page.get_by_role("link", name="Show everything").click()
    expect(rows(page)).to_have_count(2)


def test_views_claims_and_holds(page: Page, sam: User, open_browser: OpenBrowser) -> None:
    drive(start("goodwill-refund", GOODWILL).id)
    page.goto("queue?q=band:medium")
    page.get_by_text("Terms and views").click()
    page.get_by_label("Name of the view").fill("Small ones")
    page.get_by_role("button", name="Save", exact=True).click()
    views = page.get_by_role("navigation", name="Views")
    expect(views.get_by_role("link", name="Small ones")).to_have_attribute("aria-current", "true")

    page.get_by_role("button", name="Next").click()
    expect(page.get_by_text("Yours for now.")).to_be_visible()
    address = f"proposals/{only_proposal().pk}"
    other = open_browser(sam, javascript=False)
    other.goto(address)
    button(other, "Approve").click()
    expect(other.get_by_role("alert")).to_contain_text("Bob has this until")
    other.get_by_role("button", name="Take over").first.click()
    form = other.get_by_role("region", name="Take it over")
    form.get_by_label("Why").fill("bob is at lunch")
    form.get_by_role("button", name="Take over").click()
    expect(other.get_by_text("Yours for now.")).to_be_visible()
    other.get_by_role("button", name="Hold").first.click()
    form = other.get_by_role("region", name="Hold")
    form.get_by_label("For").select_option("15 minutes")
    form.get_by_label("Why").fill("waiting for the bank")
    form.get_by_role("button", name="Hold").click()
    expect(other.get_by_text("waiting for the bank")).to_be_visible()
    page.goto("queue")
    expect(page.get_by_text("Nothing is waiting.")).to_be_visible()
    page.goto("queue?q=held:yes")
    expect(rows(page)).to_have_count(1)


def test_paging_through_the_queue(page: Page) -> None:
    for amount in range(1, 53):
        drive(start("goodwill-refund", {**GOODWILL, "amount_minor": amount}).id)
    page.goto("queue")
    expect(rows(page)).to_have_count(50)
    shown = rows(page).all_inner_texts()
    page.get_by_role("link", name="Next page").click()
    expect(rows(page)).to_have_count(2)
    shown += rows(page).all_inner_texts()
    assert len({text.split("\n", 2)[2].split(" for ")[0] for text in shown}) == 52
    expect(page.get_by_role("link", name="Next page")).to_be_hidden()


def test_submitting_a_task_and_cancelling_its_run(page: Page) -> None:
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Submit").click()
    page.get_by_role("link", name="Refund an order").click()
    page.get_by_label("Order number").fill("A-1003")
    page.get_by_label("Amount in minor units").fill("none")
    page.get_by_label("Reason").fill("Late delivery")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("alert").first).to_contain_text("Nothing was submitted.")
    expect(page.get_by_label("Reason")).to_have_value("Late delivery")
    page.get_by_label("Amount in minor units").fill("700")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("status")).to_contain_text("Submitted. The run is queued.")

    run = Run.objects.get()
    assert drive(run.id).state == "awaiting_approval"
    page.reload()
    page.get_by_text("Cancel", exact=True).click()
    cancel = page.get_by_role("button", name="Cancel this run")
    page.locator("form").filter(has=cancel).get_by_label("Why?").fill("Not needed any more")
    cancel.click()
    expect(page.get_by_role("status")).to_contain_text("The run is cancelled.")
    expect(page.get_by_role("region", name="Timeline")).to_contain_text("Cancelled by Bob: Not needed any more")
    assert Proposal.objects.get().status == "withdrawn"
    assert drive(run.id).state == "cancelled"


def test_choosing_colours(page: Page) -> None:
    page.get_by_label("Your menu").click()
    page.get_by_role("button", name="Dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    expect(page.get_by_role("heading", name="Queue")).to_be_visible()
