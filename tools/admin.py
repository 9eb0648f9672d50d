"""The breakers of the tools in the admin. The allowlist has pages of its own (`agentops.runs.allowlist_admin`)."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from agentops.tenancy.admin_base import TenantModelAdmin, TenantModelForm, actor_of

from . import health
from .models import ToolHealth
from .network.admin import AllowedHostAdmin
from .registry import registry

__all__ = ["AllowedHostAdmin", "ToolHealthAdmin"]


def _tool_names() -> dict[str, str]:
    return {contract.name: f"{contract.name} ({contract.title})" for contract in registry.contracts()}


class ToolHealthForm(TenantModelForm):
    """Takes a tool onto the list, so that its breaker can be opened before it has ever failed."""

    class Meta:
        model = ToolHealth
        fields = ("tool",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["tool"] = forms.ChoiceField(
            choices=[("", "---------"), *_tool_names().items()],
            help_text="Puts the tool on the list, where its breaker is opened, closed or reset.",
        )


@admin.register(ToolHealth)
class ToolHealthAdmin(TenantModelAdmin):
    """The breaker of every tool that has failed lately or has a rate limit, with what a person may do about it.

    Rows change only through `tools.health`, which puts every change of a breaker on record.
    """

    form = ToolHealthForm
    fields = ("tool",)
    list_display = ("tool", "state", "failures", "window", "opened_at", "open_until", "cool_down_s", "probe_until")
    list_filter = ("state",)
    search_fields = ("tool",)
    ordering = ("tool",)
    actions = ("open_breaker", "close_breaker", "reset_breaker")
    _shown = (
        *("tool", "state", "failures", "window", "opened_at", "open_until", "cool_down_s", "probe", "probe_until"),
        "full_at",
    )

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: a breaker is operated, not edited."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: a breaker is reset, not deleted."""
        return False

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Allow whoever may manage the tenant."""
        return self._allowed(request)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show what there is for an existing row."""
        return self._shown if obj else self.fields

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Make an existing row read-only."""
        return self._shown if obj else ()

    @admin.display(description="failures in a row")
    def failures(self, obj: ToolHealth) -> int:
        """Return how many of the latest calls failed, up to now."""
        return health.health_of(obj).failures

    @admin.action(description="Open: keep calls away until closed by hand", permissions=["operate"])
    def open_breaker(self, request: HttpRequest, queryset: QuerySet[ToolHealth]) -> None:
        """Open the breakers of the selected tools, and say how many were not."""
        self._operate(request, queryset, health.hold, "opened")

    @admin.action(description="Close: let calls through", permissions=["operate"])
    def close_breaker(self, request: HttpRequest, queryset: QuerySet[ToolHealth]) -> None:
        """Close the breakers of the selected tools, and say how many were not."""
        self._operate(request, queryset, health.close, "closed")

    @admin.action(description="Reset: forget failures, pauses and promised turns", permissions=["operate"])
    def reset_breaker(self, request: HttpRequest, queryset: QuerySet[ToolHealth]) -> None:
        """Reset the selected tools, and say how many had something to forget."""
        self._operate(request, queryset, health.reset, "reset")

    def _operate(
        self, request: HttpRequest, queryset: QuerySet[ToolHealth], operate: Callable[..., bool], done: str
    ) -> None:
        tools, actor, now = list(queryset.values_list("tool", flat=True)), actor_of(request), timezone.now()
        changed = sum(operate(tool, actor=actor, now=now) for tool in tools)
        self.message_user(request, f"{changed} of {len(tools)} selected breakers {done}.")
