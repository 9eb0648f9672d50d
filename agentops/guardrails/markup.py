"""HTML and Markdown-with-HTML taken apart, with offsets: what a page shows, its comments, what it hides, its alt texts.

`text.html_text` renders a document for people; this one feeds detectors, so it keeps every character's place, reads any
length in linear time, and puts what it cannot judge with what is shown. Hidden means what `text` calls hidden.
"""

import re
from dataclasses import dataclass, field
from html import unescape
from typing import Final

from agentops.guardrails.text import hidden_by
from agentops.guardrails.views import Kind, Pieces, View

_LIKELY: Final = re.compile(r"<(?:[A-Za-z][^\s<>]{0,30}[\s>/]|!--|/[A-Za-z])")
_TAG: Final = re.compile(
    r"""<(/?)([A-Za-z][^\s/>]{0,60})([^"'<>]{0,600}+(?:(?:"[^"]{0,2000}+"|'[^']{0,2000}+')[^"'<>]{0,600}+){0,40}+)>"""
)
_ATTRIBUTE: Final = re.compile(
    r"""([A-Za-z-]{1,40})\s{0,9}=\s{0,9}(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))|([A-Za-z-]{1,40})"""
)
_ALTS: Final = frozenset({"alt", "title", "aria-label", "summary", "placeholder", "content", "data-prompt"})
_REACH: Final = 4096
"""Characters of one tag; a longer one counts as text."""
_MOST_STYLED: Final = 20_000
"""Different start tags whose attributes are judged in one text; the rest count as shown."""
_VOID: Final = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"})
_BREAKS: Final = frozenset(
    {"br", "p", "div", "li", "tr", "td", "th", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul"}
)
_RAW: Final = frozenset({"script", "style"})


@dataclass(slots=True)
class _Reader:
    """Walks a text once. `hidden_at` is how deep the stack was when something hidden began, 0 when nothing is."""

    view: View
    shown: Pieces
    hidden: Pieces
    comments: Pieces
    alts: Pieces
    stack: list[str] = field(default_factory=list)
    open: dict[str, list[int]] = field(default_factory=dict)
    hidden_at: int = 0
    judged: dict[tuple[str, str], bool] = field(default_factory=dict)

    def read(self) -> None:
        text, at = self.view.text, 0
        while (start := text.find("<", at)) >= 0:
            self.take(at, start)
            at = self.markup(start)
        self.take(at, len(text))

    def markup(self, start: int) -> int:
        """Consume what begins with the `<` at `start`; return the index after it."""
        text = self.view.text
        if text.startswith("<!--", start):
            end = text.find("-->", start + 4)
            self.note(self.comments, start + 4, len(text) if end < 0 else end)
            return len(text) if end < 0 else end + 3
        far = text.find(">", start, start + _REACH) < 0
        match = None if far else _TAG.match(text, start, start + _REACH)
        if match is None:
            self.take(start, start + 1)
            return start + 1
        closing, name, attributes = match.groups()
        tag = name.lower()
        if tag in _BREAKS:
            self.gap(start, match.end())
        if closing:
            self.close(tag)
        else:
            self.begin(tag, attributes, match.start(3))
        if tag in _RAW and not closing:
            end = text.find(f"</{name}", match.end())
            return len(text) if end < 0 else end
        return match.end()

    def take(self, start: int, end: int) -> None:
        """Put a stretch of text where it belongs."""
        if start < end:
            (self.hidden if self.hidden_at else self.shown).keep(start, end)

    def note(self, pieces: Pieces, start: int, end: int) -> None:
        if start < end:
            pieces.keep(start, end)
            pieces.put("\n", end - 1, end)

    def gap(self, start: int, end: int) -> None:
        pieces = self.hidden if self.hidden_at else self.shown
        if pieces.parts and not pieces.parts[-1].endswith("\n"):
            pieces.put("\n", start, end)

    def begin(self, tag: str, attributes: str, at: int) -> None:
        if attributes:
            for match in _ATTRIBUTE.finditer(attributes):
                if (match.group(1) or "").lower() in _ALTS:
                    which = next(i for i in (2, 3, 4) if match.group(i) is not None)
                    self.note(self.alts, at + match.start(which), at + match.end(which))
        if tag in _VOID or attributes.endswith("/"):
            return
        self.stack.append(tag)
        self.open.setdefault(tag, []).append(len(self.stack))
        if not self.hidden_at and self.hides(tag, attributes):
            self.gap(at - 1, at)
            self.hidden_at = len(self.stack)

    def hides(self, tag: str, attributes: str) -> bool:
        if not attributes and tag != "template":
            return False
        key = (tag, attributes)
        if key not in self.judged:
            if len(self.judged) >= _MOST_STYLED:
                return False
            given = {
                (m.group(1) or m.group(5)).lower(): unescape(next((g for g in m.group(2, 3, 4) if g is not None), ""))
                for m in _ATTRIBUTE.finditer(attributes)
            }
            self.judged[key] = hidden_by(tag, given)
        return self.judged[key]

    def close(self, tag: str) -> None:
        depths = self.open.get(tag)
        if not depths:
            return
        depth = depths[-1]
        for name in self.stack[depth - 1 :]:
            self.open[name].pop()
        del self.stack[depth - 1 :]
        if self.hidden_at > len(self.stack):
            self.hidden_at = 0


def apart(view: View) -> list[View]:
    """Return the shown text, the comments, the hidden and the alternative texts of a view that holds mark-up.

    Returns nothing for a view without mark-up; never an empty view.
    """
    if "<" not in view.text or not _LIKELY.search(view.text):
        return []
    kinds = (Kind.HTML_TEXT, Kind.HTML_HIDDEN, Kind.HTML_COMMENT, Kind.HTML_ALT)
    shown, hidden, comments, alts = (Pieces(view, kind) for kind in kinds)
    reader = _Reader(view, shown, hidden, comments, alts)
    reader.read()
    return [pieces.view() for pieces in (shown, hidden, comments, alts) if pieces.length]
