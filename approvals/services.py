"""Freeze a call for a person, and take the person's answer: approve, edit and approve, reject, or silence.

Every outcome is a value. A decision, its grant and its event are written in one transaction that holds the lock of the
run's stream, so of two people who decide at the same moment one wins and the other is told who it was. Whoever else
locks both a run's stream and its proposals takes the stream first.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import transaction

from agentops import clock
from agentops.audit.services import record_in_tenant_stream
from agentops.engine.events import ProposalDecided, ProposalExpired, ProposalWithdrawn
from agentops.engine.transitions import CallState, RunState
from agentops.guardrails.provenance import Provenance, SourceKind
from agentops.guardrails.provenance import provenance as single_provenance
from agentops.runs.models import Run, ToolCall
from agentops.runs.recording import record_outside, state_of
from agentops.runs.statements import Change, change_of, table_of
from agentops.tenancy.access import SYSTEM, Actor, can
from agentops.tenancy.models import ServiceToken
from agentops.wire.canonical import canonical
from agentops.wire.parse import JSON, JSONObject, WireError, as_object, clean_text, guard
from approvals import freezing
from approvals import gate as gates
from approvals.consequence import preview
from approvals.gate import Auto, Candidate, Deny, Gate, Pin, classify, leaves, per_leaf
from approvals.grants import grant_for
from approvals.locking import lock_run, lock_run_of
from approvals.models import Decision, Proposal, RejectReason, Status, Verdict
from approvals.patch import diff
from approvals.risk import Band, Risk, Subject, assess
from approvals.sentence import render
from tools.allowlist import lookup
from tools.contracts import ToolContract, action_digest
from tools.registry import registry
from tools.schema import Issue

MAX_NOTE: Final = 2000
MAX_EXPLANATION: Final = 20_000
_NOTE_REASONS: Final = frozenset({RejectReason.OTHER, RejectReason.SUSPECTED_INJECTION})


# --- outcomes -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Decided:
    """The verdict is recorded. `grant_id` is set unless it is a rejection; `digest` is what may execute."""

    proposal_id: UUID
    verdict: Verdict
    version: int
    digest: str
    at: datetime
    grant_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """Somebody was first: `verdict` is approve, edit, reject, or withdrawn when the run ended before anybody spoke."""

    by: str
    verdict: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Stale:
    """The proposal has changed since it was shown; this is what it is now."""

    version: int
    digest: str


@dataclass(frozen=True, slots=True)
class Expired:
    """The deadline passed unanswered; silence has denied the call."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Forbidden:
    """This actor may not: `people_only`, `role` or `self_approval`."""

    rule: str


@dataclass(frozen=True, slots=True)
class Invalid:
    """The answer cannot be taken as it is; the proposal is unchanged."""

    issues: tuple[Issue, ...]


@dataclass(frozen=True, slots=True)
class Reconfirm:
    """The edit is kept, but made it riskier: version `version` waits to be approved as it is shown now."""

    version: int
    digest: str
    band: Band


_TooLate = Lost | Expired | Stale
Outcome = Decided | Lost | Stale | Expired | Forbidden | Invalid | Reconfirm


# --- proposing ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Frozen:
    """Everything a reviewer is shown that follows from the contract, the arguments and their provenance."""

    arguments: str
    digest: str
    provenance: Mapping[str, Provenance]
    consequence: JSONObject
    sentence: list[JSON]
    risk: Risk
    verdict: Gate | Auto

    def columns(self) -> dict[str, object]:
        """The columns of a proposal that an edit changes."""
        attacked = self.verdict.attacked if isinstance(self.verdict, Gate) else ()
        sensitivity = self.verdict.sensitivity if isinstance(self.verdict, Gate) else ()
        return {
            "arguments": self.arguments,
            "digest": self.digest,
            "provenance": {path: one.to_json() for path, one in self.provenance.items()},
            "sentence": self.sentence,
            "consequence": self.consequence,
            "risk_score": self.risk.score,
            "risk_band": self.risk.band.value,
            "band_rank": self.risk.band.rank,
            "risk": self.risk.to_json(),
            "sensitivity": [str(one) for one in sensitivity],
            "policy_rule": self.verdict.rule,
            "reasons": list(self.verdict.reasons),
            "attacked": list(attacked),
            "tainted": any(one.untrusted for one in self.provenance.values()),
        }


