"""A tenant with a week of runs that ended today and before, counted."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from agentops.engine.events import Stamped
from agentops.metrics.rollup import roll_up
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.wire.ids import uuid7
from tests.metrics.histories import history
from tests.metrics.recorded import put


@dataclass
class Week:
    """The tenant, and the histories it has recorded."""

    tenant: Tenant
    histories: list[list[Stamped]]


def moved(events: list[Stamped], end: datetime) -> list[Stamped]:
    """Return a history that ends at a moment."""
    by = end - events[-1].at
    return [replace(one, at=one.at + by) for one in events]


@pytest.fixture
def week(acme: Tenant) -> Week:
    """Record eighty runs over a week, and count them."""
    now = timezone.now()
    histories = [moved(history(seed), now - timedelta(hours=2 * seed + 1)) for seed in range(80)]
    with tenant_scope(acme):
        for events in histories:
            put(uuid7(), events)
        while roll_up(datetime(2036, 1, 1, tzinfo=UTC)):
            pass
    return Week(acme, histories)
