"""The queue under somebody's hands: filter, views, claims, serving, palette, own keys, and what others do meanwhile."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, Route, expect

from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from approvals.models import Decision, Proposal
from tests.browser.conftest import OpenBrowser, Watch
from tests.browser.desk import a_moment_later, button, live_card, read, rows, sign_in
from tests.conftest import person
from tests.deciding import approve
from tests.shop import drive, start

pytestmark = pytest.mark.browser


def refund(amount: int) -> None:
    drive(start("goodwill-refund", {"order_ref": "A-1002", "amount_minor": amount, "reason": "late"}).id)


@pytest.fixture
def three(shop: Tenant) -> list[str]:
    """Let three refunds wait, in the order of the queue; return their sentences."""
    for amount in (1100, 1200, 1300):
        refund(amount)
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


def test_slash_filters_without_leaving_the_page_and_a_mistake_keeps_the_rows(page: Page) -> None:
    page.evaluate("window.untouched = true")
    page.keyboard.press("/")
    line = page.get_by_role("textbox", name="Filter")
    expect(line).to_be_focused()
    line.fill("bnd:low")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Did you mean band?")
    expect(rows(page)).to_have_count(3)
    assert "bnd" not in page.url
    line.fill("amount>11.50")
    page.keyboard.press("Enter")
    expect(rows(page)).to_have_count(2)
    opened(page, "Refund EUR 12.00 for order A-1002")
    assert "q=amount%3E11.50" in page.url
    page.get_by_role("navigation", name="Views").get_by_role("link", name="All").click()
    expect(rows(page)).to_have_count(3)
    assert page.evaluate("window.untouched")


def test_back_and_forward_go_through_the_cards_that_were_opened_and_the_list_stays(
    page: Page, three: list[str]
) -> None:
    page.evaluate("window.untouched = true")
    for row in (1, 2):
        rows(page).nth(row).click()
        opened(page, three[row])
    for sentence, go in ((three[1], page.go_back), (three[0], page.go_back), (three[1], page.go_forward)):
        go()
        opened(page, sentence)
        expect(page.locator("#list [aria-current]")).to_contain_text(sentence[:16])
        expect(page.locator("#list [aria-current] > a")).to_be_focused()
    assert page.evaluate("window.untouched"), "the page was left"
    assert page.url.endswith(f"open={page.get_by_role('article').get_attribute('data-id')}")


def test_moving_through_the_list_and_deciding_leave_no_places_to_go_back_to(page: Page, three: list[str]) -> None:
    before = page.evaluate("history.length")
    page.keyboard.press("j")
    opened(page, three[1])
    page.keyboard.press("x")
    page.get_by_label("Reason", exact=True).select_option("duplicate")
    page.keyboard.press("Control+Enter")
    opened(page, three[2])
    assert page.evaluate("history.length") == before


def test_back_from_a_filter_brings_the_list_as_it_was_and_the_keys_still_work(page: Page, three: list[str]) -> None:
    rows(page).nth(1).click()
    opened(page, three[1])
    line = page.get_by_role("textbox", name="Filter")
    line.fill("amount>12.50")
    line.press("Enter")
    expect(rows(page)).to_have_count(1)
    opened(page, three[2])
    page.go_back()
    expect(rows(page)).to_have_count(3)
    opened(page, three[1])
    expect(line).to_have_value("")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys on this page")).to_be_visible()
    page.keyboard.press("Escape")
    page.go_forward()
    expect(rows(page)).to_have_count(1)
    opened(page, three[2])
    expect(line).to_have_value("amount>12.50")


def test_c_claims_and_gives_back_and_the_other_desk_sees_it_in_place(
    page: Page, three: list[str], sam: User, open_browser: OpenBrowser
) -> None:
    hers = open_browser(sam)
    hers.goto("queue")
    live_card(hers)
    expect(hers.get_by_text("live", exact=True)).to_be_visible()
    page.keyboard.press("c")
    expect(page.get_by_text("Yours for now.")).to_be_visible()
    expect(rows(hers).nth(0)).to_contain_text("Bob has it")
    expect(rows(hers)).to_have_count(3)
    live_card(page)
    page.keyboard.press("c")
    expect(page.get_by_text("Nobody has taken this.")).to_be_visible()
    expect(rows(hers).nth(0)).not_to_contain_text("Bob has it")


def test_n_serves_and_asks_why_before_it_serves_another(page: Page, three: list[str]) -> None:
    page.keyboard.press("n")
    expect(page.get_by_text("Yours for now.")).to_be_visible()
    opened(page, three[0])
    page.keyboard.press("n")
    form = page.get_by_role("region", name="Skip to the next one")
    expect(form.get_by_label("Why you give it back")).to_be_focused()
    page.keyboard.press("Control+Enter")
    opened(page, three[1])


def test_what_is_taken_back_stands_in_its_old_place_again(page: Page, three: list[str], settings: Any) -> None:
    settings.RELEASE_DELAYS_S = (600, 600, 600, 600)
    rows(page).nth(1).click()
    opened(page, three[1])
    expect(rows(page).nth(1).locator("xpath=..")).to_have_attribute("aria-current", "")
    read(page)
    page.keyboard.press("a")
    a_moment_later(page)
    page.keyboard.press("Enter")
    opened(page, three[2])
    expect(rows(page)).to_have_count(2)
    page.keyboard.press("z")
    opened(page, three[1])
    expect(rows(page)).to_have_count(3)
    expect(rows(page).nth(1)).to_contain_text("EUR 12.00")
    expect(rows(page).nth(1).locator("xpath=..")).to_have_attribute("aria-current", "")
    expect(page.locator("#arrivals")).to_be_hidden()
    expect(page.get_by_role("status").filter(has_text="Taken back.")).to_be_focused()


def test_an_approval_that_lacks_something_leads_to_the_first_thing_it_lacks(
    shop: Tenant, bob: User, open_browser: OpenBrowser
) -> None:
    refund(60000)
    page = open_browser(bob)
    page.goto("queue")
    live_card(page)
    page.keyboard.press("a")
    form = page.locator("#approve")
    form.get_by_role("radio").first.wait_for()
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("alert")).to_contain_text("Not approved yet.")
    first = form.get_by_role("radio").first
    expect(first).to_be_focused()
    expect(first).to_be_in_viewport()


def test_going_back_after_rejecting_several_ticks_nothing(page: Page, three: list[str]) -> None:
    page.goto("queue/reject")
    page.get_by_role("checkbox").first.check()
    page.get_by_label("Reason").select_option("duplicate")
    page.get_by_role("button", name="Reject 1").click()
    expect(page.get_by_role("status")).to_contain_text("1 of 1 rejected.")
    page.go_back()
    expect(page.get_by_role("checkbox")).to_have_count(2)
    expect(page.get_by_role("checkbox", checked=True)).to_have_count(0)


def test_a_flood_is_rejected_by_keyboard_and_each_says_what_became_of_it(
    page: Page, three: list[str], sam: User
) -> None:
    page.keyboard.press("Control+k")
    page.get_by_role("dialog").get_by_role("combobox").fill("reject several")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Reject several")).to_be_visible()
    boxes = page.get_by_role("checkbox")
    page.keyboard.press("j")
    expect(boxes.first).to_be_focused()
    page.keyboard.press("Space")
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(boxes.nth(2)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("checkbox", checked=True)).to_have_count(2)
    expect(page.get_by_role("button", name="Reject 2")).to_be_visible()
    page.get_by_role("link", name="Tick all shown").press("Enter")
    expect(page.get_by_role("checkbox", checked=True)).to_have_count(3)
    lost = Proposal.objects.order_by("created_at").last()
    assert lost is not None
    senior = Actor("user", str(sam.pk), "sam", frozenset({"senior"}), sam.pk)
    approve(proposal_id=lost.pk, actor=senior, version=1, digest=lost.digest)
    page.get_by_label("Reason", exact=True).select_option("duplicate")
    page.get_by_role("button", name="Reject 3").press("Enter")
    expect(page.get_by_role("status")).to_contain_text("2 of 3 rejected.")
    told = page.get_by_role("listitem").filter(has_text="Decided meanwhile")
    expect(told).to_contain_text("Sam approved this already")
    expect(page.get_by_text("Nothing is waiting.")).to_be_visible()


def test_what_is_typed_outlives_the_session_and_is_sent_once_one_has_signed_in_again(
    page: Page, three: list[str], bob: User, watch: Watch
) -> None:
    watch.expected.append("EventSource")
    page.keyboard.press("x")
    page.get_by_label("Reason", exact=True).select_option("wrong_amount")
    note = page.locator("#reject").get_by_label("Note")
    note.fill("Twice as much as the order.")
    page.context.clear_cookies()
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("alert")).to_contain_text("You are signed out, and nothing was decided.")
    other = page.context.new_page()
    sign_in(other, bob)
    expect(other.get_by_role("heading", name="Where do you work now?")).to_be_visible()
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("alert")).to_contain_text("You have signed in anew since.")
    expect(note).to_have_value("Twice as much as the order.")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("status").filter(has_text="Rejected.")).to_be_visible()
    assert Decision.objects.get().note == "Twice as much as the order."


def test_an_approval_whose_answer_is_lost_shows_what_became_of_it_and_can_be_taken_back(
    page: Page, three: list[str], settings: Any, watch: Watch
) -> None:
    watch.expected.append("htmx:sendError|htmx:sendAbort|htmx:afterRequest|ERR_FAILED")
    settings.RELEASE_DELAYS_S = (600, 600, 600, 600)
    rows(page).nth(0).click()
    read(page)

    def lose(route: Route) -> None:
        route.fetch()
        route.abort()

    page.route("**/decide", lose)
    page.keyboard.press("a")
    a_moment_later(page)
    page.keyboard.press("Enter")
    expect(rows(page).nth(0)).to_contain_text("approved by")
    expect(button(page, "Approve")).to_have_count(0)
    live_card(page)
    page.unroute("**/decide")
    page.keyboard.press("z")
    expect(page.get_by_role("status").filter(has_text="Taken back.")).to_be_visible()


def test_h_puts_off_and_the_row_is_no_longer_listed(page: Page, three: list[str]) -> None:
    page.keyboard.press("h")
    form = page.get_by_role("region", name="Hold")
    expect(form.get_by_label("For")).to_be_focused()
    form.get_by_label("Why").fill("waiting for the bank")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("waiting for the bank")).to_be_visible()
    page.goto("queue")
    expect(rows(page)).to_have_count(2)


def test_the_palette_finds_commands_pages_and_words(page: Page, three: list[str]) -> None:
    page.keyboard.press("Control+k")
    palette = page.get_by_role("dialog", name="Commands and search")
    field = palette.get_by_role("combobox")
    expect(field).to_be_focused()
    field.fill("reject")
    first = palette.get_by_role("option").first
    expect(first).to_contain_text("reject, with a reason")
    expect(first).to_contain_text("x")
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Reject")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    field.fill("runs")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    page.goto("queue")
    page.keyboard.press("Control+k")
    field.fill("12.00")
    page.keyboard.press("Enter")
    page.wait_for_url("**/queue?q=12.00")


def test_keys_can_be_changed_and_switched_off(page: Page, three: list[str]) -> None:
    page.goto("me/keys")
    page.get_by_label("Next row").fill("Alt+j")
    page.get_by_role("button", name="Save the keys").click()
    expect(page.get_by_role("status")).to_contain_text("saved")
    page.goto("queue")
    live_card(page)
    page.keyboard.press("j")
    expect(page.get_by_role("article").get_by_role("heading", level=2)).to_have_text(three[0])
    page.keyboard.press("Alt+j")
    opened(page, three[1])

    page.goto("me/keys")
    page.get_by_role("button", name="Switch letters off").click()
    page.goto("queue")
    live_card(page)
    for key in ("x", "a", "c", "n"):
        page.keyboard.press(key)
    expect(page.get_by_role("region", name=re.compile("Reject|Hold"))).to_have_count(0)
    expect(button(page, "Approve")).to_be_visible()
    page.keyboard.press("Control+k")
    expect(page.get_by_role("dialog", name="Commands and search")).to_be_visible()


def test_nothing_moves_when_others_decide_and_new_ones_come(page: Page, three: list[str], sam: User) -> None:
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    page.evaluate(
        """() => { window.shift = 0; new PerformanceObserver((list) => {
          for (const entry of list.getEntries()) window.shift += entry.value; }).observe({ type: "layout-shift" }); }"""
    )
    before = rows(page).nth(2).bounding_box()
    first = next(one for one in Proposal.objects.all() if one.argument_values["amount_minor"] == 1100)
    approve(
        proposal_id=first.pk,
        actor=Actor("user", str(sam.pk), "sam", frozenset({"senior"}), sam.pk),
        version=first.version,
        digest=first.digest,
    )
    expect(rows(page).nth(0)).to_contain_text("approved by Sam")
    refund(1400)
    expect(page.get_by_role("link", name="1 new, press . to show")).to_be_visible()
    expect(rows(page)).to_have_count(3)
    assert rows(page).nth(2).bounding_box() == before
    assert page.evaluate("window.shift") <= 0.001
    page.keyboard.press(".")
    expect(rows(page)).to_have_count(3)
    expect(page.locator("#list").get_by_text("approved by Sam")).to_have_count(0)


def test_the_next_page_is_added_below(shop: Tenant, bob: User, open_browser: OpenBrowser) -> None:
    for amount in range(100, 153):
        refund(amount)
    page = open_browser(bob)
    page.goto("queue")
    expect(page.locator("#list .row")).to_have_count(50)
    page.get_by_role("link", name="Next page").click()
    expect(page.locator("#list .row")).to_have_count(53)
    assert len(set(page.locator("#list .row").evaluate_all("rows => rows.map(row => row.dataset.id)"))) == 53
    assert Proposal.objects.filter(status="pending").count() == 53


def test_a_page_that_hears_nothing_says_how_old_it_is_and_does_not_approve(
    three: list[str], bob: User, open_browser: OpenBrowser
) -> None:
    page = open_browser(bob)
    page.clock.install()
    page.goto("queue")
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    page.context.set_offline(True)
    page.context.route("**/t/acme/**", lambda route: route.abort())
    page.clock.run_for(75_000)
    expect(page.get_by_text(re.compile(r"no contact for \d+ s"))).to_be_visible()
    expect(button(page, "Approve")).to_be_disabled()
    expect(button(page, "Reject")).to_be_enabled()


def test_evidence_stands_beside_what_is_decided_where_there_is_room(page: Page) -> None:
    left: list[float] = []
    for width in (1440, 1600):
        page.set_viewport_size({"width": width, "height": 900})
        evidence, sentence = page.locator("#sec-evidence").bounding_box(), page.locator("#sentence").bounding_box()
        assert evidence is not None
        assert sentence is not None
        left.append(evidence["x"] - sentence["x"] - sentence["width"])
    assert left[0] < 0 < left[1]


def test_decisions_and_risk_are_on_the_rail(shop: Tenant, open_browser: OpenBrowser) -> None:
    ada = person("ada", shop, "operator", "admin")
    page = open_browser(ada)
    page.goto("queue")
    rail = page.get_by_role("navigation", name="Main")
    for name, heading in (("Decisions", "My decisions"), ("Risk", re.compile("risk", re.IGNORECASE))):
        rail.get_by_role("link", name=name, exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text(heading)
