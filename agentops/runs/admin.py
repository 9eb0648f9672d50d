"""Task types and playbooks in the admin of a tenant. What cannot run cannot be saved."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode

from agentops.runs.allowlist_admin import AllowlistEntryAdmin
from agentops.runs.issues import TaskIssue
from agentops.runs.models import OutputRules, Playbook, TaskType
from agentops.runs.output_policy import output_issues
from agentops.runs.prompt_admin import seed_built_in
from agentops.runs.services import (
    InvalidTask,
    allowed_contracts,
    allowlist_issues,
    fallback_issues,
    fallback_tool_issues,
    playbook_issues,
    save_playbook,
    task_type_issues,
)
from agentops.tenancy.admin_base import TenantModelAdmin, TenantModelForm, actor_of
from tools.allowlist import allowed_tools
from tools.models import AllowlistEntry


class TaskTypeForm(TenantModelForm):
    """Refuses a task type whose runs could only fail: bad limits, schema, conditions, no playbook, no model."""

    # Nobody has to think about it: what is not sent stays, what is cleared is the usual one again.
    priority = forms.IntegerField(required=False, initial=0, help_text=TaskType._meta.get_field("priority").help_text)

    def clean_priority(self) -> int:
        """Return the priority; out of bounds is the model's to say."""
        sent: int | None = self.cleaned_data["priority"]
        if sent is not None:
            return sent
        return 0 if self.add_prefix("priority") in self.data else self.instance.priority

    def clean_output_policy(self) -> object:
        """Return the rules; an empty field has none."""
        sent = self.cleaned_data["output_policy"]
        return {} if sent is None else sent

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # the hook that runs once the instance is filled
        if self.errors:
            return
        allowed = {rule.tool for rule in allowed_tools(self.instance.pk)} if self.instance.pk else set()
        for issue in (*task_type_issues(self.instance), *fallback_tool_issues(self.instance, allowed)):
            name = issue.path if issue.path in self.fields else "playbook" if issue.path.startswith("/") else None
            place = f"{issue.path}: " if name != issue.path else ""
            self.add_error(name, ValidationError(f"{place}{issue.message}", code=issue.code))


admin.site.register(AllowlistEntry, AllowlistEntryAdmin)


@admin.register(TaskType)
class TaskTypeAdmin(TenantModelAdmin):
    """A kind of work, with what it may use right below it."""

    form = TaskTypeForm
    list_display = ("name", "slug", "planner", "playbook", "critical", "fallback", "enabled")
    list_filter = ("enabled", "planner")
    list_select_related = ("playbook", "fallback")
    search_fields = ("name", "slug")
    prepopulated_fields = {"slug": ("name",)}
    fieldsets = (
        (None, {"fields": ("name", "slug", "description", "enabled", "priority", "allowlist_page")}),
        ("Planning", {"fields": ("planner", "planning", "playbook", "instructions", "critical", "fallback")}),
        ("Model", {"fields": ("prompt", "model_names", "model_parameters")}),
        ("Task and stop criteria", {"fields": ("input_schema", "stop_when", "success_when")}),
        ("Output", {"fields": ("output_policy",)}),
        ("Limits and deadlines", {"fields": ("limits", "decide_within_s", "execute_within_s", "allow_self_approval")}),
    )

    readonly_fields = ("allowlist_page",)

    @admin.display(description="tools it may use")
    def allowlist_page(self, obj: TaskType) -> str:
        """Return the way to the allowlist: one place changes it, and a new task type may use nothing."""
        if not obj.pk:
            return "None yet. Save the task type, then allow tools on the allowlist."
        address = f"{reverse('admin:tools_allowlistentry_changelist')}?{urlencode({'task_type': obj.slug})}"
        count = len(allowed_tools(obj.pk))
        return format_html('<a href="{}">{} tool{} on its allowlist</a>', address, count, "" if count == 1 else "s")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Keep what runs refer to: a task type is switched off, not deleted."""
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save, and have the prompts there that new runs use when the task type chooses none."""
        seed_built_in()
        super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Say which tools of the playbook the allowlist leaves out: no task is accepted until they fit."""
        super().save_related(request, form, formsets, change)
        for issue in allowlist_issues(form.instance):
            self.message_user(request, f"{issue.message} Tasks are refused until it is.", messages.WARNING)


class OutputRulesForm(TenantModelForm):
    """Refuses rules that the gate could not read."""

    def clean_rules(self) -> object:
        """Return the rules; an empty field has none."""
        sent = self.cleaned_data["rules"]
        return {} if sent is None else sent

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # the hook that runs once the instance is filled
        for issue in [] if self.errors else output_issues(self.instance.rules):
            self.add_error("rules", ValidationError(issue.message, code=issue.code))


@admin.register(OutputRules)
class OutputRulesAdmin(TenantModelAdmin):
    """What may leave the tenant at all; one row."""

    form = OutputRulesForm
    list_display = ("__str__", "updated_at")
    fields = ("rules",)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Offer to write the rules while there are none."""
        return super().has_add_permission(request, obj) and not OutputRules.objects.exists()


