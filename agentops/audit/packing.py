"""How the text of a row is stored: compressed against a dictionary of what such texts are made of.

What is hashed, chained, shown and exported is the text. Stored, it starts with the number of the dictionary and a
checksum, so that no change of a stored byte goes unnoticed; a text that packing does not make smaller is stored as it
is, and always starts with a brace.
"""

import zlib
from typing import TYPE_CHECKING, Any, Final

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from agentops.audit.dictionaries import FIRST, SECOND

MAX_TEXT: Final = 64 * 1024 * 1024
"""Bytes that a stored text may unpack to."""

_LEVEL: Final = 6
_RAW_DEFLATE: Final = -15

_NEWEST: Final = 2
_DICTIONARIES: Final = {1: FIRST, _NEWEST: SECOND}


def pack(text: str) -> bytes:
    """Return how a text is stored."""
    plain = text.encode("utf-8")
    squeeze = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW_DEFLATE, zdict=_DICTIONARIES[_NEWEST])
    packed = squeeze.compress(plain) + squeeze.flush()
    if len(packed) + 5 >= len(plain):
        return plain
    return bytes([_NEWEST]) + zlib.crc32(packed).to_bytes(4, "big") + packed


def unpack(stored: "bytes | memoryview | str") -> str:
    """Return the text that is stored; of bytes that nobody packed, as much as they say."""
    if isinstance(stored, str):
        return stored
    plain = unpack_bytes(bytes(stored))
    try:
        # Only what was packed is known to have been a text.
        return _UNREADABLE if plain is None else plain.decode("utf-8", "strict" if _is_packed(stored) else "replace")
    except UnicodeDecodeError:
        return _UNREADABLE


def unpack_bytes(stored: bytes) -> bytes | None:
    """Return the bytes of the text that is stored, None if they cannot be read."""
    dictionary = _DICTIONARIES.get(stored[0]) if stored else None
    if dictionary is None:
        return stored
    packed = stored[5:]
    if zlib.crc32(packed) != int.from_bytes(stored[1:5], "big"):
        return None
    stretch = zlib.decompressobj(_RAW_DEFLATE, zdict=dictionary)
    try:
        plain = stretch.decompress(packed, MAX_TEXT)
    except zlib.error:
        return None
    return plain if stretch.eof and not stretch.unconsumed_tail and not stretch.unused_data else None


def _is_packed(stored: bytes | memoryview) -> bool:
    return bool(stored) and stored[0] in _DICTIONARIES


_UNREADABLE: Final = "(the stored bytes cannot be read)"


if TYPE_CHECKING:
    _Text = models.TextField[str, str]
else:
    _Text = models.TextField


class PackedTextField(_Text):
    """A text that is packed on its way into the database and unpacked on its way out."""

    def db_type(self, connection: BaseDatabaseWrapper) -> str | None:
        return models.BinaryField().db_type(connection)

    def from_db_value(self, value: Any, expression: Any, connection: BaseDatabaseWrapper) -> str | None:
        return None if value is None else unpack(value)

    def get_db_prep_value(self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False) -> Any:
        packed = pack(value) if isinstance(value, str) else value
        return models.BinaryField().get_db_prep_value(packed, connection, prepared)
