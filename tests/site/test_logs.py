"""Lines of the log are JSON and say which request, tenant and run they are about."""

import json
import logging
import logging.config
from copy import deepcopy
from io import StringIO
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client

from agentops.accounts import password_link
from agentops.logs import about_run
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope

RUN = UUID("0192aaaa-0000-7000-8000-000000000001")


@pytest.fixture
def written() -> Any:
    """Return a function that gives the lines that a handler with our formatter has written meanwhile."""
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    made = logging.config.DictConfigurator(settings.LOGGING)
    handler.setFormatter(made.configure_formatter(deepcopy(settings.LOGGING["formatters"]["json"])))
    root = logging.getLogger()
    root.addHandler(handler)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.removeHandler(handler)


@pytest.mark.parametrize("style", ["json", "console"])
def test_no_log_holds_the_variables_of_what_failed(style: str) -> None:
    """A password, a token or a credential is one of them more often than not."""
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    made = logging.config.DictConfigurator(settings.LOGGING)
    handler.setFormatter(made.configure_formatter(deepcopy(settings.LOGGING["formatters"][style])))
    log = logging.getLogger("agentops.test.failing")
    log.addHandler(handler)
    try:
        _fail(log, password="-".join(["look", "before"]))
    finally:
        log.removeHandler(handler)
    said = stream.getvalue()
    assert "ZeroDivisionError" in said
    assert "_fail" in said
    assert "look-before" not in said


def _fail(log: logging.Logger, password: str) -> None:
    try:
        len(password) // 0
    except ZeroDivisionError:
        log.exception("it failed")


def test_a_line_names_tenant_and_run(acme: Tenant, written: Any) -> None:
    log = logging.getLogger("agentops.test")
    with tenant_scope(acme), about_run(RUN):
        log.warning("it %s", "happened")
    with tenant_scope(acme.pk):
        log.warning("only the id is known")
    log.warning("nowhere")
    first, second, third = (line for line in written() if line["logger"] == "agentops.test")
    assert (first["event"], first["tenant"], first["run"]) == ("it happened", "acme", str(RUN))
    assert (second["tenant"], second.get("run")) == (str(acme.pk), None)
    assert "tenant" not in third
    assert "run" not in third


def test_a_request_is_named_by_its_id(acme: Tenant, bob: User, signed_in: Any, written: Any) -> None:
    signed_in(bob).get("/t/acme/runs")
    lines = [line for line in written() if line.get("code") == 200]
    assert len(lines) == 1
    assert len(lines[0]["request_id"]) == 36


def test_a_link_that_sets_a_password_is_not_in_the_log(bob: User, written: Any) -> None:
    link = password_link(bob)
    key = link.partition("-")[2]
    Client().get(link)
    Client().get(f"{link}/more")
    lines = [line for line in written() if "/account/password/reset/" in str(line)]
    assert lines
    assert key not in str(lines)


def test_what_a_worker_logs_names_the_run(scoped: Tenant, written: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from agentops.worker.session import Session
    from tests.shop import drive, open_shop, start

    def breaks(self: Session) -> Any:
        yield from (1 // 0 for _ in range(1))

    open_shop(scoped)
    run = start("support-email", {"message_id": "M-0001"})
    with monkeypatch.context() as patched:
        patched.setattr(Session, "steps", breaks)
        drive(run.pk)
    (line,) = (line for line in written() if "stopped unexpectedly" in line["event"])
    assert line["run"] == str(run.pk)
    # Its slug where somebody has looked that up already, else its id: a line is no reason for a query.
    assert line["tenant"] in (str(scoped.pk), scoped.slug)
