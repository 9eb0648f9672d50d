"""Why a call is risky: the reasons that add to its score, and the floors that no score gets below. Pure.

Every word of them is written here, from the call as it would execute and from our own records. Nothing that an agent, a
model or a document wrote is quoted.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from agentops.guardrails.output.secrets import holds_secret
from agentops.guardrails.provenance import UNSCREENED, Provenance, SourceKind
from agentops.guardrails.text import scan, visible
from agentops.wire.money import currency_exponent
from agentops.wire.parse import JSON, JSONObject, pointer_token
from approvals.assessing.bands import Band
from approvals.assessing.signals import UNKNOWN, Signals
from approvals.assessing.weights import START, Weights
from approvals.gating.gate import restricted_egress, untrusted_authority, untrusted_content
from approvals.values.kinds import kinds_of
from approvals.values.leaves import covering, leaves
from approvals.values.statements import read_command, read_sql
from tools.contracts import Consequence, Reversal, Sensitivity, ToolContract, sentence_fields

# White space that pushes text out of view, and selectors after letters, are seen in ordinary mail too.
HARMLESS_FINDINGS: Final = frozenset({"whitespace_padding", "variation_selector"})
ENOUGH_SIMILAR: Final = 5
_GROUNDS: Final = frozenset(
    {SourceKind.TOOL, SourceKind.OPERATOR, SourceKind.REVIEWER, SourceKind.CONSTANT, SourceKind.FACT}
)
_COUNTED: Final = ("row", "record", "file", "message", "account")
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
    signals: Signals = UNKNOWN
    weights: Weights = START


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


# --- reasons --------------------------------------------------------------------------------------------------------


def reasons_of(s: Subject) -> Iterator[Reason]:
    """Yield every reason that applies, each code once, without points."""
    attacked = untrusted_authority(s.contract, s.arguments, s.provenance)
    if attacked:
        yield Reason("untrusted_authority", 0, "Untrusted text decides where this goes", attacked)
    if content := untrusted_content(s.contract, s.arguments, s.provenance):
        yield Reason("untrusted_content", 0, "Contains text from an untrusted source", content)
    yield from _from_guardrails(s)
    if s.contract.reversible.state is Reversal.IRREVERSIBLE:
        yield Reason("irreversible", 0, "Cannot be taken back")
    if _first_contact(s):
        yield Reason("first_contact", 0, "First message ever sent to this recipient", _recipients(s.contract))
    if leaving := _records_leaving(s):
        yield Reason("personal_data_leaves", 0, "Data from our records leaves the tenant", leaving)
    if secret := tuple(_secrets_leaving(s)):
        yield Reason("secret_leaves", 0, "Looks like a key or a token, and leaves the tenant", secret)
    hidden = dict(hidden_in(s.arguments))
    if where := tuple(path for path, codes in hidden.items() if codes - HARMLESS_FINDINGS):
        yield Reason("hidden_characters", 0, "Contains characters a reader cannot see", where)
    if where := tuple(path for path, codes in hidden.items() if codes & HARMLESS_FINDINGS):
        yield Reason("padding", 0, "Contains white space or marks that can push text out of view", where)
    if found := unsupported(s.contract, s.arguments, s.provenance):
        yield Reason("no_evidence", 0, "Nothing on record supports this value", tuple(found))
    yield from _from_history(s.signals)


_SUSPICIONS: Final[Mapping[str, str]] = {
    "instruction": "instructions to an agent",
    "forgery": "a forged turn of a conversation or call of a tool",
    "smuggling": "hidden or look-alike characters",
    "exfiltration": "an address that would carry data out",
    "credentials": "a request for passwords or keys",
    "classifier": "what a classifier takes for an attack",
}


def _from_guardrails(s: Subject) -> Iterator[Reason]:
    """Yield what guardrails said of the texts that values came from."""
    flagged: dict[str, None] = {}
    unscreened: list[str] = []
    paths: list[str] = []
    for path, _ in leaves(s.arguments):
        found = {code for one in covering(path, s.provenance) for code in one.suspicion}
        if UNSCREENED in found:
            unscreened.append(path)
        if known := [words for code, words in _SUSPICIONS.items() if code in found]:
            flagged.update(dict.fromkeys(known))
            paths.append(path)
    if paths:
        yield Reason("steering", 0, f"Comes from a text with {', '.join(flagged)}", tuple(paths))
    if unscreened:
        yield Reason("unscreened", 0, "Comes from a text that no guardrail could look at", tuple(unscreened))


def _from_history(known: Signals) -> Iterator[Reason]:
    if known.look_alike:
        text = "Could be taken for " + ", ".join(sorted(set(known.look_alike.values())))
        yield Reason("look_alike", 0, f"{text}, and is another", tuple(sorted(known.look_alike)))
    if known.unusual:
        text = "More than ever before here; the largest was " + ", ".join(sorted(set(known.unusual.values())))
        yield Reason("unusual_amount", 0, text, tuple(sorted(known.unusual)))
    if often_rejected(known):
        text = f"{known.rejected} of the last {known.similar} calls like this were rejected"
        yield Reason("recently_rejected", 0, text)
    if known.changed_after_question:
        yield Reason("changed_after_question", 0, "The agent changed the call after a reviewer had asked about it")
    if known.outside_hours:
        yield Reason("outside_hours", 0, "Proposed outside of the working hours of this tenant")


def often_rejected(known: Signals) -> bool:
    """Say whether at least a fifth of at least five similar calls was rejected."""
    return known.similar >= ENOUGH_SIMILAR and 5 * known.rejected >= known.similar


def unsupported(contract: ToolContract, arguments: JSONObject, provenance: Mapping[str, Provenance]) -> dict[str, str]:
    """Return the pointers of must-see and authority arguments without any source but a model, and why that is said."""
    found: dict[str, str] = {}
    for name in dict.fromkeys((*contract.must_see, *contract.authority)):
        for path, value in leaves(arguments.get(name), f"/{pointer_token(name)}") if name in arguments else ():
            kinds = {source.kind for one in covering(path, provenance) for source in one.sources}
            if value is not None and SourceKind.MODEL in kinds and not kinds & _GROUNDS:
                found.setdefault(f"/{path.split('/')[1]}", "the model wrote it itself")
    return found


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


def _secrets_leaving(s: Subject) -> Iterator[str]:
    """Yield the leaves that leave the tenant and hold something with which a machine would let somebody in."""
    for name in s.contract.egress:
        for path, value in leaves(s.arguments.get(name), f"/{pointer_token(name)}"):
            if isinstance(value, str) and holds_secret(value):
                yield path


def hidden_in(arguments: JSONObject) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield the leaves that hide something, with the codes of what they hide. Line ends of a web form hide nothing."""
    for path, value in leaves(arguments):
        texts = [path.replace("\r\n", "\n")]
        if isinstance(value, str):
            texts.append(value.replace("\r\n", "\n"))
        codes = frozenset(finding.code for text in texts for finding in scan(text))
        if codes:
            yield path, codes


