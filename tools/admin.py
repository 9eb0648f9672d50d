"""The allowlist in the admin: an inline for the task type's page, and a list across task types."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from agentops.tenancy.admin_base import TenantModelAdmin, TenantModelForm, TenantTabularInline, actor_of

from .contracts import ContractError, parse_version
from .models import AllowlistEntry, AllowlistState
from .registry import registry


class AllowlistEntryForm(TenantModelForm):
    """Offers the registered tools, and refuses an empty version range and an unattended sensitive tool.

    The admin adds the model and its fields; named here they would ask for rows before there is a tenant.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = {contract.name: f"{contract.name} ({contract.title})" for contract in registry.contracts()}
        if self.instance.tool:
            names.setdefault(self.instance.tool, f"{self.instance.tool} (not registered)")
        self.fields["tool"] = forms.ChoiceField(choices=[("", "---------"), *names.items()])

    def clean(self) -> dict[str, Any]:
        """Check the rule as a whole."""
        cleaned = super().clean() or self.cleaned_data
        low, high = cleaned.get("min_version"), cleaned.get("max_version")
        if low and high and _number(low) > _number(high):
            self.add_error("max_version", "The highest version is below the lowest.")
        contract = registry.get(cleaned.get("tool") or "")
        if cleaned.get("state") == AllowlistState.AUTO and contract is not None and contract.sensitivity:
            kinds = ", ".join(sorted(s.replace("_", " ") for s in contract.sensitivity))
            self.add_error("state", f"This tool always needs a person ({kinds}).")
        return cleaned


def _number(version: str) -> tuple[int, int, int]:
    try:
        return parse_version(version)
    except ContractError:
        return 0, 0, 0


class AllowlistInline(TenantTabularInline):
    """The rules of one task type, for its admin page. Tools without a row are denied."""

    model = AllowlistEntry
    form = AllowlistEntryForm
    fields = ("tool", "state", "min_version", "max_version", "max_calls", "note")
    verbose_name_plural = "Tool allowlist (what is not listed is denied)"


@admin.register(AllowlistEntry)
class AllowlistEntryAdmin(TenantModelAdmin):
    """All rules of the tenant."""

    form = AllowlistEntryForm
    list_display = ("task_type", "tool", "state", "min_version", "max_version", "max_calls", "updated_by", "updated_at")
    list_filter = ("state", "task_type")
    list_select_related = ("task_type", "updated_by")
    search_fields = ("tool", "note")

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save the rule with who changed it."""
        obj.updated_by_id = actor_of(request).user_id
        super().save_model(request, obj, form, change)
