"""The action in one sentence, from the contract's template and the frozen arguments alone. Pure, never raises.

Nothing an agent wrote about the call gets in here, only the values that would execute.
"""

from collections.abc import Sequence
from typing import Final, TypedDict

from agentops.engine.plan import as_text
from agentops.wire.money import format_money
from agentops.wire.parse import JSON, JSONObject, WireError, pointer_token
from tools.contracts import ArgumentRole, SentenceField, ToolContract, sentence_fields

MAX_SHOWN: Final = 80
_TAIL: Final = 24
_RECIPIENTS_SHOWN: Final = 3


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

    A placeholder without a value stays as it is written in the template.
    """
    parts: list[Part] = []
    template, done = contract.sentence, 0
    for field in sentence_fields(template):
        written = _literally(field)
        start = template.index(written, done)
        if start > done:
            parts.append({"t": template[done:start]})
        parts.append(_part(field, written, contract, arguments))
        done = start + len(written)
    if done < len(template):
        parts.append({"t": template[done:]})
    return parts


def plain(parts: Sequence[Part]) -> str:
    """Return a rendered sentence as one line of text."""
    return "".join(str(part.get("text", part.get("t", ""))) for part in parts)


def _part(field: SentenceField, written: str, contract: ToolContract, arguments: JSONObject) -> Part:
    if field.argument not in arguments:
        return {"t": written}
    authority = contract.roles.get(field.argument) is ArgumentRole.AUTHORITY
    shown = _shown(field, arguments, authority=authority)
    return {"arg": f"/{pointer_token(field.argument)}", "text": shown}


def _shown(field: SentenceField, arguments: JSONObject, *, authority: bool) -> str:
    value = arguments[field.argument]
    match field.formatter:
        case "money":
            return _money(value, arguments.get(field.parameter))
        case "recipients":
            return _recipients(value)
        case "quote":
            return f"“{shorten(_words(value), keep_end=authority)}”"
        case _:
            return shorten(_words(value), keep_end=authority)


def _money(amount: JSON, currency: JSON) -> str:
    if isinstance(amount, int) and not isinstance(amount, bool) and isinstance(currency, str):
        try:
            return format_money(amount, currency)
        except ValueError:
            pass
    return f"{shorten(_words(amount))} minor units of {shorten(_words(currency)) or 'no currency'}"


def _recipients(value: JSON) -> str:
    listed = value if isinstance(value, list) else [value]
    split = [one.strip() for each in listed for one in _words(each).split(",") if one.strip()]
    if not split:
        return "nobody"
    shown = ", ".join(shorten(one, keep_end=True) for one in split[:_RECIPIENTS_SHOWN])
    more = len(split) - _RECIPIENTS_SHOWN
    return f"{shown} and {more} more ({len(split)} recipients)" if more > 0 else shown


def _words(value: JSON) -> str:
    if value is None:
        return "nothing"
    try:
        return as_text(value)
    except WireError:
        return str(value)


def shorten(text: str, *, keep_end: bool = False) -> str:
    """Cut a long text and say by how much; `keep_end` cuts the middle, because an address ends in its domain."""
    cut = len(text) - MAX_SHOWN
    if cut <= 0:
        return text
    if keep_end:
        return f"{text[: MAX_SHOWN - _TAIL]}… ({cut:,} characters) …{text[-_TAIL:]}"
    return f"{text[:MAX_SHOWN]}… ({cut:,} more characters)"


def _literally(field: SentenceField) -> str:
    formatter = f"|{field.formatter}" if field.formatter else ""
    parameter = f":{field.parameter}" if field.parameter else ""
    return f"{{{field.argument}{formatter}{parameter}}}"
