"""The queue in figures, counted again when something has happened in the tenant and not once for every page.

No change without an event: as long as the newest event is the same, so is what waits. What time alone changes (a hold
that ends, `older:2h`), and an event whose transaction took longer than that of a later one, is seen half a second
later.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Final

from agentops.tenancy.scope import current_tenant_id
from approvals.queue import live, selectors
from approvals.queue.filters import Filters
from approvals.queue.selectors import Count, Overview

FRESH_S: Final = 0.5
MOST: Final = 1_000

_Key = tuple[int, bool, tuple[Filters, ...]]
"""Tenant; whether it is what one person alone is told; what is counted."""

_seen: dict[_Key, tuple[float, Overview]] = {}
_guard = threading.Lock()
_counting = tuple(threading.Lock() for _ in range(16))
"""One for every sixteenth of the keys: who comes while somebody counts waits for that, instead of counting as well."""


def recent_overview(filters: Sequence[Filters], *, now: datetime) -> Overview:
    """Return `selectors.overview` as it was after the newest event, at most half a second ago. Up to two queries.

    What finds the same for everybody is counted once for all people of the tenant.
    """
    tenant_id = current_tenant_id()
    shared = (tenant_id, False, tuple(replace(one, me=None) for one in filters if not one.personal))
    own = (tenant_id, True, tuple(one for one in filters if one.personal))
    asked = [key for key in (shared, own) if key is shared or key[2]]
    newest = live.newest() if any(map(_young, asked)) else None
    found = {key: one for key in asked if (one := _known(key, newest)) is not None}
    if len(found) < len(asked):
        found |= _counted([key for key in asked if key not in found], now)
    counts = {personal: iter(one.of) for (_, personal, _), one in found.items()}
    return replace(found[shared], of=tuple(next(counts[one.personal]) for one in filters))


def _young(key: _Key) -> bool:
    seen = _seen.get(key)
    return seen is not None and time.monotonic() - seen[0] < FRESH_S


def _known(key: _Key, newest: int | None) -> Overview | None:
    """Return what was counted lately, if nothing has happened since."""
    seen = _seen.get(key)
    return seen[1] if seen is not None and _young(key) and seen[1].newest == newest else None


def _counted(keys: Sequence[_Key], now: datetime) -> dict[_Key, Overview]:
    """Count what nobody has begun to count since this was asked for. One query."""
    came_at = time.monotonic()
    with _counting[hash(keys[0]) % len(_counting)]:
        found = {key: seen[1] for key in keys if (seen := _seen.get(key)) is not None and seen[0] >= came_at}
        left = [key for key in keys if key not in found]
        if not left:
            return found
        asked_at = time.monotonic()
        asked = [one for _, _, filters in left for one in filters]
        if any(not personal for _, personal, _ in left):
            whole = selectors.overview(asked, now=now)
        else:
            of, newest = selectors.found_by(asked, now=now)
            whole = Overview(Count(0, False), 0, None, of, newest)
        counts = iter(whole.of)
        new = {key: replace(whole, of=tuple(islice(counts, len(key[2])))) for key in left}
        with _guard:
            if len(_seen) >= MOST:
                _seen.clear()
            _seen.update({key: (asked_at, one) for key, one in new.items()})
        return found | new


def forget() -> None:
    """Count again the next time."""
    with _guard:
        _seen.clear()
