"""Does risk mean anything? How often people rejected or edited, by band, score and reason; what others would weigh.

Every figure has its count and its 95 % interval (Wilson); below twenty decisions there is no figure. At most the
newest 1,500 approved and 1,500 rejected proposals of 90 days are read, and the page says when that was not all.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import sqrt
from typing import Any, Final

from agentops.guardrails.provenance import Provenance
from agentops.wire.parse import JSONObject
from approvals.assessing.bands import Band
from approvals.assessing.risk import Subject, band_of
from approvals.assessing.signals import Signals
from approvals.assessing.weights import NAMES, Weights
from approvals.models import Proposal, Status
from tools.contracts import Consequence
from tools.registry import registry

DAYS: Final = 90
MOST: Final = 1_500
ENOUGH: Final = 20
SIMULATED: Final = 200
_Z: Final = 1.959964


@dataclass(frozen=True, slots=True)
class Rate:
    """How many of `n` were rejected or edited, in per cent with its 95 % interval; None below twenty."""

    name: str
    n: int
    changed: int
    share: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """One decision as calibration needs it."""

    score: int
    band: str
    changed: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Rates by band, by ten points of score, by reason; `rising`: whether they rise with the band, None if unknown."""

    n: int
    since: datetime
    cut: bool
    bands: tuple[Rate, ...]
    scores: tuple[Rate, ...]
    reasons: tuple[Rate, ...]
    rising: bool | None


@dataclass(frozen=True, slots=True)
class Simulation:
    """What other weights would have made of the newest decisions: how many per (band then, band now).

    `eased_rejections` were rejected by a person and would be in a lower band; `missing` are of tools that are gone.
    """

    n: int
    moves: tuple[tuple[str, str, int], ...]
    raised: int
    eased: int
    eased_rejections: int
    missing: int


# --- what happened --------------------------------------------------------------------------------------------------


def calibrate(now: datetime) -> Calibration:
    """Return the calibration of the open tenant. Two queries, each an index range of at most 1,500 rows."""
    since = now - timedelta(days=DAYS)
    columns = ("risk_score", "risk_band", "version", "risk__reasons", "decide_by")
    found: dict[str, list[tuple[Any, ...]]] = {}
    for status in (Status.APPROVED.value, Status.REJECTED.value):
        rows = Proposal.objects.filter(status=status, decide_by__gte=since).order_by("-decide_by")
        found[status] = list(rows.values_list(*columns)[: MOST + 1])
    # Where one list was cut, the other is cut at the same moment: otherwise the share would be wrong.
    full = [rows[MOST - 1][-1] for rows in found.values() if len(rows) > MOST]
    begins = max(full, default=since)
    outcomes = [
        Outcome(score, band, status == Status.REJECTED.value or version > 1, _codes(reasons))
        for status, rows in found.items()
        for score, band, version, reasons, decide_by in rows
        if decide_by >= begins
    ]
    return summary(outcomes, since=begins, cut=bool(full))


def _codes(reasons: object) -> tuple[str, ...]:
    return (
        tuple(str(one.get("code")) for one in reasons if isinstance(one, Mapping)) if isinstance(reasons, list) else ()
    )


def summary(outcomes: Sequence[Outcome], *, since: datetime, cut: bool) -> Calibration:
    """Return the rates of some outcomes. Pure."""
    bands = tuple(rate(band.value, [o.changed for o in outcomes if o.band == band.value]) for band in Band)
    scores = tuple(
        rate(
            f"{low} to {low + 9 if low < 90 else 100}",
            [o.changed for o in outcomes if min(o.score // 10, 9) * 10 == low],
        )
        for low in range(0, 100, 10)
    )
    reasons = tuple(rate(code, [o.changed for o in outcomes if code in o.reasons]) for code in NAMES)
    known = [one.share for one in bands if one.share is not None]
    rising = all(a <= b for a, b in pairwise(known)) if len(known) > 1 else None
    return Calibration(len(outcomes), since, cut, bands, scores, reasons, rising)


def rate(name: str, changed: Sequence[bool]) -> Rate:
    """Return a share in per cent with its Wilson interval (Wilson 1927), None below twenty."""
    n, hits = len(changed), sum(changed)
    if n < ENOUGH:
        return Rate(name, n, hits, None, None, None)
    share = hits / n
    middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z * sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2)) / (1 + _Z**2 / n)
    return Rate(name, n, hits, 100 * share, max(0.0, 100 * (middle - half)), min(100.0, 100 * (middle + half)))


# --- what others would weigh ----------------------------------------------------------------------------------------


def simulate(weights: Weights) -> Simulation:
    """Assess the newest decided and open proposals again with other weights. One query; nothing is changed."""
    rows = Proposal.objects.exclude(status__in=(Status.EXPIRED, Status.WITHDRAWN)).order_by("-id")
    columns = ("tool", "contract_version", "arguments", "provenance", "consequence", "risk", "risk_band", "status")
    return compare(rows.only(*columns, "created_at")[:SIMULATED], weights)


def compare(proposals: Iterable[Proposal], weights: Weights) -> Simulation:
    """Return what becomes of these proposals with other weights."""
    moves: Counter[tuple[str, str]] = Counter()
    missing = eased_rejections = 0
    for one in proposals:
        subject = subject_of(one, weights)
        if subject is None:
            missing += 1
            continue
        after = band_of(subject)
        moves[one.risk_band, after.value] += 1
        eased_rejections += one.status == Status.REJECTED and after.rank < Band(one.risk_band).rank
    ranks = [(Band(then).rank, Band(now).rank, count) for (then, now), count in moves.items()]
    ordered = sorted(moves.items(), key=lambda move: (Band(move[0][0]).rank, Band(move[0][1]).rank))
    return Simulation(
        n=sum(moves.values()),
        moves=tuple((then, now, count) for (then, now), count in ordered),
        raised=sum(count for then, now, count in ranks if now > then),
        eased=sum(count for then, now, count in ranks if now < then),
        eased_rejections=eased_rejections,
        missing=missing,
    )


def subject_of(proposal: Proposal, weights: Weights) -> Subject | None:
    """Return what was assessed when a proposal was frozen, to be weighed differently; None when its tool is gone."""
    contract = registry.get(proposal.tool, proposal.contract_version)
    if contract is None:
        return None
    signals = Signals.from_json(proposal.risk.get("signals") or {})
    moment = proposal.created_at.astimezone(UTC)
    signals = replace(signals, outside_hours=not weights.hours.contain(moment.weekday(), moment.hour))
    known = {path: Provenance.from_json(raw) for path, raw in proposal.provenance.items()}
    return Subject(contract, proposal.argument_values, known, _consequence(proposal.consequence), signals, weights)


def _consequence(raw: JSONObject) -> Consequence | None:
    found = Consequence.from_json(raw)
    failed = any(warning.startswith("uninspectable:") for warning in found.warnings)
    return None if failed else found
