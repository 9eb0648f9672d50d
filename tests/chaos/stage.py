"""Where the chaos happens: a deployment of real processes, and the hands that disturb it."""

import os
import random
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.servers import OwnRedis, own_redis
from tests.chaos.proxy import Door
from tests.proof.brokers import corner
from tests.proof.databases import Database, own_database
from tests.proof.processes import BIN, Process, environment, eventually

BACKENDS = ("sqlite", "redis", "rabbitmq")
WORKERS = 2
RABBITMQ = ("127.0.0.1", 5672)


@dataclass
class Stage:
    """One deployment; `disturb` does one thing to it."""

    backend: str
    directory: Path
    rng: random.Random
    span: int
    clocks: bool
    database: Database | None = None
    broker: str = "memory://"
    queue: str = "agentops"
    stop_broker: Callable[[], None] | None = None
    start_broker: Callable[[], None] | None = None
    processes: dict[str, Process] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    _started: int = 0

    def env(self, **more: str) -> dict[str, str]:
        """Return the environment of a process."""
        shared = {
            "SECRET_KEY": "only-for-the-chaos-" * 4,
            "LOG_LEVEL": "WARNING",
            "CHAOS_DIRECTORY": str(self.directory),
            "CHAOS_SPAN": str(self.span),
            "CHAOS_CLOCKS": "1" if self.clocks else "",
        }
        if self.database is not None:
            shared |= {
                "DATABASE_URL": self.database.runtime,
                "BROKER_URL": self.broker,
                "BROKER_QUEUE": self.queue,
                "ALLOWED_HOSTS": "127.0.0.1",
                "HTTPS": "0",
            }
        return environment(self.directory / "data", shared | more)

    def start(self, name: str) -> None:
        """Start a process of the deployment: a worker by its name and number, beat or decider."""
        kind = name.split()[0]
        words = {
            "decider": (sys.executable, "-m", "tests.chaos.decider"),
            "beat": (str(BIN / "celery"), "-A", "agentops", "beat"),
            "worker": (str(BIN / "celery"), "-A", "agentops", "worker", "-I", "tests.chaos.mayhem")
            if self.database is not None
            else (sys.executable, "-m", "tests.chaos.embedded"),
        }[kind]
        self._started += 1
        more = {"AGENTOPS_PROCESS": "worker", "CHAOS_DOOMED": "1"} if kind == "worker" else {}
        log = self.directory / f"{self._started:04}-{name.replace(' ', '-')}.log"
        self.processes[name] = Process(words, self.env(**more), log)

    def start_all(self) -> None:
        for name in (*self.workers, "decider", *(["beat"] if self.database is not None else [])):
            self.start(name)

    @property
    def workers(self) -> tuple[str, ...]:
        """The names of the worker processes; the embedded mode is but one."""
        return tuple(f"worker {n}" for n in range(1, 1 + (WORKERS if self.database is not None else 1)))

    def supervise(self) -> None:
        """Start again what has ended, as a service manager does."""
        for name, process in list(self.processes.items()):
            if not process.alive:
                process.kill()
                self.done[f"{name.split()[0]} started again"] += 1
                self.start(name)

    def stop_all(self) -> None:
        for process in self.processes.values():
            process.kill()

    @property
    def patience(self) -> float:
        """How much longer this deployment needs than others to get up again."""
        return 8.0 if self.database is None else 2.0

    # --- disturbances -----------------------------------------------------------------------------------------------

    def disturb(self) -> None:
        """Do one thing, by chance."""
        choices: list[tuple[int, str, Callable[[], None]]] = [(2, "every worker killed", self.kill_workers)]
        if self.database is not None:
            choices += [
                (3, "one worker killed", self.kill_worker),
                (4, "database connection cut", self.cut_connection),
                (1, "broker stopped and started", self.restart_broker),
                (1, "every message lost", self.lose_messages),
            ]
        weights = [weight for weight, _, _ in choices]
        [(_, name, act)] = self.rng.choices(choices, weights)
        self.done[name] += 1
        act()

    def kill_workers(self) -> None:
        for name in self.workers:
            self.processes[name].kill()
        for name in self.workers:
            self.start(name)

    def kill_worker(self) -> None:
        name = self.rng.choice(self.workers)
        self.processes[name].kill()
        self.start(name)

    def cut_connection(self) -> None:
        self.rows(
            "select pg_terminate_backend(pid) from (select pid from pg_stat_activity "
            "where datname = current_database() and application_name = 'agentops-worker' order by random() limit 1) p"
        )

    def restart_broker(self) -> None:
        assert self.stop_broker is not None
        assert self.start_broker is not None
        self.stop_broker()
        time.sleep(self.rng.uniform(0.2, 1.5))
        self.start_broker()

    def lose_messages(self) -> None:
        with suppress(Exception), self._app() as app, app.connection_for_write() as connection:
            connection.default_channel.queue_purge(self.queue)
        if self.broker.startswith("redis"):
            import redis

            from agentops.runs.bell import key_of

            with suppress(redis.RedisError), redis.Redis.from_url(self.broker) as client:
                client.delete(key_of(self.queue))

    def ring_all(self, tenant_id: int) -> None:
        """Ring twice for runs that have not ended, in any order."""
        if self.database is None:
            return  # the embedded process does it itself: nobody else reaches its messages
        runs = [
            str(run)
            for (run,) in self.rows("select id from runs_run where ended_at is null order by random() limit 20")
        ]
        with suppress(Exception), self._app() as app, app.connection_for_write() as connection:
            for run in self.rng.sample([*runs, *runs], 2 * len(runs)):
                words = [tenant_id, run]
                app.send_task("agentops.worker.tasks.drive", args=words, connection=connection, ignore_result=True)
        self.done["messages doubled and shuffled"] += 2 * len(runs)

    @contextmanager
    def _app(self) -> Iterator[Any]:
        from celery import Celery

        from agentops.celery import configuration

        app = Celery("tests.chaos", set_as_current=False)
        app.config_from_object(configuration(self.broker, self.queue))
        try:
            yield app
        finally:
            app.close()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Read the database past everything that is ours (PostgreSQL)."""
        assert self.database is not None
        return self.database.rows(query)


@contextmanager
def stage(backend: str, directory: Path, postgresql: str, *, seed: str, span: int, clocks: bool) -> Iterator[Stage]:
    """Set a stage up, without processes yet; everything on it is gone afterwards."""
    made = Stage(backend, directory, random.Random(seed), span, clocks)
    with ExitStack() as stack:
        if backend != "sqlite":
            made.database = stack.enter_context(own_database(postgresql, directory / "owner"))
            made.queue = f"chaos-{os.getpid()}-{secrets.token_hex(3)}"
        if backend == "redis":
            server: OwnRedis = stack.enter_context(own_redis())
            made.broker, made.stop_broker, made.start_broker = server.url, server.kill, server.start
        elif backend == "rabbitmq":
            account = "amqp://guest:guest@127.0.0.1"
            corner_of = stack.enter_context(corner(f"{account}:{RABBITMQ[1]}//"))
            door = Door(RABBITMQ)
            stack.callback(door.close)
            made.queue, made.broker = corner_of.queue, f"{account}:{door.port}//"
            made.stop_broker, made.start_broker = door.close, door.open
        stack.callback(made.stop_all)
        yield made


def until(look: Callable[[], bool], *, within_s: float, meanwhile: Callable[[], None]) -> bool:
    """Wait until `look` is true, doing something meanwhile; False if it never was."""
    limit = time.monotonic() + within_s
    while not look():
        if time.monotonic() > limit:
            return False
        meanwhile()
        time.sleep(0.2)
    return True


__all__ = ["BACKENDS", "Stage", "eventually", "stage", "until"]
