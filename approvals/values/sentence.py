"""The action in one sentence, from the contract's template and the frozen arguments alone. Pure, never raises.

Nothing an agent wrote about the call gets in here, only the values that would execute. Whatever decides where the
effect lands (the authority arguments) is named even if the template forgot it, and is not pushed out of view by its own
length or by its neighbours: of many recipients the odd ones out come first, of a URL the host.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, TypedDict

from agentops.engine.plan import as_text
from agentops.wire.money import format_money
from agentops.wire.parse import JSON, JSONObject, WireError, pointer_token
from approvals.values.hosts import domain_of, host_of
from approvals.values.kinds import kinds_of, masked
from approvals.values.statements import statement_words
from tools.contracts import ArgumentRole, SentenceField, ToolContract, sentence_fields

MAX_SHOWN: Final = 80
MAX_AUTHORITY: Final = 160
_TAIL: Final = 24
_AUTHORITY_TAIL: Final = 64
_RECIPIENTS_SHOWN: Final = 6
_GROUPS_SHOWN: Final = 4
_LEAVES_SHOWN: Final = 8


class Text(TypedDict):
    """Words of the template."""

    t: str


class Value(TypedDict):
    """A value of an argument: its JSON pointer and how it is shown."""

    arg: str
    text: str


Part = Text | Value


def render(contract: ToolContract, arguments: JSONObject) -> list[Part]:
    """Return the contract's sentence, filled in: words and argument values in turn.

    A placeholder without a value stays as it is written in the template. Authority arguments that the template does not
    name follow it, each with its name.
    """
    parts: list[Part] = []
    template, done = contract.sentence, 0
    named: set[str] = set()
    for field in sentence_fields(template):
        written = _literally(field)
        start = template.index(written, done)
        if start > done:
            parts.append({"t": template[done:start]})
        parts.append(_part(field, written, contract, arguments))
        named |= {field.argument, field.parameter}
        done = start + len(written)
    if done < len(template):
        parts.append({"t": template[done:]})
    parts.extend(_unnamed(contract, arguments, named))
    return parts


def plain(parts: Sequence[Part]) -> str:
    """Return a rendered sentence as one line of text."""
    return "".join(str(part.get("text", part.get("t", ""))) for part in parts)


def _unnamed(contract: ToolContract, arguments: JSONObject, named: set[str]) -> Iterator[Part]:
    for name in contract.authority:
        if name in named or arguments.get(name) in (None, "", [], {}):
            continue
        yield {"t": f"; {name.replace('_', ' ')}: "}
        yield _part(SentenceField(name, "", ""), "", contract, arguments)


def _part(field: SentenceField, written: str, contract: ToolContract, arguments: JSONObject) -> Part:
    if field.argument not in arguments:
        return {"t": written}
    if kinds_of(contract).get(field.argument) == "secret":
        return {"arg": f"/{pointer_token(field.argument)}", "text": masked(arguments[field.argument])}
    authority = contract.roles.get(field.argument) is ArgumentRole.AUTHORITY
    shown = _shown(field, arguments, authority=authority)
    return {"arg": f"/{pointer_token(field.argument)}", "text": shown}


def _shown(field: SentenceField, arguments: JSONObject, *, authority: bool) -> str:
    value = arguments[field.argument]
    match field.formatter, value:
        case "money", _:
            return _money(value, arguments.get(field.parameter))
        case "recipients", _:
            return _recipients(value)
        case "quote", _:
            return f"“{_cut(_words(value), authority=authority)}”"
        case "sql", str():
            return statement_words(value)
        case "url", str():
            return _url(value)
        case _, dict() | list() if authority:
            return _members(value)
        case _, str() if authority and "://" in value:
            return _url(value)
        case _:
            return _cut(_words(value), authority=authority)


def _money(amount: JSON, currency: JSON) -> str:
    if isinstance(amount, int) and not isinstance(amount, bool) and isinstance(currency, str):
        try:
            return format_money(amount, currency)
        except ValueError:
            pass
    return f"{shorten(_words(amount))} minor units of {shorten(_words(currency)) or 'no currency'}"


def _recipients(value: JSON) -> str:
    """Name up to six; of more, every domain with how many it has, the rarest first and by address."""
    listed = value if isinstance(value, list) else [value]
    split = [one.strip() for each in listed for one in _words(each).split(",") if one.strip()]
    if not split:
        return "nobody"
    if len(split) <= _RECIPIENTS_SHOWN:
        return ", ".join(_cut(one, authority=True) for one in split)
    counts = Counter(domain_of(one) for one in split)
    groups = sorted(counts, key=lambda domain: (counts[domain], domain))
    shown: list[str] = []
    for domain in groups[:_GROUPS_SHOWN]:
        members = [one for one in split if domain_of(one) == domain]
        if len(members) <= 2:
            shown.extend(_cut(one, authority=True) for one in members)
        else:
            where = _cut(domain, authority=True) or "no domain"
            shown.append(f"{_cut(members[0], authority=True)} and {len(members) - 1} more at {where}")
    rest = len(groups) - _GROUPS_SHOWN
    more = f" and {rest} more domains" if rest > 0 else ""
    return f"{len(split)} recipients: {', '.join(shown)}{more}"


def _url(value: str) -> str:
    """Name the host that is really asked before the address, in which it may be hard to find."""
    host = host_of(value)
    return f"{host or 'an unreadable host'} ({_cut(value, authority=True)})"


def _members(value: JSON) -> str:
    """Name every member of a structured value with its own cut, so that no long one hides the others."""
    found = [(path, member) for path, member in _leaves(value, "") if member not in (None, "", [], {})]
    shown = [f"{path}: {_cut(_words(member), authority=True)}" if path else _words(member) for path, member in found]
    more = len(shown) - _LEAVES_SHOWN
    return ", ".join(shown[:_LEAVES_SHOWN]) + (f" and {more} more values" if more > 0 else "") or "nothing"


def _leaves(value: JSON, path: str) -> Iterator[tuple[str, JSON]]:
    match value:
        case dict() if value:
            for name, member in value.items():
                yield from _leaves(member, f"{path}.{name}" if path else name)
        case list() if value:
            for index, member in enumerate(value, 1):
                yield from _leaves(member, f"{path} {index}" if path else str(index))
        case _:
            yield path, value


def _words(value: JSON) -> str:
    if value is None:
        return "nothing"
    try:
        return as_text(value)
    except WireError:
        return str(value)


def _cut(text: str, *, authority: bool) -> str:
    return shorten(text, keep_end=True, most=MAX_AUTHORITY, tail=_AUTHORITY_TAIL) if authority else shorten(text)


def shorten(text: str, *, keep_end: bool = False, most: int = MAX_SHOWN, tail: int = _TAIL) -> str:
    """Cut a long text and say by how much; `keep_end` cuts the middle, because an address ends in its domain."""
    cut = len(text) - most
    if cut <= 0:
        return text
    if keep_end:
        return f"{text[: most - tail]}… ({cut:,} characters) …{text[-tail:]}"
    return f"{text[:most]}… ({cut:,} more characters)"


def _literally(field: SentenceField) -> str:
    formatter = f"|{field.formatter}" if field.formatter else ""
    parameter = f":{field.parameter}" if field.parameter else ""
    return f"{{{field.argument}{formatter}{parameter}}}"
