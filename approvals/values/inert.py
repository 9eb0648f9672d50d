"""Text that other people wrote, made safe to look at: nothing renders, and nothing hides.

Escaping keeps a browser from executing foreign text. It does not keep a reader from being fooled by characters that
have no shape: direction overrides, zero-width letters, tag characters that spell a second message, a thousand spaces
that push the rest out of view. `inert` draws each of them, as a small labelled mark that carries the code points it
stands for, so that the original can be read back from the page.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from html import escape
from itertools import groupby

from django.utils.safestring import SafeString, mark_safe

from approvals.values.lookalike import skeleton

# Characters without a shape of their own. Variation selectors and joiners are in here too: context decides.
_HIDDEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ud800-\uf8ff\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffc\ufffe\uffff"
    "\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a\U00016fe4\U000e0000-\U000e0fff\U000f0000-\U0010ffff"
)
# Blanks that are not the space bar, and the braille pattern that looks like one.
_BLANK = "\u00a0\u1680\u2000-\u200a\u202f\u205f\u2800\u3000"
_COMBINING = "\u0300-\u034e\u0350-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"

_SPECIAL = re.compile(
    f"(?P<hidden>[{_HIDDEN}]+)"
    f"|(?P<blank>[{_BLANK}]+)"
    r"|(?P<lines>(?<![ \t])(?:[ \t]*\n){7,})"
    r"|(?P<spaces>\x20{4,}|\t{4,})"
    f"|(?P<marks>(?<=[{_COMBINING}]{{2}})[{_COMBINING}]+)"
)

_JOINING_SCRIPT = re.compile(
    "[\u0600-\u07bf\u0840-\u08ff\u0900-\u0dff\u1000-\u109f\u1780-\u17ff\u1820-\u18aa\ufb50-\ufdcf\ufdf0-\ufdff\ufe70-\ufefc]"
)
_EMOJI = re.compile(
    "[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u23ff\u24c2\u25aa-\u27bf\u2934\u2935\u2b00-\u2bff"
    "\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]"
)
_KEYCAP = re.compile("[0-9#*]")
_TAG = re.compile("[\U000e0000-\U000e007f]")

_WORD = re.compile(r"\w+")
_LATIN = re.compile("[A-Za-z\u00c0-\u024f]")
_LOOKALIKE = re.compile(
    "[\u0370-\u03ff\u0400-\u052f\u0531-\u0587\u13a0-\u13fd\uab70-\uabbf\u1f00-\u1fff\uff21-\uff5a\U0001d400-\U0001d7cb]"
)

_CONTROL_NAMES = {
    0x00: "NULL",
    0x07: "BELL",
    0x08: "BACKSPACE",
    0x0D: "CARRIAGE RETURN",
    0x1B: "ESCAPE",
    0x7F: "DELETE",
}
_MANY = 8


def inert(text: str) -> SafeString:
    """Return `text` escaped for HTML, with every character that could hide or mislead drawn as a mark.

    The only elements in the result are `<span class="cp|ws|mix">`. `data-cp` lists the code points a mark stands for,
    in hexadecimal, `*n` for a repetition; replacing each mark by them gives back the text exactly. `data-like` of a
    `mix` is what a reader would take the word for; the style sheet prints it behind.
    """
    return _remembered(text) if len(text) <= _SHORT else _drawn(text)


def _drawn(text: str) -> SafeString:
    return mark_safe("".join(_pieces(str(text))))  # noqa: S308 - every piece below is escaped or made of digits


_SHORT = 120
_remembered = lru_cache(4_096)(_drawn)
"""The words and values of a list are the same on the next page, and on everybody's."""


def _pieces(text: str) -> Iterator[str]:
    start = 0
    for match in _SPECIAL.finditer(text):
        yield _plain(text[start : match.start()])
        found, start = match.group(), match.end()
        match match.lastgroup:
            case "hidden":
                yield from _hidden(text, match.start(), match.end())
            case "blank":
                yield _mark("ws", "\N{OPEN BOX}" * min(len(found), _MANY) + _times(len(found), over=_MANY), found)
            case "lines":
                yield _mark("ws", f"\u23ce {found.count(chr(10)) - 1} empty lines", found[:-1]) + "\n"
            case "spaces":
                glyph = "\u2192" if found[0] == "\t" else "\N{MIDDLE DOT}"
                yield _mark("ws", f"{glyph}{_times(len(found))}", found)
            case _:
                yield _mark("cp", f"\u27e8+{len(found)} COMBINING MARKS\u27e9", found)
    yield _plain(text[start:])