def _freeze(
    *,
    tenant_id: int,
    contract: ToolContract,
    arguments: JSONObject,
    provenance: Mapping[str, Provenance],
    verdict: Gate | Auto,
) -> _Frozen:
    leafwise = per_leaf(arguments, provenance)
    found = preview(contract, arguments)
    return _Frozen(
        arguments=canonical(arguments),
        digest=action_digest(tenant_id=tenant_id, tool=contract.name, version=contract.version, arguments=arguments),
        provenance=leafwise,
        consequence=found.shown,
        sentence=[dict[str, JSON](part.items()) for part in render(contract, arguments)],  # type: ignore[arg-type]
        risk=assess(Subject(contract, arguments, leafwise, found.consequence)),
        verdict=verdict,
    )


def draft_proposal(
    *,
    run: Run,
    call_id: str,
    step_id: str,
    contract: ToolContract,
    arguments: JSON,
    provenance: Mapping[str, Provenance],
    gate: Gate,
    explanation: str,
    now: datetime,
) -> Proposal:
    """Freeze a call for a person and return the row, to be saved with the `call.proposed` event.

    Asks the tool for a preview (queries); one that crashes makes the proposal uninspectable and at least High. Whoever
    made a token counts as the requester of what the token submitted.
    """
    frozen = _freeze(
        tenant_id=run.tenant_id,
        contract=contract,
        arguments=as_object(guard(arguments)),
        provenance=provenance,
        verdict=gate,
    )
    decide_by = now + timedelta(seconds=run.task_type.decide_within_s)
    return Proposal(
        tenant_id=run.tenant_id,
        run=run,
        call_id=call_id,
        step_id=step_id,
        task_type_id=run.task_type_id,
        tool=contract.name,
        contract_version=contract.version,
        contract_digest=contract.digest,
        original_arguments=frozen.arguments,
        explanation=clean_text(explanation)[:MAX_EXPLANATION],
        requested_by_id=_requester(run),
        decide_by=decide_by,
        execute_by=decide_by + timedelta(seconds=run.task_type.execute_within_s),
        created_at=now,
        **frozen.columns(),
    )


def _requester(run: Run) -> int | None:
    if run.requested_by_id is None and run.requested_by_token.isdecimal():
        return ServiceToken.objects.filter(pk=int(run.requested_by_token)).values_list("created_by", flat=True).first()
    return run.requested_by_id


# --- deciding -------------------------------------------------------------------------------------------------------


def approve(
    *, proposal_id: UUID, actor: Actor, version: int, digest: str, note: str = "", now: datetime | None = None
) -> Outcome:
    """Approve exactly what was shown: the version and digest of the proposal.

    Writes the decision, a single-use grant and the event, and wakes the run. What a person has edited before is
    recorded as an edit. Raises `Proposal.DoesNotExist` for an id of no proposal in the tenant.
    """
    moment = now or clock.now()
    with transaction.atomic():
        opened = _open(proposal_id, actor, version, digest, moment)
        if not isinstance(opened, Proposal):
            return opened
        if refused := _refused(opened, actor, note):
            return refused
        return _approve(opened, actor, note, moment, {})


def edit_and_approve(
    *,
    proposal_id: UUID,
    actor: Actor,
    version: int,
    digest: str,
    arguments: JSON,
    note: str = "",
    now: datetime | None = None,
) -> Outcome:
    """Approve a call with other arguments than the agent proposed.

    The new arguments pass the schema, the gate and the risk assessment again. Changed leaves count as typed by the
    person. When the band rises, nothing is approved yet: the edited version is kept and has to be approved as shown
    (`Reconfirm`). Raises `Proposal.DoesNotExist` like `approve`.
    """
    moment = now or clock.now()
    with transaction.atomic():
        opened = _open(proposal_id, actor, version, digest, moment)
        if not isinstance(opened, Proposal):
            return opened
        if refused := _refused(opened, actor, note):
            return refused
        edited = _edited(opened, actor, arguments)
        if isinstance(edited, Invalid):
            return edited
        if edited.arguments == opened.arguments:
            return _approve(opened, actor, note, moment, {})
        if edited.risk.band.rank > opened.band_rank:
            return _revise(opened, actor, edited)
        return _approve(opened, actor, note, moment, edited.columns())


