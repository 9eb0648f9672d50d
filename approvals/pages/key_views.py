"""The page on which a person changes the keys, or switches them off."""

from collections.abc import Mapping
from dataclasses import replace

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from agentops.runs.pages import unstored
from agentops.tenancy.access import require
from agentops.tenancy.requests import TenantRequest
from agentops.theme import ONE_YEAR
from approvals.pages import keys


@require_http_methods(["GET", "HEAD", "POST"])
@require("queue.view")
def my_keys(request: TenantRequest) -> HttpResponse:
    """Show the keys, or change them: `do` is save, off or reset, `key:<command>` a key. 422 with what is wrong."""
    if request.method != "POST":
        return _page(request, keys.read(request.COOKIES.get(keys.COOKIE, "")), {}, status=200)
    wanted = {one.name: str(request.POST.get(f"key:{one.name}", one.key)) for one in keys.COMMANDS}
    match request.POST.get("do"):
        case "off":
            return _kept(request, keys.OFF, "Letters do nothing now. Everything they did has a button.")
        case "save":
            changed = keys.change(wanted)
            if isinstance(changed, keys.Rejected):
                typed = tuple(replace(one, key=wanted[one.name][:8]) for one in keys.COMMANDS)
                return _page(request, keys.Keymap(False, typed), changed.errors, status=422)
            return _kept(request, changed, "The keys are saved.")
        case _:
            return _kept(request, "", "The keys are as they come.")


def _page(request: TenantRequest, keyboard: keys.Keymap, errors: Mapping[str, str], *, status: int) -> HttpResponse:
    rows = [{"command": one, "error": errors.get(one.name, "")} for one in keyboard.commands]
    context = {"off": keyboard.off, "rows": rows, "errors": bool(errors)}
    return unstored(render(request, "desk/keys.html", context, status=status))


def _kept(request: TenantRequest, cookie: str, said: str) -> HttpResponse:
    messages.success(request, said)
    response = unstored(redirect("my_keys"))
    if cookie:
        response.set_cookie(
            keys.COOKIE, cookie, max_age=ONE_YEAR, secure=settings.SESSION_COOKIE_SECURE, httponly=True, samesite="Lax"
        )
    else:
        response.delete_cookie(keys.COOKIE, samesite="Lax")
    return response
