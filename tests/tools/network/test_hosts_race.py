"""Two admins and one change of the list of hosts, at the same moment (PostgreSQL)."""

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

from agentops.audit.services import load
from agentops.changes import outcomes
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from tests.approvals.threads import at_once
from tests.conftest import person
from tools.network.hosts import HostRule, change, decide, look_up, remove, seed
from tools.network.models import HostAccess, HostChange

pytestmark = [
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time"),
    pytest.mark.django_db(transaction=True),
]
WHY = "The parcels are there."


def waiting(tenant: Tenant, actor: Actor, rule: HostRule) -> Any:
    with tenant_scope(tenant):
        outcome = change(rule, actor=actor)
    assert isinstance(outcome, outcomes.Proposed), outcome
    return outcome.change_id


def settling(tenant: Tenant, actor: Actor, pk: Any, verdict: str = "approve") -> Callable[[], object]:
    def settle() -> object:
        with tenant_scope(tenant):
            return decide(change_id=pk, verdict=verdict, note="Seen.", actor=actor)

    return settle


def test_of_two_admins_who_decide_at_once_one_wins_and_the_other_is_told_who(
    acme: Tenant, actor_of: Callable[[User, Tenant], Actor]
) -> None:
    ada, adam, ava = (actor_of(person(name, acme, "admin"), acme) for name in ("ada", "adam", "ava"))
    for number in range(10):
        pk = waiting(acme, ada, HostRule(f"h{number}.example.com", note=WHY))

        other = "refuse" if number % 2 else "approve"
        told = at_once([settling(acme, adam, pk), settling(acme, ava, pk, other)])
        [won] = [one for one in told if isinstance(one, outcomes.Settled)]
        [lost] = [one for one in told if isinstance(one, outcomes.TooLate)]
        assert lost.status == won.status
        with tenant_scope(acme):
            row = HostChange.objects.select_related("decided_by").get(pk=pk)
            assert row.decided_by is not None
            assert lost.by == row.decided_by.first_name
            assert (look_up(f"h{number}.example.com") is not None) == (won.status == "active")
    with tenant_scope(acme):
        types = Counter(one.type for one in load("tenant"))
    assert types["host.approved"] + types["host.refused"] == 10
    assert types["host.allowed"] == types["host.approved"]


def test_a_host_that_is_taken_off_beside_an_approval_stays_off(
    acme: Tenant, actor_of: Callable[[User, Tenant], Actor]
) -> None:
    ada, adam, ava = (actor_of(person(name, acme, "admin"), acme) for name in ("ada", "adam", "ava"))
    for number in range(10):
        host = f"h{number}.example.com"
        with tenant_scope(acme):
            seed(HostRule(host, note=WHY))
        pk = waiting(acme, ada, HostRule(host, access=HostAccess.WRITE, note=WHY))

        def take_off(host: str = host) -> object:
            with tenant_scope(acme):
                return remove(host, actor=ava)

        at_once([settling(acme, adam, pk), take_off])
        with tenant_scope(acme):
            assert look_up(host) is None


def test_two_admins_who_list_the_same_new_host_at_once_list_it_once(
    acme: Tenant, actor_of: Callable[[User, Tenant], Actor]
) -> None:
    ada, adam, ava = (actor_of(person(name, acme, "admin"), acme) for name in ("ada", "adam", "ava"))
    for number in range(10):
        host = f"h{number}.example.com"
        read = waiting(acme, ada, HostRule(host, note=WHY))
        write = waiting(acme, ada, HostRule(host, access=HostAccess.WRITE, note=WHY))
        told = at_once([settling(acme, adam, read), settling(acme, ava, write)])
        assert Counter(type(one).__name__ for one in told) == {"Settled": 1, "Stale": 1}


def test_a_rule_that_comes_in_force_above_a_host_voids_what_was_read_of_a_change_below_it(
    acme: Tenant, actor_of: Callable[[User, Tenant], Actor]
) -> None:
    """The rule above is approved first and holds the list; the change below waits for it and sees it."""
    ada, adam, ava = (actor_of(person(name, acme, "admin"), acme) for name in ("ada", "adam", "ava"))
    for number in range(5):
        domain = f"d{number}.example.com"
        host = f"api.{domain}"
        with tenant_scope(acme):
            seed(HostRule(host, subdomains=True, note=WHY))
        below = waiting(acme, ada, HostRule(host, plain_http=True, note=WHY))
        above = waiting(acme, ada, HostRule(domain, subdomains=True, access=HostAccess.WRITE, note=WHY))
        holds = threading.Event()

        def approve_above(above: Any = above, holds: threading.Event = holds) -> object:
            with transaction.atomic():
                told = settling(acme, adam, above)()
                holds.set()
                until_somebody_waits()
                return told

        def approve_below(below: Any = below, holds: threading.Event = holds) -> object:
            assert holds.wait(30)
            return settling(acme, ava, below)()

        first, second = at_once([approve_above, approve_below])
        assert isinstance(first, outcomes.Settled), first
        assert isinstance(second, outcomes.Stale), second


def until_somebody_waits() -> None:
    """Return once another connection waits for a lock that this one holds."""
    for _ in range(10_000):
        with connection.cursor() as cursor:
            cursor.execute(
                "select count(*) from pg_locks where not granted and pg_backend_pid() = any(pg_blocking_pids(pid))"
            )
            [waits] = cursor.fetchone()
        if waits:
            return
    raise AssertionError("nobody waits for the list")
