"""The trace bar: paste what another system calls it, see who decided it and what ran."""

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from agentops.tenancy.access import require
from agentops.tenancy.requests import TenantRequest
from approvals.traces.tracing import LONGEST, Traced, trace
from approvals.values import rendering


@require_safe
@require("audit.view")
def trace_page(request: TenantRequest) -> HttpResponse:
    """Show what a reference stands for.

    Context of `approvals/trace.html`: `asked` text, `found` [{call: tracing.Traced, arguments, output: as rendered}].
    """
    asked = str(request.GET.get("q", "")).replace("\x00", "").strip()[:LONGEST]
    found = [_shown(one) for one in trace(asked)]
    return render(request, "approvals/trace.html", {"asked": asked, "found": found})


def _shown(one: Traced) -> dict[str, Any]:
    return {"call": one, "arguments": rendering.paths(one.arguments), "output": rendering.paths(one.output)}
