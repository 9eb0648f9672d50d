"""What part of the queue a person asks for: the grammar of the filter line. Pure.

    band:high,critical   tool:mail.send   task:support-email   taint:yes   amount>500   older:2h   held:yes
    mine:yes   assigned:ana   assigned:nobody   status:rejected
    args.to:*@example.com   args.order_ref:A-10*   text:"late parcel"   late

Terms are joined by "and". A word alone is looked for like `text:`. Each term is answered by an index, so there is none
for what no index knows. What cannot be read is an error with a code, the place in the line and a sentence.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from difflib import get_close_matches
from typing import Final, Literal, TypeAlias

from approvals.assessing.risk import Band
from approvals.models import Status
from approvals.proposals.search import LONGEST_VALUE, LONGEST_WORD, fold, words_of

LONGEST_QUERY: Final = 400
MOST_TERMS: Final = 12
SHORTEST_START: Final = 3

_E4: Final = 10_000
_MOST: Final = Decimal(2**63 - 1) / _E4
_UNITS: Final[Mapping[str, timedelta]] = {
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_LONGEST_AGE: Final = timedelta(days=3650)


# --- terms ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bands:
    """The risk is one of these."""

    text: str
    ranks: frozenset[int]


@dataclass(frozen=True, slots=True)
class Tool:
    """The call is of this tool."""

    text: str
    name: str


@dataclass(frozen=True, slots=True)
class OfTaskType:
    """The task is of the type with this slug."""

    text: str
    slug: str


@dataclass(frozen=True, slots=True)
class Taint:
    """Some of its values come from untrusted text, or none does."""

    text: str
    tainted: bool


@dataclass(frozen=True, slots=True)
class Amount:
    """The money it moves, in ten-thousandths of the unit of whatever currency it is in."""

    text: str
    comparison: Literal["gt", "gte", "lt", "lte", "exact"]
    e4: int


@dataclass(frozen=True, slots=True)
class Assigned:
    """Whose it is: a user name, `""` for nobody's, None for whoever asks."""

    text: str
    to: str | None


@dataclass(frozen=True, slots=True)
class Older:
    """It has waited at least this long."""

    text: str
    age: timedelta


@dataclass(frozen=True, slots=True)
class Held:
    """Somebody put it off until later, and that has not come yet; without this term such are not shown."""

    text: str


@dataclass(frozen=True, slots=True)
class Pattern:
    """A term of `approvals.proposals.search`, or with `start` all that begin with it."""

    term: str
    start: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """It has all of these among what it is found by."""

    text: str
    patterns: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True)
class InStatus:
    """It was decided, or its time is over."""

    text: str
    status: str


Term: TypeAlias = Bands | Tool | OfTaskType | Taint | Amount | Assigned | Older | Held | Found | InStatus


@dataclass(frozen=True, slots=True)
class Filters:
    """What part of the queue is asked for; without terms all that waits. `me` is the person who asks."""

    terms: tuple[Term, ...] = ()
    me: int | None = None

    @property
    def active(self) -> bool:
        """Whether anything but the whole waiting queue is asked for."""
        return bool(self.terms)

    @property
    def query(self) -> str:
        """The line that means this."""
        return " ".join(term.text for term in self.terms)

    @property
    def status(self) -> str:
        """The status that is listed."""
        return next((term.status for term in self.terms if isinstance(term, InStatus)), Status.PENDING.value)

    @property
    def personal(self) -> bool:
        """Whether it finds something else for somebody else."""
        return any(isinstance(term, Assigned) and term.to is None for term in self.terms)

    @property
    def held(self) -> bool:
        """Whether what was put off is asked for."""
        return any(isinstance(term, Held) for term in self.terms)

    def without(self, term: Term) -> "Filters":
        """Return the same without one term."""
        return replace(self, terms=tuple(one for one in self.terms if one is not term))


# --- errors -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Problem:
    """A part of the line that means nothing: where it begins, what it is, a code, and a sentence for people."""

    at: int
    text: str
    code: Literal["too_long", "too_many", "quote", "unknown_term", "value", "twice", "negation", "wildcard", "closed"]
    message: str


