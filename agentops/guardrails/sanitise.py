"""Replace what was found by stubs with a handle; everything else stays byte for byte. Pure."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agentops.guardrails.score import Finding
from agentops.wire.parse import JSON, JSONObject, pointer_token

MOST_REMOVED: Final = 40
"""Stretches of one text that are recorded; the last one reaches to the end of what was found."""


@dataclass(frozen=True, slots=True)
class Removed:
    """A stretch that a stub stands for: its place in the raw text, and why it is gone."""

    handle: str
    start: int
    end: int
    codes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sanitised:
    """A text with stubs, and what they stand for, in order. The original stays where it is stored."""

    text: str
    removed: tuple[Removed, ...] = ()


def sanitise(text: str, findings: Sequence[Finding], *, least: float = 0.2) -> Sanitised:
    """Return the text with a stub in place of every flagged stretch; overlapping ones share a stub.

    Findings that weigh less than `least` stay in the text. A handle is made of the place and the content, so the same
    text has the same handles, and `restore` finds the original by it.
    """
    spans: list[tuple[int, int, list[str]]] = []
    for finding in sorted(findings, key=lambda f: f.start):
        start, end = max(0, finding.start), min(len(text), finding.end)
        if finding.weight < least or start >= end:
            continue
        if spans and start <= spans[-1][1]:
            first, last, codes = spans[-1]
            spans[-1] = (first, max(last, end), [*codes, finding.code])
        else:
            spans.append((start, end, [finding.code]))
    parts: list[str] = []
    removed: list[Removed] = []
    at = 0
    for start, end, codes in spans:
        one = Removed(_handle(text[start:end], start), start, end, tuple(dict.fromkeys(codes)))
        parts += (text[at:start], stub(one))
        removed.append(one)
        at = end
    return Sanitised("".join([*parts, text[at:]]), tuple(removed))


def stub(one: Removed) -> str:
    """Return what stands in place of a removed stretch; only our own words are in it."""
    return f"[removed {one.handle}: {', '.join(one.codes)}, {one.end - one.start} characters]"


def recorded(sanitised: Sanitised) -> list[JSON]:
    """Return what was removed as JSON, for an event; of more than `MOST_REMOVED` stretches the last become one."""
    removed = sanitised.removed
    if len(removed) > MOST_REMOVED:
        first, last = removed[MOST_REMOVED - 1], removed[-1]
        removed = (*removed[: MOST_REMOVED - 1], Removed(first.handle, first.start, last.end, first.codes))
    return [
        {"handle": one.handle, "start": one.start, "end": one.end, "codes": list[JSON](one.codes)} for one in removed
    ]


def removed_of(screened: Iterable[JSONObject]) -> dict[str, tuple[Removed, ...]]:
    """Read what an event says was removed: by JSON pointer, with a "#" before it for the name of a member."""
    found: dict[str, tuple[Removed, ...]] = {}
    for one in screened:
        spans = one.get("removed")
        if isinstance(spans, list):
            mark = "#" if one.get("name") else ""
            found[f"{mark}{one.get('path', '')}"] = tuple(_removed(span) for span in spans if isinstance(span, dict))
    return found


def _removed(span: JSONObject) -> Removed:
    codes = span.get("codes")
    named = tuple(str(code) for code in codes) if isinstance(codes, list) else ()
    return Removed(str(span.get("handle", "")), _offset(span.get("start")), _offset(span.get("end")), named)


def _offset(value: JSON) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def stubbed(value: JSON, removed: Mapping[str, Sequence[Removed]], path: str = "") -> JSON:
    """Return a value with stubs in the texts from which something was removed; the value itself where there is none."""
    if not removed:
        return value
    match value:
        case str():
            return _cut(value, removed.get(path, ()))
        case list():
            return [stubbed(member, removed, f"{path}/{index}") for index, member in enumerate(value)]
        case dict():
            made: JSONObject = {}
            for name, member in value.items():
                place = f"{path}/{pointer_token(name)}"
                made[_cut(name, removed.get(f"#{place}", ()))] = stubbed(member, removed, place)
            return made
        case _:
            return value


def cuts(value: JSON, removed: Mapping[str, Sequence[Removed]], path: str = "") -> dict[str, str]:
    """Return the stretches that were removed from a value, each with its stub, to find them where they were copied."""
    match value:
        case str():
            return {value[one.start : one.end]: stub(one) for one in removed.get(path, ())}
        case list():
            found = (cuts(member, removed, f"{path}/{index}") for index, member in enumerate(value))
        case dict():
            found = (cuts(member, removed, f"{path}/{pointer_token(name)}") for name, member in value.items())
        case _:
            return {}
    return {original: marker for part in found for original, marker in part.items()}


def without(value: JSON, copied: Mapping[str, str]) -> JSON:
    """Return a value in which every copy of a removed stretch is its stub as well."""
    match value:
        case str():
            for original, marker in copied.items():
                if len(original) >= _COPY:
                    value = value.replace(original, marker)
            return value
        case list():
            return [without(member, copied) for member in value]
        case dict():
            return {name: without(member, copied) for name, member in value.items()}
        case _:
            return value


_COPY: Final = 8
"""Characters from which on a stretch is looked for elsewhere; shorter ones say nothing and stand in any text."""


def _cut(text: str, removed: Sequence[Removed]) -> str:
    parts: list[str] = []
    at = 0
    for one in removed:
        if at <= one.start < one.end <= len(text):
            parts += (text[at : one.start], stub(one))
            at = one.end
    return "".join([*parts, text[at:]])


def restore(sanitised: Sanitised, original: str) -> str:
    """Return the original again, stub by stub; raises ValueError when the two do not belong together."""
    parts: list[str] = []
    at = 0
    for one in sanitised.removed:
        marker = stub(one)
        where = sanitised.text.find(marker, at)
        if where < 0 or _handle(original[one.start : one.end], one.start) != one.handle:
            raise ValueError(f"{one.handle} does not belong to this text")
        parts += (sanitised.text[at:where], original[one.start : one.end])
        at = where + len(marker)
    return "".join([*parts, sanitised.text[at:]])


def _handle(content: str, start: int) -> str:
    return hashlib.sha256(f"{start}:".encode() + content.encode("utf-8", "surrogatepass")).hexdigest()[:12]
