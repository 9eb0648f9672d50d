"""A small shop that tests run whole tasks in: the demonstration's task types over a handful of records."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.utils import timezone

from agentops.runs.models import Origin, Playbook, Run, TaskType
from agentops.runs.services import InvalidTask, submit
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.wire.canonical import canonical
from agentops.wire.parse import JSON, JSONObject
from agentops.worker.demo import SHOP, load_kinds
from agentops.worker.driver import Driver
from approvals.models import Proposal
from tools.allowing import seed_rules
from tools.allowlist import AllowlistState
from tools.backoffice.models import Customer, InboxMessage, Mailbox, Order

AGENT = Actor("token", "7", "agent", frozenset({"run.submit"}))

REFUND_MAIL = """From: Wilma Brook <wilma@example.com>
To: support@harbor.example
Subject: Refund for A-1001
Date: Fri, 20 Nov 2026 09:00:00 +0000

Hello, please refund my order A-1001, the tent arrived torn.
Wilma
"""


@dataclass
class Clock:
    """A clock that tests move."""

    now: datetime = field(default_factory=timezone.now)

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now

    def forward(self, **delta: float) -> None:
        self.now += timedelta(**delta)


def open_shop(tenant: Tenant, *, orders: int = 3) -> None:
    """Fill a tenant (whose scope is open) with the demo's task types, one customer, orders A-1001..., one message."""
    load_kinds(SHOP)
    Mailbox.objects.create(address="support@harbor.example", display_name="Harbor")
    wilma = Customer.objects.create(ref="C-1001", name="Wilma Brook", email="wilma@example.com", language="en")
    for i in range(orders):
        Order.objects.create(
            ref=f"A-{1001 + i}",
            customer=wilma,
            summary="Tent",
            total_minor=12_400,
            currency="EUR",
            card_last4="4421",
            placed_at=datetime(2026, 11, 1, tzinfo=UTC),
            status="delivered",
        )
    receive(REFUND_MAIL)


def receive(mail: str, ref: str = "M-0001") -> None:
    """Put a message into the inbox."""
    raw = mail.replace("\n", "\r\n").encode()
    InboxMessage.objects.create(ref=ref, raw=raw, received_at=datetime(2026, 11, 20, 9, tzinfo=UTC))


def start(slug: str, task: JSONObject, *, actor: Actor = AGENT, now: datetime | None = None) -> Run:
    """Submit a task of a type that accepts it."""
    run = submit(task_type=TaskType.objects.get(slug=slug), input=task, actor=actor, origin=Origin.API, now=now)
    if isinstance(run, InvalidTask):
        raise AssertionError(run.issues)
    return run


def drive(run_id: UUID, clock: Clock | None = None, owner: str = "w1") -> Run:
    """Let one worker take a run as far as it goes, and return its row."""
    run = Run.objects.get(pk=run_id)
    (Driver(owner, now=clock) if clock else Driver(owner)).drive(run.tenant_id, run_id)
    return Run.objects.get(pk=run_id)


def task_type(steps: Sequence[JSONObject], allow: dict[str, AllowlistState], **more: object) -> TaskType:
    """Create a task type `job` that takes any small object as its task and follows these steps."""
    written: JSON = {"steps": list(steps), "answers": [{"text": "done"}]}
    playbook = Playbook.objects.create(slug="job", version=1, body=canonical(written))
    schema: JSONObject = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    found = TaskType.objects.create(slug="job", name="Job", playbook=playbook, input_schema=schema, **more)
    seed_rules(found.pk, allow)
    return found


def only_proposal() -> Proposal:
    """Return the one proposal that waits."""
    return Proposal.objects.get(status="pending")
