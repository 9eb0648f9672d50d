"""From a failed run to its cause to a regression case, in a few clicks; with and without scripts."""

import io
import json

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from playwright.sync_api import Locator, Page, expect

from agentops.regression.exporting import export_run, import_run
from agentops.regression.models import Case, SuiteRun
from agentops.regression.services import promote_run
from agentops.runs.models import Playbook, TaskType
from agentops.runs.services import save_playbook
from agentops.tenancy.access import SYSTEM
from agentops.tenancy.models import Tenant
from agentops.wire.parse import JSONObject
from tests.browser.access import faults
from tests.browser.conftest import OpenBrowser
from tests.conftest import person
from tests.regression.rows import failed_suite_run
from tests.shop import drive, start

pytestmark = pytest.mark.browser


def run_suite() -> int:
    """Run the suite as CI does, outside of any tenant's scope."""
    import threading

    from django.db import connection

    codes: list[int] = []

    def work() -> None:
        try:
            call_command("regression", "run", "--tenant", "acme", "--release", "next", stdout=io.StringIO())
            codes.append(0)
        except CommandError as error:
            codes.append(error.returncode)
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return codes[0]


def mend() -> None:
    """Have the playbook say that there is no such order instead of failing."""
    kind = TaskType.objects.get(slug="goodwill-refund")
    assert kind.playbook is not None
    body = json.loads(kind.playbook.body)
    order, refund = body["steps"]
    del order["expect"]
    refund["when"] = "steps.order.output.found"
    saved = save_playbook(slug="goodwill-refund", body=json.dumps(body), actor=SYSTEM)
    assert isinstance(saved, Playbook)
    kind.playbook = saved
    kind.save()


@pytest.mark.parametrize("javascript", [True, False])
def test_a_failed_run_becomes_a_regression_case_in_under_ten_clicks(
    shop: Tenant, open_browser: OpenBrowser, javascript: bool
) -> None:
    task: JSONObject = {"order_ref": "A-9999", "amount_minor": 500, "reason": "Late"}
    assert drive(start("goodwill-refund", task).id).state == "failed"
    enzo: User = person("enzo", shop, "engineer")
    page: Page = open_browser(enzo, javascript=javascript)
    clicks = 0

    def click(what: Locator) -> None:
        nonlocal clicks
        clicks += 1
        what.click()

    page.goto("runs")
    click(page.get_by_role("row").filter(has_text="failed").get_by_role("link"))
    expect(page.locator(".verdict")).to_contain_text("expected output.found")
    click(page.get_by_role("link", name="Step by step"))
    expect(page.get_by_text("Replay: identical")).to_be_visible()
    click(page.get_by_role("link", name="Go to the event that it goes back to"))
    expect(page.get_by_role("heading", name="call.succeeded")).to_be_visible()
    expect(page.locator(".json").first).to_contain_text("output.found: false")
    click(page.get_by_role("button", name="Make a regression case"))
    expect(page.get_by_role("status")).to_contain_text("It is a regression case now.")
    assert clicks < 10

    case = Case.objects.get()
    assert page.url.endswith(f"/t/acme/regression/cases/{case.pk}")
    assert run_suite() == 1
    page.reload()
    expect(page.get_by_role("region", name="How it came out")).to_contain_text("0 of 1")
    mend()
    assert run_suite() == 0
    assert [row.verdict for row in SuiteRun.objects.order_by("started_at")] == ["failed", "passed"]


def test_previous_and_next_go_through_a_record_without_scripts(shop: Tenant, open_browser: OpenBrowser) -> None:
    run = drive(start("goodwill-refund", {"order_ref": "A-9999", "amount_minor": 500, "reason": "x"}).id)
    page = open_browser(person("enzo", shop, "engineer"), javascript=False)
    page.goto(f"runs/{run.id}/steps?at=1")
    expect(page.get_by_role("heading", name="run.submitted")).to_be_visible()
    page.get_by_role("link", name="Next event").click()
    expect(page.get_by_role("heading", name="run.claimed")).to_be_visible()
    page.get_by_role("link", name="Previous event").click()
    expect(page.get_by_text("Event 1 of")).to_be_visible()
    with page.expect_download() as download:
        page.locator("summary", has_text="Download").click()
        page.get_by_role("button", name="Download the record").click()
    assert download.value.suggested_filename == f"run-{run.id}.json"


def test_records_and_suites_are_accessible_and_fit_every_screen(shop: Tenant, open_browser: OpenBrowser) -> None:
    run = drive(start("goodwill-refund", {"order_ref": "A-9999", "amount_minor": 500, "reason": "x"}).id)
    case = promote_run(run=run, actor=SYSTEM).case
    suite = failed_suite_run(case)
    raw = export_run(run=run, actor=SYSTEM).text().encode()
    imported = import_run(raw=raw, actor=SYSTEM)
    page = open_browser(person("enzo", shop, "engineer"))
    found = {}
    for address in (
        f"runs/{run.id}",
        *(f"runs/{run.id}/steps?at={at}" for at in (1, 3, 6)),
        *("records", f"records/{imported.pk}"),
        *("regression", f"regression/runs/{suite.pk}", f"regression/cases/{case.pk}"),
    ):
        if wrong := faults(page, address):
            found[address] = wrong
    assert not found
