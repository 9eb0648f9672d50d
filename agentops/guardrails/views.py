"""Views of a text: what it says once folded, decoded or taken apart, each with a map back to the text as it came. Pure.

Detectors read every view; what they find is told in offsets of the raw text, because that is what people see and what
the sanitiser cuts. A view is made of pieces of its parent: kept as they are, or put in place of a stretch of it.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Self


class Kind(StrEnum):
    """How a view was made from the text before it."""

    RAW = "raw"
    CANONICAL = "canonical"
    """NFKC, without invisible characters."""
    FOLDED = "folded"
    """Look-alike letters, digits in place of letters and spread letters made plain."""
    HTML_TEXT = "html.text"
    HTML_COMMENT = "html.comment"
    HTML_HIDDEN = "html.hidden"
    HTML_ALT = "html.alt"
    TAGS = "tags"
    """What Unicode tag characters spell."""
    SELECTORS = "selectors"
    """What variation selectors spell, one byte each."""
    ZERO_WIDTH = "zero_width"
    """What two kinds of invisible characters spell, one bit each."""
    ENTITIES = "entities"
    URL = "url"
    ESCAPES = "escapes"
    BASE64 = "base64"
    BASE32 = "base32"
    HEX = "hex"
    ROT13 = "rot13"
    REVERSED = "reversed"


WORDS: Final[dict[Kind, str]] = {
    Kind.RAW: "as it stands",
    Kind.CANONICAL: "after invisible characters are taken out and compatible forms made one",
    Kind.FOLDED: "after look-alike, replaced or spread letters are made plain",
    Kind.HTML_TEXT: "in the text between the tags",
    Kind.HTML_COMMENT: "in a comment that a page does not show",
    Kind.HTML_HIDDEN: "in an element that a page hides",
    Kind.HTML_ALT: "in an alternative text or title",
    Kind.TAGS: "spelled with invisible tag characters",
    Kind.SELECTORS: "spelled with variation selectors",
    Kind.ZERO_WIDTH: "spelled with zero-width characters",
    Kind.ENTITIES: "written as character references",
    Kind.URL: "written in percent encoding",
    Kind.ESCAPES: "written in backslash escapes",
    Kind.BASE64: "encoded in base64",
    Kind.BASE32: "encoded in base32",
    Kind.HEX: "encoded in hexadecimal",
    Kind.ROT13: "written in rot13",
    Kind.REVERSED: "written backwards",
}
"""How a person is told where something was found."""


@dataclass(frozen=True, slots=True)
class View:
    """A text made from another one. `path` names every step from the raw text; offsets are code points.

    Segment i begins at `starts[i]` and stands for the raw text from `origins[i]` to `ends[i]`: character by character
    where both are of one length, else as a whole.
    """

    path: tuple[Kind, ...]
    text: str
    starts: "array[int]"
    origins: "array[int]"
    ends: "array[int]"

    @classmethod
    def raw(cls, text: str, at: int = 0) -> Self:
        """Return the view that every other one comes from; `at` is where the text stands in a longer one."""
        return cls((Kind.RAW,), text, array("q", [0]), array("q", [at]), array("q", [at + len(text)]))

    @property
    def kind(self) -> Kind:
        return self.path[-1]

    @property
    def depth(self) -> int:
        """How many steps lie between the raw text and this view."""
        return len(self.path) - 1

    def where(self) -> str:
        """Say in words how the view was made; nothing for the raw text."""
        return ", ".join(WORDS[kind] for kind in self.path[1:] if kind is not Kind.CANONICAL)

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """Return the raw stretch that the characters from `start` to `end` stand for, never an empty one."""
        first, _ = self._at(start)
        _, last = self._at(max(start, end - 1))
        return first, max(last, first + 1)

    def _at(self, index: int) -> tuple[int, int]:
        """Return the raw stretch of one character."""
        which = bisect_right(self.starts, index) - 1
        begin, origin, end = self.starts[which], self.origins[which], self.ends[which]
        following = self.starts[which + 1] if which + 1 < len(self.starts) else len(self.text)
        if following - begin == end - origin:
            return origin + index - begin, origin + index - begin + 1
        return origin, end


@dataclass(slots=True)
class Pieces:
    """A view in the making: pieces of its parent, in any order."""

    parent: View
    kind: Kind
    parts: list[str] = field(default_factory=list)
    length: int = 0
    starts: "array[int]" = field(default_factory=lambda: array("q"))
    origins: "array[int]" = field(default_factory=lambda: array("q"))
    ends: "array[int]" = field(default_factory=lambda: array("q"))

    def keep(self, start: int, end: int) -> None:
        """Take the parent's characters from `start` to `end` as they are."""
        if end <= start:
            return
        parent = self.parent
        which = bisect_right(parent.starts, start) - 1
        count = len(parent.starts)
        at = start
        while at < end:
            begin, origin, last = parent.starts[which], parent.origins[which], parent.ends[which]
            following = parent.starts[which + 1] if which + 1 < count else len(parent.text)
            until = min(end, following)
            self.starts.append(self.length + at - start)
            if following - begin == last - origin:
                self.origins.append(origin + at - begin)
                self.ends.append(origin + until - begin)
            else:
                self.origins.append(origin)
                self.ends.append(last)
            at, which = until, which + 1
        self.parts.append(parent.text[start:end])
        self.length += end - start

    def put(self, text: str, start: int, end: int) -> None:
        """Put a text in place of the parent's characters from `start` to `end`."""
        if not text:
            return
        origin, last = self.parent.origin(start, end)
        self.starts.append(self.length)
        self.origins.append(origin)
        self.ends.append(last)
        self.parts.append(text)
        self.length += len(text)

    def view(self) -> View:
        """Return what came of it; an empty view has one segment all the same."""
        if not self.starts:
            self.starts.append(0)
            self.origins.append(self.parent.origins[0])
            self.ends.append(self.parent.origins[0])
        return View((*self.parent.path, self.kind), "".join(self.parts), self.starts, self.origins, self.ends)


def strung(view: View, kind: Kind, runs: Sequence[tuple[int, int, str]]) -> Iterator[View]:
    """Yield the view of what runs of a text stand for, a line each, given as (start, end, text); none for no text."""
    pieces = Pieces(view, kind)
    for start, end, text in runs:
        if text:
            pieces.put(text + "\n", start, end)
    if pieces.length:
        yield pieces.view()
