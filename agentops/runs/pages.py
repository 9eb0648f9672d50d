"""Answer with a page or with its fragment: the same address, told apart by `HX-Request`."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers


def answer(
    request: HttpRequest, page: str, fragment: str, context: dict[str, Any], *, status: int = 200
) -> HttpResponse:
    """Render `fragment` for a request that htmx made and `page` for a browser. Neither is ever cached."""
    return unstored(render(request, fragment if is_fragment(request) else page, context, status=status))


def is_fragment(request: HttpRequest) -> bool:
    """Whether a part of the page was asked for; a history restore wants the whole of it."""
    return "HX-Request" in request.headers and request.headers.get("HX-History-Restore-Request") != "true"


def unstored(response: HttpResponse) -> HttpResponse:
    """Mark a response as one that must not be kept: it shows one person's view of one tenant at one moment."""
    response.headers["Cache-Control"] = "no-store"
    patch_vary_headers(response, ("HX-Request", "Cookie"))
    return response