class BadFilter(ValueError):
    """The line could not be read; `problems` says all that is wrong with it."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("; ".join(one.message for one in problems))
        self.problems = problems


class _Refused(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


# --- reading the line -------------------------------------------------------------------------------------------------

_WORDS = re.compile(r'(?:[^\s"]|"[^"]*")+')
_TERM = re.compile(r"(?P<key>[A-Za-z][\w.-]*)(?P<op>:|>=|<=|>|<|=)(?P<value>.*)", re.DOTALL)
_AMOUNT = re.compile(r"\d{1,15}(?:\.\d{1,4})?")
_AGE = re.compile(r"(\d{1,5})([mhd])")
_SLUG = re.compile(r"[-\w]{1,64}")


def parse(line: str, me: int | None = None) -> Filters:
    """Read a filter line for a person; raises `BadFilter`."""
    text = line.strip()
    if len(text) > LONGEST_QUERY:
        raise BadFilter((Problem(0, text[:40], "too_long", f"Keep the filter within {LONGEST_QUERY} characters."),))
    if text.count('"') % 2:
        at = text.rindex('"')
        raise BadFilter((Problem(at, text[at : at + 40], "quote", "A quotation mark is not closed."),))
    words = list(_WORDS.finditer(text))
    if len(words) > MOST_TERMS:
        at = words[MOST_TERMS].start()
        raise BadFilter((Problem(at, text[at : at + 40], "too_many", f"Use at most {MOST_TERMS} terms."),))
    terms: list[Term] = []
    problems: list[Problem] = []
    for word in words:
        try:
            terms.append(_read(word[0], terms))
        except _Refused as refused:
            problems.append(Problem(word.start(), word[0], refused.code, str(refused)))  # type: ignore[arg-type]
    problems.extend(_closed(terms))
    if problems:
        raise BadFilter(tuple(problems))
    return Filters(tuple(terms), me)


def _closed(terms: list[Term]) -> Iterator[Problem]:
    """Name the terms that know only what waits, beside another status."""
    if not any(isinstance(term, InStatus) for term in terms):
        return
    for term in terms:
        if not isinstance(term, InStatus | Bands | Tool | OfTaskType | Taint):
            message = f"{term.text} is only known of what waits; take it out, or take out status:."
            yield Problem(0, term.text, "closed", message)


def _read(word: str, before: list[Term]) -> Term:
    if word.startswith("-") and len(word) > 1:
        raise _Refused("negation", f"{word} excludes something, which the queue cannot do. Say what you want to see.")
    found = _TERM.fullmatch(word)
    if found is None:
        return _text(word, word)
    key, op, value = found["key"].casefold(), found["op"], _unquoted(found["value"])
    if key == "amount":
        return _amount(word, op, value)
    if key.startswith("args.") and len(key) > 5:
        _colon(key, op)
        return _argument(word, key.removeprefix("args."), value)
    reader = _READERS.get(key)
    if reader is None:
        raise _Refused("unknown_term", _unknown(key, word))
    _colon(key, op)
    term = reader(word, value)
    if not isinstance(term, Found) and any(type(one) is type(term) for one in before):
        comma = " Several bands are written band:high,critical." if key == "band" else ""
        raise _Refused("twice", f"{key}: is there twice, and nothing is both.{comma}")
    return term


def _colon(key: str, op: str) -> None:
    if op != ":":
        raise _Refused("value", f"{key} is followed by a colon: {key}:value. Only amount is compared.")


def _unknown(key: str, word: str) -> str:
    known = [*_READERS, "amount", "args.name"]
    close = get_close_matches(key, known, n=1)
    hint = f" Did you mean {close[0]}?" if close else f" There are {', '.join(known)}."
    return f'There is no term {key}.{hint} To look for the text, write text:"{word[:40]}".'


def _unquoted(value: str) -> str:
    return value.replace('"', "")


def _one_of(key: str, value: str, known: Mapping[str, object]) -> None:
    if value not in known:
        raise _Refused("value", f"{key}: takes {', '.join(known)}; {value[:40] or 'nothing'} is none of them.")


_BANDS: Final[Mapping[str, int]] = {band.value: band.rank for band in Band}
_YES_NO: Final[Mapping[str, bool]] = {"yes": True, "no": False}
_STATUSES: Final[Mapping[str, str]] = {status: status for status in Status.values if status != Status.PENDING}
_COMPARISONS: Final[Mapping[str, Literal["gt", "gte", "lt", "lte", "exact"]]] = {
    ">": "gt",
    ">=": "gte",
    "<": "lt",
    "<=": "lte",
    "=": "exact",
}


def _bands(word: str, value: str) -> Term:
    names = value.casefold().split(",")
    for name in names:
        _one_of("band", name, _BANDS)
    return Bands(word, frozenset(_BANDS[name] for name in names))


def _tool(word: str, value: str) -> Term:
    if not value or len(value) > 100 or "*" in value or "\0" in value:
        raise _Refused("value", "tool: takes the whole name of one tool, such as tool:mail.send.")
    return Tool(word, value)


def _task_type(word: str, value: str) -> Term:
    if not _SLUG.fullmatch(value):
        raise _Refused("value", "task: takes the short name of a task type, such as task:support-email.")
    return OfTaskType(word, value)


def _taint(word: str, value: str) -> Term:
    _one_of("taint", value.casefold(), _YES_NO)
    return Taint(word, _YES_NO[value.casefold()])


def _mine(word: str, value: str) -> Term:
    if value.casefold() != "yes":
        raise _Refused("value", "mine: takes yes. What is nobody's is assigned:nobody.")
    return Assigned(word, None)


def _assigned(word: str, value: str) -> Term:
    if not value or len(value) > 150 or "*" in value or "\0" in value:
        raise _Refused("value", "assigned: takes a user name, me or nobody.")
    return Assigned(word, {"me": None, "nobody": ""}.get(value, value))


def _older(word: str, value: str) -> Term:
    found = _AGE.fullmatch(value)
    if found is None:
        raise _Refused("value", "older: takes minutes, hours or days: older:30m, older:2h, older:3d.")
    age = int(found[1]) * _UNITS[found[2]]
    if not age or age > _LONGEST_AGE:
        raise _Refused("value", "older: takes from a minute to ten years.")
    return Older(word, age)


def _held(word: str, value: str) -> Term:
    if value.casefold() != "yes":
        raise _Refused("value", "held: takes yes. What is put off is left out otherwise.")
    return Held(word)


def _status(word: str, value: str) -> Term:
    _one_of("status", value.casefold(), _STATUSES)
    return InStatus(word, _STATUSES[value.casefold()])


def _amount(word: str, op: str, value: str) -> Term:
    comparison = _COMPARISONS.get(op)
    if comparison is None:
        raise _Refused("value", "amount is compared: amount>500, amount>=500, amount<20 or amount=12.50.")
    if not _AMOUNT.fullmatch(value) or (number := Decimal(value)) > _MOST:
        raise _Refused("value", f"{value[:40] or 'Nothing'} is no amount: write digits and a point, such as 1240.50.")
    return Amount(word, comparison, int(number * _E4))


def _argument(word: str, path: str, value: str) -> Term:
    name = fold(path)
    start, end = value.endswith("*"), value.startswith("*")
    core = fold(value.strip("*"))[:LONGEST_VALUE]
    if "*" in core or (start and end):
        raise _Refused("wildcard", f"In args.{name} a * stands at the beginning or at the end, not both.")
    if not core:
        raise _Refused("value", f'args.{name}: needs a value, such as args.{name}:A-1001 or args.{name}:"two words".')
    if end:
        return Found(word, (Pattern(f"r:{name}={core[::-1]}", start=True),))
    return Found(word, (Pattern(f"a:{name}={core}", start=start),))


def _text(word: str, value: str) -> Term:
    patterns: list[Pattern] = []
    for piece in _unquoted(value).split():
        start = piece.endswith("*")
        core = piece.rstrip("*")
        if "*" in core:
            raise _Refused("wildcard", "A * stands at the end of a word.")
        whole = words_of(core)
        if start and (len(whole) != 1 or len(whole[0]) < SHORTEST_START):
            raise _Refused("wildcard", f"A * follows at least {SHORTEST_START} letters of one word.")
        patterns.extend(Pattern(f"w:{one[:LONGEST_WORD]}", start) for one in whole)
    if not patterns:
        raise _Refused("value", 'text: needs a word, such as text:late or text:"late parcel".')
    return Found(word, tuple(patterns[:MOST_TERMS]))


_READERS: Final[Mapping[str, Callable[[str, str], Term]]] = {
    "band": _bands,
    "tool": _tool,
    "task": _task_type,
    "taint": _taint,
    "assigned": _assigned,
    "mine": _mine,
    "older": _older,
    "held": _held,
    "status": _status,
    "text": _text,
}
