"""Everything that is known about a run stands on its one page: what it may spend, holds, knows, asked and waits for."""

from collections.abc import Callable
from datetime import timedelta
from html import unescape

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from django.utils import timezone

from agentops.budgets.measures import Measure
from agentops.engine.events import CallStarted, CallUnknown, Event, RunClaimed, RunWaiting
from agentops.engine.planner import Planned
from agentops.memory.session import NOTE
from agentops.runs.models import Run
from agentops.runs.recording import record_outside, state_of
from agentops.tenancy.access import WORKER, Actor
from agentops.tenancy.models import Tenant
from agentops.wire.parse import JSONObject
from agentops.worker.driver import Driver
from approvals.stopping.intervention import pause_run
from tests.budgets.lab import budget
from tests.deciding import approve
from tests.engine.recording import EXCHANGE, USAGE, Scripted
from tests.shop import only_proposal, open_shop, start, task_type
from tools.allowlist import AllowlistState

AUTO, GATED = AllowlistState.AUTO, AllowlistState.GATED
STEPS: list[JSONObject] = [
    {"id": "mail", "tool": "mail.read", "arguments": {"message_id": "M-0001"}},
    {
        "id": "remember",
        "tool": NOTE,
        "arguments": {"name": "subject", "value": {"$ref": "steps.mail.output.subject"}},
    },
    {
        "id": "refund",
        "tool": "shop.issue_refund",
        "arguments": {"order_ref": "A-1001", "amount_minor": 100, "currency": "EUR", "reason": "Late"},
    },
]


@pytest.fixture
def run(scoped: Tenant, settings: LazySettings) -> Run:
    """Return a run that a model has planned, with a note, a budget that is used up, and a refund put to a person."""
    settings.AGENTOPS_MODEL, settings.AGENTOPS_MODEL_BASE_URL = "scripted", "http://127.0.0.1:9/v1"
    open_shop(scoped)
    budget(Measure.RUNS, 1, soft=1)
    allow = {"mail.read": AUTO, NOTE: AUTO, "shop.issue_refund": GATED}
    task_type([], allow, planner="model")
    run = start("job", {})
    planner = Scripted([Planned({"steps": [*STEPS]}, USAGE, EXCHANGE)])
    Driver("w1", planners=lambda run, state: planner).drive(scoped.pk, run.id)
    return Run.objects.get(pk=run.pk)


@pytest.fixture
def senior(sam: User, scoped: Tenant, actor_of: Callable[[User, Tenant], Actor]) -> Actor:
    return actor_of(sam, scoped)


def lose_the_refund(run: Run, senior: Actor) -> None:
    """Let somebody approve the refund, and let the worker not learn whether it happened."""
    proposal = only_proposal()
    approve(proposal_id=proposal.pk, actor=senior, version=proposal.version, digest=proposal.digest)
    call = state_of(run.pk).calls[proposal.call_id]
    lost: list[Event] = [
        RunClaimed("w1", 1),
        CallStarted(call.call_id, call.grant_id, 1),
        CallUnknown(call.call_id, "the connection broke", asked=True),
        RunWaiting("awaiting_reconciliation"),
    ]
    with transaction.atomic():
        record_outside(run.pk, lost, actor=WORKER, now=timezone.now() + timedelta(seconds=1))


def test_one_page_says_everything_about_a_run(
    run: Run, senior: Actor, sam: User, signed_in: Callable[[User], Client]
) -> None:
    desk = signed_in(sam)
    lose_the_refund(run, senior)
    pause_run(run_id=run.pk, actor=senior, reason="Waiting for the bank")
    page = unescape(desk.get(f"/t/acme/runs/{run.pk}").content.decode())
    for section in ("unknown-1", "proposals-title", "task-title", "session-title", "timeline-title", "plan-title"):
        assert f'id="{section}"' in page
    for said in (
        "Waiting for the bank",
        "A budget is used up",
        "<dt>Tokens",
        "Say what you found",
        "Resume this run",
        "Cancel this run",
        f'href="/t/acme/stop?what=run%3A{run.pk}"',
        f'href="/t/acme/runs/{run.pk}/artifacts"',
        "written by call",
        "1,020 tokens",
        "Audit trail",
    ):
        assert said in page, said
    assert "Pause this run" not in page


def test_what_was_said_to_a_model_is_linked_from_the_question_and_from_the_timeline(
    run: Run, bob: User, signed_in: Callable[[User], Client]
) -> None:
    desk = signed_in(bob)
    page = desk.get(f"/t/acme/runs/{run.pk}")
    [turn] = page.context["turns"]
    address = f"/t/acme/runs/{run.pk}/exchanges/{turn.seq}"
    assert page.content.decode().count(f'href="{address}"') == 2
    assert desk.get(address).status_code == 200
