"""What a tenant's admins change about deciding: how much friction each band has."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from agentops.tenancy.admin_base import TenantModelAdmin, TenantModelForm
from approvals.assessing import ladder
from approvals.assessing.risk import Band
from approvals.models import BandRule, Shift


class BandRuleForm(TenantModelForm):
    """Refuses what would be laxer than the default of the band, or so strict that nothing would be decided."""

    def clean(self) -> dict[str, Any]:
        """Compare every figure with the default and with the most that makes sense."""
        cleaned = super().clean() or self.cleaned_data
        band = cleaned.get("band") or self.instance.band
        if band not in set(Band):
            return cleaned
        for field in (*ladder.MOST, "step_up"):
            value = cleaned.get(field)
            if value in (None, ""):
                continue
            most = ladder.MOST.get(field)
            if most is not None and int(value) > most:
                self.add_error(field, ValidationError(f"At most {most}.", code="too_large"))
            elif ladder.laxer(Band(band), field, value):
                default = getattr(ladder.default_rung(Band(band)), field)
                self.add_error(field, ValidationError(f"A band only gets stricter: at least {default}.", code="laxer"))
        return cleaned


@admin.register(BandRule)
class BandRuleAdmin(TenantModelAdmin):
    """The friction of each band, where it differs from the default. A change counts within two seconds."""

    form = BandRuleForm
    list_display = ("band", "release_s", "reading_s", "rationale_chars", "attestations", "approvers", "step_up")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Keep whose rule it is."""
        return ("band",) if obj else ()

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save the rule, and let this process see it at once."""
        super().save_model(request, obj, form, change)
        ladder.forget()

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Go back to the default, at once in this process."""
        super().delete_model(request, obj)
        ladder.forget()


class ShiftForm(TenantModelForm):
    """Refuses a shift that is over before it begins."""

    def clean(self) -> dict[str, Any]:
        """Compare both ends, beside the later one."""
        cleaned = super().clean() or self.cleaned_data
        starts, ends = cleaned.get("starts_at"), cleaned.get("ends_at")
        if starts is not None and ends is not None and ends <= starts:
            self.add_error("ends_at", ValidationError("It has to end after it begins.", code="no_length"))
        return cleaned


@admin.register(Shift)
class ShiftAdmin(TenantModelAdmin):
    """The rota: who is reminded first, and when. Whoever is away says so on their own page."""

    form = ShiftForm
    list_display = ("user", "starts_at", "ends_at")
    list_select_related = ("user",)
    ordering = ("-ends_at",)
