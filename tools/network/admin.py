"""The list of hosts in the admin of a tenant: rows, what waits for a second admin, and what was decided."""

from collections.abc import Mapping
from typing import Any, Final, assert_never
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_POST, require_safe

from agentops.changes import outcomes
from agentops.changes.answers import Words, decided
from agentops.changes.models import ChangeStatus
from agentops.tenancy.admin_base import TenantModelAdmin, TenantModelForm, actor_of
from agentops.tenancy.step_up import resumes

from . import hosts
from .models import AllowedHost, HostAccess, HostChange

HISTORY: Final = 50
WORDS: Final = Words("change", "the list of hosts")
_FIELDS: Final = {
    "subdomains": "Hosts below it",
    "access": "Access",
    "plain_http": "Without encryption",
    "credential_header": "Header of its credential",
    "note": "Note",
}


class AllowedHostForm(TenantModelForm):
    """Takes a new credential, and never shows the one there is."""

    new_credential = forms.CharField(
        required=False,
        max_length=hosts.MAX_SECRET,
        strip=True,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text="The whole value of the header, such as Bearer …. Empty keeps the one there is.",
    )

    def clean_host(self) -> str:
        """Keep the host as it is compared."""
        return str(self.cleaned_data["host"]).strip()

    def clean(self) -> dict[str, Any]:
        """Ask whether the list would take it."""
        cleaned = super().clean() or self.cleaned_data
        if not self.errors:
            row = self.instance if self.instance.pk else None
            stored = AllowedHost.objects.filter(pk=row.pk).first() if row is not None else None
            found = hosts.compare(self.rule(), stored, self.secret())
            for name, text in found.problems.items() if isinstance(found, outcomes.Invalid) else ():
                self.add_error({"secret": "new_credential"}.get(name, name), text)
        return cleaned

    def rule(self) -> hosts.HostRule:
        """Return the rule that the form states."""
        given = self.cleaned_data
        return hosts.HostRule(
            host=given.get("host", self.instance.host),
            subdomains=given["subdomains"],
            access=HostAccess(given["access"]),
            plain_http=given["plain_http"],
            credential_header=given["credential_header"],
            note=given["note"],
        )

    def secret(self) -> str | None:
        """Return the new credential, None for the one there is."""
        return self.cleaned_data["new_credential"] or None


class _StaysListed(Exception):
    """The row is not taken off: `args[0]` says why."""


