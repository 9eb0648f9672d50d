"""Real processes: started, watched, stopped and killed, with what they said when a test fails."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
SPEAKING = (
    *("--loop", "agentops.connections:Loop", "--http", "agentops.connections:Connection"),
    "--no-proxy-headers",
)
"""How uvicorn talks to browsers, as the README says."""


def eventually(look: Callable[[], T], *, within_s: float = 60.0, every_s: float = 0.05) -> T:
    """Return what `look` finds as soon as that is something true; fail when it is not in time."""
    until = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < until, f"still {found!r} after {within_s:g} s"
        time.sleep(every_s)
    return found


def environment(data: Path, more: Mapping[str, str]) -> dict[str, str]:
    """Return the whole environment of a process whose files are below `data`; nothing is inherited but the path."""
    return {
        "PATH": os.environ["PATH"],
        "AGENTOPS_DATA_DIR": str(data),
        "DJANGO_SETTINGS_MODULE": "agentops.settings",
        "RELEASE_DELAYS_S": "0,0,0,0",
        **more,
    }


def database_url(name: str, *, user: str = "", password: str = "", server: str = "") -> str:
    """Return the URL of another database on a server (by default that of the tests), perhaps as another role."""
    given = server or os.environ.get("DATABASE_URL", "")
    if not given.startswith("postgres"):
        return f"sqlite:///{name}"
    parts = urlsplit(given)
    place = parts.netloc.rpartition("@")[2]
    account = f"{user}:{password}" if user else parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{account}@{place}" if account else place, path=f"/{name}"))


class Process:
    """A process with its children in a group of their own; what it says goes to a file."""

    def __init__(self, words: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self.words = words
        self.log = log
        with log.open("ab") as said:
            self._popen = subprocess.Popen(
                words, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")[-8000:]

    @property
    def alive(self) -> bool:
        return self._popen.poll() is None

    def must_live(self) -> None:
        assert self.alive, f"{self.words} ended with {self._popen.returncode}:\n{self.said}"

    def kill(self) -> None:
        """Kill it and its children with SIGKILL, as a machine that loses its power does; wait until it is gone."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait(30)

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the process alone."""
        self._popen.send_signal(signal.SIGTERM)

    def exit_code(self, within_s: float) -> int:
        """Wait for its end."""
        return self._popen.wait(within_s)


def manage(*words: str, env: Mapping[str, str], within_s: float = 600) -> subprocess.CompletedProcess[str]:
    """Run a management command to its end."""
    return subprocess.run(
        [sys.executable, "manage.py", *words], cwd=ROOT, env=env, capture_output=True, text=True, timeout=within_s
    )


def prepared(*words: str, env: Mapping[str, str]) -> Any:
    """Run a command of `tests.proof.seeding` and return what it prints, as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.proof.seeding", *words],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def free_port() -> int:
    """Return a port of the loopback interface that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    return int(port)
