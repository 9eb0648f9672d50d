"""The tenant, the people and the task types of a benchmark, and what is asked of them. Needs Django."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from time import time_ns
from uuid import UUID

from django.contrib.auth.models import User
from django.db import transaction

from agentops.runs.models import Origin, Playbook, TaskType
from agentops.runs.services import InvalidTask, submit
from agentops.tenancy.access import SYSTEM, Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.tenancy.services import add_member, create_tenant
from agentops.wire.canonical import canonical
from agentops.wire.parse import JSON, JSONObject
from approvals.models import Proposal, Status
from approvals.services import Decided
from tests.bench.contracts import LOOK, PAY
from tests.deciding import approve
from tools.allowing import seed_rules
from tools.allowlist import AllowlistState
from tools.builtin.shapes import closed, text

SLUG = "bench"
STEPS = 5
PAYS_AT = 3
WORKLOAD = "five-steps"
AGENT = Actor("token", "bench", "agent", frozenset({"run.submit"}))
LONG = (10, 100, 1000)


@dataclass(frozen=True)
class Bench:
    """Who and what there is: the tenant, the operator, and task types by slug."""

    tenant: Tenant
    operator: Actor
    kinds: dict[str, TaskType]


def long_kind(steps: int) -> str:
    """Name the task type that reads so many times."""
    return f"reads-{steps}"


def seed() -> Bench:
    """Make tenant, operator and task types, and return them."""
    tenant = create_tenant(slug=SLUG, name="Bench", environment="test", actor=SYSTEM)
    olga = User.objects.create_user("olga@bench.example", "olga@bench.example", first_name="Olga")
    add_member(tenant=tenant, user=olga, role="operator", actor=SYSTEM)
    with tenant_scope(tenant):
        _kind(WORKLOAD, [_pay(n) if n == PAYS_AT else _look(n) for n in range(1, STEPS + 1)])
        for steps in LONG:
            _kind(long_kind(steps), [_look(n) for n in range(1, steps + 1)])
    return find()


def find() -> Bench:
    """Return what `seed` made, in any process."""
    tenant = Tenant.objects.get(slug=SLUG)
    olga = User.objects.get(username="olga@bench.example")
    with tenant_scope(tenant):
        kinds = {kind.slug: kind for kind in TaskType.objects.select_related("playbook")}
    return Bench(tenant, Actor.user(olga, ["operator"]), kinds)


def _look(n: int) -> JSONObject:
    return {"id": f"s{n}", "tool": LOOK.name, "arguments": {"n": n, "account": {"$ref": "input.account"}}}


def _pay(n: int) -> JSONObject:
    arguments: JSONObject = {"n": n, "account": {"$ref": "input.account"}, "amount_minor": 4990}
    return {"id": f"s{n}", "tool": PAY.name, "arguments": arguments}


def _kind(slug: str, steps: list[JSONObject]) -> None:
    written: JSON = {"steps": [*steps], "answers": [{"text": "Done."}]}
    playbook = Playbook.objects.create(slug=slug, version=1, body=canonical(written))
    kind = TaskType.objects.create(
        slug=slug,
        name=slug,
        playbook=playbook,
        input_schema=closed(account=text(40, minimum=1)),
        limits={"steps": len(steps), "calls_per_step": 1},
    )
    seed_rules(kind.pk, {LOOK.name: AllowlistState.AUTO, PAY.name: AllowlistState.GATED})


def submit_runs(bench: Bench, slug: str, count: int) -> list[UUID]:
    """Submit so many tasks of a type through the real service, one transaction each."""
    made: list[UUID] = []
    kind = bench.kinds[slug]
    with tenant_scope(bench.tenant):
        for number in range(count):
            run = submit(task_type=kind, input={"account": f"A-{number}"}, actor=AGENT, origin=Origin.API)
            if isinstance(run, InvalidTask):
                raise AssertionError(run.issues)
            made.append(run.id)
    return made


@dataclass(frozen=True, slots=True)
class Open:
    """A proposal as its reviewer saw it."""

    proposal_id: UUID
    run_id: UUID
    version: int
    digest: str


def pending(limit: int, since: datetime | None = None) -> list[Open]:
    """Return proposals of the open tenant that wait, oldest first."""
    rows = Proposal.objects.filter(status=Status.PENDING)
    if since is not None:
        rows = rows.filter(created_at__gte=since)
    found = rows.order_by("created_at", "id").values_list("id", "run_id", "version", "digest")
    return [Open(*row) for row in found[:limit]]


def approve_one(waiting: Open, operator: Actor, *, then: Callable[[], None] | None = None) -> bool:
    """Approve what was seen, as a person does; `then` is called right after the commit, before the worker is told."""
    with transaction.atomic():
        if then is not None:
            transaction.on_commit(then)
        outcome = approve(
            proposal_id=waiting.proposal_id, actor=operator, version=waiting.version, digest=waiting.digest
        )
    return isinstance(outcome, Decided)


class Stopwatch:
    """Notes the moment of a commit."""

    def __init__(self) -> None:
        self.at_ns = 0

    def __call__(self) -> None:
        self.at_ns = time_ns()
