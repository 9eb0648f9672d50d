"""Which parts of an event are kept beside it, and what stands in their place. Pure."""

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agentops.wire.canonical import canonical
from agentops.wire.parse import JSON, JSONObject

INLINE: Final = 8 * 1024
"""Bytes of canonical text up to which a value stays in the event."""

HEAD: Final = 512
PREFIX: Final = "sha256:"
MARK: Final = f'"payload":"{PREFIX}'
"""Stands in the canonical text of every event that names a text, and hardly in any other."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A text to be stored: its SHA-256 in hex, the text compressed, and its size in bytes before that."""

    sha256: str
    body: bytes
    size: int


def slim(exchange: JSONObject) -> tuple[JSONObject, list[Kept]]:
    """Return an exchange whose long requests and responses are references, and the texts these name.

    An exchange is `{"request", "response", ..., "earlier": [exchange, ...]}`. A reference is `{"payload":
    "sha256:<hex>", "bytes": n, "head": the first 512 characters}`; the text is the canonical JSON of the value.
    """
    kept: list[Kept] = []
    slimmed = dict(exchange)
    for name in ("request", "response"):
        if name in slimmed:
            slimmed[name] = _slim(slimmed[name], kept)
    if isinstance(earlier := slimmed.get("earlier"), list):
        attempts: list[JSON] = []
        for attempt in earlier:
            lean, more = slim(attempt) if isinstance(attempt, dict) else (attempt, [])
            attempts.append(lean)
            kept += more
        slimmed["earlier"] = attempts
    return slimmed, kept


def slim_event(data: JSONObject) -> tuple[JSONObject, list[Kept]]:
    """Return an event's data with its `exchange` slimmed; data without one comes back as it is."""
    exchange = data.get("exchange")
    if not isinstance(exchange, dict):
        return data, []
    lean, kept = slim(exchange)
    return {**data, "exchange": lean}, kept


def reference(value: JSON) -> str:
    """Return the SHA-256 (hex) a reference names, or an empty text for any other value."""
    if not isinstance(value, dict) or value.keys() != {"payload", "bytes", "head"}:
        return ""
    name = value["payload"]
    return name.removeprefix(PREFIX) if isinstance(name, str) and name.startswith(PREFIX) else ""


def references(data: Mapping[str, JSON]) -> list[str]:
    """Return every SHA-256 that an event's exchange names."""
    exchange = data.get("exchange")
    if not isinstance(exchange, dict):
        return []
    earlier = exchange.get("earlier")
    attempts = [exchange, *(earlier if isinstance(earlier, list) else ())]
    found = [reference(a.get(name)) for a in attempts if isinstance(a, dict) for name in ("request", "response")]
    return [sha256 for sha256 in found if sha256]


def _slim(value: JSON, kept: list[Kept]) -> JSON:
    text = canonical(value)
    raw = text.encode()
    # A value that only looks like a reference is kept like a long one, so that every reference is ours.
    if len(raw) <= INLINE and not reference(value):
        return value
    sha256 = hashlib.sha256(raw).hexdigest()
    kept.append(Kept(sha256, zlib.compress(raw, 6), len(raw)))
    return {"payload": f"{PREFIX}{sha256}", "bytes": len(raw), "head": text[:HEAD]}
