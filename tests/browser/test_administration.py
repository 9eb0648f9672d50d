"""The administration stands in the frame of the site: what the desk says about its fields and lists is not for it."""

import pytest
from django.contrib.auth.models import User

from agentops.runs.models import TaskType
from agentops.tenancy.models import Tenant
from tests.browser.conftest import OpenBrowser
from tests.conftest import person

pytestmark = pytest.mark.browser

LOOKS = """() => {
  const box = (selector) => document.querySelector(selector).getBoundingClientRect();
  const found = (selector) => [...document.querySelectorAll(`#content ${selector}`)];
  const names = (fields) => fields.map((one) => one.name);
  const fills = (one) => one.offsetWidth > 0.8 * one.closest(".form-row").offsetWidth;
  return {
    cut: names(found("input[type=number]").filter((one) => one.scrollWidth > one.clientWidth)),
    stretched: names(found("select").filter(fills)),
    indented: box(".rail p").left + parseFloat(getComputedStyle(document.querySelector(".rail p")).paddingLeft),
    icon: box(".rail a svg").left,
  };
}"""
ONE_LINE = """() => {
  const box = (selector) => document.querySelector(selector).getBoundingClientRect();
  const [field, button] = [box("#searchbar"), box("#changelist-search [type=submit]")];
  return field.right <= button.left && Math.abs(field.bottom - button.bottom) < 8;
}"""
CANVAS = "() => [document.documentElement, document.body].map((one) => getComputedStyle(one).backgroundColor)"


@pytest.fixture
def dana(shop: Tenant) -> User:
    return person("dana", shop, "operator", "admin")


def test_fields_show_what_is_in_them_and_are_no_wider_than_that_needs(dana: User, open_browser: OpenBrowser) -> None:
    page = open_browser(dana)
    page.goto(f"admin/runs/tasktype/{TaskType.objects.earliest('pk').pk}/change/")
    looks = page.evaluate(LOOKS)
    assert looks["cut"] == []
    assert looks["stretched"] == []
    assert looks["indented"] == looks["icon"]


def test_a_list_is_searched_in_one_line(dana: User, open_browser: OpenBrowser) -> None:
    page = open_browser(dana)
    page.goto("admin/runs/tasktype/")
    assert page.evaluate(ONE_LINE)


def test_fields_side_by_side_are_no_higher_than_a_line(dana: User, open_browser: OpenBrowser) -> None:
    page = open_browser(dana)
    page.goto(f"admin/tools/allowlistentry/cell/{TaskType.objects.earliest('pk').pk}/mail.send/")
    heights = page.evaluate(
        "[...document.querySelectorAll('.cellform input[type=text]')].map((one) => one.offsetHeight)"
    )
    assert len(heights) > 3
    assert max(heights) < 48


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_chosen_colours_reach_the_edges_of_the_window(dana: User, open_browser: OpenBrowser, theme: str) -> None:
    page = open_browser(dana, scheme="dark" if theme == "light" else "light")
    page.goto("admin/")
    page.click("details.menu summary")
    page.click(f'button[name="theme"][value="{theme}"]')
    page.wait_for_url("**/admin/")
    canvas, body = page.evaluate(CANVAS)
    assert canvas == body
