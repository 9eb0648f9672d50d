"""Print the rows of the queue: {% load rows %}{% rows items %}, each an item of `approvals.queue.rows`.

A page has fifty rows of twenty values each, and is what people ask for most. As a template they took two thirds of
the time of the whole page, so this one piece of markup is written here. What does not change from one moment to the
next is remembered under everything it was made of, so that nothing can be shown that is not as the database has it.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from html import escape
from typing import Any
from uuid import UUID

from django import template
from django.utils.safestring import SafeString, mark_safe

from approvals.queue.rows import magnitude
from approvals.templatetags.desk import ago, band_tab, left, sentence, span, time_around, until

register = template.Library()

REMEMBERED = 2_000
"""So many rows of all tenants, of two kilobytes or so."""

LONGEST = 2_000
"""What is made of more text than this is made each time, so that nobody can fill the memory."""


@register.simple_tag
def rows(items: Iterable[Mapping[str, Any]]) -> SafeString:
    """Print rows: of each the edge with band and score, the sentence, and below it what is about it.

    What an htmx request does stands on the list around the rows, from which they inherit it.
    """
    # What is put in is escaped, digits, or our own markup.
    return mark_safe("".join(map(_row, items)))  # noqa: S308


def _row(item: Mapping[str, Any]) -> str:
    closed, now = item["closed"], item["now"]
    made_of = (
        *(item["id"], item["address"], item["band"], item["score"], item["sentence"], item["consequence"]),
        *(item["tainted"], item["task_type"], item["age"], item["decide_by"]),
    )
    short = len(item["sentence"]) + len(item["consequence"]) <= LONGEST
    named, what, about, due = _remembered(*made_of) if short else _parts(*made_of)
    return (
        f'<li class="row{" gone" if closed else ""}"{named} data-state="{escape(item["state"])}"'
        f"{_CURRENT if item['selected'] else ''}>{what}{_whose(item)}{about}{span(now - item['age'])} ago</time></span>"
        f"{'' if closed else _due(item, due, now)}</span></a></li>\n"
    )


_CURRENT = ' aria-current="true"'


def _parts(
    pk: UUID,
    address: str,
    band: str,
    score: int,
    sentence_text: str,
    consequence_text: str,
    tainted: bool,
    task_type: str,
    created_at: datetime,
    decide_by: datetime,
) -> tuple[str, str, str, str]:
    """Return what a row is put together from: its name, what it says, what is about it up to its age, its deadline."""
    url = escape(f"{address}{pk}")
    worth = magnitude(json.loads(consequence_text))
    figure = f'<span class="mag">{escape(worth)}</span>' if worth else ""
    taint = '<span class="taint"><span>untrusted</span></span>' if tainted else ""
    return (
        f' id="row-{pk}" data-id="{pk}"',
        (
            f'<a href="{url}" hx-get="{url}">{band_tab(band, score)}'
            f'<span class="what">{sentence(json.loads(sentence_text))}</span><span class="about">'
        ),
        (
            f"{taint}{figure}"
            f'<span class="type"><bdi>{escape(task_type)}</bdi></span><span>{time_around(created_at, "ago")}'
        ),
        time_around(decide_by, "until"),
    )


_remembered = lru_cache(REMEMBERED)(_parts)


def _whose(item: Mapping[str, Any]) -> str:
    match item:
        case {"closed": {"by": by, "at": at}}:
            person = f" by <bdi>{escape(by)}</bdi>" if by else ""
            return f'<span class="fate">{escape(item["status"])}{person} {ago(at)}</span>'
        case {"leased": None, "assigned": None, "role": role}:
            return f'<span class="holder">for {escape(role)}s</span>' if role else ""
        case {"leased": {"mine": True}} | {"leased": None, "assigned": {"mine": True}}:
            return '<span class="holder">yours</span>'
        case {"leased": {"by": by}}:
            return f'<span class="holder"><bdi>{escape(by)}</bdi> has it</span>'
        case {"assigned": {"to": to}}:
            return f'<span class="holder">for <bdi>{escape(to)}</bdi></span>'
        case _:
            return ""


def _due(item: Mapping[str, Any], around: str, now: datetime) -> str:
    if item["held_until"]:
        words = f"held, {until(item['held_until'])}"
    elif item["still_since"]:
        words = "clock stopped"
    else:
        words = f"{around}{left(item['decide_by'] - now)}</time>"
    return f'<span class="due">{words}</span>'
