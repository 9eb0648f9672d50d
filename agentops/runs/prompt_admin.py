"""Prompts in the admin of a tenant: every version, what changed between them, and which task types use the newest."""

import difflib
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from agentops.prompts.built_in import BUILT_IN, PLAN_FIRST, RESERVED
from agentops.prompts.models import Prompt
from agentops.prompts.services import InvalidPrompt, built_in, prompt_issues, save_prompt
from agentops.prompts.template import VARIABLES
from agentops.runs.models import TaskType
from agentops.tenancy.admin_base import TenantModelAdmin, TenantModelForm, actor_of
from agentops.tenancy.people import called


class PromptForm(TenantModelForm):
    """The text of a prompt. An edit becomes the next version; earlier ones stay for the runs that use them."""

    use_now = forms.BooleanField(
        required=False,
        initial=True,
        label="Use this version now",
        help_text="Task types that use an earlier version of this prompt change to this one for new runs.",
    )

    class Meta:
        model = Prompt
        fields = ("slug", "planning", "template")
        widgets = {"template": forms.Textarea(attrs={"rows": 40, "cols": 110, "spellcheck": "false"})}

    def clean(self) -> dict[str, Any]:
        """Say everything that is wrong with the next version, beside the text."""
        cleaned = super().clean() or self.cleaned_data
        template = cleaned.get("template")
        slug = cleaned.get("slug") or self.instance.slug
        planning = cleaned.get("planning") or self.instance.planning
        if template and slug and planning:
            for issue in prompt_issues(slug=slug, planning=planning, template=template.replace("\r\n", "\n").strip()):
                self.add_error("template", ValidationError(issue.message, code=issue.code))
        return cleaned


@admin.register(Prompt)
class PromptAdmin(TenantModelAdmin):
    """Prompts and their versions."""

    form = PromptForm
    fields = ("slug", "planning", "template", "use_now")
    list_display = ("slug", "version", "planning", "created_at", "created_by")
    list_filter = ("planning",)
    list_select_related = ("created_by",)
    search_fields = ("slug",)
    change_form_template = "admin/prompts/prompt/change_form.html"

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Keep name and way of planning: another one is another prompt."""
        return ("slug", "planning") if obj else ()

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, str | list[str]]:
        """Begin a new prompt from the text that comes with the program."""
        return {"template": PLAN_FIRST, **super().get_changeform_initial_data(request)}

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let nobody edit what comes with the program."""
        return super().has_change_permission(request, obj) and not (obj and obj.slug.startswith(RESERVED))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Keep what runs refer to."""
        return False

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Add the variables, the history and, with `?against=<version>`, what changed since that version."""
        context: dict[str, Any] = {"variables": list(VARIABLES.items())}
        shown = self.get_object(request, object_id) if object_id else None
        if shown is not None:
            context |= _history(shown, request.GET.get("against", ""))
        return super().changeform_view(request, object_id, form_url, context | (extra_context or {}))

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Store the next version, and let task types use it if that was asked for."""
        with transaction.atomic():
            saved = save_prompt(slug=obj.slug, planning=obj.planning, template=obj.template, actor=actor_of(request))
            if isinstance(saved, InvalidPrompt):
                raise ValidationError([issue.message for issue in saved.issues])
            if form.cleaned_data.get("use_now"):
                for task_type in TaskType.objects.filter(prompt__slug=saved.slug).exclude(prompt=saved):
                    task_type.prompt = saved
                    self._save(request, task_type, change=True)
        obj.pk, obj.version = saved.pk, saved.version


def seed_built_in() -> None:
    """Store the prompts that come with the program for the open tenant, where they are not there yet."""
    for planning in BUILT_IN:
        built_in(planning)


def _history(shown: Prompt, against: str) -> dict[str, Any]:
    versions = list(Prompt.objects.filter(slug=shown.slug).select_related("created_by").order_by("-version"))
    other = next((one for one in versions if str(one.version) == against and one.pk != shown.pk), None)
    difference = (
        difflib.unified_diff(
            other.template.split("\n"),
            shown.template.split("\n"),
            f"version {other.version}",
            f"version {shown.version}",
            lineterm="",
        )
        if other is not None
        else ()
    )
    return {
        "versions": [
            {
                "version": one.version,
                "url": reverse("admin:prompts_prompt_change", args=[one.pk]),
                "at": one.created_at,
                "by": called(one.created_by) or "came with the program",
                "current": one.pk == shown.pk,
            }
            for one in versions
        ],
        "against": other.version if other is not None else None,
        "difference": list(difference),
    }
