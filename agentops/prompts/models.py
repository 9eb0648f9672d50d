"""Templates of what a model is told, as immutable versions."""

from django.conf import settings
from django.db import models

from agentops.tenancy.scope import TenantModel


class PromptPlanning(models.TextChoices):
    """Which way of planning a prompt explains to the model; the same words as a task type's `planning`."""

    PLAN_FIRST = "plan_first", "Plan first"
    REACTIVE = "reactive", "Reactive (one step at a time)"


class Prompt(TenantModel):
    """One immutable version; saving an edit makes the next. Those without an author came with the program."""

    slug = models.SlugField(max_length=64)
    version = models.PositiveIntegerField()
    planning = models.CharField(max_length=16, choices=PromptPlanning.choices)
    template = models.TextField(help_text="Text with variables such as {{instructions}}.")
    digest = models.CharField(max_length=64, help_text="SHA-256 of the template.")
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, editable=False, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        ordering = ("slug", "-version")
        constraints = (models.UniqueConstraint(fields=("tenant", "slug", "version"), name="prompt_version_unique"),)

    def __str__(self) -> str:
        return f"{self.slug} v{self.version}"

    @property
    def name(self) -> str:
        """How runs name it."""
        return f"{self.slug}@{self.version}"
