"""Guardrails in a tenant's admin: how strict they are, and which families of findings count."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from agentops.screening.models import Screening
from agentops.tenancy.admin_base import TenantModelAdmin, actor_of


@admin.register(Screening)
class ScreeningAdmin(TenantModelAdmin):
    """One row: without one the defaults are in force. Workers see a change within a second."""

    fields = ("point", "smuggling", "instruction", "forgery", "exfiltration", "credentials", "stubs", "note")
    list_display = (
        "point",
        "smuggling",
        "instruction",
        "forgery",
        "exfiltration",
        "credentials",
        "stubs",
        "updated_by",
    )
    list_select_related = ("updated_by",)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow one row in a tenant."""
        return super().has_add_permission(request, obj) and not Screening.objects.exists()

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save the row with who changed it."""
        obj.updated_by_id = actor_of(request).user_id
        super().save_model(request, obj, form, change)
