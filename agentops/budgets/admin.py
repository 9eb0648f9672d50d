"""Budgets in a tenant's admin: what may be spent, checked when it is saved, and what has been, to read only."""

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest

from agentops.budgets import snapshot
from agentops.budgets.balance import Balance
from agentops.budgets.measures import HARD_MAXIMA, NAMES, Measure, Period, amount_text
from agentops.budgets.models import Account, Budget
from agentops.tenancy.admin_base import TenantModelAdmin, TenantModelForm, actor_of


class BudgetForm(TenantModelForm):
    """Refuses limits that make no sense; the model says which budgets there may be only one of."""

    def clean(self) -> dict[str, Any]:
        """Check the limits against each other and against what the product allows."""
        cleaned = super().clean() or self.cleaned_data
        soft, hard = cleaned.get("soft"), cleaned.get("hard")
        measure = cleaned.get("measure") or self.instance.measure
        if hard is not None and measure in HARD_MAXIMA and hard > HARD_MAXIMA[measure]:
            most = amount_text(measure, HARD_MAXIMA[measure])
            self.add_error("hard", ValidationError(f"At most {most}.", code="too_large"))
        if soft is not None and hard is not None and soft > hard:
            message = "The soft limit is above the hard one, so nobody would be warned in time."
            self.add_error("soft", ValidationError(message, code="soft_above_hard"))
        return cleaned


@admin.register(Budget)
class BudgetAdmin(TenantModelAdmin):
    """What all runs, or those of one task type, may spend in a period. A change of a limit counts at once."""

    form = BudgetForm
    fields = ("task_type", "measure", "period", "soft", "hard", "enabled", "note")
    list_display = ("what", "task_type", "per", "soft_text", "hard_text", "used", "enabled", "updated_by")
    list_filter = ("enabled", "measure", "period", "task_type")
    list_select_related = ("task_type", "updated_by")
    empty_value_display = "all runs"
    search_fields = ("note",)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Keep what its accounts count."""
        return ("task_type", "measure", "period") if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Keep what accounts and events refer to: a budget is switched off, not deleted."""
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save the budget with who changed it, and let this process see it at once."""
        obj.updated_by_id = actor_of(request).user_id
        super().save_model(request, obj, form, change)
        snapshot.forget()

    @admin.display(description="counts", ordering="measure")
    def what(self, obj: Budget) -> str:
        """Return what is counted."""
        return NAMES[Measure(obj.measure)]

    @admin.display(description="per", ordering="period")
    def per(self, obj: Budget) -> str:
        """Return the period."""
        return obj.get_period_display()

    @admin.display(description="soft limit", ordering="soft", empty_value="none")
    def soft_text(self, obj: Budget) -> str | None:
        """Return the soft limit as people read it."""
        return None if obj.soft is None else amount_text(obj.measure, obj.soft)

    @admin.display(description="hard limit", ordering="hard")
    def hard_text(self, obj: Budget) -> str:
        """Return the hard limit as people read it."""
        return amount_text(obj.measure, obj.hard)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Budget]:
        """Bring what is used in the latest period along."""
        latest = Account.objects.filter(budget=OuterRef("pk")).order_by("-period_start")
        rows: QuerySet[Budget] = super().get_queryset(request)
        return rows.annotate(
            latest_start=Subquery(latest.values("period_start")[:1]),
            latest_reserved=Subquery(latest.values("reserved")[:1]),
            latest_spent=Subquery(latest.values("spent")[:1]),
        )

    @admin.display(description="used in its latest period")
    def used(self, obj: Budget) -> str:
        """Return what is spent or set aside in the latest period in which there was anything."""
        start: datetime | None = getattr(obj, "latest_start", None)
        if start is None:
            return "nothing yet"
        balance = Balance(getattr(obj, "latest_reserved", 0), getattr(obj, "latest_spent", 0))
        since = "" if obj.period == Period.TOTAL else f" since {start:%Y-%m-%d}"
        text = f"{amount_text(obj.measure, balance.used)}, {balance.share(obj.hard)} %{since}"
        return f"{text}, near its limit" if balance.near(obj.soft) else text


@admin.register(Account)
class AccountAdmin(TenantModelAdmin):
    """What every budget held in every period. Nobody writes here but those who spend."""

    list_display = ("budget", "period_start", "spent_text", "reserved_text", "left", "share", "warned_text")
    list_filter = ("budget",)
    list_select_related = ("budget", "budget__task_type")
    ordering = ("-period_start", "budget")
    fields = ("budget", "period_start", "spent_text", "reserved_text", "left", "share", "warned_text")
    readonly_fields = fields

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: the first spender of a period makes it."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: what was spent was spent."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: what was spent was spent."""
        return False

    @admin.display(description="spent", ordering="spent")
    def spent_text(self, obj: Account) -> str:
        """Return what is gone."""
        return amount_text(obj.budget.measure, obj.spent)

    @admin.display(description="set aside", ordering="reserved")
    def reserved_text(self, obj: Account) -> str:
        """Return what is under way."""
        return amount_text(obj.budget.measure, obj.reserved)

    @admin.display(description="left")
    def left(self, obj: Account) -> str:
        """Return what may still be set aside."""
        return amount_text(obj.budget.measure, obj.balance.left(obj.budget.hard))

    @admin.display(description="share")
    def share(self, obj: Account) -> str:
        """Return the share of the hard limit."""
        return f"{obj.balance.share(obj.budget.hard)} %"

    @admin.display(description="state")
    def warned_text(self, obj: Account) -> str:
        """Return how near it is to its limits."""
        if obj.exhausted is not None and obj.exhausted == obj.budget.hard:
            return "Something was refused"
        return "Near its limit" if obj.balance.near(obj.budget.soft) else "Well"
