"""The embedded mode: web server, worker and sweeper in one process, with nothing to install but Python.

The worker is Celery on its in-memory broker, in a thread. Messages die with the process; runs do not, because the
database holds them and the sweeper rings again after the next start. A file lock keeps it one process per directory.
"""

import contextlib
import errno
import fcntl
import json
import logging
import os
import signal
import socket
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import uvicorn
from celery import current_app
from celery.platforms import SecurityWarning
from django.conf import settings
from django.db import connections

log = logging.getLogger(__name__)

SWEEP_EVERY_S = 1.0
# Open event streams never end by themselves: they are cancelled after this long ...
STREAM_GRACE_S = 1
# ... tasks in the middle of a step get this long (a killed step is picked up by the next start) ...
TASK_GRACE_S = 0.8
# ... and whatever hangs after that is left behind.
EXIT_WITHIN_S = 2.6


class CannotStart(Exception):
    """The embedded mode cannot start; the message is one sentence that says what to do."""


# --- One process per data directory ----------------------------------------------------------------------------------


def lock_path() -> Path:
    """Return the lock file's path: beside the SQLite database, or in the data directory with another database."""
    database = settings.DATABASES["default"]
    if database["ENGINE"].endswith("sqlite3"):
        return Path(database["NAME"]).with_suffix(".lock")
    return Path(settings.DATA_DIR) / "agentops.lock"


def note_path() -> Path:
    """Return where the holder of the lock notes the time for whoever is next (`clock.keep_note`)."""
    return lock_path().with_suffix(".clock")


class InstanceLock:
    """The right to be the one embedded process of a data directory; the system takes it back when the process dies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1

    def acquire(self) -> None:
        """Take the lock, or raise `CannotStart` naming the process that has it."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise CannotStart(
                f"The data directory {self.path.parent} cannot be written to ({error.strerror}): "
                "set AGENTOPS_DATA_DIR to a directory you may write to."
            ) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in {errno.EWOULDBLOCK, errno.EACCES}:
                os.close(descriptor)
                raise CannotStart(
                    f"The file system of {self.path.parent} does not support locks ({error.strerror}): "
                    "set AGENTOPS_DATA_DIR to a local disk."
                ) from None
            holder = os.pread(descriptor, 1000, 0)
            os.close(descriptor)
            raise CannotStart(_already_running(self.path.parent, holder)) from None
        self._descriptor = descriptor
        self.note("")

    def note(self, url: str) -> None:
        """Write down who holds the lock and where it listens, for the message a second start prints."""
        text = json.dumps({"pid": os.getpid(), "url": url}).encode()
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, text, 0)
        except OSError as error:
            raise CannotStart(
                f"The data directory {self.path.parent} cannot be written to ({error.strerror}): "
                "free some space or set AGENTOPS_DATA_DIR to another disk."
            ) from None

    def release(self) -> None:
        """Give the lock back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _already_running(directory: Path, holder: bytes) -> str:
    try:
        told = json.loads(holder)
        where = f" (process {int(told['pid'])}{', ' + str(told['url']) if told['url'] else ''})"
    except (ValueError, KeyError, TypeError):
        where = ""
    return (
        f"Another instance{where} already uses the data directory {directory}: "
        "open that one, stop it first, or set AGENTOPS_DATA_DIR to a second directory."
    )


# --- Listening -------------------------------------------------------------------------------------------------------


def listen(host: str, port: int) -> socket.socket:
    """Return a socket bound to the address (port 0: any free one), or raise `CannotStart` saying what to change."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError):
        raise CannotStart(f"HOST is {host!r}, which is no address of this machine: use 127.0.0.1 or 0.0.0.0.") from None
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            advice = (
                f"Port {port} on {host} is taken: stop what uses it, or choose another: `make demo PORT={port + 1}`."
            )
        elif error.errno == errno.EACCES:
            advice = f"Port {port} needs administrator rights: choose one above 1023, as in `make demo PORT=8000`."
        else:
            advice = f"HOST is {host!r}, which is no address of this machine: use 127.0.0.1 or 0.0.0.0."
        raise CannotStart(advice) from None
    return listener


def url_of(listener: socket.socket) -> str:
    """Return the URL a browser on this machine opens."""
    host, port = listener.getsockname()[:2]
    if host in {"0.0.0.0", "::"}:  # noqa: S104  compared, not bound
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


