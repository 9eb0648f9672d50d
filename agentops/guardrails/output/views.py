"""The forms of a text in which something is looked for: as it is, folded, and what it holds in base64, hex or codes.

Every form knows where in the original its characters stand, so that findings point there.
"""

import base64
import binascii
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import unescape
from typing import Final

import re2

from agentops.guardrails.text import INVISIBLE

_ENCODED: Final = re2.compile(r"[A-Za-z0-9+/_-]{24,}={0,2}")
_WRAPPED: Final = re2.compile(r"[A-Za-z0-9+/_-]{8,}(?:\r?\n[A-Za-z0-9+/_-]+)+={0,2}")
"""Base64 in lines, of which all but the last are as long as the first."""
_HEX: Final = re2.compile(r"(?:[0-9A-Fa-f]{2}){12,}")
_REFERENCE: Final = re2.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});?")
_BROKEN_TAG: Final = re2.compile(r"<[^<>]*[\t\r\n][^<>]*>")
_BREAKS: Final = re.compile(r"[\t\r\n]+")
_CODED: Final = re2.compile(r"(?:%[0-9A-Fa-f]{2}|&#?[0-9A-Za-z]{1,8};|[^\s%&]){1,}")
_CONTROL: Final = re2.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_MOST_DECODED: Final = 50
_LONGEST_DECODED: Final = 20_000
_DEEPEST: Final = 3
"""How often something may be encoded and is still found."""


@dataclass(frozen=True, slots=True)
class View:
    """One form of a text.

    `origin` maps its characters to the original, None where they stand at the same place; `ends` says where each ends
    there, None where it takes one place. `whole` is the piece (offset, length) of the original that a decoded form was
    made from: whatever is found, all of it has to go.
    """

    text: str
    origin: Sequence[int] | None = None
    whole: tuple[int, int] | None = None
    ends: Sequence[int] | None = None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return offset and length in the original of a place in this form."""
        if self.whole is not None:
            return self.whole
        if self.origin is None or end <= start:
            return start, end - start
        first, last = self.origin[start], end - 1
        return first, (self.origin[last] + 1 if self.ends is None else self.ends[last]) - first


def views(text: str) -> Iterator[View]:
    """Yield the text, its folded form where that is another, and its decoded pieces."""
    yield View(text)
    if not text.isascii() or _CONTROL.search(text):
        folded = _folded(text)
        if folded.text != text:
            yield folded
    for number, (start, end, piece) in enumerate(_encoded(text)):
        if number >= _MOST_DECODED:
            break
        for decoded in _decoded(piece):
            yield View(decoded, whole=(start, end - start))
    if "%" in text or "&" in text:
        yield from _uncoded(text)


def as_read(text: str) -> View | None:
    """Return the text as whoever shows it reads addresses in it, None where that is no other one.

    Character references are decoded, and inside of `<...>` tabs and line breaks do not count.
    """
    if "&" not in text and ("<" not in text or _BREAKS.search(text) is None):
        return None
    pieces: list[str] = []
    origin: list[int] = []
    ends: list[int] = []
    done = 0
    for match in _REFERENCE.finditer(text):
        start, end, said = match.start(), match.end(), unescape(match.group())
        pieces += [text[done:start], said]
        origin += [*range(done, start), *[start] * len(said)]
        ends += [*range(done + 1, start + 1), *[end] * len(said)]
        done = end
    pieces.append(text[done:])
    origin += range(done, len(text))
    ends += range(done + 1, len(text) + 1)
    read = "".join(pieces)
    gaps = (gap for tag in _BROKEN_TAG.finditer(read) for gap in _BREAKS.finditer(read, tag.start(), tag.end()))
    dropped = {index for gap in gaps for index in range(gap.start(), gap.end())}
    kept = [index for index in range(len(read)) if index not in dropped]
    shown = "".join(read[index] for index in kept)
    return View(shown, [origin[i] for i in kept], ends=[ends[i] for i in kept]) if shown != text else None


def _folded(text: str) -> View:
    """Return the text in NFKC without what nobody sees, with plain digits and hyphens."""
    folded: list[str] = []
    origin: list[int] = []
    for index, char in enumerate(text):
        if char.isascii():
            same = char if " " <= char <= "~" or char in "\t\n\r" else ""
        elif ord(char) in INVISIBLE or (unicodedata.category(char) in ("Cf", "Cc", "Mn") and not char.isalnum()):
            same = ""
        elif (digit := unicodedata.decimal(char, None)) is not None:
            same = str(digit)
        elif char == _MINUS or unicodedata.category(char) == "Pd":
            same = "-"
        else:
            same = unicodedata.normalize("NFKC", char)
        folded.append(same)
        origin.extend([index] * len(same))
    return View("".join(folded), origin)


_MINUS: Final = "\u2212"


def _encoded(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield what may be encoded: start, end, and the piece without line breaks."""
    for match in _ENCODED.finditer(text):
        yield match.start(), match.end(), match.group()
    for match in _WRAPPED.finditer(text) if "\n" in text else ():
        lines = match.group().split()
        if len({len(line) for line in lines[:-1]}) == 1 and len(lines[-1].rstrip("=")) <= len(lines[0]):
            yield match.start(), match.end(), "".join(lines)


def _decoded(piece: str, depth: int = 1) -> Iterator[str]:
    """Yield what a piece holds in base64 or hex, and what that holds."""
    piece = piece[:_LONGEST_DECODED]
    for decoded in filter(None, (_base64(piece), _from_hex(piece))):
        yield decoded
        if depth < _DEEPEST:
            for number, (_, _, inner) in enumerate(_encoded(decoded)):
                if number >= _MOST_DECODED:
                    break
                yield from _decoded(inner, depth + 1)


def _from_hex(piece: str) -> str:
    return _printable(bytes.fromhex(piece)) if _HEX.fullmatch(piece) else ""


def _base64(piece: str) -> str:
    padded = piece.rstrip("=").translate({ord("-"): "+", ord("_"): "/"})
    try:
        return _printable(base64.b64decode(padded + "=" * (-len(padded) % 4), validate=True))
    except (binascii.Error, ValueError):
        return ""


def _printable(raw: bytes) -> str:
    try:
        decoded = raw.decode()
    except UnicodeDecodeError:
        return ""
    return decoded if sum(char.isprintable() or char.isspace() for char in decoded) == len(decoded) else ""


def _uncoded(text: str) -> Iterator[View]:
    """Yield words with percent codes or character references, decoded."""
    count = 0
    for match in _CODED.finditer(text):
        word = match.group()
        if "%" not in word and "&" not in word:
            continue
        decoded = percent_decoded(unescape(word))
        if decoded != word:
            yield View(decoded, whole=(match.start(), match.end() - match.start()))
            count += 1
        if count >= _MOST_DECODED:
            return


def percent_decoded(text: str) -> str:
    """Return a text with its %XX codes read as UTF-8; what is none stays."""
    if "%" not in text:
        return text
    parts = text.split("%")
    raw = bytearray(parts[0].encode(errors="replace"))
    for part in parts[1:]:
        try:
            raw += bytes.fromhex(part[:2]) if len(part) >= 2 and part[:2].isalnum() else b"%" + part[:2].encode()
        except (ValueError, UnicodeEncodeError):
            raw += b"%" + part[:2].encode(errors="replace")
        raw += part[2:].encode(errors="replace")
    return raw.decode(errors="replace")
