"""Two admins at the same moment: one set waits, one verdict counts, the other is told (PostgreSQL)."""

from collections import Counter
from collections.abc import Callable
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import connection

from agentops.audit.models import Event
from agentops.changes import outcomes
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from approvals.assessing import weighing
from approvals.assessing.weights import WEIGHTS
from approvals.models import RiskWeights
from tests.approvals.threads import at_once
from tests.conftest import person

pytestmark = [
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time"),
    pytest.mark.django_db(transaction=True),
]

ROUNDS = 20
WHY = "Everything here is irreversible, so it says little."


@pytest.fixture
def admins(acme: Tenant, actor_of: Callable[[User, Tenant], Actor]) -> list[Actor]:
    return [actor_of(person(name, acme, "admin"), acme) for name in ("ada", "adam", "ava")]


def test_of_two_verdicts_one_counts_and_of_two_sets_one_waits(acme: Tenant, admins: list[Actor]) -> None:
    ada, adam, ava = admins
    told: Counter[str] = Counter()
    for number in range(ROUNDS):

        def propose(actor: Actor, number: int = number) -> outcomes.Outcome:
            with tenant_scope(acme):
                return weighing.propose(
                    raw={"weights": dict(WEIGHTS) | {"padding": 20 + number}}, note=WHY, actor=actor
                )

        answers = at_once([lambda: propose(ada), lambda: propose(ada)])
        told.update(type(one).__name__ for one in answers)
        with tenant_scope(acme):
            row = RiskWeights.objects.get(status="proposed")

        def decide(actor: Actor, verdict: str, pk: UUID = row.pk) -> outcomes.Outcome:
            with tenant_scope(acme):
                return weighing.decide(weights_id=pk, verdict=verdict, note="So.", actor=actor)

        verdicts = at_once([lambda: decide(adam, "approve"), lambda: decide(ava, "refuse")])
        told.update(type(one).__name__ for one in verdicts)
    assert told == {"Proposed": ROUNDS, "Waiting": ROUNDS, "Settled": ROUNDS, "TooLate": ROUNDS}
    with tenant_scope(acme):
        assert RiskWeights.objects.filter(status="active").count() == 1
        assert Event.objects.filter(type__startswith="risk.").count() == 2 * ROUNDS
