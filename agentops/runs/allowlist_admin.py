"""The allowlist in the admin of a tenant: a table of tool by task type, a page for each cell, history, and files.

All of it changes the allowlist through `tools.allowing` alone. The rows themselves can be neither added, edited nor
deleted here.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, assert_never
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from agentops.changes import outcomes
from agentops.changes.answers import Words, decided
from agentops.changes.models import ChangeStatus
from agentops.runs.allowlist_forms import Typed, posted, rule_from, shown
from agentops.runs.allowlist_matrix import PERIOD, STATES, Filter, breakers_now, calls_since, matrix
from agentops.runs.models import TaskType
from agentops.runs.services import allowlist_issues, fallback_tool_issues
from agentops.tenancy.admin_base import TenantModelAdmin, actor_of
from agentops.tenancy.step_up import resumes
from tools import allowing, allowlist_file
from tools.allowing import Changed, Difference, Wish
from tools.allowlist import AllowlistRule, all_rules, allowed_tools, lookup
from tools.models import AllowlistChange, AllowlistEntry
from tools.registry import registry

HISTORY: Final = 50
WORDS: Final = Words("change", "the allowlist")
_FIELDS: Final = {
    "state": "State",
    "min_version": "Lowest version",
    "max_version": "Highest version",
    "max_calls": "Calls in one run",
    "rate_per_minute": "Calls a minute",
    "constraints": "Constraints",
    "note": "Note",
}


class AllowlistEntryAdmin(TenantModelAdmin):
    """Who may use what: shown as a table, changed cell by cell or by file, widened by two admins only."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: cells are changed on their own page."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: cells are changed on their own page."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: a tool is denied, its rule is not deleted."""
        return False

    def get_urls(self) -> list[URLPattern]:
        """Put the pages of the allowlist before those of its rows."""
        wrap, forms = self.admin_site.admin_view, require_http_methods(["GET", "HEAD", "POST"])
        own = [
            path("changes/", wrap(require_safe(self.changes_view)), name="allowlist_changes"),
            path("changes/<uuid:pk>/", wrap(require_safe(self.one_change_view)), name="allowlist_change"),
            path("changes/<uuid:pk>/decide/", wrap(require_POST(resumes(self.decide_view))), name="allowlist_decide"),
            path("export/", wrap(require_safe(self.export_view)), name="allowlist_export"),
            path(
                "import/",
                wrap(forms(self.import_view)),
                name="allowlist_import",
            ),
            path(
                "cell/<int:task_type>/<str:tool>/",
                wrap(forms(self.cell_view)),
                name="allowlist_cell",
            ),
        ]
        return [*own, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Show the table: `matrix` Matrix, `wanted` Filter, `states`, `waiting` (how many changes), `columns`."""
        if request.method not in {"GET", "HEAD"}:
            return HttpResponse(status=405, headers={"Allow": "GET, HEAD"})
        asked = (str(request.GET.get(name, ""))[:100].strip() for name in ("tool", "task_type", "state"))
        wanted = Filter(*asked)
        found = matrix(wanted, now=timezone.now())
        context = {
            "title": "Allowlist",
            "matrix": found,
            "wanted": wanted,
            "states": (*STATES.items(), ("waiting", "waits for a second admin")),
            "waiting": AllowlistChange.objects.filter(status=ChangeStatus.PROPOSED).count(),
            "days": PERIOD.days,
        }
        return self._page(request, "matrix", context)

    # --- one cell ---------------------------------------------------------------------------------------------------

    def cell_view(self, request: HttpRequest, task_type: int, tool: str) -> HttpResponse:
        """Show and change one cell. 422 with what was typed when it cannot be taken."""
        kind = TaskType.objects.filter(pk=task_type).first() if task_type < 2**63 else None
        rule = lookup(task_type, tool) if kind is not None else None
        entry = AllowlistEntry.objects.filter(task_type_id=task_type, tool=tool[:200]).first() if kind else None
        if kind is None or rule is None or (registry.get(tool) is None and entry is None):
            raise Http404
        if request.method != "POST":
            return self._cell(request, kind, rule, entry, shown(rule))
        typed = posted(request.POST)
        wanted, problems = rule_from(typed, tool)
        if problems:
            return self._cell(request, kind, rule, entry, typed, problems)
        outcome = allowing.change(wishes=[Wish(kind.pk, wanted)], note=typed.note, actor=actor_of(request))
        match outcome:
            case Changed():
                self._tell(request, outcome)
                self._warn(request, [kind])
                return redirect("admin:allowlist_cell", task_type=kind.pk, tool=tool)
            case outcomes.Invalid(problems=found):
                return self._cell(request, kind, rule, entry, typed, found)
            case outcomes.Forbidden(rule=why):
                return self._cell(request, kind, rule, entry, typed, {"": WORDS.forbidden(why)}, status=403)
            case outcomes.Waiting():
                raise ValueError("changes of the allowlist do not wait for one another")
            case _:
                assert_never(outcome)

    def _cell(
        self,
        request: HttpRequest,
        kind: TaskType,
        rule: AllowlistRule,
        entry: AllowlistEntry | None,
        typed: Typed,
        problems: Mapping[str, str] | None = None,
        status: int = 0,
    ) -> HttpResponse:
        contract, now = registry.get(rule.tool), timezone.now()
        made, rejected = calls_since(now - PERIOD).get((kind.pk, rule.tool), (0, 0))
        waiting = [
            {"row": row, "difference": one, "fields": fields(one)}
            for row in AllowlistChange.objects.filter(status=ChangeStatus.PROPOSED).select_related("proposed_by")
            for one in allowing.differences_of(row)
            if (one.task_type_id, one.tool) == (kind.pk, rule.tool)
        ]
        context = {
            "title": f"{rule.tool} for {kind.name}",
            "kind": kind,
            "rule": rule,
            "entry": entry,
            "contract": contract,
            "sensitive": sorted(str(one).replace("_", " ") for one in contract.sensitivity) if contract else [],
            "breaker": breakers_now(now).get(rule.tool, "closed"),
            "made": made,
            "rejected": rejected,
            "days": PERIOD.days,
            "waiting": waiting,
            "typed": typed,
            "states": STATES,
            "problems": dict(problems or {}),
            "parameters": contract.parameters if contract else (),
            "history": f"{reverse('audit')}?subject=allowlistentry:{entry.pk}" if entry is not None else "",
        }
        return self._page(request, "cell", context, status=status or (422 if problems else 200))

    # --- history and decisions --------------------------------------------------------------------------------------

    def changes_view(self, request: HttpRequest) -> HttpResponse:
        """Show the newest changes, those that wait first: `waiting` and `past`, each {row, cells}."""
        rows = AllowlistChange.objects.select_related("proposed_by", "decided_by")
        listed = [
            *rows.filter(status=ChangeStatus.PROPOSED).order_by("version"),
            *rows.exclude(status=ChangeStatus.PROPOSED).order_by("-version")[:HISTORY],
        ]
        shown_rows = [{"row": row, "cells": allowing.differences_of(row)} for row in listed]
        context = {"title": "Changes of the allowlist", "changes": shown_rows, "most": HISTORY}
        return self._page(request, "changes", context)

    def one_change_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Show one change with every difference, and the form that decides on it."""
        return self._one(request, pk)

    def _one(
        self, request: HttpRequest, pk: UUID, problem: str = "", note: str = "", status: int = 200
    ) -> HttpResponse:
        row = AllowlistChange.objects.select_related("proposed_by", "decided_by").filter(pk=pk).first()
        if row is None:
            raise Http404
        cells = [{"difference": one, "fields": fields(one)} for one in allowing.differences_of(row)]
        context = {
            "title": f"Change {row.version} of the allowlist",
            "row": row,
            "cells": cells,
            "own": row.proposed_by_id == actor_of(request).user_id,
            "decide_url": reverse("admin:allowlist_decide", args=[pk]),
            "problem": problem,
            "note": note,
        }
        return self._page(request, "change", context, status=status)

    def decide_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Put a widening in force, refuse it or take it back: see `agentops.changes.answers.decided`."""
        verdict, note = str(request.POST.get("verdict", ""))[:20], str(request.POST.get("note", ""))[:20_000]
        outcome = allowing.decide(change_id=pk, verdict=verdict, note=note, actor=actor_of(request))

        def page(problems: Mapping[str, str], wrong: str, status: int) -> HttpResponse:
            return self._one(request, pk, wrong or " ".join(problems.values()), note, status)

        return decided(request, outcome, WORDS, page=page, to=reverse("admin:allowlist_change", args=[pk]))

    # --- files ------------------------------------------------------------------------------------------------------

    def export_view(self, request: HttpRequest) -> HttpResponse:
        """Send the whole allowlist as a YAML file."""
        slugs = dict(TaskType.objects.order_by("slug").values_list("pk", "slug"))
        listed: dict[str, list[AllowlistRule]] = {slug: [] for slug in slugs.values()}
        for (kind, _), rule in sorted(all_rules().items()):
            listed[slugs[kind]].append(rule)
        headers = {"Content-Disposition": 'attachment; filename="allowlist.yaml"', "Cache-Control": "no-store"}
        return HttpResponse(allowlist_file.write(listed), content_type="application/yaml", headers=headers)

    def import_view(self, request: HttpRequest) -> HttpResponse:
        """Check a file, or take it: what narrows counts at once, what widens is proposed. 422 with every problem."""
        if request.method != "POST":
            return self._import(request, "", "")
        upload = request.FILES.get("file")
        note = str(request.POST.get("note", ""))[:20_000]
        if upload is not None:
            if upload.size is None or upload.size > allowlist_file.MAX_BYTES:
                return self._import(request, "", note, [f"A file may have {allowlist_file.MAX_BYTES:,} bytes."])
            text = upload.read().decode("utf-8", "replace")
        else:
            text = str(request.POST.get("text", ""))
        kinds = dict(TaskType.objects.values_list("slug", "pk"))
        tools = {contract.name for contract in registry.contracts()} | {tool for _, tool in all_rules()}
        try:
            wishes = allowlist_file.read(text, task_types=kinds, tools=tools)
        except allowlist_file.BadFile as error:
            return self._import(request, text, note, [str(one) for one in error.problems])
        if request.POST.get("do") != "import":
            compared = allowing.compare(wishes)
            if isinstance(compared, outcomes.Invalid):
                return self._import(request, text, note, [f"{k}: {v}" for k, v in compared.problems.items()])
            return self._import(request, text, note, found=[one for one in compared[0] if one.before != one.after])
        outcome = allowing.change(wishes=wishes, note=note, actor=actor_of(request))
        match outcome:
            case Changed():
                self._tell(request, outcome)
                self._warn(request, TaskType.objects.filter(pk__in={wish.task_type_id for wish in wishes}))
                return redirect("admin:tools_allowlistentry_changelist")
            case outcomes.Invalid(problems=problems):
                return self._import(request, text, note, [f"{name}: {why}" for name, why in problems.items()])
            case outcomes.Forbidden(rule=rule):
                return self._import(request, text, note, [WORDS.forbidden(rule)], status=403)
            case outcomes.Waiting():
                raise ValueError("changes of the allowlist do not wait for one another")
            case _:
                assert_never(outcome)

    def _import(
        self,
        request: HttpRequest,
        text: str,
        note: str,
        problems: Sequence[str] = (),
        found: Sequence[Difference] | None = None,
        status: int = 0,
    ) -> HttpResponse:
        cells = [{"difference": one, "fields": fields(one)} for one in found] if found is not None else None
        context = {"title": "Import an allowlist", "text": text, "note": note, "problems": problems, "cells": cells}
        return self._page(request, "import", context, status=status or (422 if problems else 200))

    # --- what all pages share ---------------------------------------------------------------------------------------

    def _page(self, request: HttpRequest, name: str, context: dict[str, Any], status: int = 200) -> HttpResponse:
        everything = {**self.admin_site.each_context(request), "opts": self.opts, **context}
        answer = TemplateResponse(request, f"admin/allowlist/{name}.html", everything, status=status)
        answer["Cache-Control"] = "no-store"
        return answer

    def _tell(self, request: HttpRequest, outcome: Changed) -> None:
        if outcome.narrowed:
            self.message_user(request, f"{_cells(outcome.narrowed)} changed at once.", messages.SUCCESS)
        if outcome.proposed is not None:
            version = outcome.proposed.version
            told = f"{_cells(outcome.widened)} would allow more: change {version} waits for another admin."
            self.message_user(request, told, messages.WARNING)
        if not outcome.narrowed and outcome.proposed is None:
            self.message_user(request, "Nothing changed: that is how it was.", messages.INFO)

    def _warn(self, request: HttpRequest, kinds: Any) -> None:
        """Say which playbooks call what the allowlist denies now."""
        for kind in kinds:
            allowed = {rule.tool for rule in allowed_tools(kind.pk)}
            for issue in (*allowlist_issues(kind), *fallback_tool_issues(kind, allowed)):
                self.message_user(request, f"{kind.name}: {issue.message}", messages.WARNING)


def _cells(count: int) -> str:
    return f"{count} rule{'' if count == 1 else 's'}"


def fields(one: Difference) -> list[dict[str, str]]:
    """Return what differs between the rules of a cell, by field: {name, before, after}."""
    before, after = _words(one.before), _words(one.after)
    return [
        {"name": label, "before": before[name], "after": after[name]}
        for name, label in _FIELDS.items()
        if before[name] != after[name]
    ]


def _words(rule: AllowlistRule) -> dict[str, str]:
    return {
        "state": rule.state.label,
        "min_version": rule.min_version or "any",
        "max_version": rule.max_version or "any",
        "max_calls": "any number" if rule.max_calls is None else str(rule.max_calls),
        "rate_per_minute": "as the tool says" if rule.rate_per_minute is None else str(rule.rate_per_minute),
        "constraints": "\n".join(f"{each.name}: {each.expression}" for each in rule.constraints) or "none",
        "note": rule.note or "none",
    }
