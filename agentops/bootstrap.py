"""Make `.venv` from the lock, with nothing but a Python: `python3 agentops/bootstrap.py [--dev]`.

Tries uv (fast) and falls back to pip with hashes, which honours pip's own configuration. What was installed is stamped,
so that the next call returns at once. Runs before anything is installed: standard library only, and old Pythons must be
able to read the file far enough to say which one is needed.
"""

from __future__ import annotations  # an older Python must get as far as check_python

import argparse
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST = (3, 11)
# Some locked packages bring no binaries for a Python that came out after them.
NEWEST = (3, 14)
ROOT = Path(__file__).resolve().parent.parent
STAMP = "agentops-stamp"


class BootstrapError(Exception):
    """The environment cannot be made; the message says what to do."""


def check_python(version: tuple[int, ...] = sys.version_info[:3]) -> None:
    """Refuse a Python that is too old, naming the one that is needed."""
    if tuple(version[:2]) < OLDEST:
        found = ".".join(str(part) for part in version[:3])
        raise BootstrapError(
            "Python {}.{} or newer is needed and this is {}: install a newer one, "
            "then run make with PYTHON=python3.12, say.".format(OLDEST[0], OLDEST[1], found)
        )


def suitable_python() -> str | None:
    """Return the newest Python on the path that the locked packages have binaries for, or None."""
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        if found:
            return found
    return None


def check_ensurepip() -> None:
    """Refuse a Python that cannot make virtual environments, as Debian ships it, and say which package helps."""
    if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
        package = f"python3.{sys.version_info[1]}-venv"
        raise BootstrapError(f"This Python has no ensurepip: run `sudo apt-get install {package}` and try again.")


def fingerprint(root: Path, dev: bool) -> str:
    """Return what a finished environment is stamped with: its kind, its Python and the hash of both lock files."""
    digest = hashlib.sha256()
    for name in ("uv.lock", "requirements-dev.txt" if dev else "requirements.txt"):
        digest.update((root / name).read_bytes())
    version = ".".join(str(part) for part in sys.version_info[:3])
    return f"{'dev' if dev else 'runtime'} {version} {digest.hexdigest()}"


def is_current(root: Path, venv: Path, dev: bool) -> bool:
    """Say whether the environment is finished and matches the lock; one with the dev packages serves both."""
    if not (venv / "bin" / "python").exists():
        return False
    try:
        stamped = (venv / STAMP).read_text().strip()
    except OSError:
        return False
    return stamped in {fingerprint(root, dev), fingerprint(root, True)}


def locked_version(lock: str, package: str) -> str:
    """Return the version of a package in the text of `uv.lock`."""
    found = re.search(rf'^name = "{re.escape(package)}"\nversion = "([^"]+)"', lock, re.MULTILINE)
    if found is None:
        raise BootstrapError(f"uv.lock does not name {package}: run `git checkout uv.lock` and try again.")
    return found.group(1)


def works(python: Path) -> bool:
    """Say whether the environment's Python starts and is the version we run on (not so after an upgrade or a move)."""
    try:
        told = subprocess.run(
            [str(python), "-c", "import sys; print(*sys.version_info[:3])"], capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return told.returncode == 0 and told.stdout.split() == [str(part) for part in sys.version_info[:3]]


def make_venv(venv: Path) -> None:
    """Create the empty environment unless a working one is there."""
    python = venv / "bin" / "python"
    if works(python):
        return
    check_ensurepip()
    say(f"Making {venv.name} with Python {sys.version.split()[0]} ...")
    run([sys.executable, "-m", "venv", "--clear", str(venv)], "The virtual environment cannot be made")


def install_with_uv(root: Path, venv: Path, dev: bool) -> bool:
    """Install from `uv.lock`; False when uv cannot be had or cannot reach its registry."""
    version = locked_version((root / "uv.lock").read_text(), "uv")
    uv = venv / "bin" / "uv"
    if not (uv.exists() and said([str(uv), "--version"]).startswith(f"uv {version}")):
        pip = [str(venv / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        if quietly([*pip, f"uv=={version}"]) != 0:
            return False
    command = [str(uv), "sync", "--frozen", "--inexact", "--quiet", "--project", str(root)]
    if not dev:
        command.append("--no-dev")
    environment = {
        **os.environ,
        "UV_PROJECT_ENVIRONMENT": str(venv),
        "UV_PYTHON": str(venv / "bin" / "python"),
        "UV_PYTHON_DOWNLOADS": "never",
    }
    environment.pop("VIRTUAL_ENV", None)
    return quietly(command, environment) == 0


def install_with_pip(root: Path, venv: Path, dev: bool) -> None:
    """Install the exported lock with pip, every file checked against its hash."""
    name = "requirements-dev.txt" if dev else "requirements.txt"
    python = str(venv / "bin" / "python")
    command = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--require-hashes"]
    run(
        [*command, "-r", str(root / name)],
        "The packages cannot be installed (is the network reachable, or pip told about your mirror?)",
    )


def bootstrap(root: Path, venv: Path, dev: bool) -> None:
    """Bring the environment to the lock; does nothing when the stamp says that it is there."""
    check_python()
    if is_current(root, venv, dev):
        return
    make_venv(venv)
    (venv / STAMP).unlink(missing_ok=True)
    say("Installing the locked packages{} ...".format(" and the development tools" if dev else ""))
    if not install_with_uv(root, venv, dev):
        say("uv did not manage it; installing with pip, which takes a little longer ...")
        install_with_pip(root, venv, dev)
    (venv / STAMP).write_text(fingerprint(root, dev) + "\n")


def say(text: str) -> None:
    """Tell the person at the terminal."""
    print(text, flush=True)


def said(command: list[str]) -> str:
    """Return what a command prints, or nothing when it fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def quietly(command: list[str], environment: dict[str, str] | None = None) -> int:
    """Run a command whose failure is not the last word; its complaints are not shown."""
    try:
        return subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
    except OSError:
        return 127


def run(command: list[str], complaint: str) -> None:
    """Run a command that must succeed."""
    result = subprocess.run(command)
    if result.returncode != 0:
        raise BootstrapError(f"{complaint}: `{' '.join(command)}` ended with {result.returncode}.")


def main() -> int:
    """Read the command line; return the exit code."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        better = suitable_python()
        if better:
            os.execv(better, [better, *sys.argv])
    parser = argparse.ArgumentParser(description="Make .venv from the lock.")
    parser.add_argument("--dev", action="store_true", help="with the development tools")
    try:
        bootstrap(ROOT, ROOT / ".venv", parser.parse_args().dev)
    except BootstrapError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