class PlaybookForm(TenantModelForm):
    """The text of a playbook. An edit becomes the next version; earlier ones stay for the runs that use them."""

    use_now = forms.BooleanField(
        required=False,
        initial=True,
        label="Use this version now",
        help_text="Task types that use an earlier version of this playbook change to this one for new runs.",
    )

    class Meta:
        model = Playbook
        fields = ("slug", "body")
        widgets = {"body": forms.Textarea(attrs={"rows": 40, "cols": 110, "spellcheck": "false"})}

    def clean_body(self) -> str:
        """Check the whole plan, and say everything that is wrong with it."""
        body = str(self.cleaned_data["body"])
        issues = playbook_issues(body)
        if issues:
            raise ValidationError([ValidationError(f"{i.path or '/'}: {i.message}", code=i.code) for i in issues])
        return body

    def clean(self) -> dict[str, Any]:
        """Refuse what task types that would change to it could not use, by their criteria or as their fallback.

        What was wrong with a task type before is not held against the playbook.
        """
        cleaned = super().clean() or self.cleaned_data
        if not cleaned.get("use_now") or "body" not in cleaned:
            return cleaned
        slug = self.instance.slug or cleaned.get("slug", "")
        users = TaskType.objects.select_related("playbook", "fallback").filter(
            Q(playbook__slug=slug) | Q(fallback__slug=slug)
        )
        for task_type in users.order_by("name", "pk"):
            before = {(issue.path, issue.message) for issue in task_type_issues(task_type)}
            new = Playbook(slug=slug, body=cleaned["body"])
            if task_type.playbook is not None and task_type.playbook.slug == slug:
                task_type.playbook = new
            issues: list[TaskIssue] = []
            if task_type.fallback is not None and task_type.fallback.slug == slug:
                task_type.fallback = new
                allowed = {contract.name for contract in allowed_contracts(task_type.pk)}
                issues += [*fallback_issues(task_type), *fallback_tool_issues(task_type, allowed)]
            found = {(one.path, one.message): one for one in task_type_issues(task_type)}
            issues += [one for key, one in found.items() if key not in before and one not in issues]
            for issue in issues:
                self.add_error("body", ValidationError(f"{task_type.name}: {issue.message}", code=issue.code))
        return cleaned


@admin.register(Playbook)
class PlaybookAdmin(TenantModelAdmin):
    """Playbooks and their versions."""

    form = PlaybookForm
    fields = ("slug", "body", "use_now")
    list_display = ("slug", "version", "created_at", "created_by")
    list_select_related = ("created_by",)
    search_fields = ("slug",)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Keep the name: another name is another playbook."""
        return ("slug",) if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Keep what runs refer to."""
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Store the next version, and let task types use it if that was asked for."""
        actor = actor_of(request)
        with transaction.atomic():
            saved = save_playbook(slug=obj.slug, body=obj.body, actor=actor)
            if isinstance(saved, InvalidTask):
                raise ValidationError([issue.message for issue in saved.issues])
            self._record(request, saved, "added", {}, self._values(saved))
            if form.cleaned_data.get("use_now"):
                earlier = Playbook.objects.filter(slug=obj.slug).exclude(pk=saved.pk)
                for task_type in TaskType.objects.filter(Q(playbook__in=earlier) | Q(fallback__in=earlier)):
                    if task_type.playbook in earlier:
                        task_type.playbook = saved
                    if task_type.fallback in earlier:
                        task_type.fallback = saved
                    self._save(request, task_type, change=True)
        obj.pk, obj.version = saved.pk, saved.version
