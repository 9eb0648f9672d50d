"""Trusting calls like an approved one without asking again: what that would reach, what is trusted now, and its end."""

from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from agentops.runs.pages import unstored
from agentops.tenancy.access import can, require
from agentops.tenancy.proof import StepUpNeeded
from agentops.tenancy.requests import TenantRequest
from agentops.tenancy.step_up import ask, resumes
from agentops.wire.parse import parse_json
from approvals.models import Grant, Proposal, ScopedTrust
from approvals.permits import trust
from tools.registry import registry

LISTED = 100


@require_http_methods(["GET", "HEAD", "POST"])
@require("proposal.decide")
@resumes
def give(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Show what trusting calls like this would reach, and give it. 403 or 422 with the reason if not possible, 428.

    Context of `approvals/trust.html`: `proposal`, `targets` [(name, value)], `reach` (same, of), `refused` text or
    empty, `hours`.
    """
    proposal = Proposal.objects.select_related("task_type", "run").filter(pk=pk).first()
    if proposal is None:
        raise Http404
    refused = trust.possible(proposal, request.actor)
    if request.method == "POST" and refused is None:
        outcome = trust.give(proposal_id=pk, scope=str(request.POST.get("scope", ""))[:10], actor=request.actor)
        if isinstance(outcome, trust.Given):
            messages.success(request, "Calls like this one need no person until then, unless somebody revokes it.")
            return unstored(redirect("trusts"))
        if isinstance(outcome, StepUpNeeded):
            return unstored(ask(request))
        refused = outcome
    contract = registry.get(proposal.tool, proposal.contract_version)
    covered = trust.authority(contract, proposal.argument_values) if contract is not None else ""
    targets = parse_json(covered) if covered else {}
    context = {
        "proposal": proposal,
        "targets": list(targets.items()) if isinstance(targets, dict) else [],
        "reach": trust.reach(proposal),
        "refused": refused.message if refused is not None else "",
        "hours": trust.HOURS,
    }
    status = 200 if refused is None or request.method != "POST" else 403 if refused.code == "role" else 422
    return unstored(render(request, "approvals/trust.html", context, status=status))


@require_safe
@require("queue.view")
def trusts(request: TenantRequest) -> HttpResponse:
    """List what is trusted now and what was: `trusts` [{row, targets, used, open}], `can_end`."""
    rows = ScopedTrust.objects.select_related("given_by", "revoked_by", "task_type", "proposal")
    now = timezone.now()
    found = list(rows.order_by("-given_at")[:LISTED])
    used: dict[str, int] = {}
    rules = [f"trust.{row.pk}" for row in found]
    for rule in Grant.objects.filter(policy_rule__in=rules).values_list("policy_rule", flat=True):
        used[rule] = used.get(rule, 0) + 1
    listed, counting = [], {one.id for one in trust.in_force(now)}
    for row in found:
        targets = parse_json(row.authority)
        listed.append(
            {
                "row": row,
                "targets": list(targets.items()) if isinstance(targets, dict) else [],
                "used": used.get(f"trust.{row.pk}", 0),
                "open": row.pk in counting,
            }
        )
    can_end = can(request.actor, "proposal.decide") or can(request.actor, "admin.manage")
    return unstored(render(request, "approvals/trusts.html", {"trusts": listed, "can_end": can_end}))


@require_POST
@require("queue.view")
def revoke(request: TenantRequest, pk: UUID) -> HttpResponse:
    """End a trust at once. 403 for those who may not, 409 when it was revoked already."""
    outcome = trust.revoke(trust_id=pk, actor=request.actor)
    match outcome:
        case None:
            raise Http404
        case trust.Revoked():
            messages.success(request, "It is revoked. Calls like that go to a person again.")
        case trust.Refused(code="role", message=message):
            return HttpResponse(message, status=403, content_type="text/plain; charset=utf-8")
        case trust.Refused(message=message):
            messages.warning(request, message)
    return unstored(redirect("trusts"))
