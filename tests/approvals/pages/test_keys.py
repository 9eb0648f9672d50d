"""The keys as a person has changed them."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from approvals.pages import keys
from approvals.pages.keys import COMMANDS, Rejected


def key(keyboard: keys.Keymap, name: str) -> str:
    return next(one.key for one in keyboard.commands if one.name == name)


def test_every_command_has_a_key_of_its_own() -> None:
    assert len({one.key for one in COMMANDS}) == len({one.name for one in COMMANDS}) == len(COMMANDS)


def test_changes_come_back() -> None:
    cookie = keys.change({"approve": "Alt+a", "reject": "&", "edit": "e"})
    assert isinstance(cookie, str)
    keyboard = keys.read(cookie)
    assert (key(keyboard, "approve"), key(keyboard, "reject"), key(keyboard, "next")) == ("Alt+a", "&", "j")
    assert "edit" not in cookie
    assert keys.change({one.name: one.key for one in COMMANDS}) == ""


@pytest.mark.parametrize("bad", ["", "ab", "Enter", " ", "é", "Shift+a", "Ctrl+k", "Ctrl+", "\x00"])
def test_what_is_no_key_is_refused(bad: str) -> None:
    outcome = keys.change({"approve": bad})
    assert isinstance(outcome, Rejected)
    assert set(outcome.errors) == {"approve"}


def test_two_commands_on_one_key_are_both_named() -> None:
    outcome = keys.change({"approve": "x"})
    assert isinstance(outcome, Rejected)
    assert set(outcome.errors) == {"approve", "reject"}


@given(st.text(max_size=200))
def test_no_cookie_breaks_the_keyboard(cookie: str) -> None:
    keyboard = keys.read(cookie)
    assert len({one.key for one in keyboard.commands}) == len(COMMANDS)


def test_off_is_off() -> None:
    assert keys.read("off").off


@pytest.fixture
def bobs(bob: User, signed_in: Callable[[User], Client]) -> Client:
    return signed_in(bob)


def test_the_page_changes_keys_and_every_page_has_them(bobs: Client) -> None:
    assert bobs.get("/t/acme/me/keys").status_code == 200
    assert bobs.post("/t/acme/me/keys", {"do": "save", "key:approve": "Alt+a"}).status_code == 302
    assert 'data-command="approve" data-key="Alt+a"' in bobs.get("/t/acme/queue").content.decode()
    wrong = bobs.post("/t/acme/me/keys", {"do": "save", "key:approve": "x"})
    assert wrong.status_code == 422
    assert wrong.content.decode().count("errorlist") == 2
    bobs.post("/t/acme/me/keys", {"do": "off"})
    assert "data-off" in bobs.get("/t/acme/queue").content.decode()
    bobs.post("/t/acme/me/keys", {"do": "reset"})
    text = bobs.get("/t/acme/queue").content.decode()
    assert 'data-command="approve" data-key="a"' in text
    assert "data-off" not in text


def test_a_forged_cookie_is_passed_over(bobs: Client) -> None:
    bobs.cookies["keys"] = 'approve=%22%3E%3Cscript%3E&reject=a&next="'
    text = bobs.get("/t/acme/queue").content.decode()
    assert "<script>" not in text
    assert 'data-command="approve" data-key="a"' in text
