"""Somebody denies a tool while another admin puts a widening of it in force: the denial always stands (PostgreSQL)."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from agentops.runs.models import TaskType
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from tests.approvals.threads import at_once
from tests.conftest import person
from tools.allowing import Changed, Wish, change, decide, seed_rules
from tools.allowlist import AllowlistRule, AllowlistState, lookup

pytestmark = [
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time"),
    pytest.mark.django_db(transaction=True),
]
DENIED, GATED, AUTO = AllowlistState.DENIED, AllowlistState.GATED, AllowlistState.AUTO


def test_a_denial_beside_an_approval_always_stands(acme: Tenant, actor_of: Callable[[User, Tenant], Actor]) -> None:
    ada, adam, ava = (actor_of(person(name, acme, "admin"), acme) for name in ("ada", "adam", "ava"))
    told: Counter[str] = Counter()
    for number in range(15):
        with tenant_scope(acme):
            kind = TaskType.objects.create(slug=f"kind-{number}", name=f"Kind {number}", input_schema={})
            # With and without a row of the cell.
            if number % 2:
                seed_rules(kind.pk, {"mail.read": GATED})
            before = Wish(kind.pk, AllowlistRule("mail.read", AUTO))
            outcome = change(wishes=[before], note="So that it is quicker.", actor=ada)
            assert isinstance(outcome, Changed)
            assert outcome.proposed is not None

        def approve(pk: Any = outcome.proposed.change_id) -> object:
            with tenant_scope(acme):
                return decide(change_id=pk, verdict="approve", note="", actor=adam)

        def deny(pk: int = kind.pk) -> object:
            with tenant_scope(acme):
                rule = AllowlistRule("mail.read", DENIED, note="Stop it.")
                return change(wishes=[Wish(pk, rule)], note="", actor=ava)

        told.update(type(one).__name__ for one in at_once([approve, deny]))
        with tenant_scope(acme):
            assert lookup(kind.pk, "mail.read").state == DENIED
    assert told["Changed"] == 15
    assert told["Settled"] + told["Stale"] == 15
