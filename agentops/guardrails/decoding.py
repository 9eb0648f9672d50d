"""What a text says once decoded: character references, percent and backslash escapes, base64, base32, hex. Pure.

References and escapes are replaced where they stand, in one view of the whole; encoded runs that hold readable text
become a view of their own. Every pattern is linear; runs that decode to nothing readable cost one attempt.
"""

import base64
import binascii
import codecs
import re
from collections.abc import Iterator
from html import unescape
from typing import Final

import re2

from agentops.guardrails.folding import edited, encodable, readable
from agentops.guardrails.views import Kind, Pieces, View, strung

_ENTITY: Final = re.compile(r"(?:&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});?)+")
_PERCENT: Final = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_ESCAPE: Final = re.compile(
    r"(?:\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|\\u\{[0-9A-Fa-f]{1,6}\}|\\U[0-9A-Fa-f]{8}|\\[0-3][0-7]{2})+"
)
_ONE_ESCAPE: Final = re.compile(r"\\[uxU]\{?([0-9A-Fa-f]+)\}?|\\([0-3][0-7]{2})")
_BASE64: Final = re2.compile(
    r"[A-Za-z0-9+/]{20,}(?:\r?\n[ \t]{0,20}[A-Za-z0-9+/]{16,})*={0,2}|[A-Za-z0-9_-]{28,}={0,2}"
)
_HEX: Final = re2.compile(r"(?:(?:0x)?[0-9a-fA-F]{2}[ :,\-]{0,2}){10,}")
_BASE32: Final = re2.compile(r"[A-Z2-7]{24,}={0,6}")
_NOT_HEX: Final = re.compile(r"0x|[^0-9a-fA-F]")
_NOT_BASE64: Final = re.compile(r"[^A-Za-z0-9+/]")
_LONGEST: Final = 400_000
_PLAIN_WORDS: Final = (
    "ignore|previous|instruction|instructions|system|prompt|disregard|password|assistant|the|and|you|your|all|this|that"
    "|with|please|send|email|user|following|message|reply|answer|tell|have|must|from|for|not|are|any|will|above|secret"
)
ROT13_WORDS: Final = re2.compile(rf"\b(?:{codecs.encode(_PLAIN_WORDS, 'rot13')})\b")
REVERSED_WORDS: Final = re2.compile(
    rf"\b(?:{'|'.join(word[::-1] for word in _PLAIN_WORDS.split('|') if word not in ('and', 'are', 'not', 'for'))})\b"
)
"""Words of a text in English as a cipher of the whole makes them; few of them are words of a language."""
_ENOUGH_WORDS: Final = 3


def decoded(view: View, whole: frozenset[Kind] = frozenset()) -> Iterator[View]:
    """Yield the views that decoding one gives, at most one of each kind.

    `whole` names the kinds that the words of the text call for: ROT13, REVERSED.
    """
    text = view.text
    if "&" in text:
        yield from _changed(view, Kind.ENTITIES, [(m.start(), m.end(), _unescaped(m)) for m in _ENTITY.finditer(text)])
    if "%" in text:
        yield from _changed(view, Kind.URL, [(m.start(), m.end(), _unquoted(m)) for m in _PERCENT.finditer(text)])
    if "\\" in text:
        yield from _changed(view, Kind.ESCAPES, [(m.start(), m.end(), _plain(m)) for m in _ESCAPE.finditer(text)])
    searched = encodable(text)
    for kind, pattern, read in (
        (Kind.BASE64, _BASE64, _from_base64),
        (Kind.BASE32, _BASE32, _from_base32),
        (Kind.HEX, _HEX, _from_hex),
    ):
        found = [(m.start(), m.end(), read(m.group())) for m in pattern.finditer(searched)]
        yield from strung(view, kind, found)
    if Kind.ROT13 in whole:
        pieces = Pieces(view, Kind.ROT13)
        pieces.keep(0, len(text))
        pieces.parts[:] = [codecs.decode(text, "rot13")]
        yield pieces.view()
    if Kind.REVERSED in whole:
        yield _reversed(view)


def wholes_of(lowered: str) -> frozenset[Kind]:
    """Say which ciphers of a whole text its words hint at: three different words that one makes of common ones."""
    found = set()
    for kind, words in ((Kind.ROT13, ROT13_WORDS), (Kind.REVERSED, REVERSED_WORDS)):
        met: set[str] = set()
        for match in words.finditer(lowered):
            met.add(match.group())
            if len(met) >= _ENOUGH_WORDS:
                found.add(kind)
                break
    return frozenset(found)


def _changed(view: View, kind: Kind, edits: "list[tuple[int, int, str]]") -> Iterator[View]:
    if edits and (made := edited(view, kind, edits)) is not view:
        yield made


def _reversed(view: View) -> View:
    pieces = Pieces(view, Kind.REVERSED)
    at = len(view.text)
    while at > 0:  # by line, so that offsets stay near what was found
        start = view.text.rfind("\n", 0, at - 1) + 1
        pieces.put(view.text[start:at][::-1], start, at)
        at = start
    return pieces.view()


def _unescaped(match: re.Match[str]) -> str:
    return unescape(match.group())


def _unquoted(match: re.Match[str]) -> str:
    try:
        return bytes.fromhex(match.group().replace("%", "")).decode()
    except UnicodeDecodeError:
        return match.group()


def _plain(match: re.Match[str]) -> str:
    def one(part: re.Match[str]) -> str:
        number = int(part.group(1), 16) if part.group(1) else int(part.group(2), 8)
        return chr(number) if number <= 0x10FFFF else "\ufffd"

    text = _ONE_ESCAPE.sub(one, match.group())
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _from_base64(run: str) -> str:
    run = run[:_LONGEST]
    if run.islower() or run.isdigit():  # a path, a name, a number: letters of one case are hardly base64 of a text
        return ""
    clean = _NOT_BASE64.sub("", run.replace("-", "+").replace("_", "/"))
    for skip in range(4):  # a run may have lost its beginning, or be glued to a word
        part = clean[skip:]
        try:
            raw = base64.b64decode(part[: len(part) // 4 * 4] if len(part) % 4 == 1 else part + "=" * (-len(part) % 4))
        except (binascii.Error, ValueError):
            return ""
        if text := readable(raw):
            return text
        if raw[:1].isascii() and raw[:12].isascii():
            return ""
    return ""


def _from_hex(run: str) -> str:
    digits = _NOT_HEX.sub("", run[:_LONGEST])
    return readable(bytes.fromhex(digits[: len(digits) // 2 * 2])) or ""


def _from_base32(run: str) -> str:
    digits = run[:_LONGEST].rstrip("=")
    try:
        return readable(base64.b32decode(digits + "=" * (-len(digits) % 8))) or ""
    except (binascii.Error, ValueError):
        return ""
