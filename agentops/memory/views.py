"""The list of facts, the curation queue, the page of one fact and the verdicts on it."""

from typing import Any, assert_never
from urllib.parse import urlencode

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from agentops.guardrails.provenance import Provenance, SourceKind
from agentops.memory import selectors, services
from agentops.memory.forms import EditForm, FactFilter, VerdictForm, WaitingFilter
from agentops.memory.models import OPEN, Fact, FactStatus
from agentops.runs.pages import unstored
from agentops.runs.timeline import planner_words
from agentops.tenancy.access import can, require
from agentops.tenancy.people import agent, called
from agentops.tenancy.requests import TenantRequest

SHOWN = 200
"""Characters of a statement in a list; its page has the whole of it."""

_DONE = {
    "approve": "Approved. Runs recall it from now on.",
    "edit": "Approved as you wrote it. Runs recall it from now on.",
    "reject": "Rejected. It will not be recalled.",
    "revoke": "Revoked. It is not recalled any more.",
}
_KINDS = {
    SourceKind.OPERATOR: "the task's input",
    SourceKind.REVIEWER: "a reviewer",
    SourceKind.CONSTANT: "a playbook",
    SourceKind.TOOL: "a tool's answer",
    SourceKind.MODEL: "a model",
    SourceKind.FACT: "a fact",
}


@require_safe
@require("memory.view")
def fact_list(request: TenantRequest) -> HttpResponse:
    """List facts, newest first, 50 a page.

    Context of `memory/list.html`: `facts` [see `_row`], `next_url` ("" at the end), `filters` {status, task_type,
    active}, `filter` the bound form, `statuses` and `task_types` choices, `waiting` how many wait for a curator (up to
    100). A bad filter is a 400 without rows.
    """
    form = FactFilter(request.GET)
    valid = form.is_valid()
    page = selectors.FactPage((), None)
    if valid:
        asked = form.cleaned_data
        page = selectors.fact_page(status=asked["status"], task_type=asked["task_type"], before=asked["before"])
    kept = {name: value for name in ("status", "task_type") if (value := request.GET.get(name, ""))}
    context = {
        "facts": [_row(fact) for fact in page.facts],
        "next_url": f"{reverse('memory')}?{urlencode({**kept, 'before': page.next})}" if page.next else "",
        "filters": {"status": "", "task_type": "", **kept, "active": bool(kept)},
        "filter": form,
        "statuses": FactStatus.choices,
        "task_types": [(one.slug, one.name) for one in selectors.task_types()],
        "waiting": selectors.waiting_count(),
    }
    return unstored(render(request, "memory/list.html", context, status=200 if valid else 400))


@require_safe
@require("memory.curate")
def queue(request: TenantRequest) -> HttpResponse:
    """List what waits for a curator, the oldest first, 50 a page.

    Context of `memory/queue.html`: `facts` [see `_row`], `next_url` ("" at the end). A bad place is a 400.
    """
    form = WaitingFilter(request.GET)
    valid = form.is_valid()
    page = selectors.waiting_page(after=form.cleaned_data["after"]) if valid else selectors.FactPage((), None)
    context = {
        "facts": [_row(fact) for fact in page.facts],
        "next_url": f"{reverse('memory_queue')}?{urlencode({'after': page.next})}" if page.next else "",
    }
    return unstored(render(request, "memory/queue.html", context, status=200 if valid else 400))


@require_safe
@require("memory.view")
def fact_detail(request: TenantRequest, pk: int) -> HttpResponse:
    """Show one fact; see `_fact_page` for the context."""
    return _fact_page(request, _find(pk))


@require_POST
@require("memory.curate")
def curate(request: TenantRequest, pk: int) -> HttpResponse:
    """Take a curator's verdict. 409 when somebody was faster, 422 when something is missing."""
    fact = _find(pk)
    form = VerdictForm(request.POST)
    if not form.is_valid():
        return _again(request, fact, form)
    outcome = _verdict(request, fact, form)
    if isinstance(outcome, EditForm):
        return _again(request, fact, form, outcome)
    match outcome:
        case services.Curated(also=also):
            more = f" {len(also)} more that descend from it were revoked as well." if also else ""
            messages.success(request, _DONE[form.cleaned_data["verdict"]] + more)
            revoked = outcome.status is FactStatus.REVOKED
            return unstored(redirect("fact", pk=pk) if revoked else redirect("memory_queue"))
        case services.Lost(by=by, status=status, at=at):
            text = f"{by}, {at:%Y-%m-%d %H:%M} UTC. Nothing was changed by you."
            notice = {"tone": "error", "title": f"This fact is {status.label.lower()} already.", "text": text}
            return _fact_page(request, _find(pk), status=409, notice=notice)
        case services.Unconfirmed():
            form.add_error("confirmed", "Confirm that you have read where it comes from.")
            return _again(request, fact, form)
        case services.Invalid(field=field, message=message):
            edit = _edit_form(request, fact) if form.cleaned_data["verdict"] == "edit" else None
            if edit is not None and field != "note":
                edit.is_valid()
                edit.add_error("last_day" if field == "expires_at" else field, message)
            else:
                form.add_error(field, message)
            return _again(request, fact, form, edit)
        case services.Forbidden():
            return HttpResponse(status=403)
        case _:
            assert_never(outcome)


