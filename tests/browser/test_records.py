"""A run becomes a case, is run from a button and compared; records are kept, held and removed: as people see it."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone
from playwright.sync_api import Page, expect

from agentops import clock
from agentops.audit import verification
from agentops.regression.models import Case, Rehearsal, SuiteRun
from agentops.regression.rehearsing import ask, work_off
from agentops.regression.services import promote_run, quarantine_case
from agentops.retention.models import Hold
from agentops.retention.services import Wanted, ask_to_lift, change_periods, place_hold
from agentops.tenancy.access import SYSTEM, Actor
from agentops.tenancy.models import Tenant
from tests.browser.access import faults
from tests.browser.conftest import OpenBrowser
from tests.conftest import PASSWORD, person
from tests.retention.conftest import old_run, remove_all
from tests.retention.test_removal import NOTE, SHORTEST, shorten
from tests.shop import drive, start

pytestmark = [pytest.mark.browser, pytest.mark.not_replayed("what its old runs did is written by hand")]
TASK: Any = {"order_ref": "A-9999", "amount_minor": 500, "reason": "Late"}


def worker(tenant: Tenant) -> None:
    """Do what a worker does, outside of the scope that the test keeps open."""

    def work() -> None:
        try:
            work_off(tenant)
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


@pytest.mark.parametrize("javascript", [True, False])
def test_a_run_is_promoted_run_from_a_button_and_compared(
    shop: Tenant, open_browser: OpenBrowser, javascript: bool
) -> None:
    run = drive(start("goodwill-refund", TASK).id)
    page: Page = open_browser(person("enzo", shop, "engineer"), javascript=javascript)
    page.goto(f"runs/{run.id}")
    page.get_by_role("button", name="Make a regression case").click()
    expect(page.get_by_role("status")).to_contain_text("It is a regression case now.")
    for release in ("1.0", "1.1"):
        page.goto("regression")
        page.get_by_label("Release").fill(release)
        page.get_by_label("Trials of each case").fill("2")
        page.get_by_role("button", name="Run it now").click()
        expect(page.get_by_text("It waits for a worker.")).to_be_visible()
        if release == "1.1":
            # Now the case is about what the task type does: fail, and say so.
            case = Case.objects.get()
            Case.objects.update(body=case.body.replace('"succeeded"', '"failed"'))
        worker(shop)
        if javascript:
            expect(page.get_by_text("All 2 trials have been run")).to_be_visible()
        else:
            page.get_by_role("link", name="Look again").click()
        page.get_by_role("link", name="What it has shown").click()
        expect(page.get_by_role("heading", name=f"goodwill-refund on {release}")).to_be_visible()
    page.get_by_role("link", name="Compare", exact=True).click()
    expect(page.get_by_role("heading", name="1.1 against 1.0")).to_be_visible()
    expect(
        page.get_by_text("Too few cases differ to say which is better: 0 newly failing, 1 newly passing.")
    ).to_be_visible()
    expect(page.get_by_role("region", name="Case by case")).to_contain_text("better")
    expect(page.get_by_role("region", name="Case by case")).to_contain_text("2 of 2")
    assert [row.verdict for row in SuiteRun.objects.order_by("started_at")] == ["failed", "passed"]


def test_a_hold_is_placed_and_lifted_by_two_without_scripts(shop: Tenant, open_browser: OpenBrowser) -> None:
    first, second = (open_browser(person(name, shop, "admin"), javascript=False) for name in ("ada", "adam"))
    first.goto("retention")
    first.locator("summary", has_text="Place a hold").click()
    first.get_by_label("What is to be held").select_option("tenant")
    first.get_by_label("Matter").fill("M-2026-4")
    first.get_by_label("Why", exact=True).last.fill("Counsel asked for everything.")
    first.get_by_role("button", name="Place the hold").click()
    expect(first.get_by_role("heading", name="M-2026-4")).to_be_visible()
    first.locator("summary", has_text="Ask to lift it").click()
    first.locator("input[name=reason]").fill("The matter is closed.")
    first.get_by_role("button", name="Ask another admin").click()
    expect(first.get_by_text("Another admin has to lift it.").last).to_be_visible()
    second.goto("retention")
    second.get_by_role("button", name="Lift the hold").click()
    assert Hold.objects.get().lifted_by is None
    second.get_by_label("Password of").fill(PASSWORD)
    second.get_by_role("button", name="Go on").click()
    expect(second.get_by_text("Nothing is held.")).to_be_visible()
    assert Hold.objects.get().lifted_by == User.objects.get(username="adam")


def fill(shop: Tenant, dana: User) -> dict[str, str]:
    """Fill the pages of this file; return their addresses by name."""
    admin, second = (Actor.user(user, ["admin"], clock.now()) for user in (dana, person("ada", shop, "admin")))
    shorten(second, admin)
    gone, held = old_run(300, text="gone"), old_run(320, text="held")
    hold = place_hold(wanted=Wanted("run", run_id=held.pk), matter="M-2026-4", reason=NOTE, actor=admin)
    assert isinstance(hold, Hold)
    place_hold(wanted=Wanted("person", person="ada"), matter="M-2026-5", reason=NOTE, actor=admin)
    ask_to_lift(hold_id=hold.pk, reason="The matter is closed.", actor=second)
    remove_all()
    now = timezone.now()
    verification.begin(now=now)
    for _ in range(20):
        verification.go_on(now)
    change_periods(days={**SHORTEST, "record": 3_000}, note=NOTE, actor=admin)
    change_periods(days={**SHORTEST, "record": 2_000}, note=NOTE, actor=second)
    cases = [
        promote_run(run=drive(start("goodwill-refund", {**TASK, "order_ref": order}).id), actor=SYSTEM).case
        for order in ("A-9999", "A-9998", "A-9997")
    ]
    case = cases[-1]
    for release in ("1.0", "1.1", "1.2"):
        ask(suite="goodwill-refund", release=release, repeat=2, actor=admin)
        worker(shop)
        if release == "1.0":
            Case.objects.filter(pk=case.pk).update(body=case.body.replace('"succeeded"', '"failed"'))
    quarantine_case(case_id=case.pk, until=now + timedelta(days=9), reason="Flaky since 1.1.", actor=admin)
    done = Rehearsal.objects.order_by("-asked_at")[0]
    ask(suite="goodwill-refund", release="1.3", repeat=1, actor=admin)
    waiting = Rehearsal.objects.order_by("-asked_at")[0]
    return {
        "retention": "retention",
        "audit": "audit",
        "removed": f"runs/{gone.pk}/steps",
        "run": f"runs/{gone.pk}",
        "regression": "regression",
        "case": f"regression/cases/{case.pk}",
        "compare": "regression/compare",
        "rehearsal": f"regression/rehearsals/{done.pk}",
        "waiting": f"regression/rehearsals/{waiting.pk}",
    }


def test_these_pages_are_accessible_and_fit_every_screen(shop: Tenant, open_browser: OpenBrowser) -> None:
    dana = person("dana", shop, "operator", "admin")
    addresses = fill(shop, dana)
    page = open_browser(dana)
    found = {name: wrong for name, address in addresses.items() if (wrong := faults(page, address))}
    assert not found
