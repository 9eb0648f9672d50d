"""Copies of a run are runs of their own: nothing of the template is left in them, and everything in them agrees."""

import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from agentops.audit.models import Event
from agentops.audit.verify import verify_stream
from agentops.runs.models import Run
from agentops.runs.recording import load, state_of, stream_of
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from approvals.models import Decision, Grant, Proposal
from tests.bench.copies import Copies, read_template, spread
from tests.bench.workload import AGENT
from tests.conftest import person, reached_by
from tests.deciding import approve
from tests.shop import drive, only_proposal, open_shop, start
from tools.contracts import action_digest

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def sql() -> Iterator[Any]:
    """Return a connection of the superuser to the test database."""
    if connection.vendor != "postgresql":
        pytest.skip("rows are copied with COPY, which PostgreSQL alone has")
    import psycopg

    with psycopg.connect(**reached_by(), autocommit=True) as opened:
        yield opened


def test_copies_have_their_own_values_digests_moments_and_chain(sql: Any, scoped: Tenant) -> None:
    open_shop(scoped)
    run = drive(start("goodwill-refund", {"order_ref": "A-1001", "amount_minor": 3481, "reason": "late"}).id)

    def vary(rng: random.Random) -> dict[str, str]:
        cents = rng.randint(1000, 9999)
        return {
            "3481": str(cents),
            "34.81": f"{cents // 100}.{cents % 100:02}",
            "A-1001": f"A-{rng.randint(2000, 9999)}",
        }

    moments = spread(5, since=timedelta(hours=20), until=timedelta(hours=1), rng=random.Random(1))
    made = Copies(sql, [read_template(sql, run.pk, vary)]).write((0, moment) for moment in moments)
    template = Proposal.objects.get(run=run)
    copied = list(Proposal.objects.filter(run_id__in=made).order_by("created_at"))
    assert len(copied) == len({one.digest for one in copied}) == len({one.pk for one in copied}) == 5
    for one, moment in zip(copied, moments, strict=True):
        assert one.digest == action_digest(
            tenant_id=scoped.pk, tool=one.tool, version=one.contract_version, arguments=one.argument_values
        )
        assert str(one.argument_values["order_ref"]) in str(one.sentence)
        assert abs(one.created_at - moment) < timedelta(seconds=5)
        assert one.decide_by - one.created_at == template.decide_by - template.created_at
        assert state_of(one.run_id).calls[one.call_id].digest == one.digest
        assert verify_stream(stream_of(one.run_id)).finding is None
        assert state_of(one.run_id).state == "awaiting_approval"
        said = "".join(Event.objects.filter(run_id=one.run_id).values_list("body", flat=True))
        assert "A-1001" not in said
        assert "3481" not in said
        assert str(run.pk) not in said
        assert template.digest not in said


def test_a_copy_is_decided_and_executed_as_any_run(sql: Any, scoped: Tenant) -> None:
    open_shop(scoped)
    bob = person("bob", scoped, "operator")
    run = drive(
        start("goodwill-refund", {"order_ref": "A-1001", "amount_minor": 500, "reason": "late"}, actor=AGENT).id
    )
    moment = timezone.now() - timedelta(minutes=3)
    [copy] = Copies(sql, [read_template(sql, run.pk)]).write([(0, moment)])
    asked = Proposal.objects.get(run_id=copy)
    approve(proposal_id=asked.pk, actor=Actor.user(bob, ["operator"]), version=asked.version, digest=asked.digest)
    assert drive(copy).state == "succeeded"
    assert only_proposal().run_id == run.pk


def test_decisions_and_grants_are_copied_along(sql: Any, scoped: Tenant) -> None:
    open_shop(scoped)
    bob = person("bob", scoped, "operator")
    run = drive(start("goodwill-refund", {"order_ref": "A-1001", "amount_minor": 500, "reason": "late"}).id)
    asked = only_proposal()
    approve(proposal_id=asked.pk, actor=Actor.user(bob, ["operator"]), version=asked.version, digest=asked.digest)
    drive(run.pk)
    made = Copies(sql, [read_template(sql, run.pk)]).write([(0, timezone.now() - timedelta(days=9))] * 3)
    assert Run.objects.filter(pk__in=made, state="succeeded").count() == 3
    for copy in made:
        proposal = Proposal.objects.get(run_id=copy)
        assert (proposal.status, proposal.decided_by) == ("approved", bob)
        assert Decision.objects.get(proposal=proposal).digest == proposal.digest
        assert Grant.objects.get(proposal=proposal).digest == proposal.digest
        assert [type(one.event) for one in load(copy)] == [type(one.event) for one in load(run.pk)]
        assert verify_stream(stream_of(copy)).finding is None