# --- floors ---------------------------------------------------------------------------------------------------------


def floors_of(s: Subject, codes: frozenset[str]) -> Iterator[Floor]:
    """Yield every floor that applies to a call with these reasons."""
    sensitive = s.contract.sensitivity
    irreversible = "irreversible" in codes
    if s.consequence is None:
        yield Floor("uninspectable", Band.HIGH, "its effect could not be worked out")
    elif s.contract.writes and not (s.consequence.blast or s.consequence.facts or s.consequence.money):
        yield Floor("unknown_effect", Band.MEDIUM, "its effect is not described")
    elif any(one.count is None for one in s.consequence.blast):
        yield Floor("unknown_count", Band.MEDIUM, "how much it touches is not known")
    if "untrusted_authority" in codes:
        yield Floor("untrusted_authority", Band.HIGH, "untrusted text decides where it goes")
    if "hidden_characters" in codes:
        yield Floor("hidden_characters", Band.HIGH, "an argument contains characters a reader cannot see")
    if "secret_leaves" in codes:
        yield Floor("secret_leaves", Band.HIGH, "something that looks like a key leaves the tenant")
    if s.signals.first_use:
        yield Floor("first_use", Band.HIGH, "this kind of task has never used this tool before")
    yield from _code_floors(s)
    yield from _count_floors(s, irreversible=irreversible)
    if Sensitivity.DATA_DELETION in sensitive and s.signals.production and irreversible:
        yield Floor("production_deletion", Band.CRITICAL, "it deletes data of production for good")
    elif Sensitivity.DATA_DELETION in sensitive:
        yield Floor("data_deletion", Band.HIGH, "it deletes data")
    if Sensitivity.PERMISSION_CHANGE in sensitive:
        if _administrative(s):
            yield Floor("administrative_role", Band.CRITICAL, "it gives administrative rights")
        else:
            yield Floor("permission_change", Band.HIGH, "it changes what somebody may do")
    if Sensitivity.EXTERNAL_COMMUNICATION in sensitive:
        yield from _external_floors(s, codes, irreversible=irreversible)
    if Sensitivity.FINANCIAL in sensitive:
        yield from _money_floors(s, irreversible=irreversible)


