"""The production path with real processes: PostgreSQL with both roles, a broker, Celery worker and beat, uvicorn."""

import secrets
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from agentops.audit.packing import unpack
from agentops.audit.services import Recorded, read
from tests.proof.brokers import Broker, corner
from tests.proof.databases import Database, own_database, server_of_the_tests
from tests.proof.processes import BIN, SPEAKING, Process, environment, eventually, free_port, manage, prepared
from tests.proof.visitors import Browser, Program
from tests.stubs.model_server import Asked, ModelServer, Reply, support

pytestmark = pytest.mark.integration

GRACE_S = 30


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    server = server_of_the_tests()
    if not server:
        pytest.skip("INTEGRATION TEST NOT RUN: DATABASE_URL names no PostgreSQL server")
    with own_database(server, tmp_path_factory.mktemp("owner")) as database:
        yield database


@dataclass
class Gate:
    """A model that answers as the support script does, as long as the gate is open."""

    open: threading.Event = field(default_factory=threading.Event)
    asked: int = 0

    def __call__(self, asked: Asked) -> Reply:
        self.asked += 1
        self.open.wait(60)
        return support(asked)


@dataclass
class Deployment:
    """Everything that runs in production, once each; `start_worker` replaces a worker that is gone."""

    env: dict[str, str]
    logs: Path
    site: str
    broker: Broker
    database: Database
    model: Gate
    tenant: int
    slug: str
    program: Program
    operator: Browser
    processes: dict[str, Process] = field(default_factory=dict)

    @property
    def worker(self) -> Process:
        return self.processes["worker"]

    def start(self, name: str, *words: str) -> None:
        command = [str(BIN / words[0]), *words[1:]]
        self.processes[name] = Process(command, self.env, self.logs / f"{name}.log")

    def start_worker(self) -> None:
        self.start("worker", "celery", "-A", "agentops", "worker")

    def start_all(self) -> None:
        port = self.site.rpartition(":")[2]
        self.start("web", "uvicorn", "agentops.asgi:application", "--lifespan", "off", "--port", port, *SPEAKING)
        self.start("beat", "celery", "-A", "agentops", "beat")
        self.start_worker()
        eventually(self._healthy)

    def _healthy(self) -> bool:
        for process in self.processes.values():
            process.must_live()
        try:
            with urlopen(f"{self.site}/healthz", timeout=5) as answer:
                return bool(answer.status == 200)
        except URLError:
            return False

    def submit(self, task_type: str, **task: object) -> str:
        status, document = self.program.submit(task_type, task)
        assert status == 202, document
        return str(document["run_id"])

    def state(self, run_id: str) -> str:
        return str(self.program.run(run_id)["status"])

    def must_succeed(self, run_id: str) -> None:
        eventually(lambda: self.state(run_id) == "succeeded")

    def proposal(self, run_id: str) -> str:
        """Return the address of the proposal of a run, as soon as there is one."""
        [address] = eventually(lambda: self.program.pending(run_id))
        return address

    def approve(self, run_id: str) -> str:
        """Approve what a run waits for, in the site; return the address of the card."""
        card = self.proposal(run_id)
        answer = self.operator.approve(card)
        assert (answer.status, answer.location) == (302, f"/t/{self.slug}/queue"), answer.text
        return card

    def refunds(self, run_id: str) -> list[tuple[str, int]]:
        """Return order and amount of every refund that a run made."""
        return self.database.rows(
            "select o.ref, r.amount_minor from backoffice_refund r join backoffice_order o on o.id = r.order_id "
            "where r.idempotency_key = any(%s)",
            [event.data["idempotency_key"] for event in self.recorded(run_id) if event.type == "call.selected"],
        )

    def events(self, run_id: str) -> list[str]:
        """Return the types of a run's events, oldest first."""
        return [event.type for event in self.recorded(run_id)]

    def recorded(self, run_id: str) -> list[Recorded]:
        """Return a run's events, oldest first."""
        rows = self.database.rows("select body, hash from audit_event where run_id = %s order by seq", run_id)
        return [event for body, digest in rows for event in read(unpack(body), bytes(digest))]


