"""What time it is, for leases and waits that several workers must agree about.

It is the time of the database server where there is one, carried on between two looks by a clock of this machine that
nobody can set. So a worker whose own clock is wrong, or jumps, neither takes runs from others nor keeps them waiting.
On SQLite it is the time of this machine, except that a jump is believed only once it has lasted. The one process that
has such a database to itself leaves a note of the time beside it (`keep_note`), and whoever is next goes on from there:
a process that starts while the clock is wrong does not believe it either.
"""

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final

import psycopg
from django.db import Error, connection
from django.utils import timezone

LOOK_EVERY_S: Final = 60.0
SLACK_S: Final = 2.0
"""Clocks are put right in small steps all the time; more than this at once is a jump."""

BELIEVED_AFTER_S: Final = 900.0
"""How long a jump of the machine's clock must last to be the truth."""

NOTED_EVERY_S: Final = 20.0
"""How old a note of the time may be."""

_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Unlike the monotonic clock, the boot clock of Linux goes on while the machine sleeps."""


def steady() -> float:
    """Return seconds that only ever count up, evenly."""
    return time.clock_gettime(_STEADY)


@dataclass(frozen=True, slots=True)
class Reading:
    """A time, and the steady clock's at that moment."""

    moment: datetime
    at: float

    def carried_to(self, at: float) -> datetime:
        """Return the time it is when the steady clock says `at`."""
        return self.moment + timedelta(seconds=at - self.at)


@dataclass(frozen=True, slots=True)
class Jump:
    """By how many seconds the time looked at is apart from the one followed, and since when (steady)."""

    by: float
    since: float


@dataclass(frozen=True, slots=True)
class Noted:
    """What a clock hands on to the next process: the time it followed, and a jump it did not believe yet."""

    reading: Reading
    jump: Jump | None = None


class Clock:
    """Carries a time on by a steady clock. `look` returns the time to follow (aware), None when it cannot tell now.

    `every_s` is how often it looks; `believed_after_s` how long a time that jumped is not followed. `note` is where
    it leaves what it knows for its successor, and finds what its predecessor knew.
    """

    def __init__(
        self,
        look: Callable[[], datetime | None],
        *,
        every_s: float = 0.0,
        believed_after_s: float = 0.0,
        steady: Callable[[], float] = steady,
        note: "Note | None" = None,
    ) -> None:
        self._look = look
        self._steady = steady
        self._every_s = every_s
        self._believed_after_s = believed_after_s
        self._note = note
        self._known: Reading | None = None
        self._looked_at = 0.0
        self._jump: Jump | None = None
        self._noted_at: float | None = None
        self._noting = threading.Lock()

    def __call__(self) -> datetime:
        """Return the time."""
        passed = self._steady()
        if self._known is None or passed - self._looked_at >= self._every_s:
            self._follow()
        if self._known is None:
            return timezone.now()
        return self._known.carried_to(self._steady())

    def take_note(self, note: "Note") -> None:
        """Go on from what a predecessor has noted, and note for whoever is next. Before the clock is first asked."""
        self._note = note
        found = note.read(self._steady())
        if found is not None:
            self._known, self._jump = found.reading, found.jump
        self()

    def _follow(self) -> None:
        # The look may take a while, most of it on the way there: what it says counts from when it is heard, so that the
        # time is never ahead and nothing looks due early.
        found, passed = self._look(), self._steady()
        if found is None:
            return
        self._looked_at = passed
        before = self._jump
        self._jump = self._jumped(found, passed)
        if self._jump is None or passed - self._jump.since >= self._believed_after_s:
            self._known, self._jump = Reading(found, passed), None
        old = self._noted_at is None or before != self._jump or passed - self._noted_at >= NOTED_EVERY_S
        if self._note is not None and old and self._noting.acquire(blocking=False):
            try:
                self._noted_at = passed
                self._note.write(Noted(self._known or Reading(found, passed), self._jump))
            finally:
                self._noting.release()

    def _jumped(self, found: datetime, passed: float) -> Jump | None:
        """Return the jump that a look shows; the same one as before if it is by about as much."""
        if self._known is None:
            return None
        by = (found - self._known.carried_to(passed)).total_seconds()
        if abs(by) <= SLACK_S:
            return None
        before = self._jump
        return before if before is not None and abs(by - before.by) <= SLACK_S else Jump(by, passed)


@dataclass(frozen=True, slots=True)
class Note:
    """A file in which a clock's time outlives its process. One process at a time writes it.

    `boot` names the time the machine has been up: a steady clock goes on within it and nowhere else.
    """

    path: Path
    boot: str

    def read(self, at: float) -> Noted | None:
        """Return what was noted; None without a note that can be read.

        After another start of the machine nobody knows how much time has passed: it is at least the time of then. A
        clock that is further is believed.
        """
        try:
            found = json.loads(self.path.read_text())
            moment = datetime.fromisoformat(found["moment"])
            written_at, jump = float(found["at"]), found["jump"]
            if found["boot"] and found["boot"] == self.boot and written_at <= at:
                return Noted(Reading(moment, written_at), Jump(float(jump[0]), float(jump[1])) if jump else None)
            return Noted(Reading(moment, at)) if timezone.now() < moment else None
        except (OSError, ValueError, TypeError, KeyError, IndexError):
            return None

    def write(self, noted: Noted) -> None:
        """Replace the note; where that fails the old one stays."""
        jump = noted.jump
        text = json.dumps(
            {
                "boot": self.boot,
                "moment": noted.reading.moment.isoformat(),
                "at": noted.reading.at,
                "jump": [jump.by, jump.since] if jump is not None else None,
            }
        )
        new = self.path.with_name(f"{self.path.name}.new")
        with suppress(OSError):
            new.write_text(text)
            new.replace(self.path)


def _ask_server() -> datetime | None:
    """Ask past Django: who counts the statements of some work does not mean this one, which may come any time."""
    try:
        connection.ensure_connection()
        assert connection.connection is not None
        row = connection.connection.execute("select clock_timestamp()").fetchone()
    except (Error, psycopg.Error):
        return None
    found: datetime = row[0]
    return found


_of_server = Clock(_ask_server, every_s=LOOK_EVERY_S)
_of_machine = Clock(lambda: timezone.now(), believed_after_s=BELIEVED_AFTER_S)


def _boot() -> str:
    """Name the time that this machine has been up; empty where it cannot be told."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def keep_note(path: Path) -> None:
    """Have the clock of this machine go on from the note at `path`, and keep it up. For the holder of the database."""
    _of_machine.take_note(Note(path, _boot()))


def now() -> datetime:
    """Return the time all workers of this database go by. One query a minute on PostgreSQL."""
    return _followed()()


@cache
def _followed() -> Clock:
    return _of_server if connection.vendor == "postgresql" else _of_machine
