"""Stopping the line, holding a run and answering an unknown effect: with scripts and without."""

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from playwright.sync_api import Page, expect

from agentops.engine.events import CallStarted, CallUnknown, Event, RunClaimed, RunWaiting
from agentops.halts.models import Halt, Scope
from agentops.runs.models import Run, ToolCall
from agentops.runs.recording import record_outside, state_of
from agentops.tenancy.access import WORKER, Actor
from agentops.tenancy.models import Tenant
from agentops.wire.parse import JSONObject
from approvals.models import Grant
from approvals.stopping.halting import Target, lift, stop
from tests.browser.conftest import OpenBrowser
from tests.browser.desk import button, rows
from tests.deciding import approve
from tests.shop import drive, only_proposal, start
from tools.backoffice.models import Refund

pytestmark = pytest.mark.browser

GOODWILL: JSONObject = {"order_ref": "A-1002", "amount_minor": 5000, "reason": "Parcel was late"}


def senior(sam: User) -> Actor:
    return Actor("user", str(sam.pk), "sam", frozenset({"senior"}), sam.pk)


def unknown_refund(sam: User) -> ToolCall:
    """Return a refund of which nobody knows whether it happened."""
    run = drive(start("goodwill-refund", GOODWILL).id)
    proposal = only_proposal()
    approve(proposal_id=proposal.pk, actor=senior(sam), version=1, digest=proposal.digest)
    call = state_of(run.pk).calls[proposal.call_id]
    Grant.objects.filter(proposal=proposal).update(consumed_at=timezone.now())
    lost: list[Event] = [
        RunClaimed("w7", 1),
        CallStarted(call.call_id, call.grant_id, 1),
        CallUnknown(call.call_id, "The bank does not answer.", asked=True),
        RunWaiting("awaiting_reconciliation"),
    ]
    with transaction.atomic():
        record_outside(run.pk, lost, actor=WORKER, now=timezone.now())
    return ToolCall.objects.get(run=run, call_id=call.call_id)


def test_stopping_and_lifting_without_scripts(shop: Tenant, sam: User, bob: User, open_browser: OpenBrowser) -> None:
    drive(start("goodwill-refund", GOODWILL).id)
    page = open_browser(sam, javascript=False)
    page.goto("queue")
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Stop").click()
    page.get_by_label("What?").select_option("shop.issue_refund")
    page.get_by_label("Why?").fill("Paid twice")
    page.get_by_role("button", name="Show what it would hold").click()
    expect(page.get_by_label("What this would hold")).to_contain_text("Proposals, clock stops1")
    expect(page.get_by_label("Why?")).to_have_value("Paid twice")
    page.get_by_role("button", name="Stop it now").click()
    expect(page.get_by_role("heading", name="Stopped: One tool")).to_be_visible()

    other = open_browser(bob, javascript=False)
    other.goto("queue")
    expect(other.get_by_text("Stopped: shop.issue_refund")).to_be_visible()
    expect(rows(other)).to_contain_text("clock stopped")
    rows(other).click()
    other.wait_for_timeout(2_200)  # the time that a card of medium risk must have been open
    button(other, "Approve").click()
    expect(other.get_by_role("status").filter(has_text="Approved.")).to_be_visible()
    run = drive(Run.objects.get().pk)
    assert not Refund.objects.exists()
    other.goto(f"runs/{run.pk}")
    expect(other.get_by_role("main")).to_contain_text("Stopped with the line")

    page.get_by_label("Why can it go on?").fill("The bank has fixed it")
    page.get_by_role("button", name="Lift this stop").click()
    expect(page.get_by_role("heading", name="Nothing is stopped")).to_be_visible()
    expect(page.get_by_role("region", name="Earlier stops")).to_contain_text("1 run queued again")
    drive(run.pk)
    assert Refund.objects.count() == 1


def test_pausing_and_resuming_without_scripts(shop: Tenant, bob: User, open_browser: OpenBrowser) -> None:
    run = drive(start("goodwill-refund", GOODWILL).id)
    page = open_browser(bob, javascript=False)
    page.goto(f"runs/{run.pk}")
    page.get_by_text("Pause", exact=True).click()
    page.get_by_label("Why?").first.fill("Let me look")
    page.get_by_role("button", name="Pause this run").click()
    expect(page.get_by_role("main")).to_contain_text("Paused by Bob: Let me look")
    page.get_by_text("Resume", exact=True).click()
    page.get_by_label("Why?").first.fill("Looks fine")
    page.get_by_role("button", name="Resume this run").click()
    expect(page.get_by_role("region", name="Timeline")).to_contain_text("Resumed by Bob: Looks fine")


def test_answering_without_scripts(shop: Tenant, sam: User, open_browser: OpenBrowser) -> None:
    call = unknown_refund(sam)
    page = open_browser(sam, javascript=False)
    page.goto("queue")
    page.get_by_role("list", name="Effects nobody knows about").get_by_role("link").click()
    expect(page.get_by_role("heading", level=2)).to_contain_text(
        "We do not know whether this happened: Refund EUR 50.00"
    )
    page.get_by_label("It happened").check()
    page.get_by_label("How do you know?").fill("On the statement of today")
    expect(page.get_by_text("used later").first).to_be_visible()
    page.get_by_label("Refund id").fill("R-7")
    page.get_by_role("button", name="Record this").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was recorded.")
    expect(page.get_by_label("How do you know?")).to_have_value("On the statement of today")
    expect(page.get_by_label("Refund id")).to_have_value("R-7")
    page.get_by_label("Status").select_option("refunded")
    page.get_by_role("button", name="Record this").click()
    expect(page.get_by_role("status")).to_contain_text("Recorded: it happened.")
    assert drive(call.run_id).state == "succeeded"
    assert not Refund.objects.exists(), "it was not done again"


def test_an_open_page_hears_of_a_stop_and_of_an_unknown_effect(
    shop: Tenant, sam: User, open_browser: OpenBrowser
) -> None:
    page: Page = open_browser(sam)
    page.goto("queue")
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    stop(target=Target(Scope.TENANT, "", "Everything in this tenant"), reason="fire", actor=senior(sam))
    expect(page.locator("#stopped")).to_contain_text("Stopped: Everything in this tenant")
    lift(halt_id=Halt.objects.get().pk, reason="out", actor=senior(sam))
    expect(page.locator("#stopped")).to_be_empty()
    call = unknown_refund(sam)
    item = page.get_by_role("list", name="Effects nobody knows about").get_by_role("link")
    expect(item).to_contain_text("Did it happen?")
    item.click()
    expect(page.get_by_role("article")).to_contain_text("The bank does not answer.")
    page.get_by_label("It did not happen").check()
    page.get_by_label("How do you know?").fill("No trace of it")
    page.get_by_role("button", name="Record this").click()
    expect(page.get_by_role("article").get_by_role("status")).to_contain_text("Recorded: it did not happen.")
    expect(page.get_by_role("article")).to_contain_text("Nothing is asked here any more.")
    assert ToolCall.objects.get(pk=call.pk).state == "granted"
