"""What every line of the log says besides its message: the tenant whose scope is open, and the run that is worked on.

The id of the request is added by django-structlog. None of it costs a query.
"""

import re
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from uuid import UUID

_run: ContextVar[UUID | None] = ContextVar("run_of_log", default=None)


@contextmanager
def about_run(run_id: UUID) -> Iterator[None]:
    """Name the run in every line that is logged inside."""
    token = _run.set(run_id)
    try:
        yield
    finally:
        _run.reset(token)


def add_place(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add `tenant` (its slug, or its id where nobody has asked for the slug) and `run` to a line (structlog)."""
    # Settings name this function before there are models, and lines are logged before there are any, too.
    scope = sys.modules.get("agentops.tenancy.scope")
    if scope is not None and "tenant" not in event and (tenant := scope.open_tenant_name()):
        event["tenant"] = tenant
    if "run" not in event and (run_id := _run.get()) is not None:
        event["run"] = str(run_id)
    return event


_PASSWORD_LINK = re.compile(r"(/account/password/reset/[0-9A-Za-z]+-)[^\s'\"]+")


def hide_links(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Take the key out of addresses where a password is chosen: whoever has it can sign in as that person (structlog).

    Such an address stands in the line about its request, and in the message about one that led nowhere.
    """
    for name in ("request", "event"):
        said = event.get(name)
        if isinstance(said, str) and "/account/password/reset/" in said:
            event[name] = _PASSWORD_LINK.sub(r"\1...", said)
    return event