def _verdict(request: TenantRequest, fact: Fact, form: VerdictForm) -> services.Outcome | EditForm:
    """Call the service of a verdict; an edit that cannot be read comes back as its form."""
    note, confirmed = form.cleaned_data["note"], form.cleaned_data["confirmed"]
    match form.cleaned_data["verdict"]:
        case "approve":
            return services.approve(fact_id=fact.pk, actor=request.actor, confirmed=confirmed, note=note)
        case "edit":
            edit = _edit_form(request, fact)
            if not edit.is_valid():
                return edit
            return services.edit_and_approve(
                fact_id=fact.pk,
                actor=request.actor,
                statement=edit.cleaned_data["statement"],
                task_type=edit.scope,
                expires_at=edit.expires_at,
                confirmed=confirmed,
                note=note,
            )
        case "reject":
            return services.reject(fact_id=fact.pk, actor=request.actor, note=note)
        case _:
            return services.revoke(fact_id=fact.pk, actor=request.actor, note=note)


def _edit_form(request: TenantRequest, fact: Fact) -> EditForm:
    return EditForm(fact, selectors.task_types(), request.POST)


def _again(request: TenantRequest, fact: Fact, form: VerdictForm, edit: EditForm | None = None) -> HttpResponse:
    """Show the fact with what was typed and what is wrong with it."""
    notice = {"tone": "error", "title": "Nothing was changed.", "text": "What is missing stands beside its field."}
    return _fact_page(request, fact, status=422, notice=notice, verdict=form, edit=edit)


def _find(pk: int) -> Fact:
    fact = selectors.find(pk)
    if fact is None:
        raise Http404
    return fact


def _fact_page(
    request: TenantRequest,
    fact: Fact,
    *,
    status: int = 200,
    notice: dict[str, str] | None = None,
    verdict: VerdictForm | None = None,
    edit: EditForm | None = None,
) -> HttpResponse:
    """Answer with the page of a fact; `verdict` and `edit` are forms that came back with errors.

    Context of `memory/fact.html`: `fact` (see `_row`; here with the whole `statement`, `original`, `author`, `seq`,
    `digest`), `sources` [{kind, ref, path}], `ancestors` and `descendants` [{id, url, status}], `audit_url`,
    `verdicts` [see `_verdicts`], `edit` (EditForm), `curate_url`, `notice` {tone, title, text} or None.
    """
    may = can(request.actor, "memory.curate")
    links = {name: [_link(one) for one in facts] for name, facts in selectors.related(fact).items()}
    audit = f"{reverse('audit')}?{urlencode({'subject': f'fact:{fact.pk}'})}"
    if edit is None and may and fact.status == FactStatus.PROPOSED:
        edit = EditForm(fact, selectors.task_types())
    context = {
        "fact": _row(fact)
        | {
            "statement": fact.statement,
            "original": fact.original_statement,
            "author": planner_words(fact.author),
            "seq": fact.source_seq,
            "digest": fact.digest,
        },
        "sources": _sources(fact),
        **links,
        "audit_url": audit if can(request.actor, "audit.view") else "",
        "verdicts": _verdicts(fact, verdict) if may else [],
        "edit": edit,
        "curate_url": reverse("fact_curate", args=[fact.pk]),
        "notice": notice,
    }
    return unstored(render(request, "memory/fact.html", context, status=status))


def _verdicts(fact: Fact, came_back: VerdictForm | None) -> list[dict[str, Any]]:
    """Return the verdicts this fact is open to; the form that came back with errors is unfolded."""
    match fact.status:
        case FactStatus.PROPOSED:
            offered = [
                ("approve", "Approve", "Approve as it is", "Note (optional)"),
                ("edit", "Edit and approve", "Approve as written here", "Note (optional)"),
                ("reject", "Reject", "Reject", "Note (optional)"),
            ]
        case FactStatus.APPROVED:
            offered = [("revoke", "Revoke", "Revoke", "Why?")]
        case _:
            return []
    back = came_back.data.get("verdict", "") if came_back is not None else ""
    return [
        {
            "name": name,
            "title": title,
            "button": button,
            "note": note,
            "needs_note": name == "revoke",
            "confirm": fact.untrusted and name in ("approve", "edit"),
            "open": name == back,
            "form": came_back if name == back else VerdictForm(),
        }
        for name, title, button, note in offered
    ]


# --- what the templates print ---------------------------------------------------------------------------------------


def _row(fact: Fact) -> dict[str, Any]:
    text = fact.statement
    return {
        "id": fact.pk,
        "url": reverse("fact", args=[fact.pk]),
        "statement": text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…",
        "status": fact.status,
        "status_words": FactStatus(fact.status).label,
        "untrusted": fact.untrusted,
        "edited": bool(fact.original_statement),
        "scope": fact.task_type.name if fact.task_type is not None else "",
        "run_url": reverse("run", args=[fact.source_run_id]),
        "run_title": fact.source_run.title or fact.source_run.task_type.name,
        "proposed_at": fact.proposed_at,
        "expires_at": fact.expires_at,
        "open": fact.status in OPEN,
        "curated_by": called(fact.curated_by),
        "curated_at": fact.curated_at,
        "note": fact.curator_note,
    }


def _link(fact: Fact) -> dict[str, Any]:
    return {"id": fact.pk, "url": reverse("fact", args=[fact.pk]), "status": FactStatus(fact.status).label}


def _sources(fact: Fact) -> list[dict[str, str]]:
    found = Provenance.from_json(fact.provenance)
    return [{"kind": _KINDS[source.kind], "ref": agent(source.ref), "path": source.path} for source in found.sources]