def reject(
    *,
    proposal_id: UUID,
    actor: Actor,
    version: int,
    digest: str,
    reason_code: str,
    note: str = "",
    now: datetime | None = None,
) -> Outcome:
    """Refuse a call. The agent is told the reason and the note, as quoted data.

    A note is required for `other`, `suspected_injection` and from High upwards. Requesters may reject their own.
    Raises `Proposal.DoesNotExist` like `approve`.
    """
    moment = now or clock.now()
    with transaction.atomic():
        opened = _open(proposal_id, actor, version, digest, moment)
        if not isinstance(opened, Proposal):
            return opened
        if issues := tuple(_reject_issues(opened, reason_code, note)):
            return Invalid(issues)
        return _reject(opened, actor, reason_code, clean_text(note.strip()), moment)


def expire(*, proposal_id: UUID, now: datetime) -> bool:
    """Close a proposal whose deadline has passed; return whether it was this call that closed it.

    Silence denies: the run goes on without the call. No deadline passes while the call is stopped or its run paused.
    """
    with transaction.atomic():
        proposal = _locked(proposal_id)
        if proposal.status != Status.PENDING or not freezing.overdue(proposal, now):
            return False
        if _run_ended(proposal):
            _withdraw_leftover(proposal, now)
            return False
        _expire(proposal, now)
        return True


def withdraw_proposals(run_id: UUID, *, reason: str, now: datetime) -> int:
    """Close the open proposals of a run that ends; return how many there were.

    Must run in the transaction that records the `proposal.withdrawn` events. Locks the run's stream.
    """
    lock_run(run_id)
    return Proposal.objects.filter(run_id=run_id, status=Status.PENDING).update(
        status=Status.WITHDRAWN, decided_at=now, closing_note=reason[:200]
    )


# --- steps of a decision --------------------------------------------------------------------------------------------


def _locked(proposal_id: UUID) -> Proposal:
    lock_run_of(proposal_id)
    return Proposal.objects.select_related("task_type", "run").only(*_FOR_A_DECISION).get(pk=proposal_id)


_FOR_A_DECISION: Final = (
    *("tenant", "run", "call_id", "task_type", "tool", "contract_version", "contract_digest", "digest", "version"),
    *("arguments", "original_arguments", "risk_band", "band_rank", "status", "requested_by", "created_at"),
    *(
        "decide_by",
        "execute_by",
        "decided_at",
        "decided_by",
        "thawed_to",
        "run__tenant",
        "run__state",
        "run__task_type",
    ),
    *("run__requested_by", "run__requested_by_token", "run__paused_at", "task_type__tenant"),
    *("task_type__execute_within_s", "task_type__allow_self_approval"),
)
"""What a decision looks at; the rest is read when it is asked for."""


def _open(proposal_id: UUID, actor: Actor, version: int, digest: str, now: datetime) -> Proposal | _TooLate | Forbidden:
    """Lock a proposal for a decision by this actor on what this actor saw, or say why there is none to make."""
    if actor.kind != "user" or actor.user_id is None:
        return Forbidden("people_only")
    if not can(actor, "proposal.decide"):
        return Forbidden("role")
    proposal = _locked(proposal_id)
    if proposal.status == Status.PENDING and _run_ended(proposal):
        _withdraw_leftover(proposal, now)
    elif proposal.status == Status.PENDING and proposal.decide_by <= now and freezing.overdue(proposal, now):
        _expire(proposal, now)
    if proposal.status != Status.PENDING:
        return _too_late(proposal)
    if (proposal.version, proposal.digest) != (version, digest):
        return Stale(proposal.version, proposal.digest)
    return proposal


def _too_late(proposal: Proposal) -> _TooLate:
    if proposal.status == Status.PENDING:
        return Stale(proposal.version, proposal.digest)
    if proposal.status == Status.EXPIRED:
        return Expired(proposal.decide_by)
    decision = proposal.decisions.select_related("user").first()
    if decision is None:
        return Lost(SYSTEM.name, Status.WITHDRAWN.value, proposal.decided_at or proposal.decide_by)
    return Lost(decision.user.get_username(), decision.verdict, decision.at)


def _refused(proposal: Proposal, actor: Actor, note: str) -> Forbidden | Invalid | None:
    own = proposal.requested_by_id is not None and proposal.requested_by_id == actor.user_id
    if own and not proposal.task_type.allow_self_approval:
        return Forbidden("self_approval")
    if len(note) > MAX_NOTE:
        return Invalid((_too_long(),))
    return None


