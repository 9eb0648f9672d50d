"""Characters that hide text or pose as others: tags, bidi controls, zero-width, selectors, look-alike letters."""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from agentops.guardrails.folding import look_alikes
from agentops.guardrails.score import Family, Finding
from agentops.guardrails.text import hidden_runs

_WORDS_OF: Final = {
    "tag_characters": "Invisible tag characters that can spell a hidden text",
    "bidi_control": "Controls that change the order in which letters are shown",
    "invisible_character": "Characters that are not shown",
    "variation_selector": "Variation selectors where no character takes one; they can carry hidden bytes",
    "mixed_script": "Words that mix letters of several scripts that look alike",
    "control_character": "Control characters that are not shown",
}
_HARMLESS_ALONE: Final = frozenset(
    {"\u200e", "\u200f", "\u00ad", "\ufeff", "\ufe0f", "\ufe0e", "\x0c", "\x85", "\u061c"}
)
"""Marks of direction, soft hyphens, byte order marks and the like: ordinary texts have them."""
_WORD: Final = re.compile(r"[^\W\d_]{2,60}")
_MANY_MIXED: Final = 3
SINGLY: Final = 40
TOGETHER: Final = 2_000
"""Characters that findings of one kind are gathered over, once there are many."""


def smuggled(text: str) -> Iterator[Finding]:
    """Yield what a raw text smuggles. A run of one class is one finding; what writing needs is none.

    After `SINGLY` findings with one code those that stand close together are one.
    """
    if text.isascii() and not _CONTROL.search(text):
        return
    yield from _gathered(text, _hidden(text))
    yield from _gathered(text, _mixed_words(text))
    for match in _STACKED.finditer(text):
        yield Finding(
            Family.SMUGGLING, "stacked_marks", "A letter under a pile of marks", match.start(), match.end(), "raw", 0.3
        )


Mark = tuple[str, int, int, float]
"""Code, start, end and weight of something that is smuggled."""


def _hidden(text: str) -> Iterator[Mark]:
    for start, end, code in hidden_runs(text):
        yield code, start, end, _weight(code, text, start, end)


def _mixed_words(text: str) -> Iterator[Mark]:
    if not _mixed().search(text):
        return
    count = 0
    for match in _WORD.finditer(text):
        word = match.group()
        if not word.isascii() and _mixed().search(word):
            count += 1
            yield "mixed_script", match.start(), match.end(), 0.45 if count >= _MANY_MIXED else 0.25


def _gathered(text: str, marks: Iterator[Mark]) -> Iterator[Finding]:
    counts: dict[str, int] = {}
    open_ones: dict[str, tuple[int, int, float]] = {}
    for code, start, end, weight in marks:
        count = counts[code] = counts.get(code, 0) + 1
        if count <= SINGLY:
            yield Finding(Family.SMUGGLING, code, _told(code, text[start:end]), start, end, "raw", weight)
            continue
        begin, _, most = open_ones.get(code, (start, end, weight))
        if end - begin <= TOGETHER or begin == start:
            open_ones[code] = (begin, end, max(most, weight))
        else:
            yield _many(code, *open_ones[code])
            open_ones[code] = (start, end, weight)
    for code, one in open_ones.items():
        yield _many(code, *one)


def _many(code: str, start: int, end: int, weight: float) -> Finding:
    told = f"Many close together: {_WORDS_OF[code][:1].lower()}{_WORDS_OF[code][1:]}"
    return Finding(Family.SMUGGLING, code, told, start, end, "raw", weight)


def _told(code: str, run: str) -> str:
    if code == "mixed_script":
        return f"A word that mixes {_scripts(run)}, whose letters look alike"
    return _WORDS_OF[code] + (f" ({len(run)} of them)" if len(run) > 1 else "")


def _weight(code: str, text: str, start: int, end: int) -> float:
    run, inside = text[start:end], _inside_word(text, start, end)
    if code == "tag_characters":
        return 0.9 if end - start >= 3 else 0.4
    if code == "variation_selector":
        return 0.8 if end - start >= 4 else 0.05
    if code == "bidi_control":
        if set(run) <= _HARMLESS_ALONE or (end - start == 1 and run in "\u2066\u2067\u2068\u2069\u202a\u202b\u202c"):
            return 0.05
        return 0.5
    if code == "control_character":
        return 0.05 if set(run) <= _HARMLESS_ALONE | {"\r"} else 0.15
    if set(run) <= _HARMLESS_ALONE:
        return 0.05
    if end - start >= 8:
        return 0.7
    return 0.35 if inside else 0.1


def _inside_word(text: str, start: int, end: int) -> bool:
    """Say whether Latin letters stand on both sides, where nothing invisible belongs."""
    before, after = text[start - 1 : start], text[end : end + 1]
    return bool(before and after) and before.isascii() and after.isascii() and before.isalpha() and after.isalpha()


def _scripts(word: str) -> str:
    names = dict.fromkeys(unicodedata.name(char, "?").split()[0].title() for char in word if char.isalpha())
    return " and ".join(list(names)[:3])


@lru_cache(maxsize=1)
def _mixed() -> re.Pattern[str]:
    return re.compile(f"[{look_alikes()}](?:(?=[A-Za-z])|(?<=[A-Za-z].))")


_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_STACKED: Final = re.compile("[A-Za-z][\u0300-\u036f\u0489]{3,40}(?:[A-Za-z ][\u0300-\u036f\u0489]{0,40}){0,200}")