@admin.register(AllowedHost)
class AllowedHostAdmin(TenantModelAdmin):
    """Hosts that the network tools may ask. Rows change only through `tools.network.hosts`, which records it."""

    form = AllowedHostForm
    fields = ("host", "subdomains", "access", "plain_http", "credential_header", "new_credential", "note")
    list_display = ("host", "subdomains", "access", "plain_http", "has_credential", "updated_by", "updated_at")
    list_filter = ("access",)
    list_select_related = ("updated_by",)
    search_fields = ("host", "note")
    secret_fields = ("credential",)
    change_list_template = "admin/hosts/list.html"

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Keep the host: another one is another row."""
        return ("host",) if obj else ()

    @admin.display(description="credential", boolean=True)
    def has_credential(self, obj: AllowedHost) -> bool:
        """Say whether the desk adds one."""
        return bool(obj.credential)

    def get_urls(self) -> list[URLPattern]:
        """Put the pages of changes before those of rows."""
        wrap = self.admin_site.admin_view
        own = [
            path("changes/", wrap(require_safe(self.changes_view)), name="host_changes"),
            path("changes/<uuid:pk>/", wrap(require_safe(self.one_change_view)), name="host_change"),
            path("changes/<uuid:pk>/decide/", wrap(require_POST(resumes(self.decide_view))), name="host_decide"),
        ]
        return [*own, *super().get_urls()]

    # --- rows -------------------------------------------------------------------------------------------------------

    def _save(self, request: HttpRequest, row: models.Model, *, change: bool) -> None:
        raise TypeError("A host is written by `tools.network.hosts`.")

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Narrow what a host may be asked, or propose more to another admin."""
        obj.outcome = hosts.change(form.rule(), actor=actor_of(request), secret=form.secret())

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: Any = None) -> HttpResponse:
        """Say what became of it."""
        return self._told(request, obj.outcome)

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        """Say what became of it."""
        return self._told(request, obj.outcome)

    def _told(
        self,
        request: HttpRequest,
        outcome: "hosts.Narrowed | hosts.Unchanged | outcomes.Proposed | outcomes.Forbidden | outcomes.Invalid",
    ) -> HttpResponse:
        match outcome:
            case hosts.Narrowed(host=host):
                self.message_user(request, f"{host} is narrowed. That counts already.", messages.SUCCESS)
            case hosts.Unchanged(host=host):
                self.message_user(request, f"Nothing changed: {host} was so already.", messages.INFO)
            case outcomes.Proposed(change_id=pk, version=version):
                told = f"It lets more be asked: change {version} waits for another admin."
                self.message_user(request, told, messages.WARNING)
                return redirect("admin:host_change", pk=pk)
            case outcomes.Forbidden(rule=rule):
                self.message_user(request, WORDS.forbidden(rule), messages.ERROR)
            case outcomes.Invalid(problems=problems):
                self.message_user(request, f"Nothing changed. {' '.join(problems.values())}", messages.ERROR)
            case _:
                assert_never(outcome)
        return redirect("admin:tools_allowedhost_changelist")

    def _delete(self, request: HttpRequest, row: models.Model) -> None:
        assert isinstance(row, AllowedHost)
        outcome = hosts.remove(row.host, actor=actor_of(request))
        if isinstance(outcome, outcomes.Invalid):
            raise _StaysListed(" ".join(outcome.problems.values()))
        if isinstance(outcome, outcomes.Forbidden):
            raise _StaysListed(WORDS.forbidden(outcome.rule))

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Take a host off the list, unless a rule above it would let more be asked of it then."""
        try:
            return super().delete_view(request, object_id, extra_context)
        except _StaysListed as kept:
            self.message_user(request, str(kept), messages.ERROR)
            return redirect("admin:tools_allowedhost_changelist")

    def response_action(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse | None:
        """Take the selected hosts off the list, all or none."""
        try:
            return super().response_action(request, *args, **kwargs)
        except _StaysListed as kept:
            self.message_user(request, str(kept), messages.ERROR)
            return redirect("admin:tools_allowedhost_changelist")

    # --- changes ----------------------------------------------------------------------------------------------------

    def changes_view(self, request: HttpRequest) -> HttpResponse:
        """Show the newest changes, those that wait first: `changes` [{row, host, wider}]."""
        rows = HostChange.objects.select_related("proposed_by", "decided_by")
        listed = [
            *rows.filter(status=ChangeStatus.PROPOSED).order_by("version"),
            *rows.exclude(status=ChangeStatus.PROPOSED).order_by("-version")[:HISTORY],
        ]
        context = {
            "title": "Changes of the list of hosts",
            "changes": [{"row": row, **_shown(row)} for row in listed],
            "most": HISTORY,
        }
        return self._page(request, "changes", context)

    def one_change_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Show one change with all that differs, and the form that decides on it."""
        return self._one(request, pk)

    def decide_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Put a widening in force, refuse it or take it back: see `agentops.changes.answers.decided`."""
        verdict, note = str(request.POST.get("verdict", ""))[:20], str(request.POST.get("note", ""))[:20_000]
        outcome = hosts.decide(change_id=pk, verdict=verdict, note=note, actor=actor_of(request))

        def page(problems: Mapping[str, str], wrong: str, status: int) -> HttpResponse:
            return self._one(request, pk, wrong or " ".join(problems.values()), note, status)

        return decided(request, outcome, WORDS, page=page, to=reverse("admin:host_change", args=[pk]))

    def _one(
        self, request: HttpRequest, pk: UUID, problem: str = "", note: str = "", status: int = 200
    ) -> HttpResponse:
        row = HostChange.objects.select_related("proposed_by", "decided_by").filter(pk=pk).first()
        if row is None:
            raise Http404
        context = {
            "title": f"Change {row.version} of the list of hosts",
            "row": row,
            **_shown(row),
            "own": row.proposed_by_id == actor_of(request).user_id,
            "decide_url": reverse("admin:host_decide", args=[pk]),
            "problem": problem,
            "note": note,
        }
        return self._page(request, "change", context, status=status)

    def _page(self, request: HttpRequest, name: str, context: dict[str, Any], status: int = 200) -> HttpResponse:
        everything = {**self.admin_site.each_context(request), "opts": self.opts, **context}
        answer = TemplateResponse(request, f"admin/hosts/{name}.html", everything, status=status)
        answer["Cache-Control"] = "no-store"
        return answer


def _shown(row: HostChange) -> dict[str, Any]:
    """Return a change in words: `host`, `fields` [{name, before, after}], `wider` and `new_credential`."""
    before, after, wider = hosts.differences(row)
    rules = [rule for rule in (after, before) if rule is not None]
    then, now = _words(before), _words(after)
    return {
        "host": rules[0].host if rules else "",
        "fields": [
            {"name": label, "before": then[name], "after": now[name]}
            for name, label in {"listed": "Listed", **_FIELDS}.items()
            if then[name] != now[name]
        ],
        "wider": wider,
        "new_credential": row.body["new_credential"],
    }


def _words(rule: hosts.HostRule | None) -> dict[str, str]:
    if rule is None:
        return {"listed": "no", **dict.fromkeys(_FIELDS, "none")}
    return {
        "listed": "yes",
        "subdomains": "yes" if rule.subdomains else "no",
        "access": rule.access.label,
        "plain_http": "yes" if rule.plain_http else "no",
        "credential_header": rule.credential_header or "none",
        "note": rule.note or "none",
    }
