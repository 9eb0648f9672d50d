"""A stream with a few events, and what a forger can do to it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, transaction

from agentops.audit import guards
from agentops.audit.services import NewEvent, Recorded, append
from agentops.tenancy.access import SYSTEM
from agentops.tenancy.models import Tenant

Append = Callable[..., list[Recorded]]


def append_some(stream: str, count: int = 1, **options: Any) -> list[Recorded]:
    """Append events with distinguishable data in their own transaction."""
    events = [NewEvent("run.step", {"number": number}, ("step", str(number)), "mail.read") for number in range(count)]
    with transaction.atomic():
        return append(stream, events, actor=options.pop("actor", SYSTEM), **options)


@pytest.fixture
def five(scoped: Tenant) -> str:
    """Return the name of a stream with five events, in acme's scope."""
    append_some("run:five", 5)
    return "run:five"


@contextmanager
def unguarded() -> Iterator[Callable[..., None]]:
    """Lift the triggers and give a function that runs SQL, as somebody who owns the tables could."""

    def forge(sql: str, *params: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(sql, params)

    with guards.lifted(connection):
        yield forge
