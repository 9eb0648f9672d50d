"""The difference between two texts as a reviewer reads it: lines, and the words inside the lines that changed. Pure.

What is compared is bounded, because comparing long texts takes the square of their length; beyond the bound both are
shown whole.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final, Literal

MAX_LINES: Final = 600
MAX_CHARS: Final = 40_000
_MAX_WORDS: Final = 400
_AROUND: Final = 2

Op = Literal["same", "added", "removed", "folded"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of text within a line; `changed` where the other text has something else."""

    text: str
    changed: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a difference; `folded` stands for `count` lines that are the same in both."""

    op: Op
    pieces: tuple[Piece, ...] = ()
    count: int = 1


def difference(before: str, after: str) -> list[Line]:
    """Return the lines of both texts in order, unchanged runs folded down to two lines around each change."""
    old, new = before.split("\n"), after.split("\n")
    if len(old) + len(new) > MAX_LINES or len(before) + len(after) > MAX_CHARS:
        return [*_whole("removed", old), *_whole("added", new)]
    lines: list[Line] = []
    for tag, i, j, k, m in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            lines.extend(Line("same", (Piece(text),)) for text in old[i:j])
        else:
            lines.extend(_changed(old[i:j], new[k:m]))
    return list(_folded(lines))


def _whole(op: Op, texts: Sequence[str]) -> list[Line]:
    return [Line(op, (Piece(text, changed=True),)) for text in texts]


def _changed(old: Sequence[str], new: Sequence[str]) -> Iterator[Line]:
    """Yield the removed lines and then the added ones; lines that face each other are compared word by word."""
    pairs = [_words(one, other) for one, other in zip(old, new, strict=False)]
    for index, text in enumerate(old):
        yield Line("removed", pairs[index][0] if index < len(pairs) else (Piece(text, changed=True),))
    for index, text in enumerate(new):
        yield Line("added", pairs[index][1] if index < len(pairs) else (Piece(text, changed=True),))


def _words(old: str, new: str) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    one, other = re.findall(r"\w+|\s+|[^\w\s]", old), re.findall(r"\w+|\s+|[^\w\s]", new)
    if len(one) + len(other) > _MAX_WORDS:
        return (Piece(old, changed=True),), (Piece(new, changed=True),)
    left: list[Piece] = []
    right: list[Piece] = []
    for tag, i, j, k, m in SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
        changed = tag != "equal"
        if i < j:
            left.append(Piece("".join(one[i:j]), changed))
        if k < m:
            right.append(Piece("".join(other[k:m]), changed))
    return tuple(left), tuple(right)


def _folded(lines: Sequence[Line]) -> Iterator[Line]:
    near = [False] * len(lines)
    for index, line in enumerate(lines):
        if line.op != "same":
            for place in range(max(0, index - _AROUND), min(len(lines), index + _AROUND + 1)):
                near[place] = True
    hidden = 0
    for index, line in enumerate(lines):
        if near[index]:
            if hidden:
                yield Line("folded", count=hidden)
            hidden = 0
            yield line
        else:
            hidden += 1
    if hidden:
        yield Line("folded", count=hidden)
