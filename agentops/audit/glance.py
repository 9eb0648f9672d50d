"""Say quickly of most rows of the record that they are what was written.

What is said here is only ever yes. Of any other row nothing is known, and `verify` looks at it thoroughly.

The canonical text of a row begins with the actor, goes on with what happened, and ends with what stands in the columns
too. So the end is printed from the columns, in the one spelling there is, and compared as bytes; what happened is read
and written again (`read_canonical`); and of actors there are few, so each is read once. Canonical parts in the order of
their keys are a canonical text.
"""

from datetime import timedelta
from functools import lru_cache
from hashlib import sha256
from json.encoder import encode_basestring as _text  # spells as RFC 8785 does, and refuses what is no text
from typing import Final

from agentops.audit.packing import unpack_bytes
from agentops.audit.rows import EPOCH, Raw
from agentops.payloads.references import MARK
from agentops.wire.canonical import read_canonical

_MARK: Final = MARK.encode()
_END: Final = 2
"""Bytes behind what is printed: the version, which says how the row tells what happened, and a brace."""
_LONGEST_ACTOR: Final = 4_000
_REMEMBERED: Final = 1_000

_MINUTE: Final = 60_000_000
_DAY: Final = 24 * 60 * _MINUTE
_MINUTES: Final = tuple(f"T{minute // 60:02}:{minute % 60:02}:" for minute in range(24 * 60))


def proven(raw: Raw, tenant: str, stream: str, seq: int, head: bytes) -> bool:
    """Say that a row is certainly the one that was written after event `seq` with hash `head`; False says nothing.

    Text, hash, chain, columns and the spelling of the text are compared. A row that names texts beside it is left to
    others.
    """
    _, _, last, type_, at, actor_kind, actor_id, run, subject_kind, subject_id, tool, stored, digest = raw
    text = unpack_bytes(stored)
    if text is None or sha256(head + text).digest() != digest:
        return False
    try:
        day, since = divmod(at, _DAY)
        minute, since = divmod(since, _MINUTE)
        second, since = divmod(since, 1_000_000)
        subject = f'{{"id":{_text(subject_id)},"kind":{_text(subject_kind)}}}' if subject_kind or subject_id else "null"
        printed = (
            f',"run":{"null" if run is None else _text(_dashed(run))},"seq":{last},"stream":{_text(stream)},"subject":'
            f'{subject},"tenant":{_text(tenant)},"tool":{_text(tool)},"ts":"{_date(day)}{_MINUTES[minute]}{second:02}.'
            f'{since:06}Z","type":{_text(type_)},"v":'
        ).encode()
    except (TypeError, ValueError, OverflowError):
        return False
    actor_end = text.find(b'},"') + 1
    if (
        not text.endswith(printed, 0, -_END)
        or actor_end > _LONGEST_ACTOR
        or _actor(text[:actor_end]) != (actor_kind, actor_id)
    ):
        return False
    happened = b"{%b}" % text[actor_end + 1 : -_END - len(printed)]
    told = read_canonical(happened)
    if type(told) is not dict or _MARK in happened:
        return False
    if text.endswith(b"1}"):
        return last == seq + 1 and len(told) == 1 and "data" in told
    events = told.get("events")
    return (
        text.endswith(b"2}")
        and len(told) == 2
        and "headline" in told
        and type(events) is list
        and last - seq == len(events) > 0
    )


@lru_cache(_REMEMBERED)
def _actor(begin: bytes) -> tuple[object, object] | None:
    """Return kind and id of the actor, if that is what the text begins with, spelled as it must be."""
    found = read_canonical(begin + b"}") if _MARK not in begin else None
    actor = found.get("actor") if type(found) is dict and len(found) == 1 else None
    return (actor.get("kind"), actor.get("id")) if type(actor) is dict else None


def _dashed(run: str) -> str:
    """Return a run as a text spells it; SQLite stores it without dashes."""
    return f"{run[:8]}-{run[8:12]}-{run[12:16]}-{run[16:20]}-{run[20:]}" if len(run) == 32 else run


@lru_cache(_REMEMBERED)
def _date(day: int) -> str:
    return (EPOCH + timedelta(days=day)).date().isoformat()
