"""Checks made by one part hold in the next one: in edits, in answers, in trust, and when a grant is used."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from django.contrib.auth.models import User

from agentops.audit.services import NewEvent, append
from agentops.engine.events import RunClaimed
from agentops.guardrails.provenance import UNSCREENED, Provenance
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.wire.ids import uuid7
from agentops.wire.parse import JSONObject
from approvals.assessing.ladder import POLICY_REST, default_rung
from approvals.assessing.risk import Band
from approvals.decisions import duties
from approvals.decisions.handling import Handled, Refused, extend
from approvals.decisions.revising import Revision, revised_by_agent
from approvals.gating import gate
from approvals.gating.gate import Auto, Candidate, Deny, Pin
from approvals.models import Grant, PolicyVersion, Proposal, ScopedTrust
from approvals.permits import grants, trust
from approvals.proposals.ending import expire
from approvals.proposals.outcomes import Decided, Forbidden, Invalid, Reconfirm, Seconded
from tests.approvals.conftest import NOW, Desk, Previews
from tests.approvals.contracts import NOTE, REFUND, TYPED, arguments, contract, do_nothing, no_trace, origin
from tests.conftest import person
from tests.deciding import approve, edit_and_approve
from tools.allowlist import AllowlistRule, AllowlistState
from tools.contracts import Barred
from tools.executor import PermitRefused
from tools.promises import AmountBound, Bounds, Promises
from tools.registry import registry

Actors = Callable[[User], Actor]
SOON = NOW + timedelta(minutes=5)
GIFT: JSONObject = arguments(reason="Gift")


def publish(first: User, second: User, *rules: JSONObject, effective: timedelta = timedelta(0)) -> PolicyVersion:
    return PolicyVersion.objects.create(
        version=PolicyVersion.objects.count() + 1,
        body={"policy": 1, "rules": list(rules)},
        status="active",
        note="The board has decided so.",
        proposed_by=first,
        proposed_at=NOW,
        decided_by=second,
        decided_at=NOW,
        effective_at=NOW + effective,
    )


@pytest.fixture
def gifts(desk: Desk, alice: User) -> Proposal:
    """Return a proposal that no rule covers; one wants seniors for gifts."""
    proposal = desk.propose()
    rule: JSONObject = {"id": "gifts", "when": "call.args.reason == 'Gift'", "effect": "gate", "role": "senior"}
    publish(alice, person("adam", desk.tenant, "admin"), rule)
    return proposal


def edit(proposal: Proposal, actor: Actor, given: JSONObject) -> object:
    return edit_and_approve(
        proposal_id=proposal.pk,
        actor=actor,
        version=proposal.version,
        digest=proposal.digest,
        arguments=given,
        now=SOON,
    )


def revise(proposal: Proposal, changes: JSONObject) -> Revision | str:
    return revised_by_agent(proposal, changes, planner="model:lab", question=1, tainted=False, now=SOON)


# --- other arguments than those that were asked about ---------------------------------------------------------------


def test_an_edit_into_a_rule_that_wants_a_senior_is_not_approved_by_anybody_else(
    gifts: Proposal, bob: User, sam: User, actors: Actors
) -> None:
    assert isinstance(edit(gifts, actors(bob), GIFT), Reconfirm)
    gifts.refresh_from_db()
    assert (gifts.status, gifts.needs_role, gifts.version) == ("pending", "senior", 2)
    again = approve(proposal_id=gifts.pk, actor=actors(bob), version=2, digest=gifts.digest, now=SOON)
    assert again == Forbidden("needs_role")
    assert not Grant.objects.exists()


def test_a_senior_edits_into_it_and_out_of_it_and_an_escalation_stays(
    gifts: Proposal, bob: User, sam: User, actors: Actors
) -> None:
    Proposal.objects.update(needs_role="senior")
    assert edit(gifts, actors(bob), arguments(reason="Torn")) == Forbidden("needs_role")
    edit(gifts, actors(sam), GIFT)
    gifts.refresh_from_db()
    assert (gifts.status, gifts.needs_role) == ("approved", "senior")


def test_what_the_agent_wants_after_a_question_gets_the_role_of_the_policy_as_well(gifts: Proposal) -> None:
    revised = revise(gifts, {"reason": "Gift"})
    assert isinstance(revised, Revision)
    revised.keep()
    gifts.refresh_from_db()
    assert (gifts.version, gifts.needs_role) == (2, "senior")


def test_what_a_policy_wants_that_was_published_meanwhile_is_wanted_of_an_approval_as_well(
    desk: Desk, alice: User, bob: User, sam: User, actors: Actors
) -> None:
    proposal = desk.propose()

    def approved(user: User) -> object:
        return approve(proposal_id=proposal.pk, actor=actors(user), version=1, digest=proposal.digest, now=SOON)

    rule: JSONObject = {"id": "two", "when": "contract.writes", "effect": "gate", "quorum": 2, "role": "senior"}
    publish(alice, person("adam", desk.tenant, "admin"), rule)
    assert approved(bob) == Forbidden("needs_role")
    assert approved(sam) == Seconded(proposal.pk, 1, 2, SOON)
    proposal.refresh_from_db()
    assert (proposal.status, proposal.quorum, proposal.needs_role) == ("pending", 2, "senior")
    assert any("2 people" in str(reason) for reason in proposal.reasons)
    assert isinstance(approved(person("selma", desk.tenant, "senior")), Decided)


@pytest.fixture
def hurried(desk: Desk, alice: User) -> Proposal:
    """Return a proposal that no rule covers; one gives a senior ten minutes for gifts."""
    proposal = desk.propose()
    rule: JSONObject = {"id": "gifts", "when": "call.args.reason == 'Gift'", "effect": "gate", "role": "senior"}
    publish(alice, person("adam", desk.tenant, "admin"), rule | {"decide_within": "10m"})
    return proposal


@pytest.mark.parametrize("by", ["person", "agent"])
def test_an_edit_into_a_rule_with_less_time_gets_that_time_and_no_edit_gets_more(
    hurried: Proposal, bob: User, actors: Actors, by: str
) -> None:
    before = hurried.decide_by
    assert before > SOON + timedelta(minutes=10)

    def change(reason: str) -> None:
        if by == "person":
            assert isinstance(edit(hurried, actors(bob), arguments(reason=reason)), Reconfirm)
        else:
            revised = revise(hurried, {"reason": reason})
            assert isinstance(revised, Revision)
            revised.keep()
        hurried.refresh_from_db()

    change("Gift")
    assert hurried.decide_by == SOON + timedelta(minutes=10)
    assert hurried.execute_by == hurried.decide_by + timedelta(seconds=hurried.task_type.execute_within_s)
    assert hurried.remind_at == SOON + timedelta(minutes=5)
    if by == "agent":
        change("Torn")
        assert hurried.decide_by == SOON + timedelta(minutes=10)
    assert expire(proposal_id=hurried.pk, now=SOON + timedelta(minutes=11))


def test_an_edit_into_a_rule_with_more_time_than_is_left_gets_no_more(
    hurried: Proposal, bob: User, actors: Actors
) -> None:
    left = SOON + timedelta(minutes=1)
    Proposal.objects.update(decide_by=left)
    hurried.refresh_from_db()
    assert isinstance(edit(hurried, actors(bob), GIFT), Reconfirm)
    hurried.refresh_from_db()
    assert hurried.decide_by == left


def test_nobody_extends_the_time_that_a_rule_of_the_policy_gives(
    desk: Desk, alice: User, bob: User, actors: Actors
) -> None:
    small, large = desk.propose(), desk.propose(reason="Gift")
    rule: JSONObject = {"id": "x", "when": "call.args.reason == 'Gift'", "effect": "gate", "decide_within": "5m"}
    publish(alice, person("adam", desk.tenant, "admin"), rule)
    said = [
        extend(proposal_id=one.pk, actor=actors(bob), minutes=60, reason="I am away.", now=NOW)
        for one in (small, large)
    ]
    assert isinstance(said[0], Handled)
    assert isinstance(said[1], Refused)
    assert said[1].field == "minutes"


@pytest.fixture
def barring(desk: Desk, previews: Previews) -> None:
    """Let our own records speak against refunds for one order."""

    def bars(given: JSONObject) -> Barred | None:
        return Barred("host_not_allowed", "Not on the list.") if given["order_ref"] == "A-6666" else None

    registry.remove(REFUND.name, REFUND.version)
    registry.register(REFUND, do_nothing, reconcile=no_trace, describe=previews, bars=bars)


def test_neither_an_edit_nor_an_answer_gets_to_what_is_barred(
    desk: Desk, barring: None, bob: User, actors: Actors
) -> None:
    proposal = desk.propose()
    outcome = edit(proposal, actors(bob), arguments(order_ref="A-6666"))
    assert isinstance(outcome, Invalid)
    assert outcome.issues[0].code == "host_not_allowed"
    refused = revise(proposal, {"order_ref": "A-6666"})
    assert isinstance(refused, str)
    assert "Not on the list." in refused


def test_an_answer_in_a_run_that_nobody_could_look_at_says_so(desk: Desk) -> None:
    proposal = desk.propose(wait=False)
    desk.record(proposal.run, RunClaimed("w2", 2, [{"path": "", "flagged": True, "families": [UNSCREENED]}]))
    revised = revise(proposal, {"reason": "Torn"})
    assert isinstance(revised, Revision)
    assert any("guardrail" in str(one) for one in revised.frozen.columns()["reasons"])  # type: ignore[attr-defined]


# --- when a grant is used -------------------------------------------------------------------------------------------


def granted(known: Mapping[str, Provenance] | None = None, **changes: object) -> Candidate:
    rule = AllowlistRule(NOTE.name, AllowlistState.AUTO)
    pinned = Pin(NOTE.version, NOTE.digest)
    return replace(Candidate(NOTE, pinned, arguments(), known or origin(), planned=True, allow=rule), **changes)  # type: ignore[arg-type]


def test_a_recheck_refuses_what_the_allowlist_bounds_or_screening_refuse_now() -> None:
    assert isinstance(gate.recheck(granted(), by_person=False), Auto)
    bounded = contract(
        name=NOTE.name,
        effect=NOTE.effect,
        sensitivity=frozenset(),
        promises=Promises(bounds=Bounds(AmountBound("amount_minor", "currency", {"EUR": 10}))),
    )
    shut = AllowlistRule(NOTE.name, AllowlistState.GATED, max_calls=0)
    for by_person in (True, False):
        for code, now in {
            "limit_calls": granted(allow=shut),
            "not_allowed": granted(allow=AllowlistRule(NOTE.name, AllowlistState.DENIED)),
            "bounds_exceeded": granted(contract=bounded, pinned=Pin(bounded.version, bounded.digest)),
        }.items():
            refused = gate.recheck(now, by_person=by_person)
            assert isinstance(refused, Deny)
            assert refused.code == code
    unscreened = granted(unscreened=True)
    refused = gate.recheck(unscreened, by_person=False)
    assert isinstance(refused, Deny)
    assert refused.rule == "guardrail.failed"
    assert isinstance(gate.recheck(unscreened, by_person=True), Auto), "a person has been asked"


def test_a_recheck_lets_nothing_out_that_the_output_policy_blocks_now() -> None:
    sends = contract(name=NOTE.name, effect=NOTE.effect, sensitivity=frozenset(), egress=("reason",))
    secret = granted(
        contract=sends,
        pinned=Pin(sends.version, sends.digest),
        arguments=arguments(reason="ghp_" + "a1B2c3" * 6),
        provenance=origin(reason=TYPED),
    )
    for by_person in (True, False):
        refused = gate.recheck(secret, by_person=by_person)
        assert isinstance(refused, Deny)
        assert refused.code == "output_policy"


@pytest.fixture
def given(desk: Desk, sam: User) -> ScopedTrust:
    proposal = desk.propose()
    Proposal.objects.filter(pk=proposal.pk).update(status="approved", decided_by=sam, decided_at=NOW)
    return ScopedTrust.objects.create(
        proposal=proposal,
        task_type=desk.task_type,
        tool=NOTE.name,
        contract_digest=NOTE.digest,
        authority="{}",
        given_by=sam,
        given_at=NOW,
        ends_at=NOW + timedelta(hours=4),
    )


def test_a_trust_that_was_revoked_after_it_was_read_lets_nothing_start(
    desk: Desk, given: ScopedTrust, sam: User, actors: Actors
) -> None:
    desk.allow(NOTE.name, AllowlistState.AUTO)
    request = desk.request(desk.grant(), call_id="another")
    desk.allow(NOTE.name, AllowlistState.GATED)

    def use(trust_id: UUID) -> str:
        policy = grants.PolicyGrant(uuid7(), timedelta(hours=1), f"trust.{trust_id}")
        try:
            grants.consume(request, now=NOW, policy=policy)
        except PermitRefused as refused:
            return refused.code
        return "used"

    assert use(uuid7()) == "not_allowed"
    trust.revoke(trust_id=given.pk, actor=actors(sam), now=NOW)
    assert use(given.pk) == "not_allowed"
    ScopedTrust.objects.update(revoked_at=None, revoked_by=None, ends_at=NOW + timedelta(minutes=1))
    assert use(given.pk) == "used"


def test_what_several_people_had_to_agree_to_is_not_trusted_by_one_of_them(
    desk: Desk, sam: User, actors: Actors
) -> None:
    desk.allow(NOTE.name, AllowlistState.GATED)
    proposal = desk.propose(contract=NOTE)
    Proposal.objects.update(status="approved", decided_by=sam, decided_at=NOW, quorum=2)
    proposal.refresh_from_db()
    refused = trust.give(proposal_id=proposal.pk, scope="4", actor=actors(sam))
    assert isinstance(refused, trust.Refused)
    assert refused.code == "several"
    Proposal.objects.update(quorum=0)
    assert isinstance(trust.give(proposal_id=proposal.pk, scope="4", actor=actors(sam)), trust.Given)


# --- duties ---------------------------------------------------------------------------------------------------------


def test_who_proposed_or_published_a_policy_does_not_approve_under_it_for_a_day(
    desk: Desk, acme: Tenant, sam: User, actors: Actors
) -> None:
    proposal = desk.propose()
    dana, eve = person("dana", acme, "operator", "admin"), person("eve", acme, "operator", "admin")
    rule: JSONObject = {"id": "x", "when": "call.earlier > 3", "effect": "gate"}
    publish(dana, eve, rule, effective=timedelta(hours=1))
    now, rung = NOW + timedelta(hours=2), default_rung(Band.HIGH)

    def said(user: User, at: timedelta = timedelta(0)) -> str:
        return duties.conflict(proposal, actors(user), rung, now=now + at)

    assert [said(user) for user in (dana, eve, sam)] == [duties.OWN_POLICY, duties.OWN_POLICY, ""]
    assert said(dana, -timedelta(minutes=90)) == "", "it does not count before its moment"
    assert said(eve, POLICY_REST) == ""


@pytest.mark.parametrize(
    ("kind", "rule"), [("outputrules", duties.OWN_POLICY), ("screening", duties.OWN_POLICY), ("webhook", "")]
)
def test_who_changed_what_the_tenant_lets_out_does_not_approve_under_it_for_a_day(
    desk: Desk, bob: User, actors: Actors, kind: str, rule: str
) -> None:
    proposal, rung = desk.propose(), default_rung(Band.HIGH)
    append("tenant", [NewEvent("admin.changed", {}, (kind, "1"), at=NOW)], actor=actors(bob))
    assert duties.conflict(proposal, actors(bob), rung, now=SOON) == rule
    assert duties.conflict(proposal, actors(bob), rung, now=SOON + POLICY_REST) == ""
