"""How pages name people: by name where there is one, so that nobody is taken for somebody else."""

from collections.abc import Callable

from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from agentops.tenancy import people
from agentops.tenancy.access import SYSTEM
from agentops.tenancy.models import Role, Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.tenancy.services import add_member

SignedIn = Callable[[User], Client]


def name(user: User, first: str, last: str = "") -> User:
    user.first_name, user.last_name = first, last
    user.save()
    people.forget()
    return user


def test_a_person_is_called_by_name_and_without_one_by_account(scoped: Tenant, alice: User, bob: User) -> None:
    name(alice, "Alice", "Moor")
    name(bob, "")
    assert (people.called(alice), people.called(bob), people.called(None)) == ("Alice Moor", bob.username, "")


def test_two_who_bear_one_name_are_told_apart(scoped: Tenant, alice: User, bob: User) -> None:
    name(alice, "Sam")
    name(bob, "sam ")
    assert people.called(alice) == f"Sam ({alice.username})"
    assert people.called(bob) == f"sam ({bob.username})"


def test_a_name_in_another_tenant_makes_nobody_ambiguous(alice: User, charlie: User, scoped: Tenant) -> None:
    name(alice, "Sam")
    name(charlie, "Sam")
    assert people.called(alice) == "Sam"


def test_a_name_that_could_be_an_address_does_not_stand_alone(scoped: Tenant, alice: User, bob: User) -> None:
    name(bob, alice.username + "@example.com")
    assert people.called(bob).endswith(f"({bob.username})")


def test_the_same_person_with_two_roles_bears_their_name_alone(scoped: Tenant, alice: User) -> None:
    name(alice, "Alice")
    add_member(tenant=scoped, user=alice, role=Role.OPERATOR, actor=SYSTEM)
    assert people.called(alice) == "Alice"


def test_an_event_names_a_member_and_nobody_else_whatever_a_record_says(
    alice: User, charlie: User, scoped: Tenant
) -> None:
    name(alice, "Alice")
    name(charlie, "Charlie")
    told = [
        {"kind": "user", "id": str(alice.pk), "name": alice.username},
        {"kind": "user", "id": str(alice.pk), "name": "somebody@else.example"},
        {"kind": "user", "id": str(charlie.pk), "name": charlie.username},
        {"kind": "token", "id": str(alice.pk), "name": "robot"},
        {"kind": "user", "id": "9" * 40, "name": "nobody"},
        {"kind": "user", "id": "²", "name": "superscript"},
        {},
    ]
    assert people.who_acted(told) == [
        "Alice", "somebody@else.example", charlie.username, "robot", "nobody", "superscript", "",
    ]  # fmt: skip


def test_a_list_of_people_costs_two_queries_and_none_soon_after(scoped: Tenant, alice: User, bob: User) -> None:
    name(alice, "Alice")
    name(bob, "Bob")
    told = [{"kind": "user", "id": str(one.pk), "name": one.username} for one in (alice, bob)] * 20
    with CaptureQueriesContext(
        connection,
    ) as asked:
        assert people.who_acted(told) == ["Alice", "Bob"] * 20
    assert len(asked) == 2
    with CaptureQueriesContext(connection) as asked:
        people.who_acted(told)
    assert len(asked) == 0


def test_the_audit_trail_and_the_members_page_name_people(
    alice: User, bob: User, acme: Tenant, signed_in: SignedIn
) -> None:
    with tenant_scope(acme):
        name(alice, "Alice <b>", "Moor")
    client = signed_in(alice)
    client.post("/t/acme/admin/tenancy/membership/add/", {"person": bob.username, "role": "viewer"})
    trail = client.get("/t/acme/audit?type=member.added").content.decode()
    assert f'<bdi title="{alice.username}">Alice &lt;b&gt; Moor</bdi>' in trail
    members = client.get("/t/acme/admin/tenancy/membership/").content.decode()
    assert "Alice &lt;b&gt; Moor" in members
    assert alice.username in members


def test_what_waits_names_who_proposed_it(alice: User, acme: Tenant, signed_in: SignedIn) -> None:
    name(alice, "Alice")
    client = signed_in(alice)
    rules = "policy: 1\nrules:\n  - {id: a, when: call.tool == 'mail.send', effect: deny}\n"
    client.post("/t/acme/policy/propose", {"text": rules, "note": "Nobody writes letters.", "do": "propose"})
    page = client.get("/t/acme/policy").content.decode()
    assert f'Proposed by <bdi title="{alice.username}">Alice</bdi>' in page


def test_a_reference_to_a_person_is_said_by_name_and_any_other_as_it_is(scoped: Tenant, alice: User) -> None:
    name(alice, "Alice")
    known = {
        f"user:{alice.pk}": "Alice",
        "user:999999": "user:999999",
        "user:x": "user:x",
        "playbook:a@1": "playbook:a@1",
    }
    assert {ref: people.agent(ref) for ref in known} == known
