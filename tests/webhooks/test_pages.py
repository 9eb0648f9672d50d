"""Admins say where messages go; each change is an event, a secret is shown once, and nobody else gets in."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from agentops.audit.services import load
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.webhooks.models import Endpoint, Message
from agentops.webhooks.sending import send_due, write_down
from agentops.webhooks.services import MOST
from agentops.webhooks.signing import secret_of
from tests.webhooks.doubles import Receivers, endpoint, verifies

PAGES = "/t/acme/webhooks"
FORM: dict[str, Any] = {
    "name": "ops",
    "url": "https://hooks.example.com/T0/s3cret?token=t0ken",
    "kinds": ["run.failed", "run.succeeded"],
    "task_type": "",
}
Signed = Callable[[User], Client]


@pytest.fixture
def admin(alice: User, signed_in: Signed) -> Client:
    return signed_in(alice)


@pytest.fixture
def hook(acme: Tenant) -> Endpoint:
    with tenant_scope(acme):
        return endpoint()


def secret_in(page: str) -> str:
    found = re.search(r"whsec_[A-Za-z0-9+/=]+", page)
    return found[0] if found else ""


def test_a_secret_is_shown_once_and_verifies(acme: Tenant, admin: Client) -> None:
    answer = admin.post(f"{PAGES}/add", FORM)
    assert (answer.status_code, answer["Cache-Control"]) == (201, "no-store")
    with tenant_scope(acme):
        row = Endpoint.objects.get()
        assert secret_in(answer.content.decode()) == secret_of(row.pk, acme.pk, 1)
        assert (row.kinds, row.enabled) == (FORM["kinds"], True)
    for page in (PAGES, f"{PAGES}/{row.pk}"):
        shown = admin.get(page)
        assert shown.status_code == 200
        assert not secret_in(shown.content.decode())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"url": "http://hooks.example.com/"}, "has to begin with https://"),
        ({"url": "https://10.0.0.1/"}, "private network"),
        ({"url": "https://169.254.169.254/latest"}, "private network"),
        ({"url": "https://a:b@hooks.example.com/"}, "must not hold a password"),
        ({"url": ""}, "This field is required"),
        ({"name": " "}, "This field is required"),
        ({"name": "x" * 81}, "at most 80"),
        ({"name": "hooks"}, "Another endpoint has this name."),
        ({"kinds": []}, "This field is required"),
        ({"kinds": ["run.exploded"]}, "not one of the available choices"),
        ({"task_type": "no-such-thing"}, "not one of the available choices"),
    ],
)
def test_what_cannot_be_is_refused_beside_its_field(
    admin: Client, hook: Endpoint, wrong: dict[str, Any], said: str
) -> None:
    for page in (f"{PAGES}/add", f"{PAGES}/{hook.pk}/change"):
        if wrong == {"name": "hooks"} and "change" in page:
            continue
        answer = admin.post(page, FORM | wrong)
        assert answer.status_code == 422
        text = answer.content.decode()
        assert said in text
        assert "<script>" not in text
    with tenant_scope(hook.tenant_id):
        assert Endpoint.objects.get().name == "hooks"


def test_there_are_so_many_endpoints_and_no_more(acme: Tenant, admin: Client) -> None:
    with tenant_scope(acme):
        for n in range(MOST):
            endpoint(f"h{n}")
    answer = admin.post(f"{PAGES}/add", FORM)
    assert answer.status_code == 422
    assert f"There are {MOST} endpoints already" in answer.content.decode()


def test_every_change_is_an_event_with_the_host_of_the_address_only(acme: Tenant, admin: Client) -> None:
    admin.post(f"{PAGES}/add", FORM)
    with tenant_scope(acme):
        page = f"{PAGES}/{Endpoint.objects.get().pk}"
    moved = FORM | {"url": "https://hooks.example.com/T0/0ther"}
    for path, form in (
        ("change", moved),
        ("change", moved),
        ("rotate", {}),
        ("test", {}),
        ("switch", {"enabled": "no"}),
        ("switch", {"enabled": "no"}),
        ("switch", {"enabled": "yes"}),
        ("remove", {}),
    ):
        assert admin.post(f"{page}/{path}", form).status_code in (200, 302)
    with tenant_scope(acme):
        told = [one for one in load("tenant") if one.type.startswith("webhook.")]
        assert not Endpoint.objects.exists()
    assert [one.type.removeprefix("webhook.") for one in told] == [
        *("registered", "changed", "rotated", "tested", "disabled", "enabled", "removed")
    ]
    assert {one.actor["name"] for one in told} == {"alice"}
    text = str([one.data for one in told])
    assert "hooks.example.com" in text
    assert not any(secret in text for secret in ("s3cret", "t0ken", "0ther", "/T0", "whsec"))
    assert told[1].data["before"]["url"] != told[1].data["after"]["url"]


def test_a_rotation_shows_the_new_secret_and_both_sign(acme: Tenant, admin: Client, hook: Endpoint) -> None:
    shown = [secret_in(admin.post(f"{PAGES}/{hook.pk}/rotate").content.decode()) for _ in range(2)]
    first = secret_of(hook.pk, acme.pk, 1)
    admin.post(f"{PAGES}/{hook.pk}/test")
    outside = Receivers()
    couriers = outside.couriers()
    with tenant_scope(acme):
        send_due(timezone.now(), couriers=couriers)
        couriers.wait()
        write_down(timezone.now(), couriers=couriers)
    ((_, headers, body),) = outside.got
    assert len({first, *shown}) == 3
    assert all(verifies(secret, headers, body) for secret in (first, *shown))
    page = admin.get(f"{PAGES}/{hook.pk}").content.decode()
    assert "webhook.test" in page
    assert "Sent" in page


def test_a_test_needs_an_endpoint_that_is_enabled(acme: Tenant, admin: Client, hook: Endpoint) -> None:
    admin.post(f"{PAGES}/{hook.pk}/switch", {"enabled": "no"})
    answer = admin.post(f"{PAGES}/{hook.pk}/test")
    assert answer.status_code == 409
    assert "Enable it first" in answer.content.decode()
    with tenant_scope(acme):
        assert not Message.objects.exists()


def test_the_page_says_what_failed_and_when_it_is_tried_next(acme: Tenant, admin: Client, hook: Endpoint) -> None:
    admin.post(f"{PAGES}/{hook.pk}/test")
    couriers = Receivers(answers={"hooks.example.com": 503}).couriers()
    with tenant_scope(acme):
        send_due(timezone.now(), couriers=couriers)
        couriers.wait()
        write_down(timezone.now(), couriers=couriers)
    for page in (PAGES, f"{PAGES}/{hook.pk}"):
        text = admin.get(page).content.decode()
        assert "It answered 503." in text
        assert "Next try" in text


@pytest.mark.parametrize("who", ["bob", "sam"])
def test_only_admins_get_in(hook: Endpoint, who: str, signed_in: Signed, request: pytest.FixtureRequest) -> None:
    client = signed_in(request.getfixturevalue(who))
    for path in ("", f"/{hook.pk}"):
        assert client.get(PAGES + path).status_code == 403
    for path in ("/add", *(f"/{hook.pk}/{act}" for act in ("change", "switch", "rotate", "test", "remove"))):
        assert client.post(PAGES + path, FORM).status_code == 403


def test_an_endpoint_of_another_tenant_is_not_there(globex: Tenant, admin: Client) -> None:
    with tenant_scope(globex):
        foreign = endpoint()
    assert admin.get(f"{PAGES}/{foreign.pk}").status_code == 404
    for act in ("change", "switch", "rotate", "test", "remove"):
        assert admin.post(f"{PAGES}/{foreign.pk}/{act}", FORM).status_code == 404
    assert admin.get(f"{PAGES}/{10**30}").status_code == 404
    with tenant_scope(globex):
        row = Endpoint.objects.get()
        assert (row.name, row.secret_version, row.enabled) == ("hooks", 1, True)


def test_names_and_addresses_are_printed_as_texts(acme: Tenant, admin: Client) -> None:
    admin.post(f"{PAGES}/add", FORM | {"name": "<script>alert(1)</script>"})
    with tenant_scope(acme):
        pk = Endpoint.objects.get().pk
    for page in (PAGES, f"{PAGES}/{pk}"):
        assert "<script>alert" not in admin.get(page).content.decode()
