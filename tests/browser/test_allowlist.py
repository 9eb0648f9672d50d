"""The allowlist's table with 200 tools and 20 kinds of task: clean, and usable with scripts switched off."""

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import expect

from agentops.runs.models import TaskType
from agentops.tenancy.models import Tenant
from tests.bench_ui.allowlist import TOOLS, TYPES, fill_table
from tests.browser.access import faults
from tests.browser.conftest import OpenBrowser
from tests.conftest import person
from tools.allowlist import lookup
from tools.models import AllowlistChange

pytestmark = pytest.mark.browser

TABLE = "admin/tools/allowlistentry/"


@pytest.fixture
def ada(shop: Tenant) -> User:
    fill_table()
    return person("ada", shop, "admin")


def test_every_cell_is_there(ada: User, open_browser: OpenBrowser) -> None:
    page = open_browser(ada)
    page.goto(TABLE)
    assert page.locator(".matrix td").count() >= TOOLS * TYPES


def test_the_table_is_clean_and_its_headers_stay_in_view(ada: User, open_browser: OpenBrowser) -> None:
    page = open_browser(ada)
    assert faults(page, f"{TABLE}?tool=area1") == []
    page.emulate_media(forced_colors="none")
    page.set_viewport_size({"width": 1440, "height": 900})
    box = page.locator(".matrix")
    box.evaluate("one => one.scrollTo(600, 300)")
    here = box.bounding_box()
    corner, last = page.locator(".matrix thead th").first, page.locator(".matrix tbody th").last
    assert here is not None
    for one, side in ((corner, "x"), (corner, "y"), (last, "x")):
        at = one.bounding_box()
        assert at is not None
        assert abs(at[side] - here[side]) <= 2  # type: ignore[literal-required]


def test_a_cell_is_found_and_changed_without_scripts(ada: User, open_browser: OpenBrowser) -> None:
    page = open_browser(ada, javascript=False)
    page.goto(TABLE)
    page.get_by_label("Tool", exact=True).fill("tool_007")
    page.get_by_role("textbox", name="Task type").fill("kind-03")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_text("1 of 2")).to_be_visible()
    kind = TaskType.objects.get(slug="kind-03")
    before = lookup(kind.pk, "area7.tool_007")
    page.locator(".matrix td a").click()
    page.get_by_label("State").select_option("auto")
    page.get_by_label("Calls in one run").fill("9")
    page.get_by_label("Why this change").fill("The team has asked for it.")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("waits for another admin").first).to_be_visible()
    assert lookup(kind.pk, "area7.tool_007") == before
    page.get_by_role("link", name="Change 1 waits for another admin").click()
    expect(page.get_by_text("It allows more")).to_be_visible()
    page.get_by_role("button", name="Take it back").click()
    expect(page.get_by_text("Change 1 is withdrawn.")).to_be_visible()
    assert AllowlistChange.objects.get().status == "withdrawn"