# --- Worker and sweeper ----------------------------------------------------------------------------------------------


class Sweeper(threading.Thread):
    """Ring due and orphaned runs every second; a sweep that fails is logged, and the next one tries again."""

    def __init__(self, sweep: Callable[[], object]) -> None:
        super().__init__(name="sweeper", daemon=True)
        self._sweep = sweep
        self._stopping = threading.Event()

    def run(self) -> None:
        """Sweep until stopped, giving the database connection back after every sweep."""
        while not self._stopping.is_set():
            try:
                self._sweep()
            except Exception:
                log.exception("sweep failed")
            finally:
                connections.close_all()
            self._stopping.wait(SWEEP_EVERY_S)

    def stop(self) -> None:
        """Ask the thread to end."""
        self._stopping.set()


class EmbeddedWorker:
    """Celery's worker on the in-memory broker, in a thread of this process."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            # Celery warns a superuser about pickled messages; ours are JSON and never leave the process.
            warnings.simplefilter("ignore", SecurityWarning)
            self._worker: Any = current_app.Worker(
                without_gossip=True,
                without_mingle=True,
                without_heartbeat=True,
                quiet=True,
                loglevel=settings.LOG_LEVEL,
            )
        self.thread = threading.Thread(target=self._worker.start, name="worker", daemon=True)

    def start(self) -> None:
        """Start consuming."""
        self.thread.start()

    def stop(self, within_s: float) -> None:
        """Let running tasks finish for so many seconds; unfinished ones are taken up by the next start."""
        stopper = threading.Thread(target=self._worker.stop, kwargs={"in_sighandler": False}, daemon=True)
        stopper.start()
        stopper.join(within_s)


_running: tuple[EmbeddedWorker, Sweeper] | None = None


def worker_state() -> str:
    """Say whether this process works on runs: running, stopped (it should and does not) or elsewhere."""
    if _running is None:
        return "elsewhere"
    worker, sweeper = _running
    return "running" if worker.thread.is_alive() and sweeper.is_alive() else "stopped"


# --- Serving ---------------------------------------------------------------------------------------------------------


class _Server(uvicorn.Server):
    """uvicorn, which also ends when the worker has died, and in bounded time when it is told to."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self.worker_died = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._on_ready()

    async def on_tick(self, counter: int) -> bool:
        if worker_state() == "stopped":
            self.worker_died = True
            _leave_in_time(1)
            return True
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        _leave_in_time(0)
        super().handle_exit(sig, frame)


def _leave_in_time(code: int) -> None:
    """Leave the process for certain soon: a request or a task that hangs must not keep it alive."""
    # The server says how many streams it cut short; nobody who pressed Ctrl-C needs to know.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    timer = threading.Timer(EXIT_WITHIN_S, os._exit, (code,))
    timer.daemon = True
    timer.start()


def stop_on_signals() -> None:
    """Make SIGTERM and SIGINT leave with exit code 0, from now on and before the server runs."""

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)


def speaking(application: Any, *, grace_s: int = STREAM_GRACE_S) -> uvicorn.Config:
    """Return how requests are taken: who asks, and over what, is for `TRUSTED_PROXY_COUNT` alone to say.

    uvicorn by itself believes what anybody on this machine says about that, and limits by address would count nobody.
    """
    return uvicorn.Config(
        application,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=grace_s,
    )


def serve(application: Any, listener: socket.socket, on_ready: Callable[[], None]) -> int:
    """Serve until a signal comes, and return the exit code: 0, or 1 when the worker or the sweeper died.

    `on_ready` is called once, when requests are answered. The process must end soon after this returns.
    """
    global _running
    from agentops.worker import conductor, sweeper

    warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")
    worker, sweeping = EmbeddedWorker(), Sweeper(sweeper.sweep)
    server = _Server(speaking(application), on_ready)
    worker.start()
    sweeping.start()
    _running = (worker, sweeping)
    try:
        # uvicorn raises the signal again after it has shut down; `stop_on_signals` turns that into SystemExit.
        with contextlib.suppress(SystemExit):
            server.run(sockets=[listener])
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        sweeping.stop()
        worker.stop(TASK_GRACE_S)
        conductor.stop(TASK_GRACE_S)
        _running = None
    if server.worker_died:
        log.critical("the worker stopped by itself; start again, nothing is lost")
        return 1
    return 0
