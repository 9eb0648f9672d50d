"""Ids that sort by creation time."""

import secrets
import threading
import time
import uuid

_lock = threading.Lock()
_last = 0


def uuid7() -> uuid.UUID:
    """Return a version 7 UUID (RFC 9562), strictly increasing within one process.

    48 bits of Unix milliseconds, 12 bits of the fraction of the millisecond (section 6.2, method 3) and 62 random bits.
    """
    global _last
    nanoseconds = time.time_ns()
    milliseconds, rest = divmod(nanoseconds, 1_000_000)
    with _lock:
        _last = max(_last + 1, milliseconds << 12 | rest * 4096 // 1_000_000)
        stamp = _last
    high = (stamp >> 12) << 16 | 0x7 << 12 | stamp & 0xFFF
    return uuid.UUID(int=high << 64 | 0b10 << 62 | secrets.randbits(62))
