"""Old runs, their texts, and people who may say how long they stay."""

from datetime import datetime, timedelta
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from agentops import clock
from agentops.audit.services import NewEvent, append
from agentops.payloads.references import references
from agentops.payloads.services import keep
from agentops.retention import removal
from agentops.runs.models import Playbook, Run, TaskType
from agentops.runs.recording import stream_of
from agentops.tenancy.access import WORKER, Actor
from agentops.tenancy.models import Tenant
from agentops.wire.ids import uuid7
from agentops.wire.parse import JSONObject
from tests.conftest import person


@pytest.fixture
def admin(acme: Tenant, alice: User) -> Actor:
    """Return alice, who is an admin and has just signed in."""
    return Actor.user(alice, ["admin"], clock.now())


@pytest.fixture
def second(acme: Tenant) -> Actor:
    """Return another admin, just signed in as well."""
    return Actor.user(person("dora", acme, "admin"), ["admin"], clock.now())


def old_run(
    days: float,
    *,
    text: str = "",
    by: User | None = None,
    decided_by: User | None = None,
    ended: bool = True,
    token: str = "",
) -> Run:
    """Make a run that ended so many days ago, with a few events and perhaps a long text, in the open tenant scope."""
    moment = timezone.now() - timedelta(days=days)
    kind = TaskType.objects.filter(slug="old").first()
    if kind is None:
        playbook = Playbook.objects.create(slug="old", version=1, body="{}")
        kind = TaskType.objects.create(slug="old", name="Old", planner="playbook", input_schema={}, playbook=playbook)
    run = Run.objects.create(
        pk=uuid7(),
        task_type=kind,
        input="{}",
        state="cancelled" if ended else "queued",
        requested_by=by,
        requested_by_token=token,
        created_at=moment,
        ended_at=moment if ended else None,
    )
    written(run.pk, moment, text=text, decided_by=decided_by)
    return run


def written(run_id: UUID, moment: datetime, *, text: str = "", decided_by: User | None = None) -> list[str]:
    """Append events to a run's stream; return the hashes of the texts they name."""
    failed: JSONObject = {"planner": "model:m", "code": "model_unavailable", "message": ""}
    exchange: JSONObject = {"exchange": {"model": "m", "status": 200, "request": text * 9_000}} if text else {}
    with transaction.atomic():
        [lean] = keep([{**failed, **exchange}], run_id=run_id, now=moment)
        named = stream_of(run_id)
        events = [NewEvent("plan.failed", lean), NewEvent("plan.failed", failed)]
        append(named, events, actor=WORKER, run_id=run_id, at=moment)
        if decided_by is not None:
            actor = Actor.user(decided_by, ["operator"])
            append(named, [NewEvent("proposal.decided", {})], actor=actor, run_id=run_id, at=moment)
    return references(lean)


def remove_all(now: datetime | None = None) -> int:
    """Do every piece of every pass that is due."""
    moment = now or timezone.now()
    done = 0
    for _ in range(50):
        done += removal.go_on(moment)
    return done
