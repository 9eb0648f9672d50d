"""What the pages of the desk need to print: foreign text made harmless, money, times in words, bands, provenance.

{% load desk %}
<bdi class="inert">{{ value|inert }}</bdi>            foreign text, nothing renders, nothing hides
{{ value|plain }}                                     the same inside <title>, where there are no elements
{% foreign_text value %}                              the same for long text: twelve lines, the rest unfolds
{% quotation segments %}                              the same for a quotation in which values are marked
{{ 124000|money:"EUR" }}  {{ consequence.money|money }}
{{ when|ago }}  {{ deadline|until }}                  <time> elements that the script keeps current
{{ when|apart }}                                      in 3 days, 2 h ago
{% band_badge band score %}  {% band_shape band %}  {% band_tab band score %}  {% icon "queue" %}
{% provenance_chip "untrusted" %}
{{ tool|breakable }}                                  a name that may break behind its dots
{{ row.proposed_by|person }}                          what a person is called
{{ digest|words }}                                    9f27ac copper-lantern-ridge
{% sentence parts attacked %}                         the server's sentence, values in ink
{% if request.actor|may:"audit.view" %}
{% stopped %}                                         the banner while the line is stopped
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

from django import template
from django.conf import settings
from django.template import loader
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from agentops.guardrails.text import surface
from agentops.halts.covering import recent_stops
from agentops.tenancy.access import Actor, can
from agentops.tenancy.people import called
from agentops.tenancy.scope import open_tenant_id
from agentops.wire.money import format_money
from approvals.values import inert as inert_text
from approvals.values.words import digest_words

register = template.Library()

BANDS = ("low", "medium", "high", "critical")
LINES_SHOWN = 12
LINES_NOT_WORTH_FOLDING = 3
CHARACTERS_SHOWN = 4_000
CHARACTERS_INLINE = 65_536

_CHIPS = {
    "operator": ("O", "Typed by a person in this tenant"),
    "system": ("S", "From this system's own records"),
    "tool": ("T", "From a trusted tool"),
    "agent": ("A", "Written by the model"),
    "untrusted": ("U", "Copied or derived from mail, web, documents or third-party tools"),
    "mixed": ("M", "Put together from trusted and untrusted sources"),
}


@register.filter
def inert(value: object) -> SafeString:
    """Print foreign text: escaped, with shapeless and misleading characters drawn as marks."""
    return inert_text.inert("" if value is None else str(value))


@register.filter
def breakable(name: object) -> SafeString:
    """Print the name of a tool, which may go on in the next line behind a dot or an underscore."""
    parts = [inert(part) for part in re.split(r"(?<=[._])", str(name)) if part]
    return mark_safe("<wbr>".join(parts))  # noqa: S308 - parts are inert


@register.filter
def person(user: Any) -> SafeString:
    """Print what a person is called, with their account behind it for whoever points there; nothing for nobody."""
    if user is None:
        return SafeString("")
    name, account = called(user), user.get_username()
    if name == account:
        return format_html("<bdi>{}</bdi>", inert(name))
    return format_html('<bdi title="{}">{}</bdi>', plain(account), inert(name))


@register.filter
def inert_json(text: str) -> SafeString:
    """Print JSON that we have indented ourselves: its margins are ours and stay blank, the rest is foreign text.

    A line break inside a string is written as `\\n` in JSON, so no foreign line can begin with a margin.
    """
    lines = [(len(line) - len(line.lstrip(" ")), line) for line in text.split("\n")]
    return mark_safe("\n".join(" " * margin + inert_text.inert(line[margin:]) for margin, line in lines))  # noqa: S308 - blanks, and what inert escapes


@register.filter
def plain(value: object) -> str:
    """Print foreign text where no marks can be drawn, as in the title of a page: hidden characters become labels."""
    return surface("" if value is None else str(value))


@register.inclusion_tag("desk/_foreign_text.html")
def foreign_text(value: object) -> dict[str, Any]:
    """Print long foreign text: the first twelve lines, then the rest on demand.

    Beyond 65,536 characters only the first 4,000 are shown, with the exact size and the SHA-256 of the whole.
    """
    text = "" if value is None else str(value)
    whole = len(text)
    cut = whole > CHARACTERS_INLINE
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() if cut else ""
    if cut:
        text = text[:CHARACTERS_SHOWN]
    lines = text.split("\n")
    shown = LINES_SHOWN if len(lines) > LINES_SHOWN + LINES_NOT_WORTH_FOLDING else len(lines)
    return {
        "head": "\n".join(lines[:shown]),
        "tail": "\n".join(lines[shown:]),
        "shown": shown,
        "total": len(lines),
        "cut": cut,
        "kept": CHARACTERS_SHOWN,
        "size": whole,
        "digest": digest,
    }


@register.inclusion_tag("desk/_quotation.html")
def quotation(segments: object) -> dict[str, Any]:
    """Print a quoted text whose runs say which argument's value they are: twelve lines, the rest unfolds."""
    runs = [(str(_attribute(one, "text")), str(_attribute(one, "argument"))) for one in _sequence(segments)]
    total = sum(text.count("\n") for text, _ in runs) + 1
    shown = LINES_SHOWN if total > LINES_SHOWN + LINES_NOT_WORTH_FOLDING else total
    head: list[dict[str, str]] = []
    tail: list[dict[str, str]] = []
    lines = 1
    for text, argument in runs:
        room = shown - lines
        parts = text.split("\n")
        lines += len(parts) - 1
        if room < 0:
            tail.append({"text": text, "argument": argument})
            continue
        head.append({"text": "\n".join(parts[: room + 1]), "argument": argument})
        if len(parts) > room + 1:
            tail.append({"text": "\n".join(parts[room + 1 :]), "argument": argument})
    return {"head": head, "tail": tail, "shown": shown, "total": total}