def _external_floors(s: Subject, codes: frozenset[str], *, irreversible: bool) -> Iterator[Floor]:
    yield Floor("external", Band.MEDIUM, "somebody outside receives it")
    if irreversible and "first_contact" in codes:
        yield Floor("irreversible_first_contact", Band.HIGH, "it cannot be taken back from a new recipient")
    if irreversible and restricted_egress(s.contract, s.arguments, s.provenance):
        yield Floor("irreversible_restricted", Band.HIGH, "it sends out what not everybody may read")
    many = s.weights.thresholds["many_recipients"]
    if irreversible and _recipient_count(s) > many:
        yield Floor("many_recipients", Band.HIGH, f"more than {many:,} recipients receive it")


def _code_floors(s: Subject) -> Iterator[Floor]:
    """Yield what a statement or a command that is handed on whole asks for."""
    for name, kind in kinds_of(s.contract).items():
        value = s.arguments.get(name)
        if kind == "command" and isinstance(value, str) and not read_command(value).inspectable:
            yield Floor("uninspectable", Band.HIGH, "a shell would interpret its command")
        if kind != "sql.statement" or not isinstance(value, str):
            continue
        read = read_sql(value)
        if read.effect == "UNREADABLE":
            yield Floor("uninspectable", Band.HIGH, "its statement cannot be taken apart")
        if read.effect == "DDL":
            yield Floor("structure", Band.HIGH, "it changes the structure of a database or rights in it")
        if any("every row" in warning for warning in read.warnings):
            yield Floor("every_row", Band.HIGH, "its statement has no condition and reaches every row")


def _count_floors(s: Subject, *, irreversible: bool) -> Iterator[Floor]:
    most, blast = s.weights.thresholds["many_rows"], s.consequence.blast if s.consequence is not None else ()
    counts = [one.count for one in blast if one.count is not None and any(k in one.kind.casefold() for k in _COUNTED)]
    if not s.contract.writes or max(counts, default=0) <= most:
        return
    if irreversible:
        yield Floor("many_rows_for_good", Band.CRITICAL, f"it touches more than {most:,} and cannot be taken back")
    else:
        yield Floor("many_rows", Band.HIGH, f"it touches more than {most:,}")


def _money_floors(s: Subject, *, irreversible: bool) -> Iterator[Floor]:
    amounts = list(money_of(s))
    if not amounts or any(amount is None for _, amount, _ in amounts):
        yield Floor("amount_unknown", Band.HIGH, "it moves an amount that could not be read")
        return
    largest = max(major(amount or 0, currency) for _, amount, currency in amounts)
    high, critical = s.weights.thresholds["high_money"], s.weights.thresholds["critical_money"]
    if irreversible and largest >= critical:
        yield Floor("money_critical", Band.CRITICAL, f"it moves {critical:,} or more and cannot be taken back")
    elif largest >= high:
        yield Floor("money_high", Band.HIGH, f"it moves {high:,} or more")
    else:
        yield Floor("financial", Band.MEDIUM, "it moves money")


def money_of(s: Subject) -> Iterator[tuple[str, int | None, str]]:
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


def major(minor: int, currency: str) -> int:
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
