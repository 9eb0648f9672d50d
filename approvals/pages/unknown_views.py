"""The page of an effect of which nobody knows whether it happened, and the answer to it."""

from dataclasses import replace
from typing import assert_never

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from agentops.runs.models import ToolCall
from agentops.runs.pages import answer, is_fragment, unstored
from agentops.tenancy.access import require
from agentops.tenancy.requests import TenantRequest
from approvals.cards import unknowns
from approvals.cards.card import Notice
from approvals.cards.unknowns import OUTPUT, Draft, read_output
from approvals.pages.forms import AnswerForm
from approvals.stopping import intervention
from tools.contracts import ToolContract
from tools.registry import registry

_DONE = {
    "happened": "Recorded: it happened. The run goes on after it.",
    "did_not_happen": "Recorded: it did not happen. The run may do it now, once.",
    "gave_up": "Recorded: it cannot be found out. The call ends as failed; nothing is repeated.",
}


@require_safe
@require("queue.view")
def unknown(request: TenantRequest, pk: int) -> HttpResponse:
    """Show one unknown effect: a page, or for htmx the card. Context: `item` (`unknowns.item_of`)."""
    return _page(request, _found(pk), status=200)


@require_POST
@require(unknowns.RIGHT)
def answer_unknown(request: TenantRequest, pk: int) -> HttpResponse:
    """Record what a person found out. 409 when it is known by now, 422 when something is missing or does not fit."""
    row = _found(pk)
    draft = _draft(request)
    form = AnswerForm(request.POST)
    if not form.is_valid():
        errors = {name: str(found[0]) for name, found in form.errors.items()}
        return _refused(request, row, draft, errors)
    said = form.cleaned_data
    happened = said["verdict"] == "happened"
    output, unreadable = read_output(_contract(row), draft.output if happened else {})
    if unreadable:
        return _refused(request, row, draft, unreadable)
    outcome = intervention.reconcile_call(
        run_id=row.run_id,
        call_id=row.call_id,
        verdict=said["verdict"],
        actor=request.actor,
        note=said["note"],
        reference=said["reference"] if happened else "",
        output=output,
        attempt=said["attempt"],
    )
    match outcome:
        case intervention.Answered(verdict=verdict):
            if is_fragment(request):
                return _page(request, _found(pk), Notice("ok", _DONE[verdict]), status=200)
            messages.success(request, _DONE[verdict])
            return unstored(redirect("queue"))
        case intervention.NotUnknown(state=state):
            title = f"What became of this call is known already: {state}."
            return _page(
                request, _found(pk), Notice("error", title, "Your answer was not recorded."), draft, status=409
            )
        case intervention.InvalidAnswer(issues=issues):
            return _refused(request, row, draft, dict(_by_field(issues)))
        case intervention.NotFound():
            raise Http404
        case _:
            assert_never(outcome)


def _by_field(issues: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    """Keep the first sentence per field; a pointer into the result belongs to the member it begins with."""
    found: dict[str, str] = {}
    for path, message in issues:
        name, _, rest = path.partition("/")
        found.setdefault(f"{name}/{rest.split('/')[0]}" if rest else name, message)
    return list(found.items())


def _draft(request: TenantRequest) -> Draft:
    posted = request.POST
    return Draft(
        verdict=str(posted.get("verdict", ""))[:40],
        note=str(posted.get("note", ""))[:20_000],
        reference=str(posted.get("reference", ""))[:1_000],
        output={name.removeprefix(OUTPUT): str(posted[name])[:20_000] for name in posted if name.startswith(OUTPUT)},
    )


def _refused(request: TenantRequest, row: ToolCall, draft: Draft, errors: dict[str, str]) -> HttpResponse:
    text = errors.get("output") or errors.get("attempt") or "See what stands beside the fields."
    return _page(
        request,
        row,
        Notice("error", "Nothing was recorded.", text, draft_kept=True),
        replace(draft, errors=errors),
        status=422,
    )


def _page(
    request: TenantRequest, row: ToolCall, notice: Notice | None = None, draft: Draft | None = None, *, status: int
) -> HttpResponse:
    item = unknowns.item_of(row, request.actor, notice=notice, draft=draft)
    if item is None:
        raise Http404
    return answer(request, "approvals/unknown.html", "approvals/_unknown.html", {"item": item}, status=status)


def card(request: TenantRequest, pk: int) -> HttpResponse:
    """Return the card alone, for the queue."""
    item = unknowns.item_of(_found(pk), request.actor)
    if item is None:
        raise Http404
    return unstored(render(request, "approvals/_unknown.html", {"item": item}))


def _found(pk: int) -> ToolCall:
    row = unknowns.find(pk)
    if row is None:
        raise Http404
    return row


def _contract(row: ToolCall) -> ToolContract | None:
    return registry.get(row.tool, row.version)