def _sequence(value: object) -> Sequence[object]:
    return value if isinstance(value, Sequence) else ()


def _attribute(thing: object, name: str) -> object:
    return getattr(thing, name, "")


@register.filter
def money(value: object, currency: str = "") -> str:
    """Print money: minor units with a currency code, a (minor, currency) pair, or a text that is formatted already."""
    match value:
        case None | "":
            return ""
        case {"minor": int(minor), "currency": str(code)}:
            return format_money(minor, code)
        case {"amount_minor": int(minor), "currency": str(code)}:
            return format_money(minor, code)
        case (int(minor), str(code)):
            return format_money(minor, code)
        case bool():
            return str(value)
        case int() if currency:
            return format_money(value, currency)
        case _:
            return str(value)


def _moment(value: object) -> datetime | None:
    parsed = parse_datetime(value) if isinstance(value, str) else value
    if not isinstance(parsed, datetime):
        return None
    return parsed if timezone.is_aware(parsed) else parsed.replace(tzinfo=UTC)


def span(delta: timedelta) -> str:
    """Return a length of time in words, largest unit only: `40 s`, `12 min`, `3 h`, `5 days`."""
    seconds = max(0, int(delta.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min"
    if seconds < 48 * 3600:
        return f"{seconds // 3600} h"
    return f"{seconds // 86400} days"


def time_around(moment: datetime, kind: str) -> str:
    """Return the beginning of a `<time>` that the script keeps current; the words and its end follow."""
    exact = moment.isoformat(timespec="seconds")
    utc = exact if moment.tzinfo is UTC else moment.astimezone(UTC).isoformat(timespec="seconds")
    return f'<time datetime="{exact}" title="{utc[:10]} {utc[11:19]} UTC" data-time="{kind}">'


def left(delta: timedelta) -> str:
    """Return what is left before a deadline, in words: `25 min left`, or `4 min late`."""
    return f"{span(delta)} left" if delta > timedelta(0) else f"{span(-delta)} late"


def _time(moment: datetime, words: str, kind: str) -> SafeString:
    # There is nothing in it but digits and our own words.
    return mark_safe(f"{time_around(moment, kind)}{words}</time>")  # noqa: S308


@register.filter
def ago(value: object) -> SafeString | str:
    """Print how long ago something was, as a `<time>` with the exact moment in it."""
    moment = _moment(value)
    if moment is None:
        return ""
    return _time(moment, f"{span(timezone.now() - moment)} ago", "ago")


@register.filter
def until(value: object) -> SafeString | str:
    """Print what is left before a deadline: `25 min left`, or `4 min late`."""
    moment = _moment(value)
    if moment is None:
        return ""
    return _time(moment, left(moment - timezone.now()), "until")


@register.filter
def apart(value: object) -> SafeString | str:
    """Print how far a moment is from now, in words: `in 3 days`, `2 h ago`."""
    moment = _moment(value)
    if moment is None:
        return ""
    delta = moment - timezone.now()
    return f"in {span(delta)}" if delta > timedelta(0) else f"{span(-delta)} ago"


@register.filter
def clock(value: object) -> SafeString | str:
    """Print the exact time of day in UTC, the date in the title."""
    moment = _moment(value)
    if moment is None:
        return ""
    utc = moment.astimezone(UTC)
    return format_html(
        '<time class="exact" datetime="{}" title="{}">{}</time>',
        moment.isoformat(),
        utc.strftime("%Y-%m-%d %H:%M:%S UTC"),
        utc.strftime("%H:%M:%S"),
    )


@register.filter
def stamp(value: object) -> SafeString | str:
    """Print date and time in UTC."""
    moment = _moment(value)
    if moment is None:
        return ""
    text = moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    return format_html('<time class="exact" datetime="{}">{}</time>', moment.isoformat(), text)


@register.filter
def length_of_time(value: object) -> str:
    """Print a duration, given as timedelta or seconds, in words."""
    match value:
        case timedelta():
            seconds = value.total_seconds()
        case bool() | None:
            return ""
        case int() | float() | Decimal():
            seconds = float(value)
        case _:
            return str(value)
    return f"{seconds:.1f} s" if seconds < 10 else span(timedelta(seconds=seconds))


@register.filter
def words(digest: object) -> str:
    """Print the short name of a SHA-256 digest; text that is no digest is printed as it is."""
    try:
        return digest_words(str(digest))
    except ValueError:
        return str(digest or "")


@cache
def _printed(template_name: str, **context: object) -> SafeString:
    """Render one of the small marks that come again and again; there are few of each."""
    return mark_safe(loader.get_template(template_name).render(context).strip())  # noqa: S308 - rendered by a template


@register.simple_tag
def band_badge(band: object, score: object = None) -> SafeString:
    """Print a risk band as shape, word and number."""
    return _printed("desk/_band.html", band=_band(band), score=_score(score))


@register.simple_tag
def band_shape(band: object) -> SafeString:
    """Print the shape of a risk band alone; the word stands beside it."""
    return _printed("desk/_shape.html", band=_band(band))


@register.simple_tag
def band_tab(band: object, score: object) -> SafeString:
    """Print the coloured edge of a row: shape, number, word."""
    return _printed("desk/_tab.html", band=_band(band), score=_score(score))


@register.simple_tag
def icon(name: str) -> SafeString:
    """Print a drawing of `desk/_icon.html`; the mark of the site for a name that has none."""
    return _printed("desk/_icon.html", name=name)


def _score(score: object) -> int | None:
    return score if isinstance(score, int) and 0 <= score <= 100 else None


def _band(band: object) -> str:
    return str(band).lower() if str(band).lower() in BANDS else "critical"


@register.filter
def band_class(band: object) -> str:
    """Return the class that fills an element with the colour of a band; unknown is critical."""
    return f"band-{_band(band)}"


@register.simple_tag
def provenance_chip(label: object) -> SafeString:
    """Print where a value came from; an unknown label counts as untrusted."""
    name = str(label or "").lower()
    kind = name if name in _CHIPS else "untrusted"
    letter, title = _CHIPS[kind]
    return _printed("desk/_chip.html", kind=kind, letter=letter, word=kind.upper(), title=title)


@register.inclusion_tag("desk/_stopped.html", takes_context=True)
def stopped(context: dict[str, Any]) -> dict[str, Any]:
    """Print what is stopped in the open tenant, as of at most half a second ago; nothing outside of a tenant."""
    request = context.get("request")
    stops = recent_stops() if open_tenant_id() is not None else ()
    actor = getattr(request, "actor", None)
    link = reverse("stop") if stops and isinstance(actor, Actor) and can(actor, "line.stop") else ""
    return {"stops": stops, "stop_url": link}


@register.simple_tag
def sentence(parts: object, attacked: object = ()) -> SafeString:
    """Print the server's action sentence; values are in ink, those in `attacked` (argument paths) marked."""
    marked = {str(path) for path in attacked} if isinstance(attacked, Sequence | frozenset | set) else set()
    shown: list[str] = []
    for part in parts if isinstance(parts, Sequence) else ():
        if not isinstance(part, Mapping):
            continue
        arg = part.get("arg")
        text = inert(part.get("t") if arg is None else part.get("text"))
        if arg is not None:
            bad = _BAD if marked and str(arg).lstrip("/") in marked else ""
            shown.append(f"<b{bad}><bdi>{text}</bdi></b>")
        else:
            shown.append(text)
    return mark_safe("".join(shown))  # noqa: S308 - each piece is inert, or elements around an inert one


_BAD = ' class="bad"'


@register.filter
def top_argument(path: object) -> str:
    """Return the argument that a JSON pointer such as `/lines/3/price` lies in, as it is named in the card."""
    return str(path).lstrip("/").partition("/")[0].replace("~1", "/").replace("~0", "~")


@register.filter
def by_band(floors: object) -> list[str]:
    """Return floors such as `At least High: it deletes data` as one line for each band, in the order they come."""
    lines: dict[str, list[str]] = {}
    for floor in floors if isinstance(floors, Sequence) else ():
        band, _, why = str(floor).partition(": ")
        lines.setdefault(band, []).append(why)
    return [f"{band}: {'; '.join(whys)}" for band, whys in lines.items()]


@register.filter
def attacked_paths(arguments: object) -> list[str]:
    """Return the paths of the arguments marked as attacked, without a leading slash."""
    if not isinstance(arguments, Sequence):
        return []
    return [str(_part(one, "path")).lstrip("/") for one in arguments if _part(one, "attacked")]


def _part(thing: object, name: str) -> object:
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)


@register.filter
def pretty(value: object) -> str:
    """Print a JSON value on several lines; text is printed as it is."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, indent=2, default=str)


@register.filter
def counted(thing: object) -> str:
    """Print a count of things, {"kind": "orders", "count": 1}, in words: `1 order`, `unknown orders`."""
    kind, count = str(_part(thing, "kind") or ""), _part(thing, "count")
    if count is None:
        return f"unknown {kind}"
    if count != 1:
        return f"{count:,} {kind}" if isinstance(count, int) else f"{count} {kind}"
    # Kinds are plural ("orders", "external recipients", "messages erased"); one of them loses the s of its noun.
    return "1 " + re.sub(r"(?<=ss)es\b|(?<=[^s])s\b", "", kind, count=1)


@register.filter
def entry(mapping: object, key: object) -> object:
    """Return the entry of a mapping, or nothing."""
    return mapping.get(key, "") if isinstance(mapping, Mapping) else ""


@register.filter
def listed(values: object) -> str:
    """Print a set of names in order, with commas."""
    return ", ".join(sorted(str(value) for value in values)) if isinstance(values, Iterable) else ""


@register.filter
def may(actor: object, action: str) -> bool:
    """Say whether an actor may do something; nobody may do nothing."""
    return isinstance(actor, Actor) and can(actor, action)


@register.simple_tag
def htmx_config() -> SafeString:
    """Print the `<meta>` that configures htmx before it starts."""
    return format_html('<meta name="htmx-config" content="{}">', json.dumps(settings.HTMX_CONFIG, sort_keys=True))
