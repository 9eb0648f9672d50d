"""The list of hosts in a tenant's admin."""

import html
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from agentops.audit.services import load
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from tests.conftest import PASSWORD, person
from tools.network import hosts
from tools.network.models import AllowedHost, HostAccess, HostChange
from tools.network.sealing import unseal

SignedIn = Callable[[User], Client]
LIST = "/t/acme/admin/tools/allowedhost/"
ADD = f"{LIST}add/"


@pytest.fixture(autouse=True)
def _admin_urls(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.tenancy.urls"
    settings.TENANT_URLCONF = "tests.tenancy.tenant_urls"


def row(**changes: str) -> dict[str, str]:
    return {"host": "api.example.com", "access": "write", "credential_header": "", "note": "For the parcels."} | changes


def settle(client: Client, verdict: str = "approve") -> int:
    """Decide on the one change that waits; return the status of the answer."""
    change = HostChange._base_manager.get(status="proposed")
    return client.post(f"{LIST}changes/{change.pk}/decide/", {"verdict": verdict, "note": "Seen."}).status_code


@pytest.fixture
def adam(acme: Tenant) -> User:
    return person("adam", acme, "admin")


def test_one_admin_proposes_a_host_with_a_credential_another_lists_it_and_nobody_sees_it(
    signed_in: SignedIn, alice: User, adam: User, acme: Tenant
) -> None:
    client, his = signed_in(alice), signed_in(adam)
    given = row(credential_header="Authorization", new_credential="Bearer s3cret")
    answer = client.post(ADD, given, follow=True)
    page = html.unescape(answer.content.decode())
    assert "change 1 waits for another admin" in page
    assert "api.example.com may be asked." in page
    assert "s3cret" not in page
    with tenant_scope(acme):
        assert not AllowedHost.objects.exists()
        assert hosts.look_up("api.example.com") is None
    assert settle(client) == 403
    with tenant_scope(acme):
        assert not AllowedHost.objects.exists()
    assert settle(his) == 302
    with tenant_scope(acme):
        listed = AllowedHost.objects.get()
        change = HostChange.objects.get()
        events = [event for event in load("tenant") if event.type in {"host.proposed", "host.allowed"}]
        assert not [event for event in load("tenant") if event.type == "admin.changed"]
    assert unseal(listed.credential, tenant_id=acme.pk, host="api.example.com") == "Bearer s3cret"
    assert (listed.updated_by_id, events[0].actor["name"], events[1].actor["name"]) == (alice.pk, "alice", "adam")
    assert all("s3cret" not in str(event.data) and listed.credential not in str(event.data) for event in events)
    assert change.credential == "", "it is where it belongs, and nowhere else"
    address = f"{LIST}{listed.pk}/change/"
    page = client.get(address).content.decode()
    assert "s3cret" not in page
    assert listed.credential not in page
    # Saving without a new credential keeps the old one, and changes nothing.
    assert (
        "was so already" in client.post(address, row(credential_header="Authorization"), follow=True).content.decode()
    )
    # Taking the header away takes it along, at once.
    assert client.post(address, row()).status_code == 302
    with tenant_scope(acme):
        assert AllowedHost.objects.get().credential == ""
    assert "narrowed at once" in client.get(f"{LIST}changes/").content.decode()


def test_what_was_typed_goes_on_with_the_password(signed_in: SignedIn, alice: User, adam: User, acme: Tenant) -> None:
    signed_in(alice).post(ADD, row())
    his = signed_in(adam)
    session = his.session
    session["account_authentication_methods"] = [{"method": "password", "at": time.time() - 3600}]
    session.save()
    with tenant_scope(acme):
        change = HostChange.objects.get()
    address = f"{LIST}changes/{change.pk}/decide/"
    asked = his.post(address, {"verdict": "approve", "note": "I know them."})
    assert asked.status_code == 428
    wrong = his.post(address, {"step_up": asked.context["kept"], "password": "guess"})
    assert wrong.status_code == 428
    assert "That is not your password." in wrong.content.decode()
    with tenant_scope(acme):
        assert not AllowedHost.objects.exists()
    right = his.post(address, {"step_up": wrong.context["kept"], "password": PASSWORD})
    assert right.status_code == 302
    with tenant_scope(acme):
        assert AllowedHost.objects.get().host == "api.example.com"
        change.refresh_from_db()
        assert change.decision_note == "I know them."


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
        ({"note": "so"}, "Say why"),
    ],
)
def test_what_makes_no_sense_is_explained(
    signed_in: SignedIn, alice: User, acme: Tenant, changes: dict[str, str], message: str
) -> None:
    response = signed_in(alice).post(ADD, row(**changes))
    assert response.status_code == 200
    assert response.content.decode().count(message) == 1
    with tenant_scope(acme):
        assert not AllowedHost.objects.exists()
        assert not HostChange.objects.exists()


def test_others_do_not_get_there(signed_in: SignedIn, bob: User, charlie: User, acme: Tenant) -> None:
    assert "/admin/login/" in signed_in(bob).post(ADD, row())["Location"]
    assert signed_in(charlie).post(ADD, row()).status_code == 404
    with tenant_scope(acme):
        assert not AllowedHost.objects.exists()


def test_taking_hosts_off_counts_at_once_and_is_on_record(signed_in: SignedIn, alice: User, acme: Tenant) -> None:
    client = signed_in(alice)
    with tenant_scope(acme):
        one, two = (hosts.seed(hosts.HostRule(f"{name}.example.com")) for name in ("one", "two"))
    assert client.post(f"{LIST}{one.pk}/delete/", {"post": "yes"}).status_code == 302
    chosen = {"action": "delete_selected", "_selected_action": str(two.pk), "post": "yes"}
    assert client.post(LIST, chosen).status_code == 302
    with tenant_scope(acme):
        assert not AllowedHost.objects.exists()
        assert [one.type for one in load("tenant") if one.type == "host.removed"] == ["host.removed"] * 2


def test_taking_a_host_off_does_not_open_it_by_the_rule_above(signed_in: SignedIn, alice: User, acme: Tenant) -> None:
    client = signed_in(alice)
    with tenant_scope(acme):
        hosts.seed(hosts.HostRule("example.com", subdomains=True, access=HostAccess.WRITE))
        own = hosts.seed(hosts.HostRule("api.example.com"))
    answer = client.post(f"{LIST}{own.pk}/delete/", {"post": "yes"}, follow=True)
    assert "api.example.com may be written to. Narrow that first." in html.unescape(answer.content.decode())
    chosen = {"action": "delete_selected", "_selected_action": str(own.pk), "post": "yes"}
    answer = client.post(LIST, chosen, follow=True)
    assert "Narrow that first." in answer.content.decode()
    with tenant_scope(acme):
        assert AllowedHost.objects.count() == 2
