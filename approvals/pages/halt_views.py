"""The page that stops the line: what it would stop, what is stopped, and letting it go on."""

from typing import Any, assert_never
from urllib.parse import urlencode

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from agentops.halts.models import Halt, Scope
from agentops.runs.forms import STATES
from agentops.runs.pages import unstored
from agentops.tenancy.access import can, require
from agentops.tenancy.people import called
from agentops.tenancy.requests import TenantRequest
from approvals.pages.forms import PauseForm, StopForm
from approvals.stopping import halting

HISTORY = 50
_STATES = {str(state): words for state, words in STATES}


@require_http_methods(["GET", "HEAD", "POST"])
@require(halting.RIGHT)
def stop(request: TenantRequest) -> HttpResponse:
    """Choose what to stop, see what that would hold, and stop it.

    `?what=<scope>:<target>` shows the preview; a post with `show` leads there. Context of `approvals/stop.html`:
    `groups` [(name, [Target])], `chosen` Target or None, `preview` {runs [(words, count)], in_all, proposals,
    under_way} or None, `reason`, `errors` {field: sentence}, `open` and `closed` [see `_row`], `notice` {tone, title,
    text} or None, `lifting` {id, reason, error} of a lift that was refused. 409 when the same thing is stopped already,
    422 when something is missing.
    """
    form = StopForm(request.POST if request.method == "POST" else request.GET)
    what = form.cleaned_data["what"] if form.is_valid() else ""
    chosen = halting.find_target(what) if what else None
    reason = form.cleaned_data.get("reason", "")
    if "show" in request.POST:
        # Not a form that is sent by GET: its token would stand in the address, in histories and in logs.
        return unstored(redirect(f"{reverse('stop')}?{urlencode({'what': what, 'reason': reason})}"))
    if request.method != "POST":
        errors = {"what": "There is no such thing here."} if what and chosen is None else {}
        return _page(request, chosen=chosen, reason=reason, errors=errors)
    if chosen is None:
        return _page(request, reason=reason, errors={"what": "Choose what to stop."}, status=422)
    outcome = halting.stop(target=chosen, reason=reason, actor=request.actor)
    match outcome:
        case halting.Stopped():
            messages.success(request, f"Stopped: {chosen.label}. Nothing new starts there from now on.")
            return unstored(redirect("stop"))
        case halting.AlreadyStopped(by=by, at=at):
            title = f"{chosen.label} is stopped already, by {by} at {at:%H:%M:%S} UTC."
            return _page(request, chosen=chosen, reason=reason, notice=_error(title, ""), status=409)
        case halting.Invalid(field=field, message=message):
            return _page(request, chosen=chosen, reason=reason, errors={field: message}, status=422)
        case halting.Forbidden():
            return HttpResponse(status=403)
        case _:
            assert_never(outcome)


@require_POST
@require(halting.RIGHT)
def lift(request: TenantRequest, pk: int) -> HttpResponse:
    """Lift a stop, with a reason. 409 when somebody was faster."""
    form = PauseForm(request.POST)
    reason = form.cleaned_data["reason"] if form.is_valid() else "x" * (halting.MAX_REASON + 1)
    outcome = halting.lift(halt_id=pk, reason=reason, actor=request.actor)
    match outcome:
        case halting.Lifted():
            messages.success(
                request, "Lifted. What it held goes on, and its deadlines move by the time it was stopped."
            )
            return unstored(redirect("stop"))
        case halting.AlreadyLifted(by=by, at=at):
            title = f"{by} lifted this already, at {at:%H:%M:%S} UTC."
            return _page(request, notice=_error(title, "Nothing was changed by you."), status=409)
        case halting.Invalid(message=message):
            if not Halt.objects.filter(pk=pk).exists():
                raise Http404
            lifting = {"id": pk, "reason": str(request.POST.get("reason", ""))[:20_000], "error": message}
            return _page(request, lifting=lifting, notice=_error("Nothing was lifted.", message), status=422)
        case halting.Forbidden():
            return HttpResponse(status=403)
        case halting.NotFound():
            raise Http404
        case _:
            assert_never(outcome)


def _page(
    request: TenantRequest,
    *,
    chosen: halting.Target | None = None,
    reason: str = "",
    errors: dict[str, str] | None = None,
    notice: dict[str, str] | None = None,
    lifting: dict[str, Any] | None = None,
    status: int = 200,
) -> HttpResponse:
    offered = halting.targets()
    if chosen is not None and chosen not in offered:
        offered.append(chosen)
    groups: dict[str, list[halting.Target]] = {}
    for one in offered:
        groups.setdefault(one.scope.label, []).append(one)
    rows = Halt.objects.select_related("started_by", "lifted_by")
    context = {
        "groups": list(groups.items()),
        "chosen": chosen,
        "preview": _preview(chosen) if chosen is not None else None,
        "reason": reason,
        "errors": errors or {},
        "open": [_row(request, one) for one in rows.filter(lifted_at__isnull=True).order_by("pk")],
        "closed": [_row(request, one) for one in rows.filter(lifted_at__isnull=False).order_by("-pk")[:HISTORY]],
        "notice": notice or (_error("Nothing was stopped.", "") if status == 422 and lifting is None else None),
        "lifting": lifting,
        "max_reason": halting.MAX_REASON,
    }
    return unstored(render(request, "approvals/stop.html", context, status=status))


def _preview(target: halting.Target) -> dict[str, Any]:
    found = halting.preview(target)
    return {
        "runs": [(_STATES.get(state, state), count) for state, count in found.runs],
        "in_all": found.in_all,
        "proposals": found.proposals,
        "under_way": found.under_way,
    }


def _row(request: TenantRequest, halt: Halt) -> dict[str, Any]:
    subject = f"{reverse('audit')}?{urlencode({'subject': f'halt:{halt.pk}'})}"
    return {
        "id": halt.pk,
        "what": Scope(halt.scope).label,
        "label": halt.label if halt.scope != Scope.TENANT else "",
        "reason": halt.reason,
        "by": called(halt.started_by),
        "at": halt.started_at,
        "lift_url": reverse("stop_lift", args=[halt.pk]),
        "lifted_by": called(halt.lifted_by),
        "lifted_at": halt.lifted_at,
        "lasted": halt.lifted_at - halt.started_at if halt.lifted_at else None,
        "lift_reason": halt.lift_reason,
        "settled": halt.settled_at is not None,
        "moved": halt.moved,
        "resumed": halt.resumed,
        "run_url": reverse("run", args=[halt.target]) if halt.scope == Scope.RUN else "",
        "audit_url": subject if can(request.actor, "audit.view") else "",
    }


def _error(title: str, text: str) -> dict[str, str]:
    return {"tone": "error", "title": title, "text": text}
