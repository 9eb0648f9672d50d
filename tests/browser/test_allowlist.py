"""The allowlist's table with 200 tools and 20 kinds of task: quick, clean, and usable with scripts switched off."""

import time

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from agentops.runs.models import TaskType
from agentops.tenancy.models import Tenant
from tests.browser.access import faults
from tests.browser.conftest import OpenBrowser
from tests.conftest import person
from tools.allowing import seed_rules
from tools.allowlist import AllowlistRule, AllowlistState, Constraint, lookup
from tools.models import AllowlistChange

pytestmark = pytest.mark.browser

TOOLS, TYPES, ROUNDS = 200, 20, 8
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime || 0"
TABLE = "admin/tools/allowlistentry/"


@pytest.fixture
def ada(shop: Tenant) -> User:
    states = tuple(AllowlistState)
    small = (Constraint("small", "args.n < 5"),)
    for number in range(TYPES):
        kind = TaskType.objects.create(slug=f"kind-{number:02}", name=f"Kind of work {number:02}", input_schema={})
        seed_rules(
            kind.pk,
            [
                AllowlistRule(
                    f"area{at % 10}.tool_{at:03}",
                    states[(at + number) % 3],
                    max_calls=3,
                    constraints=small if at % 5 else (),
                )
                for at in range(TOOLS)
            ],
        )
    return person("ada", shop, "admin")


def painted(page: Page, address: str) -> float:
    page.goto(address)
    expect(page.locator("body")).to_be_visible()
    page.wait_for_function(f"({PAINTED}) > 0")
    return float(page.evaluate(PAINTED))


def slowness() -> float:
    """Return how many times as long this machine takes right now as one for which the promise is made."""
    began, total = time.perf_counter(), 0
    for number in range(1_000_000):
        total += number
    return (time.perf_counter() - began) / 0.06


def test_four_thousand_cells_are_painted_within_400_ms_of_the_floor(ada: User, open_browser: OpenBrowser) -> None:
    page = open_browser(ada)
    page.goto(TABLE)
    assert page.locator(".matrix td").count() >= TOOLS * TYPES
    # The quickest of a few: what else runs on the machine is not the page's.
    floor = min(painted(page, "/healthz") for _ in range(ROUNDS))
    slow = max(1.0, slowness())
    table = min(painted(page, TABLE) for _ in range(ROUNDS))
    slow = max(slow, slowness())
    print(f"first paint: floor {floor:.0f} ms, table {table:.0f} ms, the machine {slow:.1f} times as slow")  # noqa: T201
    assert table <= floor + 400 * slow


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
