"""A tenant that exists only while a case runs: nothing that is done in it is ever committed.

Three walls, each enough by itself. Everything happens inside of one transaction that is rolled back, whatever comes of
it. The rows belong to a tenant of their own, with an id and a slug that no real one has. And while it is open no tool
but the scripted ones can be reached, by whatever code (`tools.executor.only`).
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from django.contrib.auth import get_user_model
from django.db import transaction

from agentops.halts import covering
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Environment, Membership, Role, Tenant
from agentops.tenancy.scope import NestedTenantScope, open_tenant_id, tenant_scope
from tools.executor import Executor, only

_FIRST: Final = 1 << 52
"""Ids of isolated tenants lie above it and are drawn at random, so that what a process remembers of one by its id
never is about a real one."""

_open: ContextVar[int] = ContextVar("isolated_tenant", default=0)


class NotIsolated(RuntimeError):
    """Something that only a scripted run may do was about to happen in a real tenant. Nothing was done."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a case runs, and the person whose verdicts are scripted there."""

    tenant: Tenant
    reviewer: Actor


@contextmanager
def isolated(tools: Executor, prepare: Callable[[], None]) -> Iterator[Place]:
    """Open a tenant of its own inside a transaction that is rolled back, with these tools and no others.

    `prepare` writes what the tenant starts with. Raises NestedTenantScope where a tenant's scope is open.
    """
    if open_tenant_id() is not None:
        raise NestedTenantScope("A case runs outside of every tenant.")
    number = _FIRST + secrets.randbelow(_FIRST)
    token = _open.set(number)
    try:
        with transaction.atomic(), only(tools):
            slug = f"regression-{number:x}"
            tenant = Tenant.objects.create(pk=number, slug=slug, name="Regression", environment=Environment.TEST)
            with tenant_scope(tenant):
                prepare()
                yield Place(tenant, _reviewer(tenant, slug))
            transaction.set_rollback(True)
    finally:
        _open.reset(token)
        covering.forget(number)


def assert_isolated() -> None:
    """Raise NotIsolated unless the open scope is that of an isolated tenant."""
    if not _open.get() or open_tenant_id() != _open.get():
        raise NotIsolated("This is only done inside of an isolated tenant.")


def _reviewer(tenant: Tenant, slug: str) -> Actor:
    """Make a person who cannot sign in, and who is gone with the transaction."""
    user = get_user_model().objects.create_user(f"{slug}-reviewer", is_active=False)
    Membership.objects.create(tenant=tenant, user=user, role=Role.SENIOR)
    return Actor.user(user, [Role.SENIOR])
