"""The weights of a tenant: which are in force, who proposes others, and who else lets them take effect.

Two admins, always: whoever proposed a set cannot put it in force, and the database refuses it as well. Every step is an
event of the tenant's own stream. Proposals that wait keep the risk they were frozen with.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Max

from agentops import clock
from agentops.audit.services import record_in_tenant_stream
from agentops.guardrails.provenance import Provenance
from agentops.tenancy.access import Actor, can
from agentops.tenancy.models import Environment, Tenant
from agentops.tenancy.scope import current_tenant_id
from agentops.wire.parse import JSONObject, clean_text
from approvals.facets import facets_of
from approvals.history import decided_before, signals_of
from approvals.models import RiskWeights, WeightsStatus
from approvals.risk import Risk, Subject, assess
from approvals.weights import START, BadWeights, Weights, parse_weights
from tools.contracts import Consequence, Sensitivity, ToolContract

RIGHT: Final = "admin.manage"
MAX_NOTE: Final = 2_000
SHORTEST_NOTE: Final = 10


@dataclass(frozen=True, slots=True)
class Proposed:
    """The set waits for another admin."""

    weights_id: UUID
    version: int


@dataclass(frozen=True, slots=True)
class Settled:
    """The set was put in force, refused or withdrawn."""

    weights_id: UUID
    version: int
    status: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """Another set waits already, proposed by `by`."""

    by: str
    version: int


@dataclass(frozen=True, slots=True)
class TooLate:
    """Somebody decided first: `status` is what became of it."""

    by: str
    status: str


@dataclass(frozen=True, slots=True)
class Forbidden:
    """This actor may not: `role`, `own` (whoever proposed a set does not decide on it) or `not_own`."""

    rule: str


@dataclass(frozen=True, slots=True)
class Invalid:
    """What was sent cannot be taken; problems by field."""

    problems: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class NotFound:
    """There is no such set in this tenant."""


Outcome = Proposed | Settled | Waiting | TooLate | Forbidden | Invalid | NotFound


# --- what a call is assessed with -----------------------------------------------------------------------------------


def weights_in_force() -> Weights:
    """Return the weights of the open tenant. One query."""
    row = RiskWeights.objects.filter(status=WeightsStatus.ACTIVE).values_list("version", "body").first()
    return START if row is None else parse_weights(row[1], row[0])


def assessed(
    contract: ToolContract,
    arguments: JSONObject,
    provenance: Mapping[str, Provenance],
    consequence: Consequence | None,
    *,
    task_type_id: int,
    now: datetime,
    changed_after_question: bool = False,
) -> Risk:
    """Return the risk of a call with what the tenant weighs and what its own decisions say. Two or three queries."""
    weights = weights_in_force()
    facets = facets_of(contract, arguments, consequence)
    signals = signals_of(
        facets=facets,
        past=decided_before(contract.name),
        consequence=consequence,
        task_type_id=task_type_id,
        weights=weights,
        now=now,
        production=Sensitivity.DATA_DELETION in contract.sensitivity and _in_production(),
        changed_after_question=changed_after_question,
    )
    return assess(Subject(contract, arguments, provenance, consequence, signals, weights), facets)


def _in_production() -> bool:
    return Tenant.objects.filter(pk=current_tenant_id(), environment=Environment.PRODUCTION).exists()


# --- changing them --------------------------------------------------------------------------------------------------


def propose(*, raw: Mapping[str, Any], note: str, actor: Actor, now: datetime | None = None) -> Outcome:
    """Propose a set; nothing changes until another admin has decided. The note says why, in at least ten characters."""
    if (refused := _refused(actor)) is not None:
        return refused
    problems = dict(_note_problems(note))
    try:
        wanted = parse_weights(raw)
    except BadWeights as error:
        problems |= error.problems
        return Invalid(problems)
    if problems:
        return Invalid(problems)
    if wanted.to_json() == weights_in_force().to_json():
        return Invalid({"": "That is what is in force already."})
    try:
        with transaction.atomic():
            return _propose(wanted, clean_text(note.strip()), actor, now or clock.now())
    except IntegrityError:
        waiting = RiskWeights.objects.select_related("proposed_by").filter(status=WeightsStatus.PROPOSED).first()
        if waiting is None:
            raise
        return Waiting(waiting.proposed_by.get_username(), waiting.version)


def _propose(wanted: Weights, note: str, actor: Actor, now: datetime) -> Proposed:
    assert actor.user_id is not None
    version = (RiskWeights.objects.aggregate(last=Max("version"))["last"] or 0) + 1
    row = RiskWeights.objects.create(
        version=version, body=wanted.to_json(), note=note, proposed_by_id=actor.user_id, proposed_at=now
    )
    _record("risk.weights_proposed", row, actor, {"body": wanted.to_json(), "note": note})
    return Proposed(row.pk, version)


def decide(*, weights_id: UUID, verdict: str, note: str, actor: Actor, now: datetime | None = None) -> Outcome:
    """Put a proposed set in force (`approve`), turn it down (`refuse`), or take the own one back (`withdraw`).

    Putting it in force replaces the one before, in one transaction. Refusing needs a note.
    """
    if (refused := _refused(actor)) is not None:
        return refused
    moment = now or clock.now()
    with transaction.atomic():
        row = RiskWeights.objects.select_for_update(of=("self",)).select_related("proposed_by", "decided_by")
        found = row.filter(pk=weights_id).first()
        if found is None:
            return NotFound()
        if found.status != WeightsStatus.PROPOSED:
            by = found.decided_by.get_username() if found.decided_by is not None else "nobody"
            return TooLate(by, found.status)
        own = found.proposed_by_id == actor.user_id
        if own != (verdict == "withdraw"):
            return Forbidden("own" if own else "not_own")
        if verdict not in _STATUS_OF:
            return Invalid({"verdict": "Choose what to do."})
        if len(note) > MAX_NOTE or (verdict == "refuse" and not note.strip()):
            return Invalid({"note": f"Say why, in at most {MAX_NOTE} characters."})
        return _settle(found, _STATUS_OF[verdict], clean_text(note.strip()), actor, moment)


_STATUS_OF: Final[Mapping[str, WeightsStatus]] = {
    "approve": WeightsStatus.ACTIVE,
    "refuse": WeightsStatus.REFUSED,
    "withdraw": WeightsStatus.WITHDRAWN,
}


def _settle(row: RiskWeights, status: WeightsStatus, note: str, actor: Actor, now: datetime) -> Outcome:
    before = None
    if status is WeightsStatus.ACTIVE:
        before = RiskWeights.objects.filter(status=WeightsStatus.ACTIVE).values_list("version", flat=True).first()
        RiskWeights.objects.filter(status=WeightsStatus.ACTIVE).update(status=WeightsStatus.RETIRED)
    changes = {"status": status, "decided_by": actor.user_id, "decided_at": now, "decision_note": note}
    if not RiskWeights.objects.filter(pk=row.pk, status=WeightsStatus.PROPOSED).update(**changes):
        raise IntegrityError("a set of weights was decided under its own lock")
    _record(f"risk.weights_{_WORDS[status]}", row, actor, {"note": note, "replaces": before or 0})
    return Settled(row.pk, row.version, status.value)


_WORDS: Final = {
    WeightsStatus.ACTIVE: "approved",
    WeightsStatus.REFUSED: "refused",
    WeightsStatus.WITHDRAWN: "withdrawn",
}


def _refused(actor: Actor) -> Forbidden | None:
    return None if actor.kind == "user" and actor.user_id is not None and can(actor, RIGHT) else Forbidden("role")


def _note_problems(note: str) -> Mapping[str, str]:
    if not SHORTEST_NOTE <= len(note.strip()) <= MAX_NOTE:
        return {"note": f"Say why, in {SHORTEST_NOTE} to {MAX_NOTE} characters."}
    return {}


def _record(event: str, row: RiskWeights, actor: Actor, data: JSONObject) -> None:
    record_in_tenant_stream(event, {"version": row.version, **data}, subject=("risk_weights", str(row.pk)), actor=actor)
