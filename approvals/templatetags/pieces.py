"""Print what a card has many of: {% load pieces %}{% fields arguments %}{% attest bar "edit" %}{% past history %}.

{% binding %}                what every form of a card brings back: version, digest and view token
{% gates card.bar.gates %}   what has to be there before an approval counts; the server checks it all again
{% argument one %}           an argument with its value and where that came from
{% budget card.budget %}     what the run has used and has left (`approvals.cards.meter.meter_of`)

As templates they took half of the time of a card, so these few pieces of markup are written here, as the rows are.
Whatever is put in is escaped, made inert, or our own markup.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from django import template
from django.template import Context, loader
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import Truncator

from approvals.templatetags.desk import foreign_text as folded
from approvals.templatetags.desk import inert, provenance_chip, stamp

register = template.Library()


@register.simple_tag
def fields(arguments: Iterable[Mapping[str, Any]]) -> SafeString:
    """Print the fields in which arguments are edited, each with what was proposed below it."""
    return mark_safe("".join(_field(one) for one in arguments if one["editable"]))  # noqa: S308


def _field(argument: Mapping[str, Any]) -> str:
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
    return f'<div class="field">{label}{control}{wrong}{was}</div>'


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
    found = folded(text)
    if found["tail"] or found["cut"]:
        return loader.render_to_string("desk/_foreign_text.html", found)
    return f'<bdi class="inert">{inert(found["head"])}</bdi>'


# --- forms ------------------------------------------------------------------------------------------------------------


@register.simple_tag(takes_context=True)
def binding(context: Context) -> SafeString:
    """Print the hidden fields that bind a form to what its reader was shown."""
    proposal, csrf = context["p"], context.get("csrf_token")
    fields = [("csrfmiddlewaretoken", csrf)] if csrf and csrf != "NOTPROVIDED" else []
    fields += [("version", proposal["version"]), ("args_digest", proposal["digest"])]
    if context.get("together"):
        fields.append(("back", "together"))
    fields.append(("view_token", context["card"]["bar"]["token"]))
    return mark_safe("".join(_HIDDEN.format(name, escape(str(value))) for name, value in fields))  # noqa: S308


_HIDDEN = '<input type="hidden" name="{}" value="{}">'


@register.simple_tag
def gates(found: Sequence[Mapping[str, Any]]) -> SafeString:
    """Print gates (`bar.gates_of`)."""
    shown = "".join(map(_gate, found))
    return mark_safe(  # noqa: S308
        f'<ul id="gates" class="gates" aria-label="Before it can be approved">{shown}</ul>'
    )


def _gate(one: Mapping[str, Any]) -> str:
    done, section = bool(one["done"]), escape(one.get("section", ""))
    opens = f' data-opens="{one["opens_at"].isoformat()}"' if one.get("opens_at") else ""
    named = f' data-section="{section}"' if section else ""
    text = escape(one["text"])
    words = f'<a href="#sec-{section}">{text}</a>' if section and not done else text
    return (
        f'<li class="gate" data-code="{escape(one["code"])}"{" data-done" if done else ""}{opens}{named}>'
        f'<span class="tick" aria-hidden="true"></span>{words}'
        f'<span class="vh">{", done" if done else ", still to do"}</span></li>'
    )


# --- arguments --------------------------------------------------------------------------------------------------------


@register.simple_tag
def argument(one: Mapping[str, Any]) -> SafeString:
    """Print an argument of `approvals.cards.arguments.arguments_of`."""
    decides = ", decides what happens" if one["role"] == "authority" else ""
    place = escape(str(one["path"]).replace("/", ""))
    return mark_safe(  # noqa: S308
        f'<div class="arg{" attacked" if one["attacked"] else ""}" id="arg-{place}"{_TAINTED if one["way"] else ""}>'
        f"<dt>{inert(one['name'])}<small>{escape(str(one['type']))}{decides}</small></dt>"
        f'<dd class="val">{_value_of(one)}</dd>'
        f'<dd class="chips">{provenance_chip(one["provenance"]["label"])}</dd>{_from(one)}{_way(one)}</div>'
    )


_TAINTED = " data-tainted"


def _value_of(one: Mapping[str, Any]) -> str:
    if one["changed_lines"]:
        return loader.render_to_string("approvals/_lines.html", {"lines": one["changed_lines"]})
    was = inert(one["changed_from"]) if one["changed_from"] else ""
    proposed = (
        f'<p><del class="was-value"><bdi class="inert">{was}</bdi></del> <small class="quiet">as proposed</small></p>'
    )
    return f"{proposed if was else ''}{_shown(one['shown'])}"


def _shown(shown: Mapping[str, Any]) -> str:
    """Print a value (`approvals.values.rendering.shown`); what is rare by its template."""
    match shown:
        case {"kind": "text", "text": text}:
            return _long(text)
        case {"kind": "money", "text": text}:
            minus = "minus " if shown.get("negative") else ""
            words = f' <small class="quiet">{minus}{escape(shown["words"])}</small>' if shown.get("words") else ""
            return f'<span class="amount"><bdi>{escape(text)}</bdi></span>{words}'
        case _:
            return loader.render_to_string("approvals/_value.html", {"shown": shown})


def _from(one: Mapping[str, Any]) -> str:
    told = []
    if one["attacked"]:
        told.append('<span class="caution">Untrusted text chose this value. Check it against your own records.</span>')
    if one["unsupported"]:
        told.append(f'<span class="caution plain">Nothing on record supports it: {escape(one["unsupported"])}.</span>')
    if one["provenance"]["sources"]:
        told.append(f"From {', '.join(map(inert, one['provenance']['sources']))}")
    return f'<dd class="from">{" ".join(told)}</dd>' if told else ""


def _way(one: Mapping[str, Any]) -> str:
    stops = "".join(f"<li><bdi>{inert(stop)}</bdi></li>" for stop in one["way"])
    return f'<dd class="way"><ol aria-label="The way of this value">{stops}</ol></dd>' if stops else ""


# --- budget -----------------------------------------------------------------------------------------------------------


@register.simple_tag
def budget(found: Sequence[Mapping[str, Any]]) -> SafeString:
    """Print what a run has used, what this call may use, and what is left."""
    heads = "".join(f'<th scope="col" class="num">{name}</th>' for name in _COLUMNS)
    head = f'<thead><tr><th scope="col">Of this run</th>{heads}</tr></thead>'
    rows = "".join(map(_line, found))
    return mark_safe(f'<table class="table plain">{head}<tbody>{rows}</tbody></table>')  # noqa: S308


_COLUMNS = ("Used", "This call, at most", "Limit", "Left afterwards")


def _line(one: Mapping[str, Any]) -> str:
    left = '<span class="chip chip-err">not enough</span>' if one["short"] else escape(str(one["left"] or _NONE))
    cells = (
        ("Used", escape(str(one["used"]))),
        ("This call", escape(str(one["this"] or _NONE))),
        ("Limit", escape(str(one["limit"] or "none"))),
        ("Left", left),
    )
    told = "".join(f'<td class="num data" data-label="{name}">{text}</td>' for name, text in cells)
    return f'<tr><th scope="row">{escape(str(one["name"]))}</th>{told}</tr>'


_NONE = "\N{EN DASH}"
