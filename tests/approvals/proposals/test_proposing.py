"""What is frozen when a call has to wait for a person."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, IntegrityError, connection, transaction

from agentops.tenancy.access import Actor
from agentops.tenancy.services import issue_token
from agentops.wire.ids import uuid7
from approvals.models import Decision, Grant, Proposal
from tests.approvals.conftest import NOW, Desk, Previews
from tests.approvals.contracts import MAIL, REFUND, arguments, origin
from tools.contracts import Blast, Consequence


def test_a_proposal_holds_everything_a_person_decides_on(desk: Desk, alice: User) -> None:
    proposal = desk.propose(requested_by=alice)
    proposal.refresh_from_db()
    assert proposal.argument_values == arguments()
    assert proposal.arguments == proposal.original_arguments
    assert proposal.digest == desk.digest(REFUND, arguments())
    assert (proposal.contract_version, proposal.contract_digest) == (REFUND.version, REFUND.digest)
    assert proposal.sentence == [
        {"t": "Refund "},
        {"arg": "/amount_minor", "text": "EUR 49.90"},
        {"t": " for order "},
        {"arg": "/order_ref", "text": "A-1093"},
    ]
    assert proposal.consequence["summary"] == "Pays out to Maria"
    assert proposal.consequence["reversible"]["state"] == "irreversible"
    assert (proposal.risk_band, proposal.band_rank, proposal.tainted) == ("medium", 1, False)
    assert (proposal.policy_rule, proposal.sensitivity) == ("sensitive.financial", ["financial"])
    assert (proposal.version, proposal.status, proposal.requested_by) == (1, "pending", alice)
    assert proposal.decide_by == NOW + timedelta(hours=1)
    assert proposal.execute_by == proposal.decide_by + timedelta(minutes=10)


def test_an_attacked_argument_is_marked_and_the_proposal_tainted(desk: Desk) -> None:
    proposal = desk.propose(provenance=origin(order_ref=MAIL))
    assert (proposal.attacked, proposal.tainted, proposal.risk_band) == (["/order_ref"], True, "high")
    assert proposal.provenance["/order_ref"]["integrity"] == "untrusted"


@pytest.mark.parametrize(
    "failure",
    [RuntimeError("boom"), pytest.param(DatabaseError("no such table"), id="database")],
)
def test_a_preview_that_crashes_makes_the_proposal_uninspectable_and_does_not_lose_it(
    desk: Desk, previews: Previews, failure: Exception
) -> None:
    previews.answer = failure
    proposal = desk.propose()
    assert proposal.risk_band == "high"
    assert "uninspectable" in proposal.risk["floor_codes"]
    assert proposal.consequence["warnings"][0].startswith("uninspectable")


def test_a_preview_whose_query_fails_does_not_take_the_transaction_with_it(desk: Desk, previews: Previews) -> None:
    class Querying(Previews):
        def __call__(self, given: object) -> Consequence:
            with connection.cursor() as cursor:
                cursor.execute("select * from no_such_table")
            raise AssertionError

    previews.__class__ = Querying
    assert desk.propose().risk_band == "high"


def test_hostile_text_in_a_preview_and_an_explanation_is_kept_readable(desk: Desk, previews: Previews) -> None:
    previews.answer = Consequence("Pays \x00 out", blast=(Blast("orders", 1, "\ud800"),))
    proposal = desk.propose(explanation="trust me \x00" + "x" * 50_000)
    proposal.refresh_from_db()
    assert "\x00" not in proposal.consequence["summary"]
    assert len(proposal.explanation) == 20_000


def test_whoever_made_a_token_counts_as_the_requester_of_its_submissions(desk: Desk, alice: User) -> None:
    token, _ = issue_token(tenant=desk.tenant, name="shop", scopes=["run.submit"], actor=Actor.user(alice, ["admin"]))
    assert desk.propose(token=str(token.pk)).requested_by == alice
    assert desk.propose(token="").requested_by is None


def test_a_call_has_at_most_one_open_proposal(desk: Desk) -> None:
    proposal = desk.propose()
    proposal.pk = uuid7()
    with pytest.raises(IntegrityError), transaction.atomic():
        proposal.save(force_insert=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "maybe"},
        {"status": "approved"},
        {"status": "rejected", "decided_at": NOW},
        {"status": "expired"},
        {"decided_at": NOW},
        {"risk_score": 101},
        {"risk_band": "critical"},
    ],
)
def test_the_database_refuses_states_that_cannot_be(desk: Desk, changes: dict[str, object]) -> None:
    proposal = desk.propose()
    with pytest.raises(IntegrityError), transaction.atomic():
        Proposal.objects.filter(pk=proposal.pk).update(**changes)


def test_the_database_refuses_a_second_decision_and_a_rejection_without_a_reason(desk: Desk, bob: User) -> None:
    proposal = desk.propose()
    common = {"proposal": proposal, "version": 1, "user": bob, "digest": proposal.digest, "at": NOW}
    with pytest.raises(IntegrityError), transaction.atomic():
        Decision.objects.create(verdict="reject", **common)
    with pytest.raises(IntegrityError), transaction.atomic():
        Decision.objects.create(verdict="approve", reason_code="duplicate", **common)
    Decision.objects.create(verdict="approve", **common)
    with pytest.raises(IntegrityError), transaction.atomic():
        Decision.objects.create(verdict="reject", reason_code="duplicate", **common)


def test_the_database_refuses_a_second_grant_for_a_call(desk: Desk) -> None:
    grant = desk.grant()
    with pytest.raises(IntegrityError), transaction.atomic():
        Grant.objects.create(
            run_id=grant.run_id,
            call_id=grant.call_id,
            source="policy",
            tool=grant.tool,
            contract_version="1.0.0",
            contract_digest=grant.contract_digest,
            digest=grant.digest,
            created_at=NOW,
            expires_at=NOW,
        )
