"""Which language a finding is in, where the text itself says so: rules of one language match words of its relatives.

Pure. A language that is not certain is not told.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

import re2

from agentops.guardrails.detectors.matching import PROSE, Match

_ENGLISH: Final[Any] = re2.compile(
    r"\b(?:the|you|your|yours|all|any|and|of|this|these|those|previous|prior|above|now|not|do|with|from|will|what)\b"
)
"""Words that tell English from the languages that share its Latin ones."""


def languages_of(matches: Sequence[Match], lowered: str) -> list[str]:
    """Return the ISO 639-1 code of each match's language, in their order; empty for English and for what is not known.

    Of the languages whose rules match at one place the one counts that more of the text's matches are in than of any
    other; none does where a rule for English matches as well, or English words stand there.
    """
    told = [""] * len(matches)
    if not any(match.rule.language for match in matches):
        return told
    often = Counter(match.rule.language for match in matches if match.rule.language)
    for place in _places(matches):
        language = _language(matches, place, often)
        start, end = matches[place[0]].start, max(matches[index].end for index in place)
        if language and _ENGLISH.search(lowered[start:end]) is None:
            for index in place:
                told[index] = language
    return told


def _language(matches: Sequence[Match], place: Sequence[int], often: Counter[str]) -> str:
    here = {matches[index].rule.language for index in place}
    ranked = sorted(here, key=lambda language: -often[language])
    if "" in here or (ranked[1:] and often[ranked[0]] == often[ranked[1]]):
        return ""
    return ranked[0]


def _places(matches: Sequence[Match]) -> Iterator[list[int]]:
    """Yield the indexes of matches in prose that overlap, directly or through others, in the order of the text."""
    place: list[int] = []
    end = 0
    for index in sorted(range(len(matches)), key=lambda one: matches[one].start):
        match = matches[index]
        if match.rule.family not in PROSE:
            continue
        if place and match.start >= end:
            yield place
            place = []
        end = max(end, match.end) if place else match.end
        place.append(index)
    if place:
        yield place