def _person(actor: Actor) -> int:
    if actor.user_id is None:
        raise ValueError("only people decide")
    return actor.user_id


def _too_long() -> Issue:
    return Issue("/note", "maxLength", f"Keep the note within {MAX_NOTE} characters.")


def _close(proposal: Proposal, changes: Mapping[str, object]) -> bool:
    """Change a pending proposal that is still the version at hand; under the stream's lock nobody is in between."""
    written = Proposal.objects.filter(
        pk=proposal.pk, status=Status.PENDING, version=proposal.version, digest=proposal.digest
    ).update(**changes)
    if not written:
        proposal.refresh_from_db()
        return False
    for name, value in changes.items():
        setattr(proposal, "decided_by_id" if name == "decided_by" else name, value)
    return True


def _closing(proposal: Proposal, changes: Mapping[str, object]) -> Change:
    """Change the object of a pending proposal that was read under the stream's lock; return what is to be written."""
    for name, value in changes.items():
        setattr(proposal, "decided_by_id" if name == "decided_by" else name, value)
    return change_of(proposal, changes)


def _approve(proposal: Proposal, actor: Actor, note: str, now: datetime, edited: Mapping[str, object]) -> Decided:
    person = _person(actor)
    execute_by = now + timedelta(seconds=proposal.task_type.execute_within_s)
    closing = {"status": Status.APPROVED, "decided_at": now, "decided_by": person, "execute_by": execute_by}
    next_version = {"version": proposal.version + 1} if edited else {}
    closed = _closing(proposal, {**edited, **next_version, **closing})
    grant = grant_for(proposal, now=now)
    changed = diff(proposal.original_values, proposal.argument_values)
    verdict = Verdict.EDIT if changed else Verdict.APPROVE
    said = clean_text(note.strip())
    decision = Decision(
        proposal=proposal,
        version=proposal.version,
        verdict=verdict,
        user_id=person,
        note=said,
        digest=proposal.digest,
        patch=changed,
        at=now,
    )
    decided = ProposalDecided(
        proposal_id=str(proposal.pk),
        call_id=proposal.call_id,
        version=proposal.version,
        verdict="edit" if changed else "approve",
        digest=proposal.digest,
        by=actor.name,
        note=said,
        grant_id=str(grant.pk),
        arguments=proposal.argument_values if changed else None,
        provenance=proposal.provenance if changed else {},
        patch=changed,
    )
    beside = (closed, table_of([grant]), table_of([decision]))
    record_outside(proposal.run_id, [decided], actor=actor, now=now, beside=beside)
    return Decided(proposal.pk, verdict, proposal.version, proposal.digest, now, grant.pk)


def _reject(proposal: Proposal, actor: Actor, reason_code: str, note: str, now: datetime) -> Decided:
    person = _person(actor)
    closed = _closing(proposal, {"status": Status.REJECTED, "decided_at": now, "decided_by": person})
    decision = Decision(
        proposal=proposal,
        version=proposal.version,
        verdict=Verdict.REJECT,
        user_id=person,
        reason_code=reason_code,
        note=note,
        digest=proposal.digest,
        at=now,
    )
    decided = ProposalDecided(
        proposal_id=str(proposal.pk),
        call_id=proposal.call_id,
        version=proposal.version,
        verdict="reject",
        digest=proposal.digest,
        by=actor.name,
        reason_code=reason_code,
        note=note,
    )
    beside = (closed, table_of([decision]))
    record_outside(proposal.run_id, [decided], actor=actor, now=now, beside=beside)
    return Decided(proposal.pk, Verdict.REJECT, proposal.version, proposal.digest, now)


def _reject_issues(proposal: Proposal, reason_code: str, note: str) -> list[Issue]:
    issues: list[Issue] = []
    if reason_code not in RejectReason.values:
        issues.append(Issue("/reason_code", "enum", "Choose a reason."))
    needed = reason_code in _NOTE_REASONS or proposal.band_rank >= Band.HIGH.rank
    if needed and not note.strip():
        issues.append(Issue("/note", "required", "Say in a note why: this reason or this risk needs one."))
    if len(note) > MAX_NOTE:
        issues.append(_too_long())
    return issues