@pytest.fixture(scope="module")
def deployment(database: Database, broker_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    directory = tmp_path_factory.mktemp("deployment")
    slug = f"acme-{broker_url.partition(':')[0]}"
    site = f"http://127.0.0.1:{free_port()}"
    gate = Gate()
    gate.open.set()
    with corner(broker_url) as broker, ModelServer(gate) as model:
        env = environment(
            directory / "data",
            {
                "DATABASE_URL": database.runtime,
                "BROKER_URL": broker.url,
                "BROKER_QUEUE": broker.queue,
                "SECRET_KEY": secrets.token_hex(40),
                "ALLOWED_HOSTS": "127.0.0.1",
                "HTTPS": "0",
                "LOG_LEVEL": "WARNING",
                "AGENTOPS_MODEL": "stub",
                "AGENTOPS_MODEL_BASE_URL": model.url,
            },
        )
        seeded = prepared("shop", slug, env=env)
        deployment = Deployment(
            env=env,
            logs=directory,
            site=site,
            broker=broker,
            database=database,
            model=gate,
            tenant=int(seeded["tenant"]),
            slug=slug,
            program=Program(site, seeded["token"]),
            operator=Browser(site),
        )
        try:
            deployment.start_all()
            deployment.operator.sign_in(seeded["operator"], seeded["password"])
            yield deployment
        finally:
            gate.open.set()
            for process in deployment.processes.values():
                process.kill()


def test_a_task_goes_from_the_api_to_a_receipt(deployment: Deployment) -> None:
    run_id = deployment.submit("support-email", message_id="M-0001")
    waiting = deployment.proposal(run_id)
    assert waiting in deployment.operator.get(f"/t/{deployment.slug}/queue").text
    card = deployment.approve(run_id)
    reply = eventually(lambda: [url for url in deployment.program.pending(run_id) if url != card])[0]
    assert deployment.refunds(run_id) == [("A-1001", 12_400)]
    receipt = deployment.operator.get(card).text
    assert "Approved digest = executed digest" in receipt
    assert deployment.operator.approve(reply).status == 302
    deployment.must_succeed(run_id)
    assert deployment.refunds(run_id) == [("A-1001", 12_400)]
    assert deployment.program.run(run_id)["answer"] == "Refunded order A-1001."
    [letter] = (Path(deployment.env["AGENTOPS_DATA_DIR"]) / "mail").glob("*.log")
    assert "To: wilma@example.com" in letter.read_text()

    audit = deployment.operator.get(f"/t/{deployment.slug}/audit?run={run_id}").text
    for kind in ("run.submitted", "plan.made", "call.proposed", "proposal.decided", "call.started", "run.succeeded"):
        assert kind in audit
    assert manage("audit_verify", env=deployment.env).returncode == 0


def test_processes_have_the_role_that_policies_bind(deployment: Deployment) -> None:
    roles = deployment.database.rows(
        "select distinct usename from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    )
    assert {role for (role,) in roles if role.endswith("_runtime")}
    import psycopg

    with psycopg.connect(deployment.database.runtime) as connection:
        assert connection.execute("select count(*) from runs_run").fetchone() == (0,), "no scope, no rows"
    assert deployment.database.rows("select count(*) from runs_run") != [(0,)]


def test_a_worker_told_to_stop_finishes_its_step_and_a_lost_or_doubled_message_changes_nothing(
    deployment: Deployment,
) -> None:
    deployment.model.open.clear()
    before = deployment.model.asked
    first = deployment.submit("support-email", message_id="M-0001")
    eventually(lambda: deployment.model.asked > before)
    deployment.worker.ask_to_stop()
    deployment.model.open.set()
    assert deployment.worker.exit_code(GRACE_S) == 0, deployment.worker.said
    assert deployment.state(first) in {"awaiting_approval", "succeeded"}, "the worker left in the middle"

    task = {"order_ref": "A-1002", "amount_minor": 700, "reason": "Late delivery"}
    lost = deployment.submit("goodwill-refund", **task)
    doubled = deployment.submit("goodwill-refund", **(task | {"order_ref": "A-1003"}))
    assert deployment.broker.lose_everything() >= 2
    deployment.broker.ring(deployment.tenant, doubled, 6)
    deployment.start_worker()
    for run_id, order in ((lost, "A-1002"), (doubled, "A-1003")):
        deployment.approve(run_id)
        deployment.broker.ring(deployment.tenant, run_id, 4)
        deployment.must_succeed(run_id)
        assert deployment.refunds(run_id) == [(order, 700)]
        kinds = deployment.events(run_id)
        assert [kinds.count(kind) for kind in ("plan.made", "call.proposed", "call.started")] == [1, 1, 1]


def test_a_run_whose_worker_was_killed_is_finished_by_the_next_one(deployment: Deployment) -> None:
    deployment.model.open.clear()
    before = deployment.model.asked
    run_id = deployment.submit("support-email", message_id="M-0001")
    eventually(lambda: deployment.model.asked > before)
    deployment.worker.kill()
    deployment.model.open.set()
    assert deployment.state(run_id) == "running"
    deployment.start_worker()
    # What ninety seconds of waiting would do.
    late = "update runs_run set lease_until = now() - interval '1 second' where id = %s and lease_until is not null"
    deployment.database.rows(late, run_id)
    eventually(lambda: deployment.state(run_id) in {"awaiting_approval", "succeeded"})
    assert deployment.events(run_id).count("run.claimed") == 2
    assert manage("audit_verify", env=deployment.env).returncode == 0


def test_every_process_stops_when_asked(deployment: Deployment) -> None:
    for process in deployment.processes.values():
        process.ask_to_stop()
    for name, process in deployment.processes.items():
        # uvicorn shuts down in order and then ends by the signal it was sent.
        expected = -signal.SIGTERM if name == "web" else 0
        assert process.exit_code(GRACE_S) == expected, f"{name}: {process.said}"
