"""What time it is, for leases and waits that several workers must agree about.

It is the time of the database server where there is one, carried on between two looks by a clock of this machine that
nobody can set. So a worker whose own clock is wrong, or jumps, neither takes runs from others nor keeps them waiting.
On SQLite it is the time of this machine, except that a jump is believed only once it has lasted.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from typing import Final

from django.db import Error, connection
from django.utils import timezone

LOOK_EVERY_S: Final = 60.0
SLACK_S: Final = 2.0
"""Clocks are put right in small steps all the time; more than this at once is a jump."""

BELIEVED_AFTER_S: Final = 900.0
"""How long a jump of the machine's clock must last to be the truth."""

_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Unlike the monotonic clock, the boot clock of Linux goes on while the machine sleeps."""


def steady() -> float:
    """Return seconds that only ever count up, evenly."""
    return time.clock_gettime(_STEADY)


class Clock:
    """Carries a time on by a steady clock. `look` returns the time to follow (aware), None when it cannot tell now.

    `every_s` is how often it looks; `believed_after_s` how long a time that jumped is not followed.
    """

    def __init__(
        self,
        look: Callable[[], datetime | None],
        *,
        every_s: float = 0.0,
        believed_after_s: float = 0.0,
        steady: Callable[[], float] = steady,
    ) -> None:
        self._look = look
        self._steady = steady
        self._every_s = every_s
        self._believed_after_s = believed_after_s
        self._known: tuple[datetime, float] | None = None
        self._looked_at = 0.0
        self._jumped_at: float | None = None

    def __call__(self) -> datetime:
        """Return the time."""
        passed = self._steady()
        if self._known is None or passed - self._looked_at >= self._every_s:
            self._follow(passed)
        if self._known is None:
            return timezone.now()
        moment, at = self._known
        return moment + timedelta(seconds=self._steady() - at)

    def _follow(self, passed: float) -> None:
        # The look may take a while: what it says counts from before it, so that nothing due looks early.
        found = self._look()
        if found is None:
            return
        self._looked_at = passed
        if self._known is not None:
            moment, at = self._known
            apart = abs((found - moment).total_seconds() - (passed - at))
            if apart > SLACK_S:
                if self._jumped_at is None:
                    self._jumped_at = passed
                if passed - self._jumped_at < self._believed_after_s:
                    return
        self._jumped_at = None
        self._known = (found, passed)


def _ask_server() -> datetime | None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("select clock_timestamp()")
            found: datetime = cursor.fetchone()[0]
    except Error:
        return None
    return found


_of_server = Clock(_ask_server, every_s=LOOK_EVERY_S)
_of_machine = Clock(lambda: timezone.now(), believed_after_s=BELIEVED_AFTER_S)


def now() -> datetime:
    """Return the time all workers of this database go by. One query a minute on PostgreSQL."""
    return _followed()()


@cache
def _followed() -> Clock:
    return _of_server if connection.vendor == "postgresql" else _of_machine
