"""Read budgets for people."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q

from agentops.budgets.measures import NAMES, amount_text, period_start, renews_at
from agentops.budgets.models import Account, Budget
from agentops.budgets.projection import Projection, project


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
    return [_row(row, account) for row, account in _present(rows, now)]


@dataclass(frozen=True, slots=True)
class Standing:
    """One budget as the page of all budgets shows it: `row`, whose it is, and where it is going."""

    row: BudgetRow
    task_type: str
    measure: str
    period: str
    spent_text: str
    soft_text: str
    starts_at: datetime
    projection: Projection | None
    projected_text: str
    projected_share: int | None


def standings(now: datetime) -> Sequence[Standing]:
    """Return every enabled budget of the open tenant, those of the whole tenant first. Two queries."""
    rows = list(Budget.objects.select_related("task_type").filter(enabled=True))
    rows.sort(key=lambda row: (row.task_type is not None, str(row.task_type or ""), row.measure, row.pk))
    return [_standing(row, account, now) for row, account in _present(rows, now)]


def _standing(budget: Budget, account: Account, now: datetime) -> Standing:
    row = _row(budget, account)
    projection = project(
        account.balance,
        budget.hard,
        start=account.period_start,
        end=row.renews_at,
        now=now,
        counted_from=budget.created_at,
    )
    return Standing(
        row=row,
        task_type=str(budget.task_type) if budget.task_type is not None else "",
        measure=NAMES[budget.measure],
        period=budget.get_period_display(),
        spent_text=amount_text(budget.measure, account.spent),
        soft_text=amount_text(budget.measure, budget.soft) if budget.soft is not None else "",
        starts_at=account.period_start,
        projection=projection,
        projected_text=amount_text(budget.measure, projection.amount) if projection is not None else "",
        projected_share=projection.amount * 100 // budget.hard if projection is not None else None,
    )


def _present(rows: Sequence[Budget], now: datetime) -> list[tuple[Budget, Account]]:
    """Return budgets with their accounts of the present period; an empty one where nothing was spent yet."""
    if not rows:
        return []
    starts = {row.pk: period_start(row.period, now) for row in rows}
    accounts = {
        account.budget_id: account
        for account in Account.objects.filter(budget__in=rows, period_start__in=set(starts.values()))
        if account.period_start == starts[account.budget_id]
    }
    return [(row, accounts.get(row.pk) or Account(budget=row, period_start=starts[row.pk])) for row in rows]


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
