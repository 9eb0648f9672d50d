"""Beside the card: every value of a proposal by its path, one value as a file, and the calls of a run on one screen."""

from typing import Any
from uuid import UUID

from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from agentops import clock
from agentops.runs.models import Run
from agentops.runs.pages import answer, unstored
from agentops.tenancy.access import require
from agentops.tenancy.requests import TenantRequest
from agentops.wire.parse import JSON
from approvals.cards import together
from approvals.cards.card import card_of
from approvals.cards.evidence import dig
from approvals.cards.readings import note_reading
from approvals.cards.similar import similar_to
from approvals.models import Proposal
from approvals.queue.selectors import find
from approvals.values import rendering
from approvals.values.kinds import kinds_of, masked
from approvals.values.leaves import leaves
from tools.registry import registry


@require_safe
@require("proposal.view")
def values(request: TenantRequest, pk: UUID) -> HttpResponse:
    """List the values of a proposal by path, 200 to a page; `?find=` narrows by path, `?after=` goes on.

    `?file=<pointer>` answers with that one value as `text/plain`, as an attachment. Secrets are never shown. Context of
    `approvals/values.html`: `p` Proposal, `listing` (`rendering.paths`), `find`, `next_url`.
    """
    found = find(pk)
    if found is None:
        raise Http404
    note_reading(found, request.actor, clock.now())
    known = _without_secrets(found)
    if (pointer := request.GET.get("file")) is not None:
        return _file(found, dig(known, pointer[:1_000]), pointer)
    after = request.GET.get("after", "")
    start = int(after) if after.isascii() and after.isdecimal() and len(after) <= 7 else 0
    wanted = request.GET.get("find", "")[:200]
    listing = rendering.paths(known, after=start, find=wanted)
    context = {"p": found, "listing": listing, "find": wanted, "next": start + len(listing["rows"])}
    return unstored(render(request, "approvals/values.html", context))


def _without_secrets(found: Proposal) -> dict[str, JSON]:
    contract = registry.get(found.tool, found.contract_version)
    kinds = kinds_of(contract) if contract is not None else {}
    return {
        name: masked(value) if kinds.get(name) == "secret" else value for name, value in found.argument_values.items()
    }


def _file(found: Proposal, value: JSON, pointer: str) -> HttpResponse:
    if value is None:
        raise Http404
    text = (
        value if isinstance(value, str) else "\n".join(f"{path}\t{rendering.leaf(one)}" for path, one in leaves(value))
    )
    file = HttpResponse(text.encode("utf-8", "backslashreplace"), content_type="text/plain; charset=utf-8")
    name = "".join(char for char in pointer if char.isascii() and char.isalnum())[:40] or "values"
    file.headers["Content-Disposition"] = f'attachment; filename="{name}-{found.pk}.txt"'
    file.headers["X-Content-Type-Options"] = "nosniff"
    return unstored(file)


@require_safe
@require("proposal.view")
def similar(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Show what was decided about calls like this one: a page, or for htmx the list. Context: `p`, `similar`.

    Apart from the card, so that nobody is told what others did before having read what is to be decided.
    """
    found = find(pk)
    if found is None:
        raise Http404
    contract = registry.get(found.tool, found.contract_version)
    context = {"p": found, "similar": similar_to(found, contract)}
    return answer(request, "approvals/similar.html", "approvals/_similar.html", context)


@require_safe
@require("proposal.view")
def calls(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Show every call of a run that waits, one of them open with its decision bar; `?open=<proposal>` chooses it.

    With none left it leads to the run. Context of `approvals/together.html`: `run`, `calls` [{url, p, sentence_parts,
    consequence, open}], `card` of the open one.
    """
    run = Run.objects.select_related("task_type").filter(pk=pk).first()
    if run is None:
        raise Http404
    waiting = together.open_in(run.pk)
    if not waiting:
        return unstored(redirect("run", pk=run.pk))
    wanted = request.GET.get("open", "")
    chosen = next((one for one in waiting if str(one.pk) == wanted), waiting[0])
    note_reading(chosen, request.actor, clock.now())
    context: dict[str, Any] = {
        "run": run,
        "calls": [
            {
                "url": f"{reverse('together', args=[run.pk])}?open={one.pk}",
                "p": one,
                "sentence_parts": one.sentence,
                "consequence": one.consequence,
                "open": one.pk == chosen.pk,
            }
            for one in waiting
        ],
        "card": card_of(chosen, request.actor),
        "together": True,
    }
    return unstored(render(request, "approvals/together.html", context))
