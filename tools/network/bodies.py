"""What an answer says, bounded: decompressed step by step, of a few media types, as text. Pure."""

import codecs
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from agentops.wire.parse import clean_text

from .refusals import Unusable

MAX_WIRE: Final = 2_097_152
"""Bytes that are read of one answer."""
MAX_BODY: Final = 1_048_576
"""Bytes that an answer may have once it is decompressed."""
MAX_TEXT: Final = 180_000
"""Bytes of UTF-8 that are kept of its text."""

_TEXTUAL: Final = re.compile(
    r"(?:text/[\w.+-]+|application/(?:json|xml|xhtml\+xml|yaml|javascript|x-ndjson|problem\+json|[\w.-]+\+(?:json|xml)))\Z"
)
_CHARSET: Final = re.compile(r';\s*charset\s*=\s*"?([A-Za-z0-9._:-]{1,40})"?', re.IGNORECASE)
_CODECS: Final = frozenset(
    {
        *("utf-8", "ascii", "cp1252", "iso8859-1", "iso8859-2", "iso8859-5", "iso8859-7", "iso8859-9", "iso8859-15"),
        *("cp1250", "cp1251", "cp1253", "cp1254", "koi8-r", "shift_jis", "euc_jp", "iso2022_jp", "euc_kr", "gb18030"),
        *("gbk", "gb2312", "big5", "utf-16", "utf-16-le", "utf-16-be"),
    }
)
_DECODERS: Final = {"gzip": 31, "x-gzip": 31, "deflate": 15}


@dataclass(frozen=True, slots=True)
class Body:
    """Decompressed bytes; `cut` says that there was more."""

    content: bytes
    cut: bool


def read_body(chunks: Iterable[bytes], encoding: str) -> Body:
    """Read a body up to `MAX_WIRE` bytes and decompress it up to `MAX_BODY`; what is beyond either is not kept.

    Raises `Unusable` for encodings other than gzip and deflate, for several of them, and for broken data.
    """
    kind = encoding.strip().lower()
    if kind not in ("", "identity", *_DECODERS):
        raise Unusable("The answer is compressed in a way that is not read here.")
    wbits = _DECODERS.get(kind)
    decoder = zlib.decompressobj(wbits) if wbits is not None else None
    content, taken, cut, first = bytearray(), 0, False, True
    for chunk in chunks:
        part = chunk[: MAX_WIRE - taken]
        cut = cut or len(part) < len(chunk)
        taken += len(part)
        if decoder is None:
            content += part
        else:
            if first and kind == "deflate" and part and (part[0] & 0x0F) != 8:
                decoder = zlib.decompressobj(-15)  # some servers send it without the zlib header
            first = first and not part
            try:
                content += decoder.decompress(part, MAX_BODY + 1 - len(content))
            except zlib.error:
                raise Unusable("The compressed answer is broken.") from None
        if len(content) > MAX_BODY or cut:
            return Body(bytes(content[:MAX_BODY]), True)
    rest = decoder is not None and taken > 0 and (not decoder.eof or bool(decoder.unused_data))
    return Body(bytes(content), rest)


def media_type(header: str) -> str:
    """Return the media type of a Content-Type header, lower case; empty when there is none."""
    return header.split(";")[0].strip().lower()[:100]


def is_text(kind: str) -> bool:
    """Say whether a media type is one whose content is text."""
    return bool(_TEXTUAL.match(kind))


def text_of(body: Body, header: str) -> tuple[str, bool]:
    """Return the text of a body, at most `MAX_TEXT` bytes of UTF-8, and whether something is missing.

    Decoded by the charset of the Content-Type header if it is a known one, else as UTF-8; what does not decode becomes
    U+FFFD.
    """
    found = _CHARSET.search(header)
    text = body.content.decode(_codec(found[1]) if found else "utf-8", "replace").removeprefix("\ufeff")
    text = clean_text(text)
    raw = text.encode()
    if len(raw) <= MAX_TEXT:
        return text, body.cut
    return raw[:MAX_TEXT].decode("utf-8", "ignore"), True


def _codec(name: str) -> str:
    try:
        known = codecs.lookup(name).name
    except LookupError:
        return "utf-8"
    return known if known in _CODECS else "utf-8"
