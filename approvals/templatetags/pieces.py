"""Print what a card has many of: {% load pieces %}{% field argument %}{% attest bar "edit" %}{% past history %}.

As templates they took half of the time of a card, so these few pieces of markup are written here, as the rows are.
Whatever is put in is escaped, made inert, or our own markup.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from django import template
from django.template import loader
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import Truncator

from approvals.templatetags.desk import foreign_text as folded
from approvals.templatetags.desk import inert, stamp

register = template.Library()


@register.simple_tag
def field(argument: Mapping[str, Any]) -> SafeString:
    """Print the field in which an argument is edited, with what was proposed below it."""
    one = argument["field"]
    place = escape(f"f-{argument['name']}")
    name, value = escape(one["name"]), escape(one["value"] if one["value"] is not None else "")
    bad = f' aria-invalid="true" aria-describedby="{place}-error"' if one["error"] else ""
    match one["kind"]:
        case "select":
            chosen = one["value"]
            options = "".join(_option(each, label, each == chosen) for each, label in one["choices"])
            control = f'<select id="{place}" name="{name}"{bad}>{options}</select>'
        case "textarea":
            control = f'<textarea id="{place}" name="{name}" rows="6"{bad}>{value}</textarea>'
        case "money":
            control = (
                f'<div class="with-unit"><span>{escape(str(one["currency"]))}</span>'
                f'<input id="{place}" name="{name}" value="{value}" inputmode="decimal" autocomplete="off"{bad}></div>'
            )
        case kind:
            digits = ' inputmode="decimal"' if kind == "number" else ""
            control = (
                f'<input id="{place}" class="data" name="{name}" value="{value}" autocomplete="off"'
                f' spellcheck="false"{digits}{bad}>'
            )
    wrong = f'<p class="errorlist" id="{place}-error">{escape(one["error"])}</p>' if one["error"] else ""
    more = f" · {escape(one['help'])}" if one["help"] else ""
    was = f'<p class="was">Proposed: <bdi class="data">{inert(argument["text"])}</bdi>{more}</p>'
    label = f'<label for="{place}">{inert(argument["name"])}</label>'
    return mark_safe(f'<div class="field">{label}{control}{wrong}{was}</div>')  # noqa: S308


def _option(value: object, label: object, selected: bool) -> str:
    return f'<option value="{escape(str(value))}"{" selected" if selected else ""}>{escape(str(label))}</option>'


@register.simple_tag
def attest(bar: Mapping[str, Any], prefix: str) -> SafeString:
    """Print values to be picked and facts to be ticked (`bar.bar_of`); `prefix` keeps the ids of two forms apart."""
    shown = [_question(one, f"{prefix}-attest-{number}-error") for number, one in enumerate(bar["questions"], 1)]
    if bar["facts"]:
        facts = "".join(map(_fact, bar["facts"]))
        shown.append(f'<fieldset class="facts"><legend>Facts I have checked</legend>{facts}</fieldset>')
    return mark_safe("".join(shown))  # noqa: S308


def _question(one: Mapping[str, Any], place: str) -> str:
    bad = f' aria-invalid="true" aria-describedby="{place}"' if one["error"] else ""
    name = escape(one["field"])
    options = "".join(
        f'<label><input type="radio" name="{name}" value="{escape(value)}"{_CHECKED if one["picked"] == value else ""}>'
        f' <bdi class="data">{inert(text)}</bdi></label>'
        for value, text in one["options"]
    )
    wrong = f'<p class="errorlist" id="{place}">{escape(one["error"])}</p>' if one["error"] else ""
    asked = f'<legend>Which one is <span class="data">{inert(one["name"])}</span> of this call?</legend>'
    return f'<fieldset class="attest"{bad}>{asked}{options}{wrong}</fieldset>'


def _fact(one: Mapping[str, Any]) -> str:
    name, text = one["name"], Truncator(one["text"]).chars(_FACT_SHOWN)
    return (
        f'<label><input type="checkbox" name="fact" value="{escape(name)}"{_CHECKED if one["ticked"] else ""}>'
        f' <span class="data">{inert(name)}</span> <bdi class="data">{inert(text)}</bdi></label>'
    )


_CHECKED = " checked"
_FACT_SHOWN = 80


@register.simple_tag
def past(entries: Sequence[Mapping[str, Any]]) -> SafeString:
    """Print what happened to a proposal (`past.past_of`)."""
    return mark_safe("".join(map(_entry, entries)))  # noqa: S308


def _entry(one: Mapping[str, Any]) -> str:
    changes = "".join(f"<dt>{inert(each['path'])}</dt><dd>{_long(each['text'])}</dd>" for each in one["changes"])
    listed = f'<dl class="paths">{changes}</dl>' if changes else ""
    said = f"<strong><bdi>{inert(one['actor'])}</bdi></strong> {inert(one['text'])}"
    return f"<li>{stamp(one['at'])}<div>{said}{listed}</div></li>\n"


def _long(text: object) -> str:
    return loader.render_to_string("desk/_foreign_text.html", folded(text))
