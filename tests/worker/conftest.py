"""What tests of spending have."""

from collections.abc import Iterator

import pytest

from agentops.tenancy.models import Tenant
from tests.worker.paid import TOOLS, Provider
from tools.contracts import Effect
from tools.registry import registry


@pytest.fixture
def provider(scoped: Tenant) -> Iterator[Provider]:
    made = Provider()
    for tool in TOOLS:
        hook = made.look_up if tool.effect is Effect.UNSAFE_WRITE else None
        registry.register(tool, made.handler(tool.name), reconcile=hook)
    yield made
    for tool in TOOLS:
        registry.remove(tool.name, tool.version)
