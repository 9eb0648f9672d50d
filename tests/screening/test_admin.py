"""Admins set how strict the guardrails are; a tenant has one setting, and every change is on record."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from agentops.audit.services import load
from agentops.guardrails.score import DEFAULT, Family, Point
from agentops.screening.models import Screening
from agentops.screening.selectors import settings_in_force
from agentops.tenancy.models import Tenant

ADD = "/t/acme/admin/screening/screening/add/"
FORM = {"point": "strict", "smuggling": "on", "instruction": "on", "forgery": "on", "exfiltration": "on", "note": ""}


@pytest.fixture
def desk(signed_in: Callable[[User], Client], alice: User, scoped: Tenant) -> Client:
    return signed_in(alice)


def test_without_a_row_the_defaults_are_in_force(scoped: Tenant) -> None:
    assert settings_in_force() == DEFAULT


def test_a_setting_is_made_once_and_is_on_record(desk: Client, alice: User) -> None:
    assert desk.post(ADD, FORM).status_code == 302
    known = settings_in_force()
    assert (known.point, known.off) == (Point.STRICT, frozenset({Family.CREDENTIALS}))
    assert Screening.objects.get().updated_by == alice
    assert [event.type for event in load("tenant")].count("admin.changed") == 1
    assert desk.post(ADD, FORM).status_code == 403


def test_models_are_kept_from_what_was_found_unless_a_tenant_wants_it_otherwise(desk: Client) -> None:
    assert settings_in_force().stubs
    assert desk.post(ADD, {**FORM, "stubs": "on"}).status_code == 302
    assert settings_in_force().stubs
    Screening.objects.update(stubs=False)
    assert not settings_in_force().stubs


def test_an_operator_sets_nothing(signed_in: Callable[[User], Client], bob: User, scoped: Tenant) -> None:
    assert signed_in(bob).post(ADD, FORM).status_code in (302, 403, 404)
    assert not Screening.objects.exists()
