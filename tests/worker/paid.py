"""Tools that send a bill, and a clock that no test moves past midnight by accident."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from django.utils import timezone

from agentops.budgets.models import Reservation
from agentops.engine.events import Event
from agentops.runs.models import Run, TaskType
from agentops.runs.recording import load
from agentops.tenancy.models import Tenant
from agentops.wire.parse import JSONObject
from agentops.worker.driver import Driver
from agentops.worker.sweeper import sweep_tenant
from tests.budgets.lab import contract
from tests.shop import Clock, start, task_type
from tools.allowlist import AllowlistState
from tools.contracts import (
    CallContext,
    CannotTell,
    DidNotHappen,
    Effect,
    Happened,
    Reconciled,
    ToolContract,
)

AUTO, GATED = AllowlistState.AUTO, AllowlistState.GATED
COST = 300
READ = contract("lab.read", Effect.READ, COST)
PUT = contract("lab.put", Effect.IDEMPOTENT_WRITE, COST)
PAY = contract("lab.pay", Effect.UNSAFE_WRITE, COST)
FREE = contract("lab.free", Effect.IDEMPOTENT_WRITE, 0)
TOOLS = (READ, PUT, PAY, FREE)


class Killed(BaseException):
    """Stands for SIGKILL: nothing that handles exceptions may catch it."""


def noon() -> Clock:
    """A clock that no test moves past midnight by accident: budgets renew then."""
    return Clock((timezone.now() + timedelta(days=1)).replace(hour=9, minute=0))


@dataclass
class Provider:
    """What the tools reach, and the bill it will send."""

    clock: Clock = field(default_factory=noon)
    requests: Counter[str] = field(default_factory=Counter)
    effects: Counter[str] = field(default_factory=Counter)
    before: Callable[[CallContext], None] = lambda context: None
    after: Callable[[CallContext], None] = lambda context: None
    knows: bool = True

    def handler(self, tool: str) -> Callable[[CallContext, JSONObject], JSONObject]:
        def handle(context: CallContext, arguments: JSONObject) -> JSONObject:
            self.before(context)
            self.requests[tool] += 1
            self.effects[context.idempotency_key] += 1
            self.after(context)
            return {"receipt": "ok"}

        return handle

    def look_up(self, context: CallContext, arguments: JSONObject) -> Reconciled:
        if not self.knows:
            return CannotTell("The provider keeps no record.")
        return Happened({"receipt": "ok"}) if self.effects[context.idempotency_key] else DidNotHappen()


def steps(*tools: ToolContract) -> list[JSONObject]:
    return [{"id": f"s{i}", "tool": tool.name, "arguments": {"n": i}} for i, tool in enumerate(tools)]


def job(*tools: ToolContract, state: AllowlistState = AUTO, **more: object) -> TaskType:
    return task_type(steps(*tools), {tool.name: state for tool in tools}, **more)


def begin(provider: Provider) -> Run:
    return start("job", {}, now=provider.clock())


def drive(run: Run, provider: Provider, owner: str = "w1") -> Run:
    Driver(owner, now=provider.clock).drive(run.tenant_id, run.id)
    return Run.objects.get(pk=run.pk)


def work(provider: Provider) -> Run:
    return drive(begin(provider), provider)


def events_of(run: Run, type_: type[Event]) -> list[Event]:
    return [stamped.event for stamped in load(run.id) if isinstance(stamped.event, type_)]


def sweep(tenant: Tenant, provider: Provider) -> None:
    sweep_tenant(tenant, provider.clock())


def open_purposes() -> list[str]:
    return list(Reservation.objects.filter(state="open").order_by("pk").values_list("purpose", flat=True))
