"""Configuration is read strictly: what cannot be meant is refused, in a sentence that says what to write instead."""

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from hypothesis import given
from hypothesis import strategies as st

from agentops.environment import FALSE, TRUE, Environment, own_names, persistent_secret

ROOT = Path(__file__).resolve().parents[2]


def test_flags_accept_a_few_words_in_any_case() -> None:
    assert Environment({"HTTPS": "Yes"}).flag("HTTPS", default=False) is True
    assert Environment({"HTTPS": "off"}).flag("HTTPS", default=True) is False
    assert Environment({"HTTPS": " "}).flag("HTTPS", default=True) is True


@given(st.text(min_size=1).filter(lambda raw: raw.strip() and raw.strip().lower() not in TRUE | FALSE))
def test_any_other_flag_is_refused_and_named(raw: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="HTTPS is"):
        Environment({"HTTPS": raw}).flag("HTTPS", default=False)


@given(st.integers(0, 65535))
def test_numbers_come_back_as_written(number: int) -> None:
    assert Environment({"PORT": str(number)}).number("PORT", 8000, low=0, high=65535) == number


@given(st.text(min_size=1).filter(lambda raw: raw.strip() and not (raw.strip().isascii() and raw.strip().isdigit())))
def test_what_is_no_number_is_refused(raw: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="whole number from 1 to 9"):
        Environment({"PORT": raw}).number("PORT", 8, low=1, high=9)


@pytest.mark.parametrize("raw", ["0", "10", "-1", "1e3", "٣"])
def test_numbers_out_of_range_are_refused(raw: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="whole number from 1 to 9"):
        Environment({"PORT": raw}).number("PORT", 8, low=1, high=9)


def refused(read: Callable[[Environment], object], value: str) -> str:
    with pytest.raises(ImproperlyConfigured) as caught:
        read(Environment({"NAME": value}))
    return str(caught.value)


def test_each_refusal_says_what_is_accepted() -> None:
    assert "json, console" in refused(lambda env: env.choice("NAME", ("json", "console"), "json"), "xml")
    assert "single commas" in refused(lambda env: env.names("NAME"), "a,,b")
    assert "https://ops.example.com" in refused(lambda env: env.origins("NAME"), "ops.example.com")
    assert "scheme and host only" in refused(lambda env: env.origins("NAME"), "https://ops.example.com/path")
    assert "postgres://" in refused(lambda env: env.database("NAME", ""), "mysql://host/name")
    assert "names no database" in refused(lambda env: env.database("NAME", ""), "postgres://host:5432")
    assert "port" in refused(lambda env: env.database("NAME", ""), "postgres://host:port/name")
    assert "smtp+tls://" in refused(lambda env: env.email("NAME"), "mail.example.com")


def test_a_refused_url_does_not_repeat_its_password() -> None:
    assert "s3cret" not in refused(lambda env: env.database("NAME", ""), "mysql://root:s3cret@host/name")
    assert "s3cret" not in refused(lambda env: env.database("NAME", ""), "postgres://root:s3cret@host:port/name")


def test_a_process_answers_to_the_address_it_listens_on() -> None:
    assert own_names("") == ["127.0.0.1", "localhost", "[::1]"]
    assert own_names("127.0.0.1") == own_names("")
    assert own_names("192.0.2.7")[-1] == "192.0.2.7"
    assert own_names("2001:db8::7")[-1] == "[2001:db8::7]"
    assert own_names("0.0.0.0")[-1] == socket.gethostname().lower()


def test_the_secret_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "secret-key"
    first = persistent_secret(path)
    assert len(first) >= 50
    assert persistent_secret(path) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["secret-key"]


def test_a_damaged_secret_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "secret-key").write_text("short")
    with pytest.raises(ImproperlyConfigured, match="delete it"):
        persistent_secret(tmp_path / "secret-key")


def manage(tmp_path: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a management command with this configuration and nothing else."""
    return subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "AGENTOPS_DATA_DIR": str(tmp_path / "data"), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


PRODUCTION = {"BROKER_URL": "redis://127.0.0.1:6379/0", "SECRET_KEY": "k" * 50, "ALLOWED_HOSTS": "ops.example.com"}


@pytest.mark.skipif("DATABASE_URL" in os.environ, reason="needs no database; tested in the SQLite run")
@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"BROKER_URL": "redis://127.0.0.1:6379/0"}, "SECRET_KEY is required"),
        ({**PRODUCTION, "SECRET_KEY": "short"}, "SECRET_KEY is too short"),
        ({**PRODUCTION, "ALLOWED_HOSTS": ""}, "ALLOWED_HOSTS is required"),
        ({"BROKER_URL": "filesystem://"}, "BROKER_URL must start with"),
        ({"DEBUG": "maybe"}, "DEBUG is 'maybe'"),
        ({"AGENTOPS_DATA_DIR": "/dev/null/data"}, "set AGENTOPS_DATA_DIR to a directory you may write to"),
    ],
)
def test_a_bad_configuration_is_one_sentence_and_no_traceback(
    tmp_path: Path, environment: dict[str, str], expected: str
) -> None:
    done = manage(tmp_path, "check", **environment)
    assert done.returncode == 1
    assert expected in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
