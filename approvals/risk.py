"""How risky a call is, with reasons a reviewer can check. Pure, deterministic, versioned.

The score is a noisy-or over reason weights, `100 * (1 - prod(1 - w))`: bounded, and a further reason never lowers it.
Some conditions also put a floor under the score. Weights and floors change like code, together with `ENGINE`.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from agentops.guardrails.provenance import Provenance, SourceKind, provenance
from agentops.guardrails.text import scan, visible
from agentops.wire.money import currency_exponent, format_money
from agentops.wire.parse import JSON, JSONObject
from approvals.gate import covering, leaves, per_leaf, restricted_egress, untrusted_authority, untrusted_content
from tools.contracts import Consequence, Reversal, Sensitivity, ToolContract, sentence_fields

ENGINE: Final = "2026.11.1"


class Band(StrEnum):
    """How much care a decision needs."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for low to 3 for critical."""
        return _BANDS.index(self)

    @property
    def lowest(self) -> int:
        """The lowest score of the band."""
        return 25 * self.rank

    @classmethod
    def of(cls, score: int) -> "Band":
        """Return the band of a score: 0-24, 25-49, 50-74, 75-100."""
        return _BANDS[min(max(score, 0) // 25, 3)]


_BANDS: Final = tuple(Band)

# Per cent. Each counts once, however many arguments it concerns.
WEIGHTS: Final[Mapping[str, int]] = {
    "untrusted_authority": 35,
    "hidden_characters": 35,
    "personal_data_leaves": 30,
    "first_contact": 22,
    "irreversible": 20,
    "padding": 10,
    "untrusted_content": 8,
}

HIGH_MONEY: Final = 500
CRITICAL_MONEY: Final = 5_000
"""Major units of whatever currency."""
MANY_RECIPIENTS: Final = 5

# White space that pushes text out of view, and selectors after letters, are seen in ordinary mail too.
_HARMLESS_FINDINGS: Final = frozenset({"whitespace_padding", "variation_selector"})
_ROLE_PARAMETERS: Final = frozenset({"role", "roles", "permission", "permissions", "scope", "scopes", "privilege"})
_ADMINISTRATIVE: Final = re.compile(
    r"admin|owner|root|super|sudo|privileg|\*|\b(?:all|full|everything|god|master|security|billing)\b"
)


@dataclass(frozen=True, slots=True)
class Subject:
    """What is assessed: a call as it would execute and what it would touch.

    `consequence` is None when the tool's own description of it failed; the call is then uninspectable.
    """

    contract: ToolContract
    arguments: JSONObject
    provenance: Mapping[str, Provenance]
    consequence: Consequence | None


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason. `points` is how far the score would fall without it; points overlap and do not add up."""

    code: str
    points: int
    text: str
    args: tuple[str, ...] = ()

    def to_json(self) -> JSONObject:
        """Return the reason as plain JSON."""
        return {"code": self.code, "points": self.points, "text": self.text, "args": list[JSON](self.args)}


@dataclass(frozen=True, slots=True)
class Floor:
    """A condition under which the band is at least `band`, whatever the score."""

    code: str
    band: Band
    text: str

    def __str__(self) -> str:
        return f"At least {self.band.value.title()}: {self.text}"


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

    def to_json(self) -> JSONObject:
        """Return the risk as plain JSON; floors are sentences, `floor_codes` their stable names."""
        return {
            "score": self.score,
            "band": self.band.value,
            "engine": self.engine,
            "reasons": [reason.to_json() for reason in self.reasons],
            "floors": [str(floor) for floor in self.floors],
            "floor_codes": [floor.code for floor in self.floors],
            "lower": [hint.to_json() for hint in self.lower],
        }


def assess(subject: Subject) -> Risk:
    """Return the risk of a call."""
    risk = _assess(subject)
    return replace(risk, lower=tuple(_lower(subject, risk)))


def score_of(codes: Iterable[str]) -> int:
    """Return the noisy-or of the weights of some reason codes, 0-100, rounded down. Exact integer arithmetic."""
    stays, whole = 1, 1
    for code in set(codes):
        stays, whole = stays * (100 - WEIGHTS[code]), whole * 100
    return 100 * (whole - stays) // whole


def _assess(subject: Subject) -> Risk:
    found = list(_reasons(subject))
    codes = [reason.code for reason in found]
    score = score_of(codes)
    reasons = [replace(r, points=score - score_of(c for c in codes if c != r.code)) for r in found]
    reasons.sort(key=lambda r: (-r.points, r.code))
    floors = tuple(sorted(_floors(subject, frozenset(codes)), key=lambda f: (-f.band.rank, f.code)))
    band = max([Band.of(score), *(floor.band for floor in floors)], key=lambda b: b.rank)
    return Risk(max(score, band.lowest), band, tuple(reasons), floors)


# --- reasons --------------------------------------------------------------------------------------------------------


def _reasons(s: Subject) -> Iterator[Reason]:
    attacked = untrusted_authority(s.contract, s.arguments, s.provenance)
    if attacked:
        yield Reason("untrusted_authority", 0, "Untrusted text decides where this goes", attacked)
    if content := untrusted_content(s.contract, s.arguments, s.provenance):
        yield Reason("untrusted_content", 0, "Contains text from an untrusted source", content)
    if s.contract.reversible.state is Reversal.IRREVERSIBLE:
        yield Reason("irreversible", 0, "Cannot be taken back")
    if _first_contact(s):
        yield Reason("first_contact", 0, "First message ever sent to this recipient", _recipients(s.contract))
    if leaving := _records_leaving(s):
        yield Reason("personal_data_leaves", 0, "Data from our records leaves the tenant", leaving)
    hidden = dict(_hidden(s.arguments))
    if where := tuple(path for path, codes in hidden.items() if codes - _HARMLESS_FINDINGS):
        yield Reason("hidden_characters", 0, "Contains characters a reader cannot see", where)
    if where := tuple(path for path, codes in hidden.items() if codes & _HARMLESS_FINDINGS):
        yield Reason("padding", 0, "Contains white space or marks that can push text out of view", where)


def _first_contact(s: Subject) -> bool:
    """Whether our own records say that nobody has written to this recipient before."""
    if s.consequence is None:
        return False
    warned = any(warning.casefold().startswith("first contact") for warning in s.consequence.warnings)
    return warned or any(
        fact.label.casefold() == "first contact" and fact.value.casefold().startswith("yes")
        for fact in s.consequence.facts
    )


def _recipients(contract: ToolContract) -> tuple[str, ...]:
    return tuple(f"/{name}" for name in contract.authority)


def _records_leaving(s: Subject) -> tuple[str, ...]:
    """Leaves that leave the tenant and hold what a tool or a stored fact said, or that not everybody may read."""
    content = [name for name in s.contract.egress if name not in s.contract.authority]
    found = set(restricted_egress(s.contract, s.arguments, s.provenance))
    for name in content:
        for path, _ in leaves(s.arguments.get(name), f"/{name}"):
            kinds = {source.kind for one in covering(path, s.provenance) for source in one.sources}
            if kinds & {SourceKind.TOOL, SourceKind.FACT}:
                found.add(path)
    return tuple(sorted(found))


def _hidden(arguments: JSONObject) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield the leaves that hide something, with the codes of what they hide. Line ends of a web form hide nothing."""
    for path, value in leaves(arguments):
        texts = [path.replace("\r\n", "\n")]
        if isinstance(value, str):
            texts.append(value.replace("\r\n", "\n"))
        codes = frozenset(finding.code for text in texts for finding in scan(text))
        if codes:
            yield path, codes


# --- floors ---------------------------------------------------------------------------------------------------------


def _floors(s: Subject, codes: frozenset[str]) -> Iterator[Floor]:
    sensitive = s.contract.sensitivity
    irreversible = "irreversible" in codes
    if s.consequence is None:
        yield Floor("uninspectable", Band.HIGH, "its effect could not be worked out")
    elif s.contract.writes and not (s.consequence.blast or s.consequence.facts or s.consequence.money):
        yield Floor("unknown_effect", Band.MEDIUM, "its effect is not described")
    if "untrusted_authority" in codes:
        yield Floor("untrusted_authority", Band.HIGH, "untrusted text decides where it goes")
    if "hidden_characters" in codes:
        yield Floor("hidden_characters", Band.HIGH, "an argument contains characters a reader cannot see")
    if Sensitivity.DATA_DELETION in sensitive:
        yield Floor("data_deletion", Band.HIGH, "it deletes data")
    if Sensitivity.PERMISSION_CHANGE in sensitive:
        if _administrative(s):
            yield Floor("administrative_role", Band.CRITICAL, "it gives administrative rights")
        else:
            yield Floor("permission_change", Band.HIGH, "it changes what somebody may do")
    if Sensitivity.EXTERNAL_COMMUNICATION in sensitive:
        yield Floor("external", Band.MEDIUM, "somebody outside receives it")
        if irreversible and "first_contact" in codes:
            yield Floor("irreversible_first_contact", Band.HIGH, "it cannot be taken back from a new recipient")
        if irreversible and _recipient_count(s) > MANY_RECIPIENTS:
            yield Floor("many_recipients", Band.HIGH, f"more than {MANY_RECIPIENTS} recipients receive it")
    if Sensitivity.FINANCIAL in sensitive:
        yield from _money_floors(s, irreversible=irreversible)


def _money_floors(s: Subject, *, irreversible: bool) -> Iterator[Floor]:
    amounts = list(_money(s))
    if not amounts or any(amount is None for _, amount, _ in amounts):
        yield Floor("amount_unknown", Band.HIGH, "it moves an amount that could not be read")
        return
    largest = max(_major(amount or 0, currency) for _, amount, currency in amounts)
    if irreversible and largest >= CRITICAL_MONEY:
        yield Floor("money_critical", Band.CRITICAL, f"it moves {CRITICAL_MONEY:,} or more and cannot be taken back")
    elif largest >= HIGH_MONEY:
        yield Floor("money_high", Band.HIGH, f"it moves {HIGH_MONEY:,} or more")
    else:
        yield Floor("financial", Band.MEDIUM, "it moves money")


def _money(s: Subject) -> Iterator[tuple[str, int | None, str]]:
    """Yield every amount as (argument or "", minor units, currency); None for one that cannot be read."""
    for field in sentence_fields(s.contract.sentence):
        if field.formatter == "money":
            amount, currency = s.arguments.get(field.argument), s.arguments.get(field.parameter)
            yield field.argument, *_readable(amount, currency)
    if s.consequence is not None and s.consequence.money is not None:
        yield "", *_readable(s.consequence.money.minor, s.consequence.money.currency)


def _readable(amount: JSON, currency: JSON) -> tuple[int | None, str]:
    if isinstance(amount, bool) or not isinstance(amount, int) or not isinstance(currency, str):
        return None, ""
    try:
        currency_exponent(currency)
    except ValueError:
        return None, ""
    return amount, currency


def _major(minor: int, currency: str) -> int:
    """Whole major units, rounded down: thresholds are whole numbers."""
    return int(abs(minor) // 10 ** currency_exponent(currency))


def _recipient_count(s: Subject) -> int:
    told = [b.count for b in (s.consequence.blast if s.consequence else ()) if "recipient" in b.kind.casefold()]
    listed = [len(value) for name in s.contract.authority if isinstance(value := s.arguments.get(name), list)]
    return max((count for count in (*told, *listed) if count is not None), default=1)


def _administrative(s: Subject) -> bool:
    """Whether a role looks like one that may change other people's rights. A name in foreign letters counts as one."""
    if s.consequence is not None and any("privileged" in w.casefold() for w in s.consequence.warnings):
        return True
    named = {name: value for name, value in s.arguments.items() if name.casefold() in _ROLE_PARAMETERS}
    for _, value in leaves(named or {name: s.arguments.get(name) for name in s.contract.authority}):
        if isinstance(value, str):
            role = unicodedata.normalize("NFKC", visible(value)).casefold().replace("_", " ")
            if not role.isascii() or _ADMINISTRATIVE.search(role):
                return True
    return False


# --- what would lower it --------------------------------------------------------------------------------------------


def _lower(subject: Subject, risk: Risk) -> Iterator[Lower]:
    """Try single edits a reviewer could make and yield those that bring the band down."""
    typed = provenance(SourceKind.OPERATOR, "reviewer")
    known = per_leaf(subject.arguments, subject.provenance)
    for path in untrusted_authority(subject.contract, subject.arguments, subject.provenance):
        after = _assess(replace(subject, provenance=known | {path: typed}))
        yield from _hint(path, f"Type {path.lstrip('/')} yourself, from your own records", after, risk)
    for name, amount, currency in _money(subject):
        for limit in (HIGH_MONEY, CRITICAL_MONEY):
            if not name or not amount or _major(amount, currency) < limit:
                continue
            below = limit * 10 ** currency_exponent(currency) - 1
            after = _assess(_with_amount(subject, name, below))
            yield from _hint(f"/{name}", f"Less than {format_money(below + 1, currency)}", after, risk)
    for path, codes in _hidden(subject.arguments):
        if codes - _HARMLESS_FINDINGS and path.count("/") == 1:
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
