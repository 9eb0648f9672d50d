"""The one text of a JSON value (RFC 8785) and its SHA-256."""

import hashlib
import json
import re
from typing import Any, Final, NoReturn

import msgspec
import rfc8785

from agentops.wire.parse import guard, is_plain

# An envelope wraps values that were themselves allowed `parse.MAX_DEPTH` levels.
_MAX_DEPTH: Final = 128

# Without floats and with ASCII keys the standard library's encoder, written in C, gives exactly the text of RFC 8785.
_encode: Final = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False, check_circular=False
).encode


def _refuse(number: str) -> NoReturn:
    raise ValueError(number)


_read: Final = msgspec.json.Decoder(float_hook=_refuse).decode
_write: Final = msgspec.json.Encoder(order="sorted").encode
# UTF-8 and UTF-16 sort keys alike up to U+FFFF; what lies above starts with one of these bytes.
_ABOVE: Final = re.compile(rb"[\xf0-\xf4]")


def canonical(value: object) -> str:
    """Return the RFC 8785 text of `value`; raise `WireError` for what `guard` refuses (there is no size limit here)."""
    if is_plain(value, _MAX_DEPTH):
        return _encode(value)
    return rfc8785.dumps(guard(value, max_depth=_MAX_DEPTH, max_bytes=None)).decode("utf-8")


def is_canonical(value: object, text: str) -> bool:
    """Say whether a text is the canonical one of `value`, which was read from it with fractions as `Decimal`.

    Where the quick encoder gives back the text, nothing more is looked at. Raises `WireError` like `canonical`.
    """
    try:
        if _encode(value) == text:
            return True
    except TypeError:
        pass  # A fraction: how it is written is for the whole rules to say.
    return canonical(json.loads(text)) == text


def read_canonical(text: bytes) -> Any:
    """Return the value of a canonical text of UTF-8; None where only `is_canonical` can say whether it is one.

    The text is read and written again by code that spells as RFC 8785 does wherever there are no fractions and no keys
    beyond U+FFFF, and what has either is refused: so a value comes back only if its one text is this one. A quarter of
    the time of `is_canonical`.
    """
    try:
        value = _read(text)
        if _write(value) != text or (not text.isascii() and _ABOVE.search(text)):
            return None
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError):
        return None
    return value


def digest(value: object) -> str:
    """Return the SHA-256 of the canonical UTF-8 text of `value` as 64 hex digits."""
    return hashlib.sha256(canonical(value).encode("utf-8")).hexdigest()
