"""What the tests do on the desk, in the words people use, and how they wait."""

import re
import time
from collections.abc import Callable

from django.contrib.auth.models import User
from playwright.sync_api import Locator, Page, expect

from tests.conftest import PASSWORD


def until(holds: Callable[[], bool], what: str, within_s: float = 30) -> None:
    """Return as soon as a condition holds; fail with `what` when it does not in time."""
    give_up = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < give_up, f"did not happen in {within_s:g} s: {what}"
        time.sleep(0.05)


def sign_in(page: Page, user: User) -> None:
    """Sign a person in through the form."""
    page.goto("/sign-in")
    page.get_by_label("Email").fill(user.email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def rows(page: Page) -> Locator:
    """Return the links of the queue's rows."""
    return page.get_by_role("list", name="Waiting proposals").get_by_role("link")


def button(page: Page, name: str) -> Locator:
    """Return a button of the decision bar, whose name goes on with its key."""
    return page.get_by_role("group", name="Decide").get_by_role("button", name=re.compile(f"^{name}"))


def live_card(page: Page) -> Locator:
    """Return the open card once keys act on it."""
    card = page.get_by_role("article")
    expect(card).to_have_attribute("data-live", "")
    return card


def a_moment_later(page: Page) -> None:
    """Let the quarter of a second pass in which a second stroke is taken for a slip of the finger."""
    page.wait_for_function("began => performance.now() - began > 260", arg=page.evaluate("performance.now()"))


def approve(page: Page) -> None:
    """Arm and confirm."""
    button(page, "Approve").click()
    a_moment_later(page)
    button(page, "Confirm: approve").click()
