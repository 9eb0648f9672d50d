"""Read budgets for people."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q

from agentops.budgets.measures import amount_text, period_start, renews_at
from agentops.budgets.models import Account, Budget


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """One budget in its present period, as pages show it; `used` is spent and set aside, `share` percent of `hard`."""

    id: int
    name: str
    used: int
    hard: int
    used_text: str
    hard_text: str
    reserved_text: str
    share: int
    near: bool
    exhausted: bool
    renews_at: datetime | None


def budget_rows(task_type_id: int | None, now: datetime) -> Sequence[BudgetRow]:
    """Return the enabled budgets that runs of a task type spend from, those of the whole tenant without one.

    Two queries, one for a tenant without budgets.
    """
    whose = Q(task_type__isnull=True) if task_type_id is None else Q(task_type__isnull=True) | Q(task_type=task_type_id)
    rows = list(Budget.objects.select_related("task_type").filter(whose, enabled=True).order_by("pk"))
    if not rows:
        return ()
    starts = {row.pk: period_start(row.period, now) for row in rows}
    accounts = {
        account.budget_id: account
        for account in Account.objects.filter(budget__in=rows, period_start__in=set(starts.values()))
        if account.period_start == starts[account.budget_id]
    }
    return [_row(row, accounts.get(row.pk) or Account(budget=row, period_start=starts[row.pk])) for row in rows]


def _row(budget: Budget, account: Account) -> BudgetRow:
    balance = account.balance
    return BudgetRow(
        id=budget.pk,
        name=str(budget),
        used=balance.used,
        hard=budget.hard,
        used_text=amount_text(budget.measure, balance.used),
        hard_text=amount_text(budget.measure, budget.hard),
        reserved_text=amount_text(budget.measure, balance.reserved) if balance.reserved else "",
        share=balance.share(budget.hard),
        near=balance.near(budget.soft),
        exhausted=balance.left(budget.hard) == 0 or account.exhausted == budget.hard,
        renews_at=renews_at(budget.period, account.period_start),
    )
