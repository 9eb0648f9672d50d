"""A shop whose tasks are planned by a model, and a person who reviews what it proposes."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User

from agentops.runs.models import TaskType
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.worker import model_loop
from tests.proof.planning import STEPWISE, Answers
from tests.shop import open_shop
from tests.stubs.model_server import ModelServer, Script
from tools.allowing import seed_rules
from tools.allowlist import AllowlistState
from tools.models import AllowlistEntry


@pytest.fixture(scope="module")
def model_client() -> Iterator[None]:
    """Leave no thread and no connection behind."""
    yield
    model_loop.close()


@pytest.fixture
def answers(settings: LazySettings, model_client: None) -> Iterator[Answers]:
    """Return a function that makes the configured model answer by a script."""
    with ExitStack() as servers:

        def answer(script: Script) -> ModelServer:
            server = servers.enter_context(ModelServer(script))
            settings.AGENTOPS_MODEL = "stub"
            settings.AGENTOPS_MODEL_BASE_URL = server.url
            return server

        yield answer


@pytest.fixture
def shop(scoped: Tenant) -> Tenant:
    """Return acme with the support desk, and a second task type like it that is planned one step at a time."""
    open_shop(scoped)
    kind = TaskType.objects.get(slug="support-email")
    entries = list(AllowlistEntry.objects.filter(task_type=kind))
    kind.pk, kind.slug, kind.planning = None, STEPWISE, "reactive"
    kind.save(force_insert=True)
    for entry in entries:
        seed_rules(kind.pk, {entry.tool: AllowlistState(entry.state)})
    return scoped


@pytest.fixture
def reviewer(bob: User, shop: Tenant, actor_of: Callable[[User, Tenant], Actor]) -> Actor:
    """Return bob as he acts in the shop."""
    return actor_of(bob, shop)
