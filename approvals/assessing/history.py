"""What a tenant's own decisions say about a call that is about to be proposed. One query.

At most the last 200 decisions about the tool are looked at, by their facets. Nobody else's decisions count.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Final
from uuid import UUID

from django.db.models import F

from agentops.wire.money import format_money
from approvals.assessing.signals import Signals
from approvals.assessing.weights import Weights
from approvals.models import Proposal, Status
from approvals.values.facets import Facets, distance
from approvals.values.hosts import addresses_in
from approvals.values.lookalike import looks_like
from tools.contracts import Consequence

LOOKED_AT: Final = 200
ENOUGH: Final = 20
"""So many decisions make a record; below that nothing is unusual and nothing is new."""

_SIMILAR_WITHIN: Final = 1.0
_SIMILAR_MOST: Final = 20
DECIDED: Final = (Status.APPROVED.value, Status.REJECTED.value)


@dataclass(frozen=True, slots=True)
class Past:
    """One earlier decision about a tool."""

    id: UUID
    status: str
    decided_at: datetime
    task_type_id: int
    contract_version: str
    band: str
    facets: Facets


def decided_before(tool: str, *, limit: int = LOOKED_AT) -> list[Past]:
    """Return the last decisions about a tool in the open tenant, the newest first. One query, an index range."""
    rows = (
        Proposal.objects.filter(tool=tool, status__in=DECIDED)
        .annotate(facets=F("risk__facets"))
        .order_by("-decided_at")
        .values_list("pk", "status", "decided_at", "task_type_id", "contract_version", "risk_band", "facets")[:limit]
    )
    return [
        Past(pk, status, at, task_type_id, version, band, facets)
        for pk, status, at, task_type_id, version, band, raw in rows
        if at is not None and (facets := Facets.from_json(raw)) is not None
    ]


def signals_of(
    *,
    facets: Facets,
    past: Sequence[Past],
    consequence: Consequence | None,
    task_type_id: int,
    weights: Weights,
    now: datetime,
    production: bool = False,
    changed_after_question: bool = False,
) -> Signals:
    """Return what the record says about a call. Pure."""
    alike = (one for one in past if distance(facets, one.facets) <= _SIMILAR_WITHIN)
    similar = list(islice(alike, _SIMILAR_MOST))
    moment = now.astimezone(UTC)
    return Signals(
        look_alike=_look_alike(facets, past, consequence),
        unusual=_unusual(facets, past),
        rejected=sum(one.status == Status.REJECTED.value for one in similar),
        similar=len(similar),
        first_use=len(past) >= ENOUGH and all(one.task_type_id != task_type_id for one in past),
        outside_hours=not weights.hours.contain(moment.weekday(), moment.hour),
        changed_after_question=changed_after_question,
        production=production,
    )


def _look_alike(facets: Facets, past: Iterable[Past], consequence: Consequence | None) -> Mapping[str, str]:
    """Compare every domain of the call with those of approved calls and with those our own records name."""
    known = {domain for one in past if one.status == Status.APPROVED.value for domain in one.facets.domains.values()}
    for fact in consequence.facts if consequence is not None else ():
        for word in fact.value.replace("(", " ").replace(")", " ").split():
            known.update(domain for domain in addresses_in(word) if domain not in facets.domains.values())
    found = {path: looks_like(domain, known) for path, domain in facets.domains.items()}
    return {path: name for path, name in found.items() if name}


def _unusual(facets: Facets, past: Iterable[Past]) -> Mapping[str, str]:
    """Return the amounts above every one of at least twenty approved before, in the same currency."""
    found: dict[str, str] = {}
    approved = [one.facets for one in past if one.status == Status.APPROVED.value]
    for path, amount in facets.amounts.items():
        before = [f.amounts[path] for f in approved if f.currency == facets.currency and path in f.amounts]
        if len(before) >= ENOUGH and amount > (largest := max(before)):
            try:
                found[path] = format_money(largest, facets.currency)
            except ValueError:
                found[path] = str(largest)
    return found
