"""The production server on a filled database, beside it the floor, and who comes to both."""

import http.client
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode, urlsplit
from urllib.request import urlopen

from tests.bench.copies import Copies
from tests.bench.deployment import Deployment
from tests.bench_ui.world import Place
from tests.proof.processes import BIN, SPEAKING, Process, eventually, free_port, manage

GRACE_S = "3"


@dataclass(frozen=True)
class Site:
    """Where it is measured. `say` prints what goes on."""

    deployment: Deployment
    url: str
    floor_url: str
    web: Process
    say: Callable[[str], None]

    def path(self, place: Place, rest: str) -> str:
        """Return the path of a page of a tenant."""
        return f"/t/{place.tenant.slug}/{rest}"


@contextmanager
def serving(deployment: Deployment, say: Callable[[str], None], *, processes: int) -> Iterator[Site]:
    """Run uvicorn as the README says, with static files collected, in so many processes."""
    env = deployment.env(STATIC_ROOT=str(deployment.directory / "static"))
    done = manage("collectstatic", "--noinput", "--verbosity", "0", env=env)
    assert done.returncode == 0, done.stderr
    ports = free_port(), free_port()
    common = ("--lifespan", "off", "--no-access-log", "--workers", str(processes), *SPEAKING)
    words = ("agentops.asgi:application", "--timeout-graceful-shutdown", GRACE_S, *common)
    web = _uvicorn(deployment, env, "web", ports[0], *words)
    floor = _uvicorn(deployment, env, "floor", ports[1], "tests.bench_ui.floor:application", *common)
    site = Site(deployment, f"http://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}", web, say)
    try:
        for process, address in ((web, f"{site.url}/healthz"), (floor, site.floor_url)):
            eventually(lambda process=process, address=address: _answers(process, address), within_s=60)  # type: ignore[misc]
        yield site
    finally:
        web.kill()
        floor.kill()


def _uvicorn(deployment: Deployment, env: Mapping[str, str], name: str, port: int, *words: str) -> Process:
    command = (str(BIN / "uvicorn"), *words, "--port", str(port))
    return Process(command, env, deployment.directory / f"{name}-{port}.log")


def _answers(process: Process, address: str) -> bool:
    process.must_live()
    try:
        with urlopen(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


class Visitor:
    """A person's connection to the server, kept open between requests."""

    def __init__(self, url: str, cookie: str = "") -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(str(parts.hostname), parts.port or 80, timeout=60)
        self._cookies = {"sessionid": cookie} if cookie else {}

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        """Return status and body."""
        return self._ask("GET", path, None, headers)

    def post(self, path: str, values: Mapping[str, str], **headers: str) -> tuple[int, bytes]:
        """Send a form."""
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._ask("POST", path, urlencode(values).encode(), headers | form)

    def _ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        self._connection.request(method, path, body, sent)
        answer = self._connection.getresponse()
        for cookie in answer.headers.get_all("Set-Cookie") or ():
            name, _, value = cookie.partition(";")[0].partition("=")
            self._cookies[name] = value
        return answer.status, answer.read()

    def close(self) -> None:
        self._connection.close()


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


@contextmanager
def arriving(deployment: Deployment, place: Place, *, a_second: float) -> Iterator[None]:
    """Let new low proposals arrive at a steady pace, each with everything that its run recorded."""
    import psycopg

    done = threading.Event()
    failed: list[BaseException] = []

    def arrive() -> None:
        try:
            with psycopg.connect(deployment.database.superuser, autocommit=True) as sql:
                copies = Copies(sql, [place.templates["low note"]], seed=time.time_ns())
                due = time.monotonic()
                while not done.wait(max(due - time.monotonic(), 0)):
                    copies.write([(0, datetime.now(UTC))])
                    # What could not be written in time is not made up for in one go.
                    due = max(due + 1 / a_second, time.monotonic())
        except BaseException as error:  # noqa: BLE001  raised again below, in the thread that waits
            failed.append(error)

    thread = threading.Thread(target=arrive, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(30)
    if failed:
        raise failed[0]


def memory_mb(process: Process) -> float:
    """Return what a process and its children keep in memory of their own, what they share counted once.

    Pages of files (libraries) are left out: what of them counts here depends on who else maps them.
    """
    total = 0.0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(path.read_text().rpartition(") ")[2].split()[2]) == process.pid:
                told = (path.parent / "smaps_rollup").read_text()
                total += sum(int(line.split()[1]) for line in told.splitlines() if line.startswith("Pss_Anon:"))
        except (OSError, ValueError, IndexError):
            continue
    return total / 1024


CORES = os.cpu_count() or 1
