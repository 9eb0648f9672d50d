"""Two people, or a person and a run, at the same moment: one wins, and the other is told (PostgreSQL)."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection

from agentops.audit.models import Event
from agentops.audit.verify import verify_tenant
from agentops.memory import services
from agentops.memory.models import Fact
from agentops.memory.services import Curated, Lost, Outcome, Refused
from agentops.runs.models import Run
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from tests.approvals.threads import at_once
from tests.memory.conftest import NOW, Propose, origin

pytestmark = [
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time"),
    pytest.mark.django_db(transaction=True),
]

ROUNDS = 20
SOON = NOW + timedelta(minutes=5)


@pytest.fixture
def other(alice: User, acme: Tenant, actor_of: Callable[[User, Tenant], Actor]) -> Actor:
    return actor_of(alice, acme)


def give(kind: str, tenant: Tenant, fact: Fact, actor: Actor) -> Callable[[], Outcome]:
    """Return one person's verdict on a fact they look at."""

    def decide() -> Outcome:
        with tenant_scope(tenant):
            match kind:
                case "approve":
                    return services.approve(fact_id=fact.pk, actor=actor, now=SOON)
                case "edit":
                    return services.edit_and_approve(
                        fact_id=fact.pk,
                        actor=actor,
                        statement=f"{fact.statement} or so",
                        task_type=None,
                        expires_at=fact.expires_at,
                        now=SOON,
                    )
                case "reject":
                    return services.reject(fact_id=fact.pk, actor=actor, now=SOON)
                case _:
                    return services.revoke(fact_id=fact.pk, actor=actor, note="Wrong.", now=SOON)

    return decide


@pytest.mark.parametrize("kinds", [("approve", "reject"), ("edit", "reject"), ("approve", "edit")])
def test_of_two_curators_one_wins_and_the_other_is_told_who(
    acme: Tenant, propose: Propose, curator: Actor, other: Actor, kinds: tuple[str, str]
) -> None:
    people, winners = (curator, other), Counter[str]()
    for number in range(ROUNDS):
        fact = propose(f"Statement number {number}")
        outcomes = at_once([give(kind, acme, fact, who) for kind, who in zip(kinds, people, strict=True)])
        first = next(i for i, outcome in enumerate(outcomes) if isinstance(outcome, Curated))
        won, lost = outcomes[first], outcomes[1 - first]
        assert isinstance(won, Curated)
        assert lost == Lost(people[first].name.title(), won.status, SOON)
        fact.refresh_from_db()
        assert (fact.status, fact.curated_by_id) == (won.status, people[first].user_id)
        closing = Event.objects.filter(subject_id=str(fact.pk), type__in=["fact.approved", "fact.rejected"])
        assert closing.count() == 1
        winners[people[first].name] += 1
    assert winners.total() == ROUNDS
    assert verify_tenant().findings == ()


def test_a_verdict_and_the_end_at_the_same_moment(acme: Tenant, propose: Propose, curator: Actor) -> None:
    for number in range(20):
        fact = propose(f"Statement number {number}")

        def late(fact: Fact = fact) -> int:
            with tenant_scope(acme):
                return services.expire_due(fact.expires_at, 10)

        both: list[Callable[[], Outcome | int]] = [give("reject", acme, fact, curator), late]
        outcome, expired = at_once(both)
        assert isinstance(outcome, Curated) == (not expired)


def test_of_two_revocations_one_takes_the_descendants_along(
    acme: Tenant, approved: Propose, curator: Actor, other: Actor
) -> None:
    for number in range(20):
        root = approved(f"Root number {number}")
        child = approved(f"Child number {number}", recalled=[root])
        outcomes = at_once([give("revoke", acme, root, curator), give("revoke", acme, child, other)])
        child.refresh_from_db()
        root.refresh_from_db()
        assert (root.status, child.status) == ("revoked", "revoked")
        assert isinstance(outcomes[0], Curated)
        assert (child.pk in outcomes[0].also) == isinstance(outcomes[1], Lost)


def test_nothing_slips_out_of_a_fact_while_it_is_revoked(
    acme: Tenant, run: Run, approved: Propose, curator: Actor
) -> None:
    for number in range(20):
        root = approved(f"Root number {number}")

        def propose_from(root: Fact = root, number: int = number) -> Fact | Refused:
            with tenant_scope(acme):
                return services.propose(
                    run=run,
                    call_id="c",
                    idempotency_key=f"child-{number}",
                    statement=f"Child number {number}",
                    origin=origin(recalled=[root]),
                    now=SOON,
                )

        both: list[Callable[[], Outcome | Fact | Refused]] = [give("revoke", acme, root, curator), propose_from]
        _, child = at_once(both)
        if isinstance(child, Fact):
            child.refresh_from_db()
            assert child.status == "revoked"


def test_one_call_repeated_at_the_same_moment_proposes_once(acme: Tenant, run: Run) -> None:
    def propose() -> Fact | Refused:
        with tenant_scope(acme):
            return services.propose(
                run=run, call_id="c", idempotency_key="same", statement="Tents ship", origin=origin(), now=NOW
            )

    answers = at_once([propose] * 4)
    assert len({answer.pk for answer in answers if isinstance(answer, Fact)}) == 1
    assert Fact.objects.count() == 1
    assert Event.objects.filter(type="fact.proposed").count() == 1
