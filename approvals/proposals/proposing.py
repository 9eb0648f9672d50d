"""Freeze a call for a person: all that a reviewer is shown follows from contract, arguments and provenance."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from agentops.guardrails.provenance import Provenance
from agentops.runs.models import Run
from agentops.tenancy.models import ServiceToken
from agentops.wire.canonical import canonical
from agentops.wire.parse import JSON, JSONObject, as_object, clean_text, guard
from approvals.assessing.risk import Risk
from approvals.assessing.weighing import Known, assessed
from approvals.gating.gate import Auto, Gate, per_leaf
from approvals.gating.outgoing import told
from approvals.models import Proposal
from approvals.proposals.search import found_by
from approvals.values.consequence import preview
from approvals.values.sentence import render
from tools.contracts import ToolContract, action_digest

MAX_EXPLANATION: Final = 20_000
FIRST_REMINDER: Final = 0.5
"""After this share of the time to decide, people are reminded (`approvals.decisions.reminders`)."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """Everything a reviewer is shown that follows from the contract, the arguments and their provenance."""

    arguments: str
    digest: str
    provenance: Mapping[str, Provenance]
    consequence: JSONObject
    sentence: list[JSON]
    risk: Risk
    verdict: Gate | Auto

    @property
    def quorum(self) -> int:
        """How many people a rule of the policy asks for, 0 if none does."""
        return self.verdict.quorum if isinstance(self.verdict, Gate) else 0

    @property
    def role(self) -> str:
        """The role that a rule of the policy asks for, empty if none does."""
        return self.verdict.role if isinstance(self.verdict, Gate) else ""

    def sooner(self, proposal: Proposal, now: datetime) -> Mapping[str, datetime]:
        """Return the columns of a deadline that a rule of the policy sets earlier than the proposal's own, if one does.

        The time of the rule counts from `now`, when there is a version for it to be about.
        """
        within = self.verdict.decide_within_s if isinstance(self.verdict, Gate) else None
        if within is None or now + timedelta(seconds=within) >= proposal.decide_by:
            return {}
        return deadlines(now, within, proposal.task_type.execute_within_s)

    def columns(self) -> dict[str, object]:
        """The columns of a proposal that an edit changes. A role that is asked for stays, whatever is edited."""
        attacked = self.verdict.attacked if isinstance(self.verdict, Gate) else ()
        sensitivity = self.verdict.sensitivity if isinstance(self.verdict, Gate) else ()
        return {
            "arguments": self.arguments,
            "digest": self.digest,
            "provenance": {path: one.to_json() for path, one in self.provenance.items()},
            "sentence": self.sentence,
            "consequence": self.consequence,
            **risk_columns(self.risk),
            "sensitivity": [str(one) for one in sensitivity],
            "policy_rule": self.verdict.rule,
            "policy_version": self.verdict.policy_version,
            "quorum": self.quorum,
            **({"needs_role": self.role} if self.role else {}),
            "reasons": list(self.verdict.reasons),
            "attacked": list(attacked),
            "tainted": any(one.untrusted for one in self.provenance.values()),
            **found_by(self.arguments, self.sentence, self.consequence),
        }


def deadlines(now: datetime, decide_within_s: int, execute_within_s: int) -> dict[str, datetime]:
    """The columns of a proposal that say until when it is decided, executed, and when people are reminded."""
    decide_by = now + timedelta(seconds=decide_within_s)
    return {
        "decide_by": decide_by,
        "execute_by": decide_by + timedelta(seconds=execute_within_s),
        "remind_at": now + (decide_by - now) * FIRST_REMINDER,
    }


def risk_columns(risk: Risk) -> dict[str, object]:
    """The columns of a proposal that its risk is kept in."""
    return {
        "risk_score": risk.score,
        "risk_band": risk.band.value,
        "band_rank": risk.band.rank,
        "risk": risk.to_json(),
    }


def freeze(
    *,
    tenant_id: int,
    contract: ToolContract,
    arguments: JSONObject,
    provenance: Mapping[str, Provenance],
    verdict: Gate | Auto,
    task_type_id: int,
    now: datetime,
    changed_after_question: bool = False,
    known: Known | None = None,
) -> Frozen:
    """Work out everything a reviewer is shown. Asks the tool for a preview and our records for signals (queries)."""
    leafwise = per_leaf(arguments, provenance)
    found = preview(contract, arguments)
    risk = assessed(
        contract,
        arguments,
        leafwise,
        found.consequence,
        task_type_id=task_type_id,
        now=now,
        changed_after_question=changed_after_question,
        known=known,
    )
    return composed(
        tenant_id=tenant_id,
        contract=contract,
        arguments=arguments,
        provenance=leafwise,
        verdict=verdict,
        consequence=found.shown,
        risk=risk,
    )


def composed(
    *,
    tenant_id: int,
    contract: ToolContract,
    arguments: JSONObject,
    provenance: Mapping[str, Provenance],
    verdict: Gate | Auto,
    consequence: JSONObject,
    risk: Risk,
) -> Frozen:
    """Put together what a reviewer is shown, once its consequence and its risk are known. Pure.

    `provenance` has an entry for every leaf. What the output policy found is among the warnings.
    """
    return Frozen(
        arguments=canonical(arguments),
        digest=action_digest(tenant_id=tenant_id, tool=contract.name, version=contract.version, arguments=arguments),
        provenance=provenance,
        consequence=_warned(consequence, verdict),
        sentence=[dict[str, JSON](part.items()) for part in render(contract, arguments)],  # type: ignore[arg-type]
        risk=risk,
        verdict=verdict,
    )


def _warned(consequence: JSONObject, verdict: Gate | Auto) -> JSONObject:
    if not verdict.found:
        return consequence
    known = consequence.get("warnings")
    warnings: list[JSON] = [*known] if isinstance(known, list) else []
    return {**consequence, "warnings": [*warnings, f"What it sends: {told(verdict.found)}"]}


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
    known: Known | None = None,
) -> Proposal:
    """Freeze a call for a person and return the row, to be saved with the `call.proposed` event.

    Asks the tool for a preview (queries); one that crashes makes the proposal uninspectable and at least High. Whoever
    made a token counts as the requester of what the token submitted.
    """
    frozen = freeze(
        tenant_id=run.tenant_id,
        contract=contract,
        arguments=as_object(guard(arguments)),
        provenance=provenance,
        verdict=gate,
        task_type_id=run.task_type_id,
        now=now,
        known=known,
    )
    within = run.task_type.decide_within_s
    if gate.decide_within_s is not None:
        within = min(within, gate.decide_within_s)
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
        created_at=now,
        **deadlines(now, within, run.task_type.execute_within_s),
        **frozen.columns(),
    )


def _requester(run: Run) -> int | None:
    if run.requested_by_id is None and run.requested_by_token.isdecimal():
        return ServiceToken.objects.filter(pk=int(run.requested_by_token)).values_list("created_by", flat=True).first()
    return run.requested_by_id
