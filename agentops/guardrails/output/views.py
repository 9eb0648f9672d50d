"""The forms of a text in which something is looked for: as it is, folded, and what it holds in base64 or in codes.

Every form knows where in the original its characters stand, so that findings point there.
"""

import base64
import binascii
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import unescape
from typing import Final

import re2

_ENCODED: Final = re2.compile(r"[A-Za-z0-9+/_-]{24,}={0,2}")
_CODED: Final = re2.compile(r"(?:%[0-9A-Fa-f]{2}|&#?[0-9A-Za-z]{1,8};|[^\s%&]){1,}")
_CONTROL: Final = re2.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_MOST_DECODED: Final = 50
_LONGEST_DECODED: Final = 20_000


@dataclass(frozen=True, slots=True)
class View:
    """One form of a text.

    `origin` maps its characters to the original, None where they stand at the same place. `whole` is the piece
    (offset, length) of the original that a decoded form was made from: whatever is found, all of it has to go.
    """

    text: str
    origin: Sequence[int] | None = None
    whole: tuple[int, int] | None = None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return offset and length in the original of a place in this form."""
        if self.whole is not None:
            return self.whole
        if self.origin is None or end <= start:
            return start, end - start
        first = self.origin[start]
        return first, self.origin[end - 1] + 1 - first


def views(text: str) -> Iterator[View]:
    """Yield the text, its folded form where that is another, and its decoded pieces, decoded once."""
    yield View(text)
    if not text.isascii() or _CONTROL.search(text):
        folded = _folded(text)
        if folded.text != text:
            yield folded
    for number, match in enumerate(_ENCODED.finditer(text)):
        if number >= _MOST_DECODED:
            break
        if decoded := _base64(match.group()[:_LONGEST_DECODED]):
            yield View(decoded, whole=(match.start(), match.end() - match.start()))
    if "%" in text or "&" in text:
        yield from _uncoded(text)


def _folded(text: str) -> View:
    """Return the text in NFKC without what nobody sees."""
    folded: list[str] = []
    origin: list[int] = []
    for index, char in enumerate(text):
        if char.isascii():
            same = char if " " <= char <= "~" or char in "\t\n\r" else ""
        elif unicodedata.category(char) in ("Cf", "Cc", "Mn") and not char.isalnum():
            same = ""
        else:
            same = unicodedata.normalize("NFKC", char)
        folded.append(same)
        origin.extend([index] * len(same))
    return View("".join(folded), origin)


def _base64(piece: str) -> str:
    padded = piece.rstrip("=").translate({ord("-"): "+", ord("_"): "/"})
    try:
        raw = base64.b64decode(padded + "=" * (-len(padded) % 4), validate=True)
        decoded = raw.decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
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
