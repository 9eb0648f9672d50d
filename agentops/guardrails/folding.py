"""The canonical and the folded view of a text, and what invisible characters spell. Pure, linear time.

Canonical is NFKC without the characters that `text.hidden_runs` names. Folded makes plain what only a program
reads otherwise than a person: letters of another script that look Latin (UTS 39), styled letters that NFKC leaves
alone, digits in place of letters, letters spread with spaces.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from importlib import resources
from itertools import pairwise
from json import loads
from typing import Any, Final

import ahocorasick
import re2

from agentops.guardrails.text import hidden_runs
from agentops.guardrails.views import Kind, Pieces, View, strung

_COMPATIBLE: Final = (
    *((0xA0, 0x2000), (0x2000, 0x3400), (0xA000, 0xAC00), (0xF900, 0x10000)),
    *((0x1D400, 0x1D800), (0x1EE00, 0x1EF00), (0x1F100, 0x1F260), (0x1FBF0, 0x1FBFA), (0x2F800, 0x2FA20)),
)
"""Where characters with a compatible form live; looking at all of Unicode would take half a second."""
_STYLED: Final = {
    **dict(zip(map(chr, range(0x1F150, 0x1F16A)), "abcdefghijklmnopqrstuvwxyz", strict=True)),
    **dict(zip(map(chr, range(0x1F170, 0x1F18A)), "abcdefghijklmnopqrstuvwxyz", strict=True)),
    **dict(zip(map(chr, range(0x1F1E6, 0x1F200)), "abcdefghijklmnopqrstuvwxyz", strict=True)),
    **dict(zip("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢǫ", "abcdefghijklmnoprstuvwyzq", strict=True)),
    **dict(zip("ɐɔǝɟƃɥᴉɾʞɯɹʇʌʍʎ", "acefghijkmrtvwy", strict=True)),
}
"""Letters that are only another dress of a Latin one: circled, boxed, regional, small capitals, turned."""
_DIGITS: Final = {
    "0": "o",
    "1": "i",
    "3": "e",
    "4": "a",
    "5": "s",
    "7": "t",
    "8": "b",
    "9": "g",
    "@": "a",
    "$": "s",
    "!": "i",
    "|": "l",
}
_LEET_TABLE: Final = str.maketrans(_DIGITS)
_LEET: Final = re.compile(
    r"(?<=[A-Za-z])[013457-9@$!|]{1,2}(?=[A-Za-z])|(?<![\w@$])[0134578@$]{1,2}(?=[A-Za-z][A-Za-z0134578@$!|])"
    r"|(?<=[A-Za-z][A-Za-z])[013457@$]{1,2}(?!\w)"
)
_FEWEST_LEET: Final = 2
_SPREAD: Final = re.compile(r"(?<![^\W_])[^\W_](?:([ .\-_*·•]{1,2})[^\W_](?![^\W_])){5,400}")
_MAY_BE_LEET: Final = re2.compile(r"[A-Za-z][013457-9@$!|]{1,2}[A-Za-z]")
_MAY_BE_SPREAD: Final = re2.compile(r"(?:\pL[ .\-_*·•]{1,2}){5}\pL")
_WORD: Final = re.compile(r"[^\W\d_][\w\u0300-\u036f]*")
_EMPHASIS: Final = re.compile(r"(?<![\w*_~])[*_~]{1,3}(?=\w)|(?<=[\w.,:!?])[*~]{1,3}(?![\w*~])|(?<=\w)_{1,3}(?![\w_])")
_MAY_BE_EMPHASIS: Final = re2.compile(r"(?:[*_~]{1,3}[\pL'’.,:!?]+[*_~]{1,3}\s+){2}[*_~]")
_SQUEEZED: Final = re.compile(r"[^a-z]+")
_PHRASES: Final = (
    *("ignore all previous", "ignore previous instruction", "ignore all instruction", "ignore the above"),
    *(
        "ignore your instruction",
        "ignore all prior",
        "ignore the previous",
        "ignore any previous",
        "ignore all the above",
    ),
    *("ignore earlier instruction", "ignore prior instruction", "disregard all previous", "disregard previous"),
    *("disregard your instruction", "disregard the above", "disregard all prior", "forget all previous"),
    *("forget your instruction", "forget previous", "forget everything above", "override your instruction"),
    *("reveal your system prompt", "reveal the system prompt", "your system prompt", "do not tell the user"),
    *("without telling the user", "you are now an unrestricted", "you are now dan", "your new instructions"),
    "your new task is",
)
_MARKS: Final = re.compile(r"([A-Za-z])[\u0300-\u036f\u0489\u20d0-\u20f0]+")
_BITS: Final = re.compile("[\u200b\u200c\u200d\u2060\u2061\u2062\u2063\u2064\ufeff\u180e]{16,}")
_SELECTORS: Final = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4,}")
_TAGS: Final = re.compile("[\U000e0020-\U000e007e]{3,}")


def canonical(view: View) -> View:
    """Return the view in NFKC without hidden characters; the view itself where that changes nothing."""
    text = view.text
    if text.isascii() and not _CONTROL.search(text):
        return view
    edits = [(start, end, "") for start, end, _ in hidden_runs(text)]
    if not unicodedata.is_normalized("NFKC", text):
        edits += [(m.start(), m.end(), _normal(m.group())) for m in _compatible().finditer(text)]
        edits.sort()
    return edited(view, Kind.CANONICAL, edits)


@lru_cache(maxsize=4096)
def _normal(char: str) -> str:
    return unicodedata.normalize("NFKC", char)


def edited(view: View, kind: Kind, edits: "list[tuple[int, int, str]]") -> View:
    """Return the view with some stretches replaced, in order; the view itself where nothing changes."""
    pieces, at, changed = Pieces(view, kind), 0, False
    for start, end, text in edits:
        if start < at or view.text[start:end] == text:
            continue
        pieces.keep(at, start)
        pieces.put(text, start, end)
        at, changed = end, True
    if not changed:
        return view
    pieces.keep(at, len(view.text))
    return pieces.view()


def folded(view: View) -> View:
    """Return the view with look-alike and spread letters made plain; the view itself where that changes nothing."""
    made = edited(view, Kind.FOLDED, sorted(_folds(view.text)))
    if _MAY_BE_LEET.search(encodable(made.text)) is None:
        return made
    text, count = _LEET.subn(_letters, made.text)
    if count < _FEWEST_LEET:
        return made
    if made is view:
        made = View((*view.path, Kind.FOLDED), view.text, view.starts, view.origins, view.ends)
    return replace(made, text=text)


def _letters(match: re.Match[str]) -> str:
    return match.group().replace("11", "ll").translate(_LEET_TABLE)


def _folds(text: str) -> Iterator[tuple[int, int, str]]:
    if not text.isascii() and _mixed().search(text):
        table = _plain_letters()
        for match in _WORD.finditer(text):
            word = match.group()
            if not word.isascii() and _mixed().search(word):
                yield match.start(), match.end(), _MARKS.sub(r"\1", word).translate(table)
        for match in _styled().finditer(text):
            yield match.start(), match.end(), match.group().translate(table)
    if ("*" in text or "__" in text or "~" in text) and _MAY_BE_EMPHASIS.search(encodable(text)) is not None:
        yield from ((match.start(), match.end(), "") for match in _EMPHASIS.finditer(text))
    if _MAY_BE_SPREAD.search(encodable(text)) is not None:
        for match in _SPREAD.finditer(text):
            yield match.start(), match.end(), _joined(match.group())


def _joined(spread: str) -> str:
    """Return spread letters as words: what separates most of them goes, anything wider is a space."""
    separators = spread[1::2]
    usual = max(set(separators), key=separators.count)
    return re.sub(f"(?<=.)[{re.escape(usual)}](?=.)", "", re.sub(f"[{re.escape(usual)}]{{2}}", "\x00", spread)).replace(
        "\x00", " "
    )


def squeezed(view: View, lowered: str) -> Iterator[View]:
    """Yield what letters say that are torn into other words than people would write: `ig nore pre-vious`."""
    letters = _SQUEEZED.sub("", lowered)
    found = [(end + 1 - length, end + 1, words) for end, (length, words) in _phrases().iter(letters)]
    if not found:
        return
    places = [match.start() for match in _LETTER.finditer(lowered)]
    stretches: list[tuple[int, int, str]] = []
    for first, last, words in found[:_MOST_SQUEEZED]:
        start, end = places[first], places[last - 1] + 1
        torn = lowered[start:end]
        if len(_SQUEEZED.sub(" ", torn).split(" ")) <= words or (stretches and start < stretches[-1][1]):
            continue  # as many words as the phrase has: it stands there plainly
        stretches.append((start, end, letters[first:last]))
    yield from strung(view, Kind.FOLDED, stretches)


@lru_cache(maxsize=1)
def _phrases() -> Any:
    automaton = ahocorasick.Automaton()
    for phrase in _PHRASES:
        letters = phrase.replace(" ", "")
        automaton.add_word(letters, (len(letters), phrase.count(" ") + 1))
    automaton.make_automaton()
    return automaton


_LETTER: Final = re.compile("[a-z]")
_MOST_SQUEEZED: Final = 20


def spelled(view: View) -> Iterator[View]:
    """Yield what invisible characters of the raw text spell: tags, variation selectors, zero-width bits."""
    text = view.text
    if text.isascii():
        return
    yield from strung(view, Kind.TAGS, [(m.start(), m.end(), _untagged(m.group())) for m in _TAGS.finditer(text)])
    found = [(m.start(), m.end(), _bytes_of(m.group())) for m in _SELECTORS.finditer(text)]
    yield from strung(view, Kind.SELECTORS, found)
    yield from strung(view, Kind.ZERO_WIDTH, [(m.start(), m.end(), _bits(m.group())) for m in _BITS.finditer(text)])


def _untagged(run: str) -> str:
    return "".join(chr(ord(char) - 0xE0000) for char in run)


def _bytes_of(run: str) -> str:
    raw = bytes(ord(c) - 0xFE00 if ord(c) < 0x10000 else ord(c) - 0xE0100 + 16 for c in run)
    return readable(raw) or ""


def _bits(run: str) -> str:
    kinds = sorted(set(run), key=run.count, reverse=True)[:2]
    if len(kinds) < len({0, 1}):
        return ""
    bits = [char for char in run if char in kinds]
    for zero, one in (kinds, kinds[::-1]):
        digits = "".join("0" if char == zero else "1" if char == one else "" for char in bits)
        raw = bytes(int(digits[i : i + 8], 2) for i in range(0, len(digits) - 7, 8))
        if text := readable(raw):
            return text
    return ""


def encodable(text: str) -> str:
    """Return a text that UTF-8 can write, of the same length: lone surrogates become U+FFFD."""
    return text if text.isascii() or not _SURROGATE.search(text) else _SURROGATE.sub("\ufffd", text)


_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def readable(raw: bytes) -> str | None:
    """Return bytes as text if that is what they are: UTF-8, mostly printable, with at least three letters."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        # The end of what was cut or glued may be damaged; what comes before it counts.
        if error.start < max(12, len(raw) * 3 // 4):
            return None
        text = raw[: error.start].decode()
    sample = text[:2000]
    letters = sum(char.isalpha() or char.isspace() for char in sample)
    odd = sum(not (char.isprintable() or char in "\r\n\t") for char in sample)
    return text if letters >= max(3, len(sample) // 2) and odd * 20 <= len(sample) else None


_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@lru_cache(maxsize=1)
def _compatible() -> re.Pattern[str]:
    """Match what NFKC may change: a character with a compatible form, or one that composes with what follows.

    Ranges beyond the first plane are taken whole, because `re` looks through those one by one.
    """
    changing = [
        point
        for low, high in _COMPATIBLE
        for point in range(low, high)
        if high > 0x10000 or (not 0xD800 <= point <= 0xDFFF and unicodedata.normalize("NFKC", chr(point)) != chr(point))
    ]
    ranges = _ranges(changing)
    return re.compile(f"[{ranges}][\u0300-\u036f\u3099\u309a]{{0,20}}|\\w[\u0300-\u036f\u3099\u309a]{{1,20}}")


@lru_cache(maxsize=1)
def _plain_letters() -> dict[int, str]:
    """Return the Latin letter that each look-alike stands for."""
    source = resources.files("confusable_homoglyphs").joinpath("confusables.json")
    table: dict[int, str] = {ord(char): letter for char, letter in _STYLED.items()}
    for char, likes in loads(source.read_text("utf-8")).items():
        if len(char) != 1 or char.isascii() or not char.isalpha() or unicodedata.normalize("NFKC", char) != char:
            continue
        for like in likes:
            letter = like["c"]
            if len(letter) == 1 and letter.isascii() and letter.isalpha():
                table.setdefault(ord(char), letter)
                break
    return table


@lru_cache(maxsize=1)
def look_alikes() -> str:
    """Return the letters outside of Latin that look Latin, as a class for a pattern."""
    return _ranges(
        [p for p in _plain_letters() if not unicodedata.name(chr(p), "").startswith("LATIN") and p < 0x10000]
    )


@lru_cache(maxsize=1)
def _mixed() -> re.Pattern[str]:
    """Match where a Latin letter meets a look-alike of another script, or letters in disguise."""
    styled = _ranges([ord(char) for char in _STYLED])
    return re.compile(
        f"[{look_alikes()}{styled}\u0300-\u036f\u0489\u20d0-\u20f0]"
        f"(?:(?=[A-Za-z])|(?<=[A-Za-z].)|(?=[{styled}])(?<=[{styled}]))"
    )


@lru_cache(maxsize=1)
def _styled() -> re.Pattern[str]:
    beyond = _ranges([ord(char) for char in _STYLED if not char.isalpha()])
    return re.compile(f"[{beyond}]+(?: ?[{beyond}]+)*")


def _ranges(points: list[int]) -> str:
    """Return code points as the inside of a character class."""
    points = sorted(points)
    starts = [0, *(i + 1 for i, (a, b) in enumerate(pairwise(points)) if b != a + 1), len(points)]
    return "".join(f"{re.escape(chr(points[a]))}-{re.escape(chr(points[b - 1]))}" for a, b in pairwise(starts) if a < b)
