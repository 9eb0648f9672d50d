"""Print what a call would do and how risky that is: {% load assessment %}{% consequence facts %}{% risk card %}.

Every card begins with both, in two dozen pieces; printed here, as the rows are, they cost a fifth of what they did as
templates. Whatever is put in is inert, escaped, or our own markup.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

from django import template
from django.utils.safestring import SafeString, mark_safe

from approvals.templatetags.desk import band_class, band_shape, by_band, counted, inert, money, top_argument

register = template.Library()

# --- consequence ------------------------------------------------------------------------------------------------------


@register.simple_tag
def consequence(found: Mapping[str, Any]) -> SafeString:
    """Print what happens: money, what is touched, what leaves the tenant, whether it can be undone, known facts and
    warnings (`consequence` of `approvals/_card.html`).
    """
    blast = found.get("blast") or ()
    details = "; ".join(f"<bdi>{inert(one['detail'])}</bdi>" for one in blast if one.get("detail"))
    touched = ", ".join(inert(counted(one)) for one in blast) or "unknown"
    leaves = ", ".join(f"<bdi>{inert(one)}</bdi>" for one in found.get("egress") or ()) or "nothing"
    facts = [
        _fact("Money", inert(money(found["money"])), ' class="money"') if found.get("money") else "",
        _fact("Touches", f"{touched}<small>{details}</small>"),
        _fact("Leaves the tenant", leaves),
        _undoing(found["reversible"]) if found.get("reversible") else "",
    ]
    shown = f'<dl class="facts" aria-label="What happens">{"".join(facts)}</dl>'
    return mark_safe(shown + _known(found.get("facts") or ()) + _warnings(found.get("warnings") or ()))  # noqa: S308


def _fact(name: str, text: str, more: str = "") -> str:
    return f"<div><dt>{name}</dt><dd{more}>{text}</dd></div>"


def _undoing(found: Mapping[str, Any]) -> str:
    why = f"<small>{inert(found['text'])}</small>" if found.get("text") else ""
    return _fact("Can it be undone?", _UNDOING.get(str(found.get("state")), "Unknown") + why)


_UNDOING: Final = {
    "none_needed": "Nothing to undo",
    "undo_tool": "Yes, by a tool",
    "by_hand": "By hand",
    "compensable": "Only compensated",
    "irreversible": "No",
}


def _known(facts: Sequence[Mapping[str, Any]]) -> str:
    shown = "".join(_fact(inert(one["label"]), f"<bdi>{inert(one['value'])}</bdi>") for one in facts)
    return f'<dl class="known" aria-label="From our own records">{shown}</dl>' if shown else ""


def _warnings(warnings: Sequence[object]) -> str:
    shown = "".join(f"<li><span>{inert(one)}</span></li>" for one in warnings)
    return f'<ul class="warn">{shown}</ul>' if shown else ""


# --- risk -------------------------------------------------------------------------------------------------------------

SHOWN: Final = 5
"""So many reasons stand in the open; the rest unfolds."""

ARGUMENTS_SHOWN: Final = 4

HOW: Final = (
    "Points say how far the score would fall without the reason; they overlap and do not add up. "
    "A floor lifts the band whatever the score."
)


@register.simple_tag
def risk(card: Mapping[str, Any]) -> SafeString:
    """Print the risk of a card (`risk` of `approvals/_card.html`): band, score, why, what would lower it, and how the
    points are worked out. Hints lead to the field whose change would lower it, for whoever can approve.
    """
    found = card["risk"]
    reasons, floors = found.get("reasons") or (), by_band(found.get("floors"))
    band, score = found.get("band", ""), found.get("score", "")
    why = "".join(_reason(one) for one in reasons[:SHOWN]) + "".join(map(_floor, floors[:1]))
    none = "" if reasons or floors else f"<p>{_NO_REASON}</p>"
    return mark_safe(  # noqa: S308
        f'<section class="risk" aria-label="Risk"><div class="gauge {band_class(band)}">'
        f"{band_shape(band)}<b>{escape(str(score))}</b><span>{escape(str(band).title())} risk</span></div>"
        f"<div><ul>{why}</ul>{none}{_lower(card)}{_how(card, reasons[SHOWN:], floors[1:])}</div></section>"
    )


_NO_REASON: Final = "No known risk pattern matched. That is not the same as safe."


def _reason(one: Mapping[str, Any]) -> str:
    arguments = one.get("args") or ()
    named = "".join(
        f' <a class="data" href="#arg-{escape(top_argument(each))}">{inert(str(each).replace("/", ""))}</a>'
        for each in arguments[:ARGUMENTS_SHOWN]
    )
    more = f" and {len(arguments) - ARGUMENTS_SHOWN} more" if len(arguments) > ARGUMENTS_SHOWN else ""
    return _line(f"+{escape(str(one['points']))}", f"{inert(one['text'])}{named}{more}")


def _line(points: str, text: str, more: str = "") -> str:
    return f'<li{more}><span class="pts">{points}</span><span>{text}</span></li>'


def _floor(text: str) -> str:
    return _line("floor", inert(text), ' class="floor"')


def _lower(card: Mapping[str, Any]) -> str:
    hints = card["risk"].get("lower") or ()
    if not hints or card["p"]["status"] != "pending":
        return ""
    editable = card["can_decide"] and not card["cannot_approve_why"]
    shown = "".join(_hint(one, card["p"]["url"] if editable else "") for one in hints)
    return f'<ul class="lower" aria-label="What would lower it">{shown}</ul>'


def _hint(one: Mapping[str, Any], url: str) -> str:
    words: str = inert(one["text"])
    if url:
        field = escape(f"f-{top_argument(one['path'])}")
        words = f'<a href="{escape(url)}?open=edit#{field}" data-edit="{field}">{words}</a>'
    return _line(band_shape(one["band"]), f"To make it {escape(str(one['band']).title())}: {words}")


def _how(card: Mapping[str, Any], reasons: Sequence[Mapping[str, Any]], floors: Iterable[str]) -> str:
    found = card["risk"]
    head = f"{len(reasons)} more, and how" if reasons else "How"
    rest = "".join(_line(f"+{escape(str(one['points']))}", inert(one["text"])) for one in reasons)
    rules = ""
    if found.get("engine"):
        weights = f", weights {escape(str(found['weights']))}" if found.get("weights") else ""
        link = f'<a href="{escape(card["weights_url"])}">Risk rules {escape(str(found["engine"]))}{weights}</a>'
        rules = f" {link}."
    return (
        f'<details class="more"><summary>{head} the points are worked out</summary>'
        f'<ul>{rest}{"".join(map(_floor, floors))}</ul><p class="meta">{HOW}{rules}</p></details>'
    )
