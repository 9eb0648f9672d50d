"""The tenant, the people and the one task type of the chaos test. Needs Django."""

from dataclasses import dataclass
from uuid import UUID

from django.contrib.auth.models import User

from agentops.runs.models import Origin, Playbook, TaskType
from agentops.runs.services import InvalidTask, submit
from agentops.tenancy.access import SYSTEM, Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.tenancy.services import add_member, create_tenant
from agentops.wire.canonical import canonical
from agentops.wire.parse import JSON, JSONObject
from tests.chaos.contracts import LOOK, NOTE, PAY
from tools.allowing import seed_rules
from tools.allowlist import AllowlistState
from tools.builtin.shapes import closed, text

SLUG = "chaos"
AGENT = Actor("token", "chaos", "agent", frozenset({"run.submit"}))
STEPS = (LOOK, NOTE, PAY, LOOK, NOTE)


@dataclass(frozen=True)
class Cast:
    """Who there is: the tenant, an operator who decides, a senior who says what happened."""

    tenant: Tenant
    operator: Actor
    senior: Actor
    kind: TaskType


def seed() -> Cast:
    """Make them."""
    tenant = create_tenant(slug=SLUG, name="Chaos", environment="test", actor=SYSTEM)
    for name, role in (("olga", "operator"), ("sam", "senior")):
        user = User.objects.create_user(f"{name}@chaos.example", f"{name}@chaos.example", first_name=name.title())
        add_member(tenant=tenant, user=user, role=role, actor=SYSTEM)
    steps: list[JSON] = []
    for n, contract in enumerate(STEPS, start=1):
        arguments: JSONObject = {"n": n, "account": {"$ref": "input.account"}}
        steps.append({"id": f"s{n}", "tool": contract.name, "arguments": arguments})
    written: JSON = {"steps": steps, "answers": [{"text": "Done."}]}
    with tenant_scope(tenant):
        playbook = Playbook.objects.create(slug=SLUG, version=1, body=canonical(written))
        kind = TaskType.objects.create(
            slug=SLUG,
            name="Chaos",
            playbook=playbook,
            input_schema=closed(account=text(40, minimum=1)),
            limits={"steps": 8, "attempts": 10, "wall_time_s": 24 * 3600},
            execute_within_s=24 * 3600,
            decide_within_s=24 * 3600,
        )
        for contract, state in ((LOOK, "auto"), (NOTE, "auto"), (PAY, "gated")):
            seed_rules(kind.pk, {contract.name: AllowlistState(state)})
    return find()


def find() -> Cast:
    """Return what `seed` made, in any process."""
    tenant = Tenant.objects.get(slug=SLUG)
    people = {name: User.objects.get(username=f"{name}@chaos.example") for name in ("olga", "sam")}
    with tenant_scope(tenant):
        kind = TaskType.objects.select_related("playbook").get(slug=SLUG)
    return Cast(tenant, Actor.user(people["olga"], ["operator"]), Actor.user(people["sam"], ["senior"]), kind)


def submit_one(cast: Cast, number: int) -> UUID:
    """Submit a task; when this returns, the run was promised."""
    with tenant_scope(cast.tenant):
        run = submit(task_type=cast.kind, input={"account": f"A-{number}"}, actor=AGENT, origin=Origin.API)
    if isinstance(run, InvalidTask):
        raise AssertionError(run.issues)
    return run.id
