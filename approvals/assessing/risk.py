"""How risky a call is, with reasons a reviewer can check. Pure, deterministic, versioned.

The score is a noisy-or over reason weights, `100 * (1 - prod(1 - w))`: bounded, and a further reason never lowers it.
Some conditions also put a floor under the score. Reasons and floors change like code, together with `ENGINE`; what they
weigh is a versioned set of the tenant (`approvals.assessing.weights`).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from agentops.guardrails.provenance import SourceKind, provenance
from agentops.guardrails.text import visible
from agentops.wire.money import currency_exponent, format_money
from agentops.wire.parse import JSONObject
from approvals.assessing.bands import Band as Band
from approvals.assessing.reasons import (
    HARMLESS_FINDINGS,
    Floor,
    Reason,
    floors_of,
    hidden_in,
    major,
    money_of,
    reasons_of,
)
from approvals.assessing.reasons import Subject as Subject
from approvals.assessing.signals import UNKNOWN, Signals
from approvals.assessing.weights import WEIGHTS
from approvals.gating.gate import per_leaf, untrusted_authority
from approvals.values.facets import Facets

ENGINE: Final = "2026.11.3"


@dataclass(frozen=True, slots=True)
class Lower:
    """An edit of one argument that would bring the band down."""

    path: str
    text: str
    band: Band

    def to_json(self) -> JSONObject:
        """Return the hint as plain JSON."""
        return {"path": self.path, "text": self.text, "band": self.band.value}


@dataclass(frozen=True, slots=True)
class Risk:
    """Score 0-100, its band, why, and what would lower it. A floor lifts the score to the start of its band."""

    score: int
    band: Band
    reasons: tuple[Reason, ...] = ()
    floors: tuple[Floor, ...] = ()
    lower: tuple[Lower, ...] = ()
    engine: str = ENGINE
    weights: int = 0
    signals: Signals = UNKNOWN
    facets: Facets | None = None

    def to_json(self) -> JSONObject:
        """Return the risk as plain JSON; floors are sentences, `floor_codes` their stable names."""
        return {
            "score": self.score,
            "band": self.band.value,
            "engine": self.engine,
            "weights": self.weights,
            "signals": self.signals.to_json(),
            "facets": self.facets.to_json() if self.facets is not None else {},
            "reasons": [reason.to_json() for reason in self.reasons],
            "floors": [str(floor) for floor in self.floors],
            "floor_codes": [floor.code for floor in self.floors],
            "lower": [hint.to_json() for hint in self.lower],
        }


def seen_by_rules(risk: Risk) -> JSONObject:
    """Return what rules of a policy see of a risk: score, band, and the codes of its reasons."""
    return {"score": risk.score, "band": risk.band.value, "reasons": [one.code for one in risk.reasons]}


def assess(subject: Subject, facets: Facets | None = None) -> Risk:
    """Return the risk of a call, with what would lower it; `facets` are kept with it for later comparisons."""
    risk = _assess(subject)
    return replace(risk, lower=tuple(_lower(subject, risk)), facets=facets)


def band_of(subject: Subject) -> Band:
    """Return the band of a call alone, for those who compare many."""
    return _assess(subject).band


def score_of(codes: Iterable[str], weights: Mapping[str, int] = WEIGHTS) -> int:
    """Return the noisy-or of the weights of some reason codes, 0-100, rounded down. Exact integer arithmetic."""
    stays, whole = 1, 1
    for code in set(codes):
        stays, whole = stays * (100 - weights[code]), whole * 100
    return 100 * (whole - stays) // whole


def _assess(subject: Subject) -> Risk:
    weights = subject.weights.values
    every = list(reasons_of(subject))
    found = [reason for reason in every if weights[reason.code]]
    codes = [reason.code for reason in found]
    score = score_of(codes, weights)
    reasons = [replace(r, points=score - score_of((c for c in codes if c != r.code), weights)) for r in found]
    reasons.sort(key=lambda r: (-r.points, r.code))
    lifted = floors_of(subject, frozenset(reason.code for reason in every))
    floors = tuple(sorted(lifted, key=lambda floor: (-floor.band.rank, floor.code)))
    band = max([Band.of(score), *(floor.band for floor in floors)], key=lambda b: b.rank)
    return Risk(
        score=max(score, band.lowest),
        band=band,
        reasons=tuple(reasons),
        floors=floors,
        weights=subject.weights.version,
        signals=subject.signals,
    )


# --- what would lower it --------------------------------------------------------------------------------------------


def _lower(subject: Subject, risk: Risk) -> Iterator[Lower]:
    """Try single edits a reviewer could make and yield those that bring the band down."""
    typed = provenance(SourceKind.OPERATOR, "reviewer")
    known = per_leaf(subject.arguments, subject.provenance)
    for path in untrusted_authority(subject.contract, subject.arguments, subject.provenance):
        after = _assess(replace(subject, provenance=known | {path: typed}))
        yield from _hint(path, f"Type {path.lstrip('/')} yourself, from your own records", after, risk)
    for path, name in subject.signals.look_alike.items():
        told = replace(subject.signals, look_alike={})
        after = _assess(replace(subject, provenance=known | {path: typed}, signals=told))
        yield from _hint(path, f"Use {name}, if that is who is meant", after, risk)
    limits = [subject.weights.thresholds[name] for name in ("high_money", "critical_money")]
    for name, amount, currency in money_of(subject):
        for limit in limits:
            if not name or not amount or major(amount, currency) < limit:
                continue
            below = limit * 10 ** currency_exponent(currency) - 1
            after = _assess(_with_amount(subject, name, below))
            yield from _hint(f"/{name}", f"Less than {format_money(below + 1, currency)}", after, risk)
    for path, codes in hidden_in(subject.arguments):
        if codes - HARMLESS_FINDINGS and path.count("/") == 1:
            name = path[1:].replace("~1", "/").replace("~0", "~")
            clean = {**subject.arguments, name: visible(str(subject.arguments.get(name)))}
            yield from _hint(path, "Remove the hidden characters", _assess(replace(subject, arguments=clean)), risk)


def _hint(path: str, text: str, after: Risk, before: Risk) -> Iterator[Lower]:
    if after.band.rank < before.band.rank:
        yield Lower(path, text, after.band)


def _with_amount(subject: Subject, name: str, amount: int) -> Subject:
    consequence = subject.consequence
    if consequence is not None and consequence.money is not None:
        consequence = replace(consequence, money=consequence.money._replace(minor=amount))
    return replace(subject, arguments={**subject.arguments, name: amount}, consequence=consequence)
