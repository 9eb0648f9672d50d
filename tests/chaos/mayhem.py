"""What happens inside a worker process of the chaos test: it dies at named points, and its clock jumps.

Imported by Celery workers (`-I tests.chaos.mayhem`) and by the embedded process. A process dies at one of the points
where the fewest died before, so that every point has its turn and those that start together seldom share one.
"""

import os
import random
import signal
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import time_machine

from agentops.runs import lease, points
from agentops.worker import backoff, conductor
from tests.chaos import contracts

DOOMED = "CHAOS_DOOMED"
SPAN = "CHAOS_SPAN"
"""How often the point of death is passed at most before it is one."""
CLOCKS = "CHAOS_CLOCKS"
LEASE = timedelta(seconds=4)
LONGEST_WAIT_S = 20.0
"""Nobody can say of a run that still waits for its sixth attempt, two minutes later, whether it is stuck."""
JUMPS_S = (0, 600, -600)
JUMP_EVERY = 60
"""Points between two jumps of the clock, on average."""


class Doom:
    """The fate of one process; a forked child gets its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.pid = 0
        self.rng = random.Random()
        self.target = ""
        self.left = 0
        self.travel: time_machine.travel | None = None

    def __call__(self, name: str) -> None:
        """Be told that a point is reached."""
        if self.pid != os.getpid():
            self._begin()
        if (self.directory / "calm").exists():
            self._set_clock(0)
            return
        if os.environ.get(CLOCKS) and self.rng.random() < 1 / JUMP_EVERY:
            self._set_clock(self.rng.choice(JUMPS_S))
        if name == self.target:
            self.left -= 1
            if self.left <= 0:
                self.die(name)

    def _begin(self) -> None:
        self.pid = os.getpid()
        self.rng = random.Random(f"{self.pid}:{time.monotonic_ns()}")
        died = Counter(deaths(self.directory))
        fewest = min(died[point] for point in points.POINTS)
        self.target = self.rng.choice([point for point in points.POINTS if died[point] == fewest])
        self.left = self.rng.randint(1, int(os.environ.get(SPAN, "5")))

    def _set_clock(self, seconds: int) -> None:
        if self.travel is not None:
            self.travel.stop()
            self.travel = None
        if seconds:
            _append(self.directory / "jumps", f"{seconds}")
            self.travel = time_machine.travel(datetime.now(UTC) + timedelta(seconds=seconds), tick=True)
            self.travel.start()

    def die(self, name: str) -> NoReturn:
        """Write down where, and end as a process does whose machine is switched off."""
        _append(self.directory / "deaths", name)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("still here")


def deaths(directory: Path) -> list[str]:
    """Return the points where processes died, in order."""
    return _lines(directory / "deaths")


def jumps(directory: Path) -> list[str]:
    """Return the seconds by which clocks were wrong, in order."""
    return _lines(directory / "jumps")


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _append(path: Path, line: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


def begin() -> None:
    """Register the tools, shorten leases and waits to what a test can wait for, and let fate take its course."""
    contracts.register()
    lease.LEASE = lease.MARGIN = LEASE  # type: ignore[misc]
    conductor.HEARTBEAT = LEASE / 3  # type: ignore[misc]
    backoff.CAP_S = LONGEST_WAIT_S  # type: ignore[misc]
    points.install(Doom(Path(os.environ[contracts.DIRECTORY])))


if DOOMED in os.environ:
    begin()
