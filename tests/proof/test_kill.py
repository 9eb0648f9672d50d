"""`kill -9` in the middle of the work: after the next start every run ends, once, and the record proves it."""

import json
import os
import random
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any, TypeVar
from urllib.request import urlopen

import pytest

from agentops.audit import guards
from agentops.worker.demo import PASSWORD, PEOPLE
from tests.proof.processes import Process, environment, eventually, manage, prepared
from tests.proof.visitors import Browser, Program

pytestmark = pytest.mark.skipif(
    "DATABASE_URL" in os.environ,
    reason="the demo brings its own SQLite database; tested in the SQLite run",
)

TASKS = 20
ROUNDS = 4
SLUG = "harbor-shop"
T = TypeVar("T")


class Demo:
    """`manage.py demo` on a data directory of its own, which survives it."""

    def __init__(self, directory: Path) -> None:
        self.data = directory / "data"
        self.env = environment(self.data, {"HOST": "127.0.0.1", "PORT": "0", "API_SUBMITS_PER_MINUTE": "100000"})
        self.log = directory / "demo.log"
        self.process: Process | None = None
        self.url = ""

    def start(self) -> None:
        """Start it and wait until site and worker are there."""
        process = Process([sys.executable, "manage.py", "demo"], self.env, self.log)
        self.process = process
        self.url = eventually(lambda: self._ready(process))

    def _ready(self, process: Process) -> str:
        process.must_live()
        try:
            told = json.loads((self.data / "agentops.lock").read_text())
            if told["pid"] != process.pid or not told["url"]:
                return ""
            with urlopen(f"{told['url']}/healthz", timeout=5) as answer:
                return str(told["url"]) if json.load(answer)["worker"] == "running" else ""
        except (OSError, ValueError):
            return ""

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Read the database file, past everything that is ours."""
        with closing(sqlite3.connect(self.data / "agentops.sqlite3", timeout=20)) as connection:
            return connection.execute(query, values).fetchall()

    def events(self) -> dict[tuple[str, int], bytes]:
        """Return the hash of every event by stream and number."""
        found = self.rows("select s.name, e.seq, e.hash from audit_event e join audit_stream s on s.id = e.stream_id")
        return {(f"{name}", seq): digest for name, seq, digest in found}

    def verify(self) -> tuple[int, list[str]]:
        """Return the exit code of `audit_verify` and the lines it printed."""
        done = manage("audit_verify", env=self.env)
        return done.returncode, done.stdout.splitlines()


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    demo = Demo(tmp_path)
    demo.start()
    yield demo
    demo.kill()


@dataclass
class Desk:
    """A program that submits a refund of each order, an operator who approves, and what both were promised."""

    demo: Demo
    program: Program
    operator: Browser
    orders: list[str]
    runs: dict[str, str] = field(default_factory=dict)
    """Order -> run, of every submission that was acknowledged."""
    decided: set[str] = field(default_factory=set)
    """Proposals whose decision was acknowledged."""
    ended: set[str] = field(default_factory=set)

    @property
    def promises(self) -> int:
        return len(self.runs) + len(self.decided)

    def move(self) -> None:
        """Find the site at its new address."""
        self.program.site = self.operator.site = self.demo.url

    def turn(self, rng: random.Random) -> bool:
        """Do the next thing for some order; False when all of them are done."""
        unsent = [order for order in self.orders if order not in self.runs]
        unended = [order for order, run in self.runs.items() if run not in self.ended]
        if unended and (not unsent or rng.random() < 0.3):
            self._decide(self.runs[rng.choice(unended)])
        elif unsent:
            order = rng.choice(unsent)
            task = {"order_ref": order, "amount_minor": 100 + self.orders.index(order), "reason": "Late delivery"}
            status, document = self.program.submit("goodwill-refund", task, key=f"refund-{order}")
            assert status == 202, document
            self.runs[order] = document["run_id"]
        return bool(unsent or unended)

    def _decide(self, run_id: str) -> None:
        run = self.program.run(run_id)
        if run["ended_at"]:
            self.ended.add(run_id)
        for proposal in run["proposals"]:
            if proposal["status"] != "pending":
                continue
            answer = self.operator.approve(proposal["url"])
            assert answer.status == 302, answer.text
            self.decided.add(proposal["id"])


def open_desk(demo: Demo) -> Desk:
    olga = next(person for person in PEOPLE if person.name == "Olga")
    orders = demo.rows(
        "select o.ref from backoffice_order o join tenancy_tenant t on t.id = o.tenant_id "
        "where t.slug = ? and o.status = 'delivered' and o.total_minor > 1000 "
        "and not exists (select 1 from backoffice_refund r where r.order_id = o.id) order by o.ref limit ?",
        SLUG,
        TASKS,
    )
    operator = Browser(demo.url)
    operator.sign_in(olga.email, PASSWORD)
    program = Program(demo.url, prepared("token", SLUG, env=demo.env)["token"])
    return Desk(demo, program, operator, [ref for (ref,) in orders])


def work_until_killed(desk: Desk, rng: random.Random) -> None:
    """Work until some promises were made, then let the process be killed at any moment and work on until it is."""
    enough = desk.promises + rng.randint(4, 9)
    killer = threading.Timer(rng.uniform(0.0, 0.3), desk.demo.kill)
    try:
        while desk.turn(rng):
            if desk.promises >= enough and not killer.is_alive():
                killer.start()
                enough = 10**6
    except (OSError, HTTPException):
        pass  # the connection broke: whatever was under way was not promised
    killer.join()


def test_nothing_is_lost_and_nothing_done_twice_and_one_altered_byte_is_named(demo: Demo) -> None:
    desk = open_desk(demo)
    known: dict[tuple[str, int], bytes] = {}
    for number in range(ROUNDS):
        rng = random.Random(f"round {number}")
        work_until_killed(desk, rng)
        left = demo.events()
        assert known.items() <= left.items(), "an event that was there before this round is gone"
        known = left
        assert len(desk.ended) < TASKS, "the kill came too late to prove anything"
        demo.start()
        desk.move()

    rng = random.Random("to the end")

    def all_done() -> bool:
        return not desk.turn(rng)

    eventually(all_done, within_s=60, every_s=0)
    assert len(desk.runs) == TASKS
    assert known.items() <= demo.events().items()
    every_promise_was_kept(desk)

    assert demo.process is not None
    demo.process.ask_to_stop()
    assert demo.process.exit_code(10) == 0
    code, lines = demo.verify()
    assert code == 0, lines
    assert all("intact" in line for line in lines)
    one_altered_byte_is_named(demo)


def every_promise_was_kept(desk: Desk) -> None:
    demo = desk.demo
    hexes = {run.replace("-", ""): order for order, run in desk.runs.items()}
    runs = demo.rows(
        "select r.id, r.state, r.failure_code from runs_run r join runs_tasktype t on t.id = r.task_type_id "
        "where t.slug = 'goodwill-refund' and r.requested_by_token <> ''"
    )
    assert {run: state for run, state, _ in runs} == dict.fromkeys(hexes, "succeeded"), runs

    refunds = demo.rows(
        "select o.ref, r.amount_minor from backoffice_refund r join backoffice_order o on o.id = r.order_id "
        f"where o.ref in ({','.join('?' * TASKS)}) order by o.ref",
        *desk.orders,
    )
    assert refunds == sorted((order, 100 + number) for number, order in enumerate(desk.orders))

    used = demo.rows(
        "select run_id from approvals_grant where tool = 'shop.issue_refund' and source = 'proposal' "
        "and consumed_at is not null"
    )
    assert sorted(run for (run,) in used if run in hexes) == sorted(hexes)

    submitted = demo.rows("select run_id from audit_event where type = 'run.submitted'")
    assert set(hexes) <= {run for (run,) in submitted}
    events = demo.rows("select subject_id from audit_event where type = 'proposal.decided'")
    decided = [proposal for (proposal,) in events]
    assert desk.decided <= set(decided)
    assert len(decided) == len(set(decided))


def one_altered_byte_is_named(demo: Demo) -> None:
    rng = random.Random("forger")
    name, seq, event, slug, body = rng.choice(
        demo.rows(
            "select s.name, e.seq, e.id, t.slug, e.body from audit_event e join audit_stream s on s.id = e.stream_id "
            "join tenancy_tenant t on t.id = e.tenant_id where s.name like 'run:%' and e.seq < s.seq"
        )
    )
    raw = bytearray(body)
    raw[rng.choice([at for at, byte in enumerate(raw) if byte < 0x80])] ^= 1
    with closing(sqlite3.connect(demo.data / "agentops.sqlite3", timeout=20)) as connection, connection:
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute("update audit_event set body = ? where id = ?", (bytes(raw), event))
        guards.remove(connection, "sqlite")
        connection.execute("update audit_event set body = ? where id = ?", (bytes(raw), event))
        guards.install(connection, "sqlite")
    code, lines = demo.verify()
    assert code == 1
    bad = [line for line in lines if "intact" not in line and "proven" not in line]
    assert len(bad) == 1
    assert bad[0].startswith(f"{slug}: {name} event {seq} (id {event}): altered.")
