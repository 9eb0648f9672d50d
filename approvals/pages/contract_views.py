"""The list of tools, and the page of one version of a contract."""

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from agentops.runs.pages import unstored
from agentops.tenancy.access import require
from agentops.tenancy.requests import TenantRequest
from approvals.gating.policy import SENSITIVE
from approvals.pages import contract_pages
from tools.allowlist import AllowlistState, all_rules
from tools.registry import registry


@require_safe
@require("proposal.view")
def contracts(request: TenantRequest) -> HttpResponse:
    """List the newest version of every tool.

    Context of `approvals/contracts.html`: `tools` [{name, version, title, effect, sensitive, kinds}], where `kinds` is
    how many task types may use it.
    """
    kinds: dict[str, int] = {}
    for (_, tool), rule in all_rules().items():
        kinds[tool] = kinds.get(tool, 0) + (rule.state is not AllowlistState.DENIED)
    tools = [
        {
            "name": one.name,
            "version": one.version,
            "title": one.title,
            "effect": contract_pages.EFFECTS[one.effect],
            "sensitive": ", ".join(SENSITIVE[kind] for kind in sorted(one.sensitivity)),
            "kinds": kinds.get(one.name, 0),
        }
        for one in registry.contracts()
    ]
    return unstored(render(request, "approvals/contracts.html", {"tools": tools}))


@require_safe
@require("proposal.view")
def contract(request: TenantRequest, tool: str, version: str = "") -> HttpResponse:
    """Show one version of a contract, by default the newest; 404 for what is not registered.

    Context of `approvals/contract.html`: `contract`, `newest` version, `facts`, `parameters`, `outputs`, `errors`,
    `sample` or None, `coverage`, `others` task types that may not use it, `usage`, `versions`; see
    `approvals.pages.contract_pages`.
    """
    found = registry.get(tool, version or None)
    newest = registry.get(tool)
    if found is None or newest is None:
        raise Http404
    coverage, others = contract_pages.coverage_of(found)
    context = {
        "contract": found,
        "newest": newest.version,
        "facts": contract_pages.facts_of(found),
        "parameters": contract_pages.parameters_of(found),
        "outputs": contract_pages.outputs_of(found),
        "errors": contract_pages.errors_of(found),
        "sample": contract_pages.sample_of(found),
        "coverage": coverage,
        "others": others,
        "usage": contract_pages.usage_of(found.name, now=timezone.now()),
        "versions": contract_pages.versions_of(found),
    }
    return unstored(render(request, "approvals/contract.html", context))
