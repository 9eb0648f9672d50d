"""Everything that stands between a person's click and a recorded approval, in one place and in order.

Duties first (403), then what the rules refuse by now and the gates of the band (422), then whether the person has
proved who they are (428), then whether the target is still as it was shown (412), then whether enough people agree
(202).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from agentops.audit.services import record_in_tenant_stream
from agentops.tenancy.access import Actor
from agentops.wire.parse import JSONObject
from approvals.assessing.ladder import Rung, rung_for
from approvals.decisions import duties, friction, quorum
from approvals.decisions.editing import as_it_stands
from approvals.decisions.friction import Evidence
from approvals.decisions.preconditions import moved
from approvals.decisions.release import release_at
from approvals.decisions.sight import Sight
from approvals.models import Proposal
from approvals.permits.policies import in_force
from approvals.proposals.ending import close
from approvals.proposals.outcomes import Forbidden, Gated, Invalid, Moved, Refusal, Seconded, StepUpNeeded
from tools.allowlist import AllowlistState, lookup


@dataclass(frozen=True, slots=True)
class Cleared:
    """Nothing is in the way. The rest is what the decision and its event keep."""

    sight: Sight
    view: JSONObject
    facts: tuple[str, ...]
    others: list[JSONObject]
    release_at: datetime | None


def clear(
    proposal: Proposal,
    actor: Actor,
    note: str,
    evidence: Evidence,
    *,
    now: datetime,
    typed: Sequence[str] = (),
    edits: bool = False,
) -> Cleared | Seconded | Refusal:
    """Say whether this person may approve this now.

    Must run inside `atomic`, under the run's lock, on a proposal that `opening.opened_for` has returned. An approval
    that counts without being the last one is recorded here (`Seconded`), as is a value that was picked wrongly. `typed`
    are the pointers of values an edit changes; `edits` says that this is one, which never counts as a vote.
    """
    refused = None if edits else _catch_up(proposal, now)
    rung = rung_for(proposal)
    if rule := duties.conflict(proposal, actor, rung, now=now):
        return Forbidden(rule)
    if refused is not None:
        return refused
    match friction.check(proposal, actor, note, evidence, rung, now=now, typed=typed):
        case friction.Shut(issues=issues, missed=missed):
            if missed:
                _record_missed(proposal, actor, missed)
            return Gated(issues, missed)
        case friction.Looked() as looked:
            pass
        case unreachable:
            assert_never(unreachable)
    if friction.steps_up(rung, looked.sight, evidence, now=now):
        return StepUpNeeded()
    if edits:
        return Cleared(looked.sight, looked.record, looked.facts, [], release_at(rung, actor, now))
    if rung.must_see and (changed := moved(proposal, actor, now=now)) is not None:
        return Moved(*changed)
    return _counted(proposal, actor, note, rung, looked, now)


def _catch_up(proposal: Proposal, now: datetime) -> Invalid | None:
    """Ask for as many people, and of the role, that a policy wants which was published while the call waited.

    Return why nobody can approve it any more, where a rule refuses the call by now: it would be stopped when the grant
    is used. Two queries; more only where the policy is another version, or the allowlist refuses it.
    """
    if in_force(now).version == proposal.policy_version and _listed(proposal):
        return None
    wanted = as_it_stands(proposal, now=now)
    if isinstance(wanted, Invalid):
        return wanted
    if wanted.role and proposal.votes:
        quorum.void_without(proposal, wanted.role, now=now)
    more: dict[str, object] = {}
    if wanted.quorum > proposal.quorum:
        more["quorum"] = wanted.quorum
    if wanted.role and not proposal.needs_role:
        more["needs_role"] = wanted.role
    if more:
        close(proposal, {**more, "reasons": list(wanted.verdict.reasons)})
    return None


def _listed(proposal: Proposal) -> bool:
    """Say whether the allowlist still lets the kind of task make the call."""
    rule = lookup(proposal.task_type_id, proposal.tool)
    allowed = rule.state is not AllowlistState.DENIED and rule.admits(proposal.contract_version)
    return allowed and rule.violated(proposal.argument_values) is None


def _counted(
    proposal: Proposal, actor: Actor, note: str, rung: Rung, looked: friction.Looked, now: datetime
) -> Cleared | Seconded | Forbidden:
    said = quorum.second(proposal, actor, note, rung, view=looked.sight.id, record=looked.record, now=now)
    if not isinstance(said, quorum.Enough):
        return said
    return Cleared(looked.sight, looked.record, looked.facts, said.to_json(), release_at(rung, actor, now))


def _record_missed(proposal: Proposal, actor: Actor, missed: Sequence[str]) -> None:
    record_in_tenant_stream(
        "proposal.attest_missed",
        {"run": str(proposal.run_id), "version": proposal.version, "arguments": list(missed)},
        subject=("proposal", str(proposal.pk)),
        actor=actor,
    )
