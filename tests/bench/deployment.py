"""A deployment as the README describes it, at the size a measurement needs: workers, and a person who decides.

This process submits and watches. It submits to a queue of its own whose messages are then handed to the workers in one
go, so that a measurement starts with all of its work waiting and includes nothing of the submitting.
"""

import contextlib
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.bench.contracts import NOTES, Note, notes
from tests.proof.databases import Database
from tests.proof.processes import BIN, Process, environment, eventually

SWEEP_EVERY_S = 1.0
WORKER = ("-A", "agentops", "worker", "-I", "tests.bench.contracts")
"""The worker of the README's production section, with the tools of the benchmark."""


@dataclass
class Deployment:
    """One database and one queue; workers and decider come and go."""

    database: Database
    broker: str
    directory: Path
    queue: str = field(default_factory=lambda: f"bench-{os.getpid()}-{secrets.token_hex(3)}")

    def __post_init__(self) -> None:
        import psycopg
        import redis

        self.notes.mkdir(parents=True, exist_ok=True)
        self.redis: Any = redis.Redis.from_url(self.broker)
        self.sql = psycopg.connect(self.database.superuser, autocommit=True)
        self._started = 0

    @property
    def notes(self) -> Path:
        return self.directory / "notes"

    @property
    def held(self) -> str:
        """The queue that nobody consumes."""
        return f"{self.queue}-held"

    def env(self, **more: str) -> dict[str, str]:
        """Return the environment of a process of this deployment."""
        return environment(
            self.directory / "data",
            {
                "DATABASE_URL": self.database.runtime,
                "BROKER_URL": self.broker,
                "BROKER_QUEUE": self.queue,
                "SECRET_KEY": "only-for-the-bench-" * 4,
                "ALLOWED_HOSTS": "127.0.0.1",
                "HTTPS": "0",
                "LOG_LEVEL": "WARNING",
                NOTES: str(self.notes),
                **more,
            },
        )

    def become(self) -> None:
        """Make this process part of the deployment; once, before Django is imported."""
        import django

        os.environ.update(self.env(BROKER_QUEUE=self.held))
        django.setup()
        from tests.bench.contracts import register

        register()

    def process(self, name: str, *words: str) -> Process:
        """Start a process."""
        self._started += 1
        return Process(words, self.env(), self.directory / f"{self._started:02}-{name}.log")

    @contextmanager
    def workers(self, count: int) -> Iterator[list[Process]]:
        """Run so many workers, a process each."""
        workers = [self.process(f"worker-{n}", str(BIN / "celery"), *WORKER) for n in range(1, count + 1)]
        try:
            yield workers
        finally:
            for worker in workers:
                worker.kill()
            self.redis.flushdb()

    @contextmanager
    def decider(self) -> Iterator[Process]:
        """Run the person who approves everything."""
        person = self.process("decider", str(BIN / "python"), "-m", "tests.bench.decider", "stream")

        def ready() -> bool:
            person.must_live()
            return "ready" in person.said

        try:
            eventually(ready)
            yield person
        finally:
            person.kill()

    @contextmanager
    def sweeping(self) -> Iterator[None]:
        """Ring for the sweeper as `celery beat` does."""
        from celery import current_app

        done = threading.Event()

        def beat() -> None:
            while not done.wait(SWEEP_EVERY_S):
                with contextlib.suppress(Exception):
                    current_app.send_task("agentops.worker.tasks.sweep", queue=self.queue, ignore_result=True)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join(10)

    def release(self) -> None:
        """Hand every message that is held to the workers, in order and at once."""
        from agentops.runs.bell import key_of

        with self.redis.pipeline(transaction=True) as pipe:
            for held, queue in ((self.held, self.queue), (key_of(self.held), key_of(self.queue))):
                for _ in range(int(self.redis.llen(held))):
                    pipe.rpoplpush(held, queue)
            pipe.execute()

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Read the database past every policy."""
        cursor = self.sql.execute(query, values or None)
        return cursor.fetchall() if cursor.description else []

    def wait_for(self, runs: list[UUID], *, watch: tuple[Process, ...], within_s: float) -> float:
        """Wait until the runs have succeeded; return when the last one did, in seconds since 1970."""

        def left() -> bool:
            for process in watch:
                process.must_live()
            [(ended,)] = self.rows("select count(*) from runs_run where ended_at is not null and id = any(%s)", runs)
            return bool(ended == len(runs))

        eventually(left, within_s=within_s)
        found = self.rows(
            "select state, failure_code, failure_message, count(*), extract(epoch from max(ended_at)) "
            "from runs_run where id = any(%s) group by 1, 2, 3",
            runs,
        )
        assert [row[0] for row in found] == ["succeeded"], found
        return float(found[0][4])

    def noted(self, runs: list[UUID]) -> list[Note]:
        """Return what the tools noted about these runs, oldest first."""
        wanted = set(runs)
        return sorted((note for note in notes(self.notes) if note.run_id in wanted), key=lambda note: note.at_ns)


def cpu_seconds(process: Process) -> float:
    """Return the processor time of a process and its children so far; 0 where there is no /proc."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            # Behind the name: state, parent, group, ... user, system, and both of children that have ended.
            told = path.read_text().rpartition(") ")[2].split()
            if int(told[2]) == process.pid:
                ticks += sum(map(int, told[11:15] if int(path.parent.name) == process.pid else told[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")
