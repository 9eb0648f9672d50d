"""Scan a text from outside: look at it in every view, explain what is found, and give it one score. Pure.

A finding raises a score and drops nothing. Time and memory grow with the length of the text alone: it is read in
chunks, patterns are matched in linear time, and what decoding may add is bounded. Where a bound was met, a finding
says so.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import Final

import re2

from agentops.guardrails.classifier import Classifier
from agentops.guardrails.decoding import decoded, wholes_of
from agentops.guardrails.detectors import credentials, exfiltration, forgery, instructions
from agentops.guardrails.detectors.matching import Match, Matcher, lower
from agentops.guardrails.detectors.smuggling import smuggled
from agentops.guardrails.detectors.weights import weight_of
from agentops.guardrails.folding import canonical, folded, spelled, squeezed
from agentops.guardrails.language import languages_of
from agentops.guardrails.markup import apart
from agentops.guardrails.score import DEFAULT, Family, Finding, Settings, score_of
from agentops.guardrails.views import Kind, View

ENGINE: Final = "2026.11.2"
"""Version of detectors and weights; recorded with every scan, because a later one may find more."""
CHUNK: Final = 200_000
OVERLAP: Final = 1_000
MAX_DECODING: Final = 3
"""Encodings inside one another that are undone."""
MAX_VIEWS: Final = 40
MAX_LISTED: Final = 200
"""Findings that are told one by one, the weightiest first; the rest is counted."""

_DECODING: Final = frozenset(
    {Kind.ENTITIES, Kind.URL, Kind.ESCAPES, Kind.BASE64, Kind.BASE32, Kind.HEX, Kind.ROT13, Kind.REVERSED}
)
_HTML: Final = frozenset({Kind.HTML_TEXT, Kind.HTML_COMMENT, Kind.HTML_HIDDEN, Kind.HTML_ALT})
_SPELLED: Final = frozenset({Kind.TAGS, Kind.SELECTORS, Kind.ZERO_WIDTH})
_SUSPICION: Final = {
    **dict.fromkeys(_SPELLED, 1.6),
    **dict.fromkeys((Kind.BASE64, Kind.BASE32, Kind.HEX, Kind.ROT13, Kind.REVERSED), 1.4),
    Kind.HTML_HIDDEN: 1.3,
    Kind.HTML_COMMENT: 1.2,
    Kind.FOLDED: 1.2,
}
"""What is said where people do not read it weighs more."""
_MOST: Final = 0.97
_DISCUSSED: Final = re2.compile(
    r"prompt[- ]injection|jailbreak|attack|malicious|adversar|for example|for instance|e\.g\.|such as|inject|vulnerab"
    r"|phishing|payload|exploit|mitigat|\bllm|owasp|guardrail|red[- ]team|scenario|threat|defen[cs]e|security|risk"
    r"|ataque|angriff|attaque|attacco|атак|攻击|攻擊|攻撃|공격|हमल|επίθεσ|saldırı|serangan|tấn công|هجوم"
    r"|malicios|maliciós|bösartig|malveill|вредонос|恶意|惡意|悪意|악의|दुर्भावना|κακόβουλ|inyecci|injeç|注入|インジェクション|인젝션"
    r"|szenari|escenario|cenário|сценари|シナリオ|시나리오|परिदृश्य|σενάρι|场景|場景|漏洞|脆弱",
)
"""Words of texts about attacks. They lower a weight, never a finding: somebody who attacks may use them as well."""
_OPEN: Final = "\"'`“‘«「『„"
_AROUND: Final = 250
_FAR: Final = 700
_MANY_WORDS: Final = 4
_EXAMPLE: Final = 0.5
_LECTURE: Final = 7
_LECTURED: Final = 0.35
_CLOSE: Final = "\"'`”’»」』"


@dataclass(frozen=True, slots=True)
class Scan:
    """What a scan found: all findings, the weightiest first."""

    score: int
    flagged: bool
    findings: tuple[Finding, ...]
    engine: str = ENGINE

    @property
    def listed(self) -> tuple[Finding, ...]:
        """The findings that are told one by one; `more` counts the rest."""
        return self.findings[:MAX_LISTED]

    @property
    def more(self) -> int:
        return max(0, len(self.findings) - MAX_LISTED)

    @property
    def families(self) -> tuple[Family, ...]:
        """The families of all findings, the weightiest first."""
        return tuple(dict.fromkeys(finding.family for finding in self.findings))


CLEAN: Final = Scan(0, False, ())


def scan(text: str, settings: Settings = DEFAULT, classifiers: Sequence[Classifier] = ()) -> Scan:
    """Return what a text holds against whoever reads it, with offsets in code points.

    Raises what a classifier raises; without one it raises nothing of its own. Whoever calls it for a gate must take an
    error for suspicion.
    """
    findings: list[Finding] = []
    for at in range(0, max(1, len(text)), CHUNK):
        start = max(0, at - OVERLAP)
        findings += _in_chunk(text[start : at + CHUNK], start)
    findings += [one for classifier in classifiers for one in _opinions(classifier, text)]
    if not findings:
        return CLEAN
    kept = _once(findings)
    score = score_of(kept, settings, len(text))
    kept.sort(key=lambda f: (-f.weight, f.start, f.code))
    return Scan(score, score >= settings.threshold, tuple(kept))


def views_of(text: str, at: int = 0) -> Iterator[View]:
    """Yield every view of a text, the raw one first and none twice; the last is followed by nothing if a bound is met.

    `at` is where the text stands in a longer one.
    """
    yield from _views(text, at, [])


def _views(text: str, at: int, met: list[View]) -> Iterator[View]:
    """As `views_of`; what a bound left out goes into `met`."""
    raw = View.raw(text, at)
    waiting, seen = deque([raw]), {text}
    count, budget = 0, 8 * len(text) + 50_000
    while waiting:
        view = waiting.popleft()
        count += 1
        budget -= len(view.text)
        yield view
        for child in _children(view, met):
            if child.text in seen:
                continue
            if count + len(waiting) >= MAX_VIEWS or budget < len(child.text):
                met.append(child)
                continue
            seen.add(child.text)
            waiting.append(child)


def _children(view: View, met: list[View]) -> Iterator[View]:
    if view.kind is Kind.FOLDED:
        return
    if view.kind is not Kind.CANONICAL and not _SPELLED & set(view.path):
        yield from spelled(view)
    base = canonical(view)
    if base is not view:
        yield base
        return  # everything else is made from the canonical one
    plain = folded(view)
    if plain is not view:
        yield plain
    if not _HTML & set(view.path):
        yield from apart(view)
    lowered = lower(view.text)
    yield from squeezed(view, lowered)
    wholes = wholes_of(lowered)
    if Kind.ROT13 in view.path or Kind.REVERSED in view.path:
        wholes = frozenset()
    deep = sum(kind in _DECODING for kind in view.path) >= MAX_DECODING
    for child in decoded(view, wholes):
        if deep:
            met.append(child)
        else:
            yield child


def _in_chunk(text: str, at: int) -> list[Finding]:
    found: list[Finding] = []
    met: list[View] = []
    found += [replace(one, start=one.start + at, end=one.end + at) for one in smuggled(text)]
    for view in _views(text, at, met):
        lowered = lower(view.text)
        matches = _matcher().find(lowered)
        if not matches:
            continue
        talk = _Talk(lowered)
        factor = max((_SUSPICION.get(kind, 1.0) for kind in view.path), default=1.0)
        where = view.where()
        for match, language in zip(matches, languages_of(matches, lowered), strict=True):
            start, end = view.origin(match.start, match.end)
            # What the raw text says there as well was not hidden by what made this view.
            plain = view.kind is Kind.FOLDED and text[start - at : end - at] == view.text[match.start : match.end]
            times = 1.0 if plain else factor
            if view.depth == 0 or factor == 1.0:
                times *= talk.part(match)
            weight = 1.0 - (1.0 - weight_of(match.rule)) ** times
            about = "; ".join(one for one in (f"language: {language}" if language else "", where) if one)
            told = match.rule.explanation + (f" ({about})" if about else "")
            path = " > ".join(view.path)
            found.append(Finding(match.rule.family, match.rule.code, told, start, end, path, min(_MOST, weight)))
    if met:
        start, end = met[0].origin(0, len(met[0].text))
        told = f"{len(met)} more layers of encoding than are looked through"
        found.append(Finding(Family.SMUGGLING, "not_looked_through", told, start, end, "raw", 0.3))
    return found


class _Talk:
    """How far a text talks about attacks instead of making one; its words are found once, when they are asked for."""

    def __init__(self, lowered: str) -> None:
        self._text = lowered
        self._words: list[tuple[int, str]] | None = None

    def part(self, match: Match) -> float:
        """Return how much a match counts that is an example in a text about attacks: part of its weight."""
        start, end = match.start, match.end
        before = self._text[max(0, start - 80) : start]
        if self._spoken(start - _FAR, end + _FAR, _LECTURE):
            return _LECTURED
        if any(mark in before for mark in _OPEN) and any(mark in self._text[end : end + 200] for mark in _CLOSE):
            return _EXAMPLE if self._spoken(start - _AROUND, end + _AROUND, 1) else 1.0
        if match.rule.family is Family.FORGERY:
            return 1.0
        return _EXAMPLE if self._spoken(start - _FAR, end + _FAR, _MANY_WORDS) else 1.0

    def _spoken(self, start: int, end: int, enough: int) -> bool:
        """Say whether so many different words of that kind stand between two places."""
        if self._words is None:
            self._words = [(m.start(), m.group()) for m in _DISCUSSED.finditer(self._text)]
        found: set[str] = set()
        for place, word in islice(self._words, bisect_left(self._words, (start, "")), None):
            if place > end:
                break
            found.add(word)
            if len(found) >= enough:
                return True
        return False


def _opinions(classifier: Classifier, text: str) -> Iterator[Finding]:
    for opinion in classifier.judge(text):
        start = min(max(0, opinion.start), len(text))
        end = min(max(start, opinion.end), len(text))
        weight = min(_MOST, max(0.0, opinion.probability))
        told = opinion.explanation or f"{classifier.name} takes this for an attack"
        yield Finding(Family.CLASSIFIER, f"classifier.{classifier.name}", told, start, end, "raw", weight)


def _once(findings: Sequence[Finding]) -> list[Finding]:
    """Return findings without those that say of a place what a weightier one with the same code says."""
    kept: dict[str, list[Finding]] = {}
    for finding in sorted(findings, key=lambda f: (f.code, f.start, -f.weight)):
        same = kept.setdefault(finding.code, [])
        if same and finding.start < same[-1].end:
            if finding.weight > same[-1].weight:
                same[-1] = replace(
                    finding, start=min(finding.start, same[-1].start), end=max(finding.end, same[-1].end)
                )
            continue
        same.append(finding)
    return [finding for same in kept.values() for finding in same]


@lru_cache(maxsize=1)
def _matcher() -> Matcher:
    return Matcher((*instructions.rules(), *forgery.rules(), *exfiltration.rules(), *credentials.rules()))
