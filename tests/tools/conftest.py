"""A call through the executor as the worker makes it, with a permit for exactly this action."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from agentops.tenancy.models import Tenant
from tools.contracts import action_digest
from tools.executor import CallRequest, Outcome, Permit, execute

RUN = UUID("01890000-0000-7000-8000-000000000001")


def request_for(
    tenant: Tenant, tool: str, arguments: Any, *, key: str = "key-1", deadline: datetime | None = None
) -> CallRequest:
    """Return a request whose digest fits its arguments."""
    return CallRequest(
        tenant_id=tenant.pk,
        run_id=RUN,
        call_id="call-1",
        tool=tool,
        version="1.0.0",
        arguments=arguments,
        digest=action_digest(tenant_id=tenant.pk, tool=tool, version="1.0.0", arguments=arguments),
        idempotency_key=key,
        deadline=deadline or datetime.now(UTC) + timedelta(minutes=1),
    )


def permit_any(request: CallRequest) -> Permit:
    """Consume a grant that is always there."""
    return Permit("grant-1", request.digest)


Call = Callable[..., Outcome]


@pytest.fixture
def call(scoped: Tenant) -> Call:
    """Return a function that executes a tool in acme: `call("shop.find_order", order_ref="A-1093")`."""

    def make(tool: str, *, key: str = "key-1", deadline: datetime | None = None, **arguments: Any) -> Outcome:
        return execute(request_for(scoped, tool, arguments, key=key, deadline=deadline), permit_any)

    return make
