"""Who pays for what live trials ask models: the budgets of the tenant whose suite it is, as they do for its runs.

A trial happens in a transaction that is rolled back, so nothing it writes there would stay. Before it, its allowance is
set aside in the budgets of the real tenant. Inside of it budgets as high as that allowance hold, and each request to a
model is reserved and settled under them like any other. After it, what was spent there is settled in the real ones.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Final

from agentops import clock
from agentops.budgets import services as budgets
from agentops.budgets.measures import Measure, Period
from agentops.budgets.models import Budget, Reservation, ReservationState
from agentops.budgets.services import Allowance, Amounts, Refused
from agentops.engine.limits import InvalidLimits, Limits
from agentops.regression.isolation import assert_isolated
from agentops.runs.models import TaskType
from agentops.tenancy.access import SYSTEM
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope

MOST_TOKENS: Final = 2_000_000
MOST_COST_MICROS: Final = 5_000_000
"""What one trial may spend at most where neither the limits of its task type nor a budget says less."""


@dataclass(frozen=True, slots=True)
class Purse:
    """Pays for trials of one task type of a tenant."""

    tenant: Tenant
    task_type_id: int
    most: Amounts

    def allow(self, purpose: str) -> Allowance | Refused | None:
        """Set aside what a trial may spend; None where no budget counts it. No tenant's scope may be open."""
        with tenant_scope(self.tenant):
            return budgets.allow(
                task_type_id=self.task_type_id, purpose=purpose, most=self.most, now=clock.now(), actor=SYSTEM
            )

    def settle(self, allowance: Allowance, spent: Amounts | None) -> None:
        """Write down what a trial has spent; None where nobody knows, and then all of it counts."""
        with tenant_scope(self.tenant):
            budgets.settle(allowance.id, spent or {}, now=clock.now(), assumed=spent is None)


def purse_of(tenant: Tenant, slug: str) -> Purse | None:
    """Return what pays for trials of a task type of a tenant; None where it has no such task type."""
    with tenant_scope(tenant):
        found = TaskType.objects.filter(slug=slug).values_list("pk", "limits").first()
    if found is None:
        return None
    try:
        limits = Limits.from_json(found[1])
    except InvalidLimits:
        limits = Limits()  # no run starts with them, and its trial says so
    most = {
        Measure.MODEL_CALLS: limits.model_calls,
        Measure.TOKENS: limits.tokens or MOST_TOKENS,
        Measure.COST: limits.cost_micros or MOST_COST_MICROS,
    }
    return Purse(tenant, found[0], most)


def bound(allowance: Allowance) -> None:
    """Give the isolated tenant, whose scope is open, budgets as high as an allowance."""
    assert_isolated()
    for measure, amount in allowance.amounts.items():
        Budget.objects.create(measure=measure, period=Period.TOTAL, hard=amount)


def spent_here() -> Amounts:
    """Return what models have used in the isolated tenant whose scope is open; what is under way counts in full."""
    assert_isolated()
    spent: Counter[Measure] = Counter()
    for row in Reservation.objects.filter(kind="plan").exclude(state=ReservationState.RELEASED):
        column = "reserved" if row.state == ReservationState.OPEN else "spent"
        for line in row.lines.values():
            spent[Measure(line["measure"])] += line[column]
    return spent
