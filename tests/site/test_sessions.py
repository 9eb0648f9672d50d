"""Who a session belongs to is asked anew by every request, in fewer steps than Django takes, with the same answers."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

PAGE = "/t/acme/queue"


@pytest.fixture
def desk(bob: User, signed_in: Callable[[User], Client]) -> Client:
    client = signed_in(bob)
    assert client.get(PAGE).status_code == 200
    return client


def is_out(client: Client) -> bool:
    answer = client.get(PAGE)
    return answer.status_code == 302 and answer["Location"].startswith("/sign-in")


def test_who_is_no_longer_active_is_out_at_once(desk: Client, bob: User) -> None:
    User.objects.filter(pk=bob.pk).update(is_active=False)
    assert is_out(desk)


def test_a_new_password_ends_the_sessions_of_the_old_one(desk: Client, bob: User) -> None:
    bob.set_password("another horse battery staple")
    bob.save()
    assert is_out(desk)


def test_a_session_ends_when_it_is_removed_and_when_its_time_is_over(desk: Client) -> None:
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    assert is_out(desk)


def test_a_removed_session_is_no_session(desk: Client) -> None:
    Session.objects.all().delete()
    assert is_out(desk)


def test_a_key_that_nobody_was_given_is_no_session(desk: Client) -> None:
    desk.cookies["sessionid"] = "x" * 32
    assert is_out(desk)


@pytest.mark.parametrize("key", [r"\000aaaaaaaaaaaa", r"aaaaaaaaaaaa\000"])
def test_a_key_that_the_database_cannot_hold_is_no_session(db: None, key: str) -> None:
    answer = Client().get(PAGE, headers={"cookie": f'sessionid="{key}"'})
    assert (answer.status_code, answer["Location"][:8]) == (302, "/sign-in")


def test_a_way_to_sign_in_that_is_gone_ends_its_sessions(desk: Client, settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
    assert is_out(desk)


def test_a_session_survives_a_new_secret_while_the_old_one_is_a_fallback(desk: Client, settings: Any) -> None:
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another-one-for-tests-" * 4
    assert desk.get(PAGE).status_code == 200
    settings.SECRET_KEY_FALLBACKS = []
    assert desk.get(PAGE).status_code == 200


def test_a_new_secret_alone_ends_every_session(desk: Client, settings: Any) -> None:
    settings.SECRET_KEY = "another-one-for-tests-" * 4
    assert is_out(desk)
