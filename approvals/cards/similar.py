"""What was decided about calls like this one, how each of them differs, and what happened afterwards. Two queries.

Same tenant, same tool, same major version of its contract; the nearest by facets first, of equals the newer. There is
no share of approvals here on purpose: a ratio is an anchor.
"""

from collections.abc import Mapping
from typing import Any, Final

from django.db.models import OuterRef, Subquery

from agentops.engine.transitions import CallState
from agentops.runs.models import ToolCall
from agentops.tenancy.people import called
from agentops.wire.money import format_money
from agentops.wire.parse import JSON, JSONObject
from approvals.assessing.history import Past, decided_before
from approvals.cards.afterwards import afterwards
from approvals.models import Decision, Proposal, RejectReason, Status, Verdict
from approvals.values.facets import Facets, distance
from approvals.values.kinds import kinds_of
from approvals.values.rendering import leaf
from tools.contracts import ToolContract

SHOWN: Final = 5
_MOST_DIFFERENCES: Final = 4
_MOST_CHARS: Final = 60


def similar_to(proposal: Proposal, contract: ToolContract | None) -> list[dict[str, Any]]:
    """Return at most five earlier decisions: {id, verdict, rejected, by, at, reason, band, score, afterwards,
    differs [{name, then}]}."""
    facets = Facets.from_json(proposal.risk.get("facets"))
    if facets is None or contract is None:
        return []
    major = proposal.contract_version.partition(".")[0]
    past = [
        one
        for one in decided_before(proposal.tool)
        if one.id != proposal.pk and one.contract_version.partition(".")[0] == major
    ]
    nearest = sorted(past, key=lambda one: distance(facets, one.facets))[:SHOWN]
    return _told(nearest, proposal, contract) if nearest else []


def _told(nearest: list[Past], proposal: Proposal, contract: ToolContract) -> list[dict[str, Any]]:
    decision = Decision.objects.filter(proposal=OuterRef("pk"), final=True, undone_at__isnull=True)
    call = ToolCall.objects.filter(run=OuterRef("run"), call_id=OuterRef("call_id"))
    found = {
        one.pk: one
        for one in Proposal.objects.filter(pk__in=[past.id for past in nearest])
        .select_related("decided_by")
        .annotate(
            said=Subquery(decision.values("verdict")[:1]),
            reason_code=Subquery(decision.values("reason_code")[:1]),
            became=Subquery(call.values("state")[:1]),
            code=Subquery(call.values("code")[:1]),
        )
        .only("id", "arguments", "status", "decided_at", "decided_by", "risk_band", "risk_score", "run_id", "call_id")
    }
    rows = [found[past.id] for past in nearest if past.id in found]
    return [_row(one, proposal, contract) for one in rows]


def _row(one: Proposal, now: Proposal, contract: ToolContract) -> dict[str, Any]:
    said, code = getattr(one, "said", "") or "", getattr(one, "reason_code", "") or ""
    by = one.decided_by
    return {
        "id": one.pk,
        "verdict": Verdict(said).label if said in Verdict.values else Status(one.status).label,
        "rejected": one.status == Status.REJECTED,
        "reason": RejectReason(code).label if code in RejectReason.values else "",
        "by": called(by),
        "at": one.decided_at,
        "band": one.risk_band,
        "score": one.risk_score,
        "afterwards": afterwards(getattr(one, "became", "") or CallState.GRANTED, getattr(one, "code", "") or ""),
        "differs": _differences(one.argument_values, now.argument_values, contract),
    }


def _differences(then: JSONObject, now: JSONObject, contract: ToolContract) -> list[dict[str, str]]:
    """Return what the earlier call had instead, argument by argument; the text of secrets is left out."""
    kinds = kinds_of(contract)
    differ = [name for name in now if then.get(name) != now[name] and kinds.get(name) != "secret"]
    shown = [{"name": name, "then": _short(name, then, kinds)} for name in differ[:_MOST_DIFFERENCES]]
    if len(differ) > _MOST_DIFFERENCES:
        shown.append({"name": f"{len(differ) - _MOST_DIFFERENCES} more", "then": ""})
    return shown


def _short(name: str, arguments: JSONObject, kinds: Mapping[str, str]) -> str:
    value: JSON = arguments.get(name)
    currency = arguments.get("currency")
    if kinds.get(name) == "money" and isinstance(value, int) and isinstance(currency, str):
        try:
            return format_money(value, currency)
        except ValueError:
            pass
    text = leaf(value)
    return text if len(text) <= _MOST_CHARS else f"{text[:_MOST_CHARS]}… ({len(text):,} characters)"
