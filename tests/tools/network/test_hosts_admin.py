"""The list of hosts in a tenant's admin."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from agentops.audit.services import load
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from tools.network.models import AllowedHost
from tools.network.sealing import unseal

SignedIn = Callable[[User], Client]
ADD = "/t/acme/admin/tools/allowedhost/add/"


@pytest.fixture(autouse=True)
def _admin_urls(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.tenancy.urls"
    settings.TENANT_URLCONF = "tests.tenancy.tenant_urls"


def row(**changes: str) -> dict[str, str]:
    return {"host": "api.example.com", "access": "write", "credential_header": "", "note": "Parcels"} | changes


def test_an_admin_lists_a_host_with_a_credential_that_is_never_shown(
    signed_in: SignedIn, alice: User, acme: Tenant
) -> None:
    client = signed_in(alice)
    given = row(credential_header="Authorization", new_credential="Bearer s3cret")
    assert client.post(ADD, given).status_code == 302
    with tenant_scope(acme):
        listed = AllowedHost.objects.get()
        events = [event for event in load("tenant") if event.type == "host.allowed"]
        assert not [event for event in load("tenant") if event.type == "admin.changed"]
    assert unseal(listed.credential, tenant_id=acme.pk, host="api.example.com") == "Bearer s3cret"
    assert (listed.updated_by_id, events[0].actor["name"]) == (alice.pk, "alice")
    assert "s3cret" not in str(events[0].data)
    page = client.get(f"/t/acme/admin/tools/allowedhost/{listed.pk}/change/").content.decode()
    assert "s3cret" not in page
    assert listed.credential not in page
    # Saving without a new credential keeps the old one; taking the header away takes it along.
    address = f"/t/acme/admin/tools/allowedhost/{listed.pk}/change/"
    assert client.post(address, row(credential_header="Authorization")).status_code == 302
    listed.refresh_from_db()
    assert listed.credential
    assert client.post(address, row()).status_code == 302
    with tenant_scope(acme):
        assert AllowedHost.objects.get().credential == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"host": "127.0.0.1"}, "in numbers"),
        ({"host": "localhost"}, "inside a network"),
        ({"host": "*.example.com"}, "not a host name"),
        ({"host": "https://api.example.com"}, "not a host name"),
        ({"host": "API.example.com"}, "lower case"),
        ({"host": "münchen.example.com"}, "xn--"),
        ({"credential_header": "Host", "new_credential": "x"}, "begins with X-"),
        ({"credential_header": "X-Key"}, "no credential yet"),
        ({"new_credential": "x"}, "Name the header"),
        ({"credential_header": "X-Key", "new_credential": "a\x85b"}, "printable ASCII"),
    ],
)
def test_what_makes_no_sense_is_explained(
    signed_in: SignedIn, alice: User, acme: Tenant, changes: dict[str, str], message: str
) -> None:
    response = signed_in(alice).post(ADD, row(**changes))
    assert response.status_code == 200
    assert message in response.content.decode()
    with tenant_scope(acme):
        assert not AllowedHost.objects.exists()


def test_others_do_not_get_there(signed_in: SignedIn, bob: User, charlie: User, acme: Tenant) -> None:
    assert "/admin/login/" in signed_in(bob).post(ADD, row())["Location"]
    assert signed_in(charlie).post(ADD, row()).status_code == 404
    with tenant_scope(acme):
        assert not AllowedHost.objects.exists()


def test_taking_hosts_off_is_on_record(signed_in: SignedIn, alice: User, acme: Tenant) -> None:
    client = signed_in(alice)
    client.post(ADD, row())
    with tenant_scope(acme):
        listed = AllowedHost.objects.get()
    assert client.post(f"/t/acme/admin/tools/allowedhost/{listed.pk}/delete/", {"post": "yes"}).status_code == 302
    with tenant_scope(acme):
        assert not AllowedHost.objects.exists()
        assert load("tenant")[-1].type == "host.refused"
