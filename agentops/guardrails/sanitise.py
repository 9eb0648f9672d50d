"""Replace what was found by stubs with a handle; everything else stays byte for byte. Pure."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from agentops.guardrails.score import Finding


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
