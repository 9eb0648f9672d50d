"""A tool that costs money, and a clerk who keeps the books of a test: what was really spent, by measure."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from agentops.budgets import snapshot
from agentops.budgets.measures import Measure
from agentops.budgets.models import Account, Budget, Reservation
from agentops.budgets.services import Refused, Reserved, reserve
from agentops.runs.models import Run, TaskType
from agentops.wire.ids import uuid7
from agentops.wire.parse import JSONObject
from tools.builtin.shapes import closed, number, text
from tools.contracts import (
    ArgumentRole,
    CallContext,
    DidNotHappen,
    Effect,
    Reconciled,
    Reversal,
    Reversibility,
    ToolContract,
    Trust,
)
from tools.registry import Handler, registry

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def budget(measure: Measure, hard: int, **more: Any) -> Budget:
    """Make a budget of the open tenant."""
    made = Budget.objects.create(measure=measure.value, hard=hard, **({"period": "day"} | more))
    snapshot.forget()
    return made


def account(made: Budget) -> Account:
    """Return the only account of a budget."""
    return Account.objects.get(budget=made)


def books(made: Budget) -> tuple[int, int]:
    """Return what the only account of a budget has reserved and spent."""
    found = account(made)
    return found.reserved, found.spent


def run_row(task_type: TaskType) -> Run:
    """Make the bare row of a run, for reservations to belong to."""
    return Run.objects.create(id=uuid7(), task_type=task_type, input="{}", created_at=NOW)


def hold(run: Run, purpose: str, now: datetime = NOW, **amounts: int) -> Reserved | Refused | None:
    """Reserve amounts given by measure: `hold(run, "x", tokens=5)`."""
    return reserve(
        run_id=run.pk,
        task_type_id=run.task_type_id,
        kind="call",
        purpose=purpose,
        amounts={Measure(name): amount for name, amount in amounts.items()},
        now=now,
    )


def held(run: Run, purpose: str, now: datetime = NOW, **amounts: int) -> int:
    """Reserve amounts that fit, and return the id of the reservation."""
    got = hold(run, purpose, now, **amounts)
    assert isinstance(got, Reserved), got
    return got.id


def reservations(run_id: UUID) -> list[tuple[str, str]]:
    """Return purpose and state of a run's reservations, in the order they were made."""
    return list(Reservation.objects.filter(run_id=run_id).order_by("pk").values_list("purpose", "state"))


def contract(name: str, effect: Effect, cost_micros: int) -> ToolContract:
    """Return a tool that costs money."""
    return ToolContract(
        name=name,
        version="1.0.0",
        title=name,
        description="Asks a provider that sends a bill.",
        input_schema=closed(n=number(0, 1000)),
        output_schema=closed(receipt=text(40)),
        effect=effect,
        roles={"n": ArgumentRole.AUTHORITY},
        output_trust={"": Trust.TRUSTED},
        error_codes=frozenset(),
        sentence="Ask for {n}",
        reversible=Reversibility(Reversal.NONE_NEEDED, "Nothing to take back."),
        cost_micros=cost_micros,
    )


def receipt(context: CallContext, arguments: JSONObject) -> JSONObject:
    """Answer as the provider does."""
    return {"receipt": f"r-{arguments['n']}"}


@contextmanager
def tool(made: ToolContract, handler: Handler = receipt) -> Iterator[ToolContract]:
    """Register a tool for a block."""

    def no_trace(context: CallContext, arguments: JSONObject) -> Reconciled:
        return DidNotHappen()

    registry.register(made, handler, reconcile=no_trace if made.effect is Effect.UNSAFE_WRITE else None)
    try:
        yield made
    finally:
        registry.remove(made.name, made.version)
