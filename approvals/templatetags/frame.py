"""Print the frame around every page: {% load frame %}{% top %}{% rail %}{% keyboard %}; of the queue {% filterline %}.

It says the same for one person on one page again and again, and is kept under all it is made of.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from django import template
from django.template import loader
from django.urls import get_script_prefix, get_urlconf
from django.utils.safestring import SafeString, mark_safe

from agentops.tenancy.access import Actor
from approvals.pages import keys
from approvals.pages.blanks import Blanks, Pieces, filled_in

register = template.Library()

_BLANKS: Final = Blanks("csrf", "path")
_TOLD: Final = ("q", "saveable", "may_share", "may_serve")


@lru_cache(512)
def _frame(template_name: str, urlconf: str | None, prefix: str, **context: object) -> SafeString:
    """Render a part of the frame around every page: it says the same wherever addresses and context are the same."""
    return mark_safe(loader.get_template(template_name).render(context))  # noqa: S308 - rendered by a template


@register.simple_tag(takes_context=True)
def rail(context: dict[str, Any]) -> SafeString:
    """Print the way to the other pages of the tenant, as far as the roles of whoever looks lead there."""
    request = context["request"]
    actor, match, counts = getattr(request, "actor", None), request.resolver_match, context.get("counts")
    roles = actor.roles if isinstance(actor, Actor) else frozenset()
    here = str(match.namespace or match.url_name or "") if match is not None else ""
    waiting = str(counts["text"]) if counts else ""
    visitor = Actor("user", "", "", roles)
    where = (get_urlconf(), get_script_prefix())
    return _frame("desk/_rail.html", *where, actor=visitor, here=here, waiting=waiting)


@register.simple_tag(takes_context=True)
def keyboard(context: dict[str, Any]) -> SafeString:
    """Print the keys of the page, which the scripts read from there, as whoever looks has changed them."""
    request = context.get("request")
    found = keys.read(request.COOKIES.get(keys.COOKIE, "") if request is not None else "")
    return _frame("desk/_keyboard.html", get_urlconf(), get_script_prefix(), keyboard=found)


@register.simple_tag(takes_context=True)
def top(context: dict[str, Any]) -> SafeString:
    """Print the head of the page: where one is, and the menu of whoever looks."""
    request = context.get("request")
    tenant, person, actor = (getattr(request, name, None) for name in ("tenant", "user", "actor"))
    pieces = _top(
        (get_urlconf(), get_script_prefix()),
        (tenant.name, tenant.environment) if tenant is not None else None,
        (person.get_full_name(), person.get_username()) if person is not None and person.is_authenticated else None,
        actor.roles if isinstance(actor, Actor) else frozenset(),
        str(request.COOKIES.get("theme", ""))[:10] if request is not None else "",
    )
    path = request.get_full_path() if request is not None else ""
    return filled_in(pieces, {"csrf": context.get("csrf_token") or "", "path": path})


@lru_cache(512)
def _top(
    where: tuple[str | None, str],
    tenant: tuple[str, str] | None,
    person: tuple[str, str] | None,
    roles: frozenset[str],
    theme: str,
) -> Pieces:
    user = {"is_authenticated": True, "get_full_name": person[0], "get_username": person[1]} if person else None
    request = {
        "tenant": {"name": tenant[0], "environment": tenant[1]} if tenant else None,
        "user": user,
        "actor": Actor("user", "", "", roles),
        "COOKIES": {"theme": theme},
        "get_full_path": _BLANKS["path"],
    }
    context = {"request": request, "csrf_token": _BLANKS["csrf"]}
    return _BLANKS.cut(loader.get_template("desk/_top.html").render(context))


@register.simple_tag(takes_context=True)
def filterline(context: Any) -> SafeString:
    """Print the filter of the queue with its views (`approvals/_filters.html`)."""
    if context["problems"]:
        return mark_safe(loader.get_template("approvals/_filters.html").render(context.flatten()))  # noqa: S308
    pieces = _filterline(
        (get_urlconf(), get_script_prefix()),
        tuple((name, context[name]) for name in _TOLD),
        context["filters"].query,
        tuple(tuple(view.items()) for view in context["views"]),
        tuple((name, tuple(found)) for name, found in context["hints"].items()),
    )
    return filled_in(pieces, {"csrf": context.get("csrf_token") or ""})


@lru_cache(128)
def _filterline(
    where: tuple[str | None, str],
    told: tuple[tuple[str, Any], ...],
    query: str,
    views: Sequence[tuple[tuple[str, Any], ...]],
    hints: tuple[tuple[str, tuple[str, ...]], ...],
) -> Pieces:
    context: Mapping[str, Any] = {
        **dict(told),
        "filters": {"query": query},
        "views": list(map(dict, views)),
        "hints": dict(hints),
        "problems": (),
        "csrf_token": _BLANKS["csrf"],
    }
    return _BLANKS.cut(loader.get_template("approvals/_filters.html").render(dict(context)))
