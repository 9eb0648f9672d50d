"""The card of one proposal: everything its page prints, from the frozen proposal and the run's own record.

Nothing here is written by an agent except `explanation`, which is marked as such. Evidence is the recorded output of a
tool at the very place an argument came from, not text that was searched for.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from django.urls import reverse
from django.utils import timezone

from agentops.audit.services import load
from agentops.engine.transitions import CallState
from agentops.runs.recording import stream_of
from agentops.runs.timeline import Told, tell
from agentops.tenancy.access import Actor, can
from agentops.tenancy.people import called
from agentops.tenancy.prepared import along
from approvals.cards.arguments import arguments_of
from approvals.cards.asked import asking, questions_of
from approvals.cards.bar import bar_of
from approvals.cards.drafts import Draft as Draft
from approvals.cards.evidence import evidence_of, unsupported_in
from approvals.cards.meter import meter_of
from approvals.cards.past import asked_for, past_of
from approvals.cards.receipt import receipt_of
from approvals.cards.together import later_steps, others, waiting_with
from approvals.decisions.sight import Sight
from approvals.gating.policy import in_words
from approvals.models import Proposal, RejectReason, RejectScope, Status
from approvals.permits import policies
from approvals.permits.trust import possible
from approvals.proposals import freezing
from approvals.queue import claims
from approvals.queue.selectors import decision_on
from approvals.values.kinds import kinds_of
from approvals.values.previews import previews
from tools.registry import registry

RULES: Final[Mapping[str, str]] = {
    "people_only": "Only people decide proposals.",
    "role": "Your roles in this tenant do not decide proposals; operators and seniors do.",
    "self_approval": "You submitted this task, and nobody approves what they asked for. You can still reject it.",
    "needs_role": "This was escalated: seniors decide it now.",
    "own_policy": "You changed what this kind of work may do within the last 24 hours, so somebody else approves it.",
    "own_edit": "You edited this version, and several people have to agree: others approve it.",
    "once_each": "You have approved this already; somebody else has to agree.",
    "not_yours": "Whoever approved this takes it back, or a senior.",
    "no_password": "Approving this needs your password, and you have none. Set one first, from the sign-in page.",
}
"""Rule of `services.Forbidden` -> what a person is told."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What just happened, above the card. `tone` is ok, error or info."""

    tone: str
    title: str
    text: str = ""
    draft_kept: bool = False
    url: str = ""
    link: str = ""
    undo_url: str = ""


def card_of(
    proposal: Proposal,
    actor: Actor,
    *,
    notice: Notice | None = None,
    draft: Draft | None = None,
    sight: Sight | None = None,
    chosen: bool = True,
) -> dict[str, Any]:
    """Return the context `card` of `approvals/_card.html` (documented there).

    `proposal` comes from `selectors.find`. At most four queries: the run's events and the proposal's own, the decision
    once there is one, and the calls that wait beside it where the record says that there are some; one more for stops,
    at most twice a second; and those of `bar.bar_of`. `sight` is the card that is shown again, so that its time to read
    goes on; otherwise a new one is made. `chosen` is False for a card that nobody has asked for.
    """
    contract = registry.get(proposal.tool, proposal.contract_version)
    with along(asked_for(proposal)):
        recorded = load(stream_of(proposal.run_id))
        told = tell(recorded)
        history = past_of(proposal, told)
    decision = decision_on(proposal) if proposal.status in (Status.APPROVED, Status.REJECTED) else None
    pending = proposal.status == Status.PENDING
    typed = draft or Draft()
    order = {call_id: index for index, call_id in enumerate(told.state.calls)}
    bare = unsupported_in(contract, proposal)
    kinds = kinds_of(contract) if contract is not None else {}
    arguments = arguments_of(proposal, typed, order, bare)
    bar = bar_of(proposal, actor, typed, arguments, sight=sight, chosen=chosen)
    return {
        "p": _head(proposal),
        "sentence_parts": proposal.sentence,
        "consequence": proposal.consequence,
        "risk": proposal.risk,
        "weights_url": reverse("risk"),
        "why": {
            "rule": proposal.policy_rule,
            "policy": proposal.policy_version,
            "rules": _rules_that_ask(proposal),
            "text": " ".join(str(reason) for reason in proposal.reasons),
        },
        "trust_url": "" if possible(proposal, actor) else reverse("trust_give", args=[proposal.id]),
        "explanation": proposal.explanation,
        "arguments": arguments,
        "previews": previews(kinds, proposal.argument_values, proposal.consequence),
        "evidence": evidence_of(proposal, recorded),
        "unsupported": [{"name": path.lstrip("/"), "why": why} for path, why in bare.items()],
        "budget": meter_of(told.state, contract, proposal.risk_band, open_=pending),
        "similar_url": reverse("similar", args=[proposal.id]),
        "others": others(proposal, waiting_with(proposal)) if pending and _several_wait(told) else [],
        "together_url": reverse("together", args=[proposal.run_id]),
        "later": [asdict(step) for step in later_steps(told.state)] if pending else [],
        "history": history,
        "receipt": receipt_of(proposal, decision, told, recorded),
        "questions": questions_of(proposal, told.state),
        "asking": asking(proposal, told.state),
        "reasons": RejectReason.choices,
        "scopes": RejectScope.choices,
        "can_decide": can(actor, "proposal.decide"),
        "cannot_decide_why": "" if can(actor, "proposal.decide") else RULES["role"],
        "cannot_approve_why": RULES[bar["rule"]] if bar["rule"] else "",
        "bar": bar,
        "closing_note": proposal.closing_note,
        "whose": claims.shown(proposal, actor, timezone.now()),
        "still_since": freezing.standing([proposal]).get(proposal.pk),
        "draft": {
            "reason_code": typed.reason_code,
            "scope": typed.scope,
            "retry": typed.retry,
            "note": typed.note,
            "values": typed.values,
        },
        "errors": typed.errors,
        "untouched": typed == Draft(),
        "notice": notice,
        "open": typed.open,
    }


def _rules_that_ask(proposal: Proposal) -> list[dict[str, str]]:
    """Return the rules of the policy that sent it to a person: id, and in words what no reason says already."""
    policy = policies.published(proposal.policy_version) if proposal.policy_version else None
    rules = policies.asking(policy, proposal.reasons) if policy is not None else []
    return [{"id": rule.id, "words": in_words(rule) if rule.because else ""} for rule in rules]


def _head(proposal: Proposal) -> dict[str, Any]:
    return {
        "id": proposal.id,
        "version": proposal.version,
        "status": proposal.status,
        "digest": proposal.digest,
        "tool": proposal.tool,
        "contract_version": proposal.contract_version,
        "created_at": proposal.created_at,
        "decide_by": proposal.decide_by,
        "execute_by": proposal.execute_by,
        "band": proposal.risk_band,
        "score": proposal.risk_score,
        "tainted": proposal.tainted,
        "needs_role": proposal.needs_role,
        "edited": proposal.edited,
        "requested_by": _name(proposal.requested_by),
        "decided_by": _name(proposal.decided_by),
        "decided_at": proposal.decided_at,
        "task_type": proposal.task_type.name,
        "run_url": reverse("run", args=[proposal.run_id]),
        "url": reverse("proposal", args=[proposal.id]),
        "decide_url": reverse("decide", args=[proposal.id]),
    }


def _several_wait(told: Told) -> bool:
    return sum(call.state is CallState.PROPOSED for call in told.state.calls.values()) > 1


def _name(user: Any) -> str:
    return called(user)
