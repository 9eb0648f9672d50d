"""`manage.py check --deploy` knows what a production installation of ours must have."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.db import connection

from agentops import checks
from tests.run import DEPLOYED

ROOT = Path(__file__).resolve().parents[2]
own_configuration = pytest.mark.skipif("DATABASE_URL" in os.environ, reason="brings its own; tested in the SQLite run")


def ids(messages: list[Any]) -> list[str | None]:
    return [message.id for message in messages]


def test_the_embedded_mode_is_not_taken_for_a_deployment(settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    found = ids(checks.production_services(None))
    assert [number for number in found if number != "agentops.W002"] == [
        "agentops.W001",
        "agentops.W003",
        "agentops.W004",
        "agentops.W007",
    ]
    assert ("agentops.W002" in found) == (connection.vendor == "sqlite")


@pytest.mark.parametrize(
    ("site", "hosts", "said"),
    [
        ("https://ops.example.com", ["ops.example.com"], set()),
        ("", ["ops.example.com"], {"agentops.W007"}),
        ("http://ops.example.com", ["ops.example.com"], {"agentops.W007"}),
        ("https://ops.example.com", ["ops.example.com", "*"], {"agentops.W008"}),
    ],
)
def test_a_deployment_says_where_it_is_and_takes_no_other_name(
    settings: Any, site: str, hosts: list[str], said: set[str]
) -> None:
    settings.SITE_URL, settings.ALLOWED_HOSTS = site, hosts
    assert set(ids(checks.production_services(None))) & {"agentops.W007", "agentops.W008"} == said


@own_configuration
def test_a_complete_deployment_has_no_complaint(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "AGENTOPS_DATA_DIR": str(tmp_path / "data"), **DEPLOYED},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.django_db
def test_a_database_role_that_row_level_security_does_not_hold_is_refused() -> None:
    found = ids(checks.runtime_role(None, databases=["default"]))
    assert found == (["agentops.E001"] if connection.vendor == "postgresql" else [])


@pytest.mark.django_db
def test_the_checks_are_registered_for_deployments_only() -> None:
    assert "agentops.W001" in ids(run_checks(include_deployment_checks=True))
    assert "agentops.W001" not in ids(run_checks())


@pytest.mark.parametrize(
    ("embedded", "cache", "said"),
    [
        (True, "django.core.cache.backends.locmem.LocMemCache", []),
        (False, "django.core.cache.backends.locmem.LocMemCache", ["agentops.W005"]),
        (False, "django.core.cache.backends.redis.RedisCache", []),
    ],
)
def test_limits_that_hold_per_process_are_said_in_production(
    settings: Any, embedded: bool, cache: str, said: list[str]
) -> None:
    settings.EMBEDDED = embedded
    settings.CACHES = {"default": {"BACKEND": cache, "LOCATION": "redis://127.0.0.1:6379/1"}}
    assert ids(checks.shared_rate_limits(None)) == said


@own_configuration
def test_a_web_process_says_it_as_well(tmp_path: Path) -> None:
    environment = {name: value for name, value in DEPLOYED.items() if name != "CACHE_URL"}
    done = subprocess.run(
        [sys.executable, "-c", "import agentops.asgi"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "AGENTOPS_DATA_DIR": str(tmp_path / "data"), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "counted per web process" in done.stderr
