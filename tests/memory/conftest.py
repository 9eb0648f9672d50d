"""A tenant with one kind of task, a run of it, and facts that it has proposed."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from itertools import count
from typing import Protocol

import pytest
from django.contrib.auth.models import User

from agentops.guardrails.provenance import SourceKind, provenance
from agentops.memory import services
from agentops.memory.models import Fact
from agentops.memory.origin import Origin
from agentops.runs.models import Run, TaskType
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.wire.parse import JSONObject
from tests.shop import start, task_type
from tools.allowlist import AllowlistState

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
_keys = count(1)
READ: JSONObject = {"id": "mail", "tool": "mail.read", "arguments": {"message_id": "M-0001"}}


class Propose(Protocol):
    """Propose a statement as the run; what it says of its origin can be chosen."""

    def __call__(
        self, statement: str, *, untrusted: bool = False, recalled: Iterable[Fact] = (), key: str = "", days: int = 30
    ) -> Fact: ...


def origin(*, untrusted: bool = False, recalled: Iterable[Fact] = ()) -> Origin:
    """Return the origin of a statement that a step read from a mail."""
    came_from = provenance(SourceKind.TOOL, "mail.read:1.mail.0", "/subject", untrusted=untrusted)
    return Origin("playbook:job@1", 7, came_from, frozenset(fact.pk for fact in recalled))


def make_run() -> Run:
    """Submit a task of a new task type `job`."""
    task_type([READ], {"mail.read": AllowlistState.AUTO})
    return start("job", {}, now=NOW)


def proposer(run: Run) -> Propose:
    """Return the function that proposes as this run."""

    def propose(
        statement: str, *, untrusted: bool = False, recalled: Iterable[Fact] = (), key: str = "", days: int = 30
    ) -> Fact:
        found = services.propose(
            run=run,
            call_id="1.learn.0",
            idempotency_key=key or f"key-{next(_keys)}",
            statement=statement,
            origin=origin(untrusted=untrusted, recalled=recalled),
            expires_in_days=days,
            now=NOW,
        )
        assert isinstance(found, Fact)
        return found

    return propose


@pytest.fixture
def run(scoped: Tenant) -> Run:
    return make_run()


@pytest.fixture
def job(run: Run) -> TaskType:
    return run.task_type


@pytest.fixture
def propose(run: Run) -> Propose:
    return proposer(run)


@pytest.fixture
def curator(sam: User, acme: Tenant, actor_of: Callable[[User, Tenant], Actor]) -> Actor:
    return actor_of(sam, acme)


@pytest.fixture
def approved(propose: Propose, curator: Actor) -> Propose:
    """Return the function that proposes a statement and has it approved."""

    def make(
        statement: str, *, untrusted: bool = False, recalled: Iterable[Fact] = (), key: str = "", days: int = 30
    ) -> Fact:
        fact = propose(statement, untrusted=untrusted, recalled=recalled, key=key, days=days)
        services.approve(fact_id=fact.pk, actor=curator, confirmed=True, now=NOW)
        fact.refresh_from_db()
        return fact

    return make
