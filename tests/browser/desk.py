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
    page.get_by_role("button", name="Sign in", exact=True).click()


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
    """Arm and confirm; from high risk upwards open the sections, read, pick what is true, say why, and send."""
    if page.locator("#approve.draft").count() == 0:
        read(page)
        button(page, "Approve").click()
        a_moment_later(page)
        button(page, "Confirm: approve").click()
        return
    open_sections(page)
    button(page, "Approve").click()
    fill_approval(page)
    expect(page.locator("#gates")).to_have_attribute("data-ready", "", timeout=25_000)
    page.get_by_role("button", name="Approve as it stands").click()


def read(page: Page) -> None:
    """Open the card on purpose if the queue has shown it by itself, and take the time that its band asks for."""
    if page.locator("#gates").count() == 0:
        return
    if page.get_by_text("Open it on purpose").count() > 0:
        before = page.locator("#card input[name=view_token]").first.input_value()
        page.locator("#list [aria-current] > a").click()
        expect(page.locator("#card input[name=view_token]").first).not_to_have_value(before)
        live_card(page)
    expect(page.locator("#gates")).to_have_attribute("data-ready", "", timeout=25_000)


def open_sections(page: Page) -> None:
    """Open every section that has to be seen, and wait until the server has recorded it."""
    closed = page.locator("[data-must-see]:not([open]) > summary")
    while closed.count() > 0:
        closed.first.click()
    expect(page.locator("#gates .gate[data-section]:not([data-done])")).to_have_count(0)


def fill_approval(page: Page, why: str = "Checked against the order in our own records.") -> None:
    """Pick the true values and say why, in the form that approves."""
    shown = [value.strip() for value in page.locator(".args .val").all_inner_texts()]
    for question in page.locator("#approve .attest").all():
        for option in question.locator("label").all():
            if option.inner_text().strip() in shown:
                option.locator("input").check()
                break
    page.get_by_label("Why is it right?").fill(why)
