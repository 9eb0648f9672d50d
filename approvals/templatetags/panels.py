"""Print the forms of a card that stand closed behind its buttons: {% panel "approvals/_ask.html" left=2 %}.

Every card has half a dozen of them and most are never opened. As long as nobody has typed anything, what such a form
says is the same on every card of a tenant but for a few values: those are left blank when it is printed for the first
time, and filled in for each card. Anything else goes the ordinary way.
"""

from functools import lru_cache
from typing import Any, Final
from uuid import uuid4

from django import template
from django.template import Context, Engine, Template
from django.urls import get_script_prefix, get_urlconf, reverse
from django.utils.safestring import SafeString

from approvals.pages.blanks import Blanks, Pieces, filled_in

register = template.Library()

_ID: Final = uuid4()
_OWN: Final = ("due", "fields", "attested")
"""What a form may be told that is another on each card; `fields` and `attested` are markup of `pieces`."""

_BLANKS: Final = Blanks("csrf", "version", "digest", "token", *_OWN, id=str(_ID))


@register.simple_tag(takes_context=True)
def panel(context: Context, name: str, **told: Any) -> SafeString:
    """Print a form of the card. It may use `p`, `card.bar.token`, `card.draft`, `card.errors`, `open`, `together`, and
    what it is `told`: what is in `_OWN` is filled in, the rest is kept for a small number of values.
    """
    card, proposal, csrf = context["card"], context["p"], str(context.get("csrf_token") or "")
    if context.get("open") or not card["untouched"] or not csrf:
        with context.push(**told):
            return _template(name).render(context)
    own = {key: told.pop(key) for key in _OWN if key in told}
    kept = tuple((key, _kept(value)) for key, value in told.items())
    pieces = _pieces(name, get_urlconf(), get_script_prefix(), bool(context.get("together")), kept)
    values = {
        "id": str(proposal["id"]),
        "csrf": csrf,
        "version": str(int(proposal["version"])),
        "digest": proposal["digest"],
        "token": card["bar"]["token"],
    }
    return filled_in(pieces, values | own)


def _kept(value: Any) -> Any:
    return tuple(map(_kept, value)) if isinstance(value, list | tuple) else value


@lru_cache(512)
def _pieces(name: str, urlconf: str | None, prefix: str, together: bool, told: tuple[tuple[str, Any], ...]) -> Pieces:
    """Print a form with its blanks: it sees nothing of any proposal, so nothing of one can stay in it."""
    where = {"url": reverse("proposal", args=[_ID]), "decide_url": reverse("decide", args=[_ID])}
    context = {
        **dict(told),
        "p": {"id": _ID, "version": _BLANKS["version"], "digest": _BLANKS["digest"], **where},
        "card": {"draft": {}, "errors": {}, "bar": {"token": _BLANKS["token"]}},
        "together": together,
        "csrf_token": _BLANKS["csrf"],
        **{name: _BLANKS[name] for name in _OWN},
    }
    return _BLANKS.cut(_template(name).render(Context(context)))


def _template(name: str) -> Template:
    return Engine.get_default().get_template(name)
