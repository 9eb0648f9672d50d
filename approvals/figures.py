"""The queue in figures, counted again when something has happened in the tenant and not once for every page.

No change without an event: as long as the newest event is the same, so is what waits. What time alone changes (a hold
that ends, `older:2h`), and an event whose transaction took longer than that of a later one, is seen half a second
later.
"""

import threading
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from agentops.tenancy.scope import current_tenant_id
from approvals import live, selectors
from approvals.filters import Filters
from approvals.selectors import Overview

FRESH_S: Final = 0.5
MOST: Final = 1_000

_Key = tuple[int, tuple[Filters, ...]]

_seen: dict[_Key, tuple[float, Overview]] = {}
_guard = threading.Lock()
_counting = tuple(threading.Lock() for _ in range(16))
"""One for every sixteenth of the keys: who comes while somebody counts waits for that, instead of counting as well."""


def recent_overview(filters: Sequence[Filters], *, now: datetime) -> Overview:
    """Return `selectors.overview` as it was after the newest event, at most half a second ago. Up to three queries."""
    key = (current_tenant_id(), tuple(filters))
    if (known := _known(key)) is not None:
        return known
    with _counting[hash(key) % len(_counting)]:
        if (known := _known(key)) is not None:
            return known
        asked_at = time.monotonic()
        found = selectors.overview(filters, now=now)
        with _guard:
            if len(_seen) >= MOST:
                _seen.clear()
            _seen[key] = (asked_at, found)
        return found


def _known(key: _Key) -> Overview | None:
    """Return what was counted lately, if nothing has happened since; a query, unless it is too old anyway."""
    with _guard:
        seen = _seen.get(key)
    if seen is None or time.monotonic() - seen[0] >= FRESH_S or seen[1].newest != live.newest():
        return None
    return seen[1]


def forget() -> None:
    """Count again the next time."""
    with _guard:
        _seen.clear()
