"""An edit goes through everything that the agent's arguments went through."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User

from agentops.audit.services import TENANT_STREAM, load
from agentops.engine.events import ProposalDecided
from agentops.runs.recording import load as load_run
from agentops.runs.recording import state_of
from agentops.tenancy.access import Actor
from agentops.wire.parse import JSON
from approvals.assessing.risk import Band
from approvals.decisions.editing import after_edit, typed_by
from approvals.models import Decision, Grant, Proposal
from approvals.services import Decided, Invalid, Outcome, Reconfirm, Stale
from tests.approvals.conftest import NOW, Desk, Previews
from tests.approvals.contracts import MAIL, REFUND, arguments, contract, do_nothing, no_trace, origin
from tests.deciding import approve, edit_and_approve
from tools.models import AllowlistState
from tools.registry import registry

Actors = Callable[[User], Actor]
SOON = NOW + timedelta(minutes=5)


def edit(proposal: Proposal, actor: Actor, given: JSON, note: str = "") -> Outcome:
    return edit_and_approve(
        proposal_id=proposal.pk,
        actor=actor,
        version=proposal.version,
        digest=proposal.digest,
        arguments=given,
        note=note,
        now=SOON,
    )


def test_the_edited_arguments_are_what_is_granted(desk: Desk, bob: User, actors: Actors) -> None:
    proposal = desk.propose()
    edited = arguments(amount_minor=2500)
    outcome = edit(proposal, actors(bob), edited, "Only the mug.")
    digest = desk.digest(REFUND, edited)
    assert isinstance(outcome, Decided)
    assert (outcome.verdict, outcome.version, outcome.digest) == ("edit", 2, digest)
    assert Grant.objects.get().digest == digest
    proposal.refresh_from_db()
    assert (proposal.argument_values, proposal.original_values) == (edited, arguments())
    assert (proposal.status, proposal.version, proposal.digest, proposal.edited) == ("approved", 2, digest, True)
    assert {"arg": "/amount_minor", "text": "EUR 25.00"} in proposal.sentence
    call = state_of(proposal.run_id).calls[proposal.call_id]
    assert (call.state, call.arguments, call.digest) == ("granted", edited, digest)


def test_the_change_is_kept_as_a_json_patch(desk: Desk, bob: User, actors: Actors) -> None:
    proposal = desk.propose()
    edit(proposal, actors(bob), arguments(amount_minor=2500), "Only the mug.")
    decision = Decision.objects.get()
    assert decision.patch == [{"op": "replace", "path": "/amount_minor", "value": 2500}]
    assert (decision.verdict, decision.note, decision.version) == ("edit", "Only the mug.", 2)
    decided = load_run(proposal.run_id)[-1].event
    assert isinstance(decided, ProposalDecided)
    assert (decided.note, decided.patch) == (decision.note, decision.patch)


def test_changed_leaves_were_typed_by_the_person_and_the_others_keep_their_origin(
    desk: Desk, bob: User, actors: Actors
) -> None:
    proposal = desk.propose(provenance=origin(reason=MAIL))
    edit(proposal, actors(bob), arguments(amount_minor=2500))
    call = state_of(proposal.run_id).calls[proposal.call_id]
    assert [(s.kind, s.ref) for s in call.provenance["/amount_minor"].sources] == [("operator", f"user:{bob.pk}")]
    assert call.provenance["/reason"] == MAIL
    assert not call.provenance["/amount_minor"].untrusted


def test_typing_an_attacked_argument_oneself_takes_the_attack_out(desk: Desk, bob: User, actors: Actors) -> None:
    proposal = desk.propose(provenance=origin(order_ref=MAIL))
    assert proposal.risk_band == "high"
    assert isinstance(edit(proposal, actors(bob), arguments(order_ref="A-1")), Decided)
    proposal.refresh_from_db()
    assert (proposal.attacked, proposal.risk_band, proposal.tainted) == ([], "medium", False)


def test_sending_the_same_arguments_is_a_plain_approval(desk: Desk, bob: User, actors: Actors) -> None:
    proposal = desk.propose()
    outcome = edit(proposal, actors(bob), dict(reversed(arguments().items())))
    assert isinstance(outcome, Decided)
    assert (outcome.verdict, outcome.version) == ("approve", 1)


@pytest.mark.parametrize(
    ("given", "path"),
    [
        (arguments(amount_minor=0), "/amount_minor"),
        (arguments(amount_minor="49.90"), "/amount_minor"),
        (arguments(amount_minor=10.5), "/amount_minor"),
        (arguments(currency="euro"), "/currency"),
        (arguments(extra=1), ""),
        ({}, ""),
        ([], ""),
        (None, ""),
        (arguments(reason="a\x00b"), "/reason"),
        (arguments(amount_minor=float("nan")), "/amount_minor"),
    ],
)
def test_arguments_that_do_not_fit_are_invalid_and_nothing_changes(
    desk: Desk, bob: User, actors: Actors, given: JSON, path: str
) -> None:
    proposal = desk.propose()
    outcome = edit(proposal, actors(bob), given)
    assert isinstance(outcome, Invalid)
    assert outcome.issues[0].path == path
    proposal.refresh_from_db()
    assert (proposal.status, proposal.version, proposal.argument_values) == ("pending", 1, arguments())


def test_an_edit_that_the_gate_refuses_now_is_invalid(desk: Desk, bob: User, actors: Actors) -> None:
    proposal = desk.propose()
    desk.allow("lab.refund", AllowlistState.DENIED)
    outcome = edit(proposal, actors(bob), arguments(amount_minor=1))
    assert isinstance(outcome, Invalid)
    assert outcome.issues[0].code == "not_allowed"


def test_an_edit_under_a_changed_contract_is_invalid(desk: Desk, bob: User, actors: Actors) -> None:
    proposal = desk.propose()
    registry.remove("lab.refund", "1.0.0")
    registry.register(contract(description="Pays something else."), do_nothing, reconcile=no_trace)
    outcome = edit(proposal, actors(bob), arguments(amount_minor=1))
    assert isinstance(outcome, Invalid)
    assert outcome.issues[0].code == "contract_changed"


def test_this_call_does_not_count_against_its_own_limit(desk: Desk, bob: User, actors: Actors) -> None:
    proposal = desk.propose()
    desk.allow("lab.refund", AllowlistState.GATED, max_calls=1)
    assert isinstance(edit(proposal, actors(bob), arguments(amount_minor=1)), Decided)


# --- the edit made it riskier ---------------------------------------------------------------------------------------


def test_an_edit_that_raises_the_band_is_kept_but_has_to_be_approved_as_shown(
    desk: Desk, bob: User, actors: Actors
) -> None:
    proposal = desk.propose()
    seen = proposal.digest
    dear = arguments(amount_minor=60_000)
    outcome = edit(proposal, actors(bob), dear)
    assert outcome == Reconfirm(2, desk.digest(REFUND, dear), Band.HIGH)
    proposal.refresh_from_db()
    assert (proposal.status, proposal.version, proposal.risk_band, proposal.band_rank) == ("pending", 2, "high", 2)
    assert proposal.argument_values == dear
    assert proposal.provenance["/amount_minor"]["sources"][0]["kind"] == "operator"
    assert (Decision.objects.count(), Grant.objects.count()) == (0, 0)
    old = approve(proposal_id=proposal.pk, actor=actors(bob), version=1, digest=seen, now=SOON)
    assert old == Stale(2, proposal.digest)


def test_approving_the_kept_edit_executes_the_edit_and_is_recorded_as_one(
    desk: Desk, bob: User, sam: User, actors: Actors
) -> None:
    proposal = desk.propose()
    dear = arguments(amount_minor=60_000)
    edit(proposal, actors(bob), dear)
    proposal.refresh_from_db()
    outcome = approve(proposal_id=proposal.pk, actor=actors(sam), version=2, digest=proposal.digest, now=SOON)
    assert isinstance(outcome, Decided)
    assert (outcome.verdict, outcome.version) == ("edit", 2)
    assert Decision.objects.get().patch == [{"op": "replace", "path": "/amount_minor", "value": 60_000}]
    call = state_of(proposal.run_id).calls[proposal.call_id]
    assert (call.arguments, call.digest) == (dear, Grant.objects.get().digest)


def test_a_kept_edit_is_an_event_of_its_proposal(desk: Desk, bob: User, actors: Actors) -> None:
    proposal = desk.propose()
    edit(proposal, actors(bob), arguments(amount_minor=60_000))
    recorded = load(TENANT_STREAM)[-1]
    assert (recorded.type, recorded.subject) == ("proposal.revised", ("proposal", str(proposal.pk)))
    assert (recorded.actor["name"], recorded.data["band"], recorded.data["version"]) == ("bob", "high", 2)


def test_a_preview_that_crashes_on_the_edit_asks_again(
    desk: Desk, bob: User, actors: Actors, previews: Previews
) -> None:
    proposal = desk.propose()
    previews.answer = RuntimeError("boom")
    assert isinstance(edit(proposal, actors(bob), arguments(amount_minor=1)), Reconfirm)


def test_a_value_that_moves_up_in_a_list_keeps_its_origin() -> None:
    proposal = Proposal(
        arguments='{"to":["ann@example.com","eve@example.com"]}',
        provenance={"/to/0": origin()["/reason"].to_json(), "/to/1": MAIL.to_json()},
    )
    actor = Actor("user", "7", "bob")
    assert after_edit(proposal, {"to": ["eve@example.com"]}, typed_by(actor)) == {"/to/0": MAIL}
    assert not after_edit(proposal, {"to": ["bob@example.com"]}, typed_by(actor))["/to/0"].untrusted