def _hidden(text: str, start: int, end: int) -> Iterator[str]:
    """Draw one run of shapeless characters, letting through the few that the script around them needs."""
    run: list[str] = []
    for index in range(start, end):
        if _needed(text, index):
            yield from _chips(run)
            run = []
            yield text[index]
        else:
            run.append(text[index])
    yield from _chips(run)


def _needed(text: str, index: int) -> bool:
    """Say whether a joiner or variation selector belongs where it stands."""
    before = text[index - 1] if index else ""
    after = text[index + 1] if index + 1 < len(text) else ""
    match text[index]:
        case "\u200c" | "\u200d" if _JOINING_SCRIPT.match(before) and _JOINING_SCRIPT.match(after):
            return True
        case "\u200d":
            return bool((_EMOJI.match(before) or before == "\ufe0f") and _EMOJI.match(after))
        case "\ufe0e" | "\ufe0f":
            return bool(_EMOJI.match(before) or (_KEYCAP.match(before) and after == "\u20e3"))
        case _:
            return False


def _chips(run: list[str]) -> Iterator[str]:
    groups = ["".join(group) for _, group in groupby(run, key=lambda char: "tag" if _TAG.match(char) else char)]
    if len(groups) > _MANY:
        yield _mark("cp", f"\u27e8{len(run)} hidden characters: {_listing(run)}\u27e9", "".join(run))
        return
    for group in groups:
        if _TAG.match(group):
            spelled = "".join(chr(ord(char) - 0xE0000) for char in group if "\U000e0020" <= char <= "\U000e007e")
            yield _mark("cp", f"\u27e8hidden text: \u201c{spelled}\u201d\u27e9", group)
        else:
            yield _mark("cp", f"\u27e8U+{ord(group[0]):04X} {_name(group[0])}{_times(len(group))}\u27e9", group)


def _listing(run: list[str]) -> str:
    """Name every code point of a long run once; neighbouring code points become a range."""
    counts = Counter(map(ord, run))
    shown: list[str] = []
    for _, group in groupby(enumerate(sorted(counts)), key=lambda place: place[1] - place[0]):
        points = [point for _, point in group]
        if len(points) > 2:
            shown.append(f"U+{points[0]:04X}\u2013U+{points[-1]:04X}{_times(sum(counts[p] for p in points))}")
        else:
            shown += [f"U+{p:04X} {_name(chr(p))}{_times(counts[p])}" for p in points]
    return ", ".join(shown)


def _name(char: str) -> str:
    code = ord(char)
    if code in _CONTROL_NAMES:
        return _CONTROL_NAMES[code]
    if 0xD800 <= code <= 0xDFFF:
        return "LONE SURROGATE"
    category = unicodedata.category(char)
    fallback = {"Cc": "CONTROL", "Co": "PRIVATE USE"}.get(category, "UNASSIGNED")
    return unicodedata.name(char, fallback)


def _times(count: int, *, over: int = 1) -> str:
    return f" \N{MULTIPLICATION SIGN}{count}" if count > over else ""


def _mark(kind: str, label: str, original: str) -> str:
    points = " ".join(_point(char, len(list(group))) for char, group in groupby(original))
    return f'<span class="{kind}" data-cp="{points}">{escape(label)}</span>'


def _point(char: str, count: int) -> str:
    return f"{ord(char):X}*{count}" if count > 1 else f"{ord(char):X}"


def _plain(text: str) -> str:
    """Escape ordinary text; underline words that mix Latin letters with others that look like them."""
    if not _LOOKALIKE.search(text):
        return escape(text)
    parts: list[str] = []
    start = 0
    for word in _WORD.finditer(text):
        if _LATIN.search(word.group()) and _LOOKALIKE.search(word.group()):
            seen = escape(skeleton(word.group()))
            parts += (escape(text[start : word.start()]), f'<span class="mix" data-like="{seen}">')
            parts.append(f"{escape(word.group())}</span>")
            start = word.end()
    return "".join([*parts, escape(text[start:])])
