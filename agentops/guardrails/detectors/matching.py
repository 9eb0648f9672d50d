"""Find many patterns in a text in linear time: literal words first, then RE2 around where one stands. Pure.

Every rule names the words without which it cannot match. An Aho-Corasick automaton finds all words of all rules in one
pass; a rule's pattern is tried only near its words, each character at most once for each rule.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import ahocorasick
import re2

from agentops.guardrails.folding import encodable
from agentops.guardrails.score import Family

MOST: Final = 40
"""Matches of one rule in one view that are told apart; a text with more of them is looked at by the block."""

BLOCK: Final = 2_000
"""Characters that are searched at once, besides the reach of a rule: a match costs RE2 the length of its text."""
STRIDE: Final = 8_000
"""Characters that are searched for words at once."""
DENSE: Final = 60
"""Words in one block from which on it is read through without asking RE2."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern in RE2's syntax over lower-case text, and what a match means.

    A match lies within `before` characters before one of the words and `after` characters behind its beginning.
    """

    family: Family
    code: str
    weight: float
    words: tuple[str, ...]
    pattern: str
    explanation: str
    before: int = 120
    after: int = 220
    also: tuple[str, ...] = ()
    """Further words of which one has to stand near, if any are named: they are too common to begin with."""
    language: str = ""
    """ISO 639-1 code of the language its words are from; empty for English and for what is no language."""


@dataclass(frozen=True, slots=True)
class Match:
    """Where a rule matched, in offsets of the searched text."""

    rule: Rule
    start: int
    end: int


class Matcher:
    """A set of rules, ready to search."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)
        self._patterns: list[Any] = [
            _compiled(across_lines(rule.pattern) if rule.family in PROSE else rule.pattern) for rule in rules
        ]
        users: dict[str, list[int]] = {}
        for index, rule in enumerate(rules):
            for word in rule.words:
                users.setdefault(word, []).append(index)
        self._words: Any = ahocorasick.Automaton()
        for word, indexes in users.items():
            self._words.add_word(word, (len(word), tuple(indexes)))
        self._words.make_automaton()
        self._reach = max(map(len, users))
        self._gate: Any = _compiled("|".join(map(re.escape, sorted(users))), memory=64 << 20)

    def find(self, lowered: str) -> list[Match]:
        """Return the matches of all rules in a lower-case text.

        After `MOST` matches of a rule, one match stands for all in its block and reaches to the block's end.
        """
        windows: dict[int, list[int]] = {}
        flat = lowered.replace("\n", " ").replace("\t", " ").replace("\r", " ")
        for start, indexes in self._hits(flat):
            for index in indexes:
                rule = self._rules[index]
                known = windows.get(index)
                if known is None:
                    windows[index] = [max(0, start - rule.before), start + rule.after]
                elif start - rule.before <= known[-1]:
                    known[-1] = max(known[-1], start + rule.after)
                else:
                    known += (start - rule.before, start + rule.after)
        return [Match(self._rules[i], *span) for i, edges in windows.items() for span in self._in(i, lowered, edges)]

    def _hits(self, lowered: str) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Yield where a word begins and the rules that use it, some words twice.

        RE2 says fast where any word is; the automaton says which, also of those that overlap. Where words stand close
        together the automaton reads on by itself.
        """
        reach = self._reach
        for at in range(0, len(lowered), STRIDE):
            block = lowered[at : at + STRIDE + reach]
            done = 0
            for count, match in enumerate(self._gate.finditer(block)):
                first, last = max(done, match.start() - reach), match.end() + reach
                if count >= DENSE:
                    last = len(block)
                for end, (length, indexes) in self._words.iter(block[first:last]):
                    yield at + first + end + 1 - length, indexes
                done = max(done, last - 2 * reach)
                if count >= DENSE:
                    break

    def _in(self, index: int, lowered: str, edges: list[int]) -> Iterator[tuple[int, int]]:
        pattern = self._patterns[index]
        rule, done, count = self._rules[index], 0, 0
        reach, also = rule.before + rule.after, rule.also
        for first, last in zip(edges[::2], edges[1::2], strict=True):
            for start in range(first, last, BLOCK):
                window = lowered[start : min(last, start + BLOCK + reach)]
                if also and not any(word in window for word in also):
                    continue
                for match in pattern.finditer(window):
                    begin, end = start + match.start(), start + match.end()
                    if end > begin >= done:
                        count += 1
                        if count > MOST:
                            end = start + len(window)
                        done = end
                        yield begin, end
                    if count > MOST:
                        break


_SHORT_WORD: Final = 6
PROSE: Final = (Family.INSTRUCTION, Family.CREDENTIALS)
_WRAP: Final = r"(?:[ \t]{1,3}|[ \t]?\r?\n[ \t>#*/]{0,5})"


def across_lines(pattern: str) -> str:
    """Return a pattern whose spaces match where a line is wrapped as well, quoted or in a comment."""
    parts, inside, at = [], False, 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            parts.append(pattern[at : at + 2])
            at += 2
            continue
        if char == " " and not inside:
            optional = pattern[at + 1 : at + 2] == "?"
            parts.append(f"{_WRAP}?" if optional else _WRAP)
            at += 1 + optional
            continue
        inside = char == "[" or (inside and char != "]")
        parts.append(char)
        at += 1
    return "".join(parts)


def lower(text: str) -> str:
    """Return a text in lower case, of the same length, that UTF-8 can write."""
    lowered = text.lower()
    return encodable(lowered if len(lowered) == len(text) else text.replace("\u0130", "i").lower())


def any_of(stems: str, *, spaced: bool = True) -> str:
    """Return a "|" separated list of stems as a pattern: accents optional, Latin ones only where a word begins."""
    parts = [_accentless(stem) for stem in stems.split("|")]
    if not spaced:
        return f"(?:{'|'.join(parts)})"
    return (
        "(?:"
        + "|".join(
            rf"\b{part}" if stem[0].isascii() else part for part, stem in zip(parts, stems.split("|"), strict=True)
        )
        + ")"
    )


def words_of(stems: str) -> tuple[str, ...]:
    """Return the literal words of a list of stems, with and without their accents."""
    found: dict[str, None] = {}
    for stem in stems.split("|"):
        word = stem.strip()
        found[word] = None
        if len(word) >= _SHORT_WORD:  # a short word without its accents is too often another one
            found[_bare(word)] = None
    return tuple(found)


def _bare(stem: str) -> str:
    return "".join(_plain(char) for char in stem)


def _accentless(stem: str) -> str:
    return (
        "".join(re.escape(char) if (plain := _plain(char)) == char else f"[{char}{plain}]" for char in stem)
        .replace(r"\ ", r"\s+")
        .replace("'", "['’]")
    )


@lru_cache(maxsize=4096)
def _plain(char: str) -> str:
    """Return an accented Latin letter without its accents, any other character as it is."""
    if char in "łđıø":
        return {"ł": "l", "đ": "d", "ı": "i", "ø": "o"}[char]
    base = unicodedata.normalize("NFD", char)[0]
    return base if base.isascii() else char


def _compiled(pattern: str, memory: int = 4 << 20) -> Any:
    options = re2.Options()
    options.max_mem = memory
    options.log_errors = False
    return re2.compile(f"(?s){pattern}", options)
