"""The weights of a tenant: which are in force, who proposes others, and who else lets them take effect.

Two admins, always: whoever proposed a set cannot put it in force, and the database refuses it as well. Every step is an
event of the tenant's own stream. Proposals that wait keep the risk they were frozen with.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from agentops.changes import services as changes
from agentops.changes.models import ChangeStatus
from agentops.changes.outcomes import Decided, Invalid, Outcome
from agentops.guardrails.provenance import Provenance
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Environment, Tenant
from agentops.tenancy.scope import current_tenant_id
from agentops.wire.parse import JSONObject
from approvals.assessing.history import Past, decided_before, signals_of
from approvals.assessing.risk import Risk, Subject, assess
from approvals.assessing.weights import START, BadWeights, Weights, parse_weights
from approvals.models import RiskWeights
from approvals.values.facets import facets_of
from tools.contracts import Consequence, Sensitivity, ToolContract

# --- what a call is assessed with -----------------------------------------------------------------------------------


def weights_in_force() -> Weights:
    """Return the weights of the open tenant. One query."""
    row = RiskWeights.objects.filter(status=ChangeStatus.ACTIVE).values_list("version", "body").first()
    return START if row is None else parse_weights(row[1], row[0])


class Known:
    """What the open tenant weighs and has decided, read when it is first needed: for calls assessed at one moment."""

    def __init__(self) -> None:
        self._weights: Weights | None = None
        self._past: dict[str, Sequence[Past]] = {}

    def weights(self) -> Weights:
        """Return the weights in force."""
        if self._weights is None:
            self._weights = weights_in_force()
        return self._weights

    def past(self, tool: str) -> Sequence[Past]:
        """Return the last decisions about a tool."""
        if tool not in self._past:
            self._past[tool] = decided_before(tool)
        return self._past[tool]


def assessed(
    contract: ToolContract,
    arguments: JSONObject,
    provenance: Mapping[str, Provenance],
    consequence: Consequence | None,
    *,
    task_type_id: int,
    now: datetime,
    changed_after_question: bool = False,
    known: Known | None = None,
) -> Risk:
    """Return the risk of a call with what the tenant weighs and what its own decisions say.

    Two or three queries, or none where `known` has been asked before.
    """
    known = known or Known()
    weights = known.weights()
    facets = facets_of(contract, arguments, consequence)
    signals = signals_of(
        facets=facets,
        past=known.past(contract.name),
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


def _put_in_force(row: RiskWeights, actor: Actor, now: datetime) -> JSONObject:
    return {"replaces": changes.retire(KIND)}


KIND: Final = changes.Kind(RiskWeights, "risk.weights_", "risk_weights", _put_in_force)


def propose(*, raw: Mapping[str, Any], note: str, actor: Actor, now: datetime | None = None) -> Outcome:
    """Propose a set; nothing changes until another admin has decided. The note says why, in at least ten characters."""
    if (refused := changes.may_not(actor)) is not None:
        return refused
    problems = dict(changes.note_problems(note))
    try:
        wanted = parse_weights(raw)
    except BadWeights as error:
        problems |= error.problems
        return Invalid(problems)
    if problems:
        return Invalid(problems)
    if wanted.to_json() == weights_in_force().to_json():
        return Invalid({"": "That is what is in force already."})
    return changes.propose(KIND, body=wanted.to_json(), note=note, actor=actor, now=now)


def decide(*, weights_id: UUID, verdict: str, note: str, actor: Actor, now: datetime | None = None) -> Decided:
    """Put a proposed set in force (`approve`), turn it down (`refuse`), or take the own one back (`withdraw`).

    Putting it in force replaces the one before, in one transaction. Refusing needs a note.
    """
    return changes.decide(KIND, change_id=weights_id, verdict=verdict, note=note, actor=actor, now=now)
