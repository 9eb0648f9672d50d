"""One command, one process: it starts, says where it is, refuses in sentences, stops at once, and loses nothing."""

import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from agentops.worker import embedded

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(
    "DATABASE_URL" in os.environ, reason="the demo brings its own SQLite database; tested in the SQLite run"
)

# An endless event stream behind `embedded.serve`, for stopping while somebody listens.
STREAM = """
import asyncio, os, sys
import django
django.setup()
from agentops.worker import embedded

async def application(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    while True:
        await send({"type": "http.response.body", "body": b": tick\\n\\n", "more_body": True})
        await asyncio.sleep(0.05)

embedded.stop_on_signals()
listener = embedded.listen("127.0.0.1", 0)
code = embedded.serve(application, listener, lambda: print(embedded.url_of(listener), flush=True))
os._exit(code)
"""


def environment(data: Path, **extra: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "AGENTOPS_DATA_DIR": str(data),
        "DJANGO_SETTINGS_MODULE": "agentops.settings",
        "HOST": "127.0.0.1",
        "PORT": "0",
        **extra,
    }


class Demo:
    """A running `manage.py demo`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said = ""
        self.url = ""
        assert process.stdout is not None
        for line in process.stdout:
            self.said += line
            found = re.search(r"http://\S+", line)
            if found and not self.url:
                self.url = found[0]
            if "RESET=1" in line:
                return
        raise AssertionError(f"it did not start: {self.said}")

    def get(self, path: str) -> tuple[int, dict[str, str], bytes]:
        with urllib.request.urlopen(self.url + path, timeout=30) as response:
            return response.status, dict(response.headers), response.read()

    def stop(self, number: int) -> tuple[int, float]:
        """Send a signal; return the exit code and how long it took."""
        began = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(30), time.monotonic() - began


@contextmanager
def running(data: Path, **extra: str) -> Iterator[Demo]:
    process = subprocess.Popen(
        [sys.executable, "manage.py", "demo"],
        cwd=ROOT,
        env=environment(data, **extra),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield Demo(process)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def refused(data: Path, **extra: str) -> str:
    """Return what a start that must not succeed says."""
    done = subprocess.run(
        [sys.executable, "manage.py", "demo"],
        cwd=ROOT,
        env=environment(data, **extra),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.fixture(scope="module")
def first_start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the data directory that a first start leaves behind when it is stopped at once."""
    data = tmp_path_factory.mktemp("first") / "data"
    with running(data) as demo:
        assert demo.stop(signal.SIGTERM)[0] == 0
    return data


@pytest.fixture
def data(first_start: Path, tmp_path: Path) -> Path:
    """Return a data directory that has been started before."""
    shutil.copytree(first_start, tmp_path / "data")
    return tmp_path / "data"


def test_it_says_where_it_is_and_who_to_be_and_serves(data: Path, tmp_path: Path) -> None:
    from agentops.worker.demo import LOGINS

    with running(data) as demo:
        assert LOGINS
        for name, email, password, _ in LOGINS:
            assert name in demo.said
            assert email in demo.said
            assert password in demo.said
        status, headers, body = demo.get("/healthz")
        assert (status, json.loads(body)) == (200, {"status": "ok", "database": "ok", "worker": "running"})
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        status, _, body = demo.get("/sign-in")
        assert status == 200
        for sheet in re.findall(rb'href="(/static/[^"]+\.css)"', body):
            assert demo.get(sheet.decode())[0] == 200

        second = refused(data, PORT="0")
        assert f"process {demo.process.pid}, {demo.url}" in second
        assert "stop it first" in second

        port = demo.url.rpartition(":")[2]
        taken = refused(tmp_path / "other", PORT=port)
        assert f"Port {port} on 127.0.0.1 is taken" in taken

        code, seconds = demo.stop(signal.SIGTERM)
        assert code == 0
        assert seconds < 3


def test_a_killed_process_leaves_a_data_directory_that_starts_again(data: Path) -> None:
    with running(data) as demo:
        demo.stop(signal.SIGKILL)
    secret = (data / "secret-key").read_text()
    (data / "notes.txt").write_text("mine")
    with running(data) as demo:
        assert demo.get("/healthz")[0] == 200
        assert demo.stop(signal.SIGINT)[0] == 0
    with running(data, RESET="1") as demo:
        assert demo.get("/healthz")[0] == 200
    assert (data / "notes.txt").read_text() == "mine"
    assert (data / "secret-key").read_text() == secret


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_within_three_seconds_while_somebody_listens_to_a_stream(tmp_path: Path, number: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", STREAM], cwd=ROOT, env=environment(tmp_path), stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with urllib.request.urlopen(url, timeout=30) as stream:
            assert stream.read(8) == b": tick\n\n"
            began = time.monotonic()
            process.send_signal(number)
            assert process.wait(30) == 0
            assert time.monotonic() - began < 3
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_ctrl_c_in_a_terminal_ends_make_with_code_0(data: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "Makefile"
    recipe.write_text(f"demo:\n\t@exec {sys.executable} manage.py demo\n")
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(ROOT)
        os.execvpe("make", ["make", "-f", str(recipe), "demo"], environment(data))
    try:
        said = b""
        while b"RESET=1" not in said:
            said += os.read(terminal, 4096)
        os.write(terminal, b"\x03")
        with suppress(OSError):  # the terminal is gone when the last process is
            while os.read(terminal, 4096):
                pass
        _, status = os.waitpid(child, 0)
        child = 0
        assert os.waitstatus_to_exitcode(status) == 0
    finally:
        os.close(terminal)
        if child:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def test_a_data_directory_that_cannot_be_written_to_is_refused_in_a_sentence() -> None:
    assert "set AGENTOPS_DATA_DIR to a directory you may write to" in refused(Path("/dev/null/data"))


def test_other_reasons_not_to_start_are_sentences_too(tmp_path: Path) -> None:
    assert "no address of this machine" in refused(tmp_path, HOST="203.0.113.7")
    assert "PORT is '80000'" in refused(tmp_path, PORT="80000")
    assert "RESET is 'perhaps'" in refused(tmp_path, RESET="perhaps")


def test_a_full_or_read_only_disk_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "agentops.lock").mkdir()
    with pytest.raises(embedded.CannotStart, match="cannot be written to"):
        embedded.InstanceLock(tmp_path / "agentops.lock").acquire()


def test_the_lock_is_free_again_after_its_holder_is_gone(tmp_path: Path) -> None:
    first, second = (embedded.InstanceLock(tmp_path / "agentops.lock") for _ in range(2))
    first.acquire()
    first.note("http://127.0.0.1:8000")
    with pytest.raises(embedded.CannotStart, match=r"process \d+, http://127\.0\.0\.1:8000"):
        second.acquire()
    first.release()
    second.acquire()
    second.release()


def test_a_taken_port_is_named_with_the_next_one_to_try() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(embedded.CannotStart, match=f"Port {port} on 127.0.0.1 is taken.*PORT={port + 1}"):
            embedded.listen("127.0.0.1", port)


def test_the_printed_address_can_be_opened_whatever_the_host() -> None:
    for host, url in (("0.0.0.0", "http://127.0.0.1:"), ("localhost", "http://")):
        with embedded.listen(host, 0) as listener:
            assert embedded.url_of(listener).startswith(url)
