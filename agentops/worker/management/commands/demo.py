"""`manage.py demo`: the whole product in one process, with two tenants to try it on."""

import contextlib
import os
import signal
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, connection, connections

from agentops import clock
from agentops.environment import Environment, own_names
from agentops.handler import web_application
from agentops.worker import embedded


class Command(BaseCommand):
    """Migrate, seed on the first start, then serve until Ctrl-C."""

    help = (
        "Run web server and worker together with demonstration data. Reads HOST, PORT and RESET from the environment."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take no arguments: HOST, PORT and RESET come from the environment, as with `make demo`."""

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until a signal; every reason not to start is one sentence."""
        if not settings.EMBEDDED:
            raise CommandError("BROKER_URL is set, so this is no one-process installation: unset it to run the demo.")
        embedded.stop_on_signals()
        with _own_terminal():
            code = self._run()
        # Threads that hang must not delay the end; everything that matters is in the database.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    def _run(self) -> int:
        from agentops.worker import demo
        from agentops.worker.sweeper import take_over

        env = Environment()
        host = env.text("HOST", "127.0.0.1")
        port = env.number("PORT", 8000, low=0, high=65535)
        lock = embedded.InstanceLock(embedded.lock_path())
        try:
            lock.acquire()
            clock.keep_note(embedded.note_path())
            listener = embedded.listen(host, port)
            url = embedded.url_of(listener)
            lock.note(url)
            if env.flag("RESET", default=False):
                reset()
            self.stdout.write("Preparing the database ...")
            self.stdout.flush()
            call_command("migrate", interactive=False, verbosity=0)
            demo.seed()
            if connection.vendor == "sqlite":
                # The lock is beside the database, so whoever held a run is gone.
                take_over()
        except embedded.CannotStart as refusal:
            raise CommandError(str(refusal)) from None
        except OperationalError as error:
            raise CommandError(
                f"The database cannot be used ({str(error).strip()}): check DATABASE_URL and the disk it is on."
            ) from None
        connections.close_all()

        def greet() -> None:
            self.stdout.write(welcome(url, demo.LOGINS, settings.DATA_DIR))
            if host in {"0.0.0.0", "::"}:  # noqa: S104  compared, not bound
                names = ", ".join(name for name in settings.ALLOWED_HOSTS if name not in own_names(""))
                self.stdout.write(f"  Other machines reach it as {names}; ALLOWED_HOSTS=... adds names or addresses.\n")
            self.stdout.flush()

        return embedded.serve(web_application(), listener, greet)


def welcome(url: str, logins: Sequence[tuple[str, str, str, str]], data_dir: Path) -> str:
    """Return the block that tells a newcomer where to go and who to be."""
    heads = ("Sign in as", "E-mail", "Password", "To")
    rows = [heads, *logins]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "  " + "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]).rstrip()
        for row in rows
    ]
    lines.insert(1, "  " + "-" * max(len(line) - 2 for line in lines))
    return "\n".join(
        [
            "",
            f"  AgentOps runs on {url}",
            "",
            *lines,
            "",
            f"  Data and outgoing mail are in {data_dir}.",
            "  Ctrl-C stops it, and nothing is lost. `make demo RESET=1` starts over.",
            "",
        ]
    )


def reset() -> None:
    """Remove the SQLite database and the mail files of the demo, and no other file; call with the lock held."""
    database = settings.DATABASES["default"]
    if not database["ENGINE"].endswith("sqlite3"):
        raise CommandError("RESET only removes the demo's SQLite files: drop the PostgreSQL database yourself.")
    connections.close_all()
    path = Path(database["NAME"])
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    mail = Path(settings.EMAIL_FILE_PATH)
    for letter in mail.glob("*.log"):
        letter.unlink()
    with contextlib.suppress(OSError):
        mail.rmdir()


@contextlib.contextmanager
def _own_terminal() -> Iterator[None]:
    """Receive Ctrl-C alone, so that the `make` above us is not interrupted too and our exit code is what it returns."""
    group = os.getpgrp()
    terminal = _controlling_terminal()
    if terminal is None or group == os.getpid() or os.tcgetpgrp(terminal) != group:
        yield
        return
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    # Stopping only us would leave `make` waiting for ever.
    signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    os.setpgid(0, 0)
    os.tcsetpgrp(terminal, os.getpid())
    try:
        yield
    finally:
        os.tcsetpgrp(terminal, group)
        os.close(terminal)


def _controlling_terminal() -> int | None:
    try:
        return os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
