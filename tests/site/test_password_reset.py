"""Who forgot a password gets a letter, and nobody learns from the answer who has an account."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.test import Client

HELD = threading.Event()


class SlowAndThenDead(BaseEmailBackend):
    """A mail server that takes its time, and then nothing."""

    def send_messages(self, messages: Sequence[EmailMessage]) -> int:
        HELD.wait(20)
        raise OSError("no mail server")


@pytest.fixture
def dora(db: None) -> User:
    return User.objects.create_user("dora", "dora@acme.example", "look-before-you-approve")


def forgotten(email: str, **headers: str) -> Any:
    return Client(raise_request_exception=False).post("/account/password/reset", {"email": email}, headers=headers)


def arrived(wanted: Callable[[], bool]) -> bool:
    until = time.monotonic() + 10
    while not wanted() and time.monotonic() < until:
        threading.Event().wait(0.01)
    return wanted()


def test_a_mail_server_that_is_slow_or_dead_tells_nobody_who_has_an_account(dora: User, settings: Any) -> None:
    settings.EMAIL_BACKEND = f"{__name__}.SlowAndThenDead"
    HELD.clear()
    try:
        known, unknown = forgotten("dora@acme.example"), forgotten("nobody@acme.example")
    finally:
        HELD.set()
    assert (known.status_code, known["Location"]) == (unknown.status_code, unknown["Location"]) == (302, SENT)


SENT = "/account/password/reset/sent"


def test_the_link_leads_to_the_address_of_the_desk(dora: User, settings: Any) -> None:
    settings.SITE_URL = "https://desk.example.com"
    settings.ALLOWED_HOSTS = ["*"]
    forgotten("dora@acme.example", host="evil.example")
    assert arrived(lambda: bool(mail.outbox))
    [letter] = mail.outbox
    assert "https://desk.example.com/account/password/reset/" in letter.body
    assert "evil.example" not in f"{letter.body} {letter.subject}"
