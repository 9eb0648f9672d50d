"""Which budgets there are, remembered by each process for a second: a tenant without any pays no query for that.

Only that a budget exists is remembered. Its limits are read where they are applied, in the statement that reserves, so
a raised or lowered limit counts at once.
"""

import threading
import time
from dataclasses import dataclass
from typing import Final

from agentops.budgets.models import Budget
from agentops.tenancy.scope import current_tenant_id

KEEP_S: Final = 1.0
"""How long a new or a switched-off budget may go unnoticed by another process."""


@dataclass(frozen=True, slots=True)
class BudgetView:
    """The parts of a budget that never change."""

    id: int
    task_type_id: int | None
    measure: str
    period: str

    def counts(self, task_type_id: int) -> bool:
        """Whether runs of a task type spend from it."""
        return self.task_type_id is None or self.task_type_id == task_type_id


_known: dict[int, tuple[float, tuple[BudgetView, ...]]] = {}
_lock = threading.Lock()


def budgets(task_type_id: int) -> tuple[BudgetView, ...]:
    """Return the enabled budgets of the open tenant scope that runs of a task type spend from.

    At most one query a second for each tenant and process.
    """
    return tuple(view for view in everything() if view.counts(task_type_id))


def everything() -> tuple[BudgetView, ...]:
    """Return the enabled budgets of the open tenant scope, as `budgets` knows them."""
    tenant_id = current_tenant_id()
    found = _known.get(tenant_id)
    now = time.monotonic()
    if found is None or now - found[0] > KEEP_S:
        rows = Budget.objects.filter(enabled=True).order_by("pk")
        views = tuple(BudgetView(*row) for row in rows.values_list("pk", "task_type_id", "measure", "period"))
        found = (now, views)
        with _lock:
            _known[tenant_id] = found
    return found[1]


def forget() -> None:
    """Look again the next time: budgets have changed."""
    with _lock:
        _known.clear()