def _expire(proposal: Proposal, now: datetime) -> None:
    closed = _closing(proposal, {"status": Status.EXPIRED, "decided_at": now})
    expired = ProposalExpired(str(proposal.pk), proposal.call_id)
    record_outside(proposal.run_id, [expired], actor=SYSTEM, now=now, beside=(closed,))


def _run_ended(proposal: Proposal) -> bool:
    return RunState(proposal.run.state).terminal


def _withdraw_leftover(proposal: Proposal, now: datetime) -> None:
    """Close a proposal that its run left behind when it ended."""
    reason = "The run had ended."
    if not _close(proposal, {"status": Status.WITHDRAWN, "decided_at": now, "closing_note": reason}):
        return
    call = state_of(proposal.run_id).calls.get(proposal.call_id)
    if call is not None and call.state is CallState.PROPOSED:
        withdrawn = ProposalWithdrawn(str(proposal.pk), proposal.call_id, reason)
        record_outside(proposal.run_id, [withdrawn], actor=SYSTEM, now=now)


# --- editing --------------------------------------------------------------------------------------------------------


def _edited(proposal: Proposal, actor: Actor, arguments: JSON) -> _Frozen | Invalid:
    """Send edited arguments through everything that the agent's went through."""
    try:
        wanted = guard(arguments)
    except WireError as error:
        return Invalid((Issue(error.path, str(error.code), error.message),))
    contract = registry.get(proposal.tool, proposal.contract_version)
    provenance = _after_edit(proposal, actor, wanted)
    verdict = classify(
        Candidate(
            contract=contract,
            pinned=Pin(proposal.contract_version, proposal.contract_digest),
            arguments=wanted,
            provenance=provenance,
            planned=True,
            allow=lookup(proposal.task_type_id, proposal.tool),
            calls_so_far=ToolCall.objects.filter(run_id=proposal.run_id, tool=proposal.tool)
            .exclude(call_id=proposal.call_id)
            .exclude(state__in=[CallState.DENIED.value, CallState.WITHDRAWN.value])
            .count(),
        )
    )
    if isinstance(verdict, Deny):
        return Invalid(verdict.issues or (Issue("", verdict.code, verdict.message),))
    if contract is None:
        return Invalid((Issue("", "unknown_tool", f"There is no tool {proposal.tool} any more."),))
    return _freeze(
        tenant_id=proposal.tenant_id,
        contract=contract,
        arguments=as_object(wanted),
        provenance=provenance,
        verdict=verdict,
    )


def _after_edit(proposal: Proposal, actor: Actor, arguments: JSON) -> dict[str, Provenance]:
    """Leaves that stayed keep their provenance; those that changed were typed by the person.

    A value that only moved within its argument, because a member of a list was taken out before it, has stayed.
    """
    before = {path: canonical(value) for path, value in leaves(proposal.argument_values)}
    known = {path: Provenance.from_json(raw) for path, raw in proposal.provenance.items()}
    # Of two places with the same value the untrusted one counts.
    moved = sorted(before, key=lambda path: known.get(path, gates.UNVOUCHED).untrusted)
    places = {(path.split("/")[1], before[path]): path for path in moved if path.count("/") > 1}
    after: dict[str, Provenance] = {}
    for path, value in leaves(arguments):
        text = canonical(value)
        was_at = path if before.get(path) == text else places.get((path.split("/")[1] if path else "", text))
        typed = single_provenance(SourceKind.OPERATOR, f"{actor.kind}:{actor.id}", path)
        after[path] = typed if was_at is None else known.get(was_at, gates.UNVOUCHED)
    return after


def _revise(proposal: Proposal, actor: Actor, edited: _Frozen) -> Reconfirm | _TooLate:
    """Keep an edit that made the call riskier as the next version, for a decision on what it is now."""
    if not _close(proposal, {**edited.columns(), "version": proposal.version + 1}):
        return _too_late(proposal)
    record_in_tenant_stream(
        "proposal.revised",
        {
            "run": str(proposal.run_id),
            "call_id": proposal.call_id,
            "version": proposal.version,
            "digest": proposal.digest,
            "band": proposal.risk_band,
            "patch": list[JSON](diff(proposal.original_values, proposal.argument_values)),
        },
        subject=("proposal", str(proposal.pk)),
        actor=actor,
    )
    return Reconfirm(proposal.version, proposal.digest, edited.risk.band)
