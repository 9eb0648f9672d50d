"""What a tenant's guardrails flag: one row, or none where the defaults are in force."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from agentops.tenancy.scope import TenantModel

_POINTS = (
    ("strict", "Strict: flags more, and more often for nothing"),
    ("balanced", "Balanced"),
    ("permissive", "Permissive: flags only what is plain"),
)


class Screening(TenantModel):
    """How texts from outside are judged. What is switched off is still found and recorded; it does not count."""

    point = models.CharField("operating point", max_length=10, choices=_POINTS, default="balanced")
    smuggling = models.BooleanField("hidden and look-alike characters", default=True)
    instruction = models.BooleanField("instructions to an agent", default=True)
    forgery = models.BooleanField("forged roles, delimiters and tool calls", default=True)
    exfiltration = models.BooleanField("links and images that carry data out", default=True)
    credentials = models.BooleanField("requests for passwords and keys", default=True)
    stubs = models.BooleanField(
        "keep it from models",
        default=True,
        help_text="Models are shown stubs in place of what was found in flagged text; people see all of it.",
    )
    note = models.CharField(max_length=300, blank=True, help_text="Why it is set like this.")
    updated_at = models.DateTimeField(auto_now=True)
    updated_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, editable=False, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        verbose_name = "guardrail setting"
        constraints = (
            models.UniqueConstraint(fields=("tenant",), name="screening_one_per_tenant"),
            models.CheckConstraint(
                condition=Q(point__in=[point for point, _ in _POINTS]), name="screening_point_known"
            ),
        )

    def __str__(self) -> str:
        return f"Guardrails: {self.point}"
