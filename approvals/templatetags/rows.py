"""Print the rows of the queue: {% load rows %}{% row item %}, an item being one of `approvals.rows`.

A page has fifty rows of twenty values each, and is what people ask for most. As a template they took two thirds of
the time of the whole page, so this one piece of markup is written here.
"""

from collections.abc import Mapping
from html import escape
from typing import Any

from django import template
from django.utils.safestring import SafeString, mark_safe

from approvals.templatetags.desk import ago, band_tab, sentence, until

register = template.Library()


@register.simple_tag
def row(item: Mapping[str, Any]) -> SafeString:
    """Print one row: the edge with band and score, the sentence, and below it what is about it.

    What an htmx request does stands on the list around the rows, from which they inherit it.
    """
    closed = item["closed"]
    taint = '<span class="taint"><span>untrusted</span></span>' if item["tainted"] else ""
    magnitude = f'<span class="mag">{escape(item["magnitude"])}</span>' if item["magnitude"] else ""
    # What is put in is escaped, digits, or our own markup.
    return mark_safe(  # noqa: S308
        f'<li class="row{" gone" if closed else ""}" id="row-{item["id"]}" data-id="{item["id"]}"'
        f' data-state="{escape(item["state"])}"{_CURRENT if item["selected"] else ""}>'
        f'<a href="{escape(item["url"])}" hx-get="{escape(item["url"])}">{band_tab(item["band"], item["score"])}'
        f'<span class="what">{sentence(item["sentence_parts"])}</span>'
        f'<span class="about">{_whose(item)}{taint}{magnitude}'
        f'<span class="type"><bdi>{escape(item["task_type"])}</bdi></span><span>{ago(item["age"])}</span>'
        f"{'' if closed else _due(item)}</span></a></li>\n"
    )


_CURRENT = ' aria-current="true"'


def _whose(item: Mapping[str, Any]) -> str:
    match item:
        case {"closed": {"by": by, "at": at}}:
            person = f" by <bdi>{escape(by)}</bdi>" if by else ""
            return f'<span class="fate">{escape(item["status"])}{person} {ago(at)}</span>'
        case {"leased": {"mine": True}} | {"leased": None, "assigned": {"mine": True}}:
            return '<span class="holder">yours</span>'
        case {"leased": {"by": by}}:
            return f'<span class="holder"><bdi>{escape(by)}</bdi> has it</span>'
        case {"assigned": {"to": to}}:
            return f'<span class="holder">for <bdi>{escape(to)}</bdi></span>'
        case _:
            return ""


def _due(item: Mapping[str, Any]) -> str:
    if item["held_until"]:
        words = f"held, {until(item['held_until'])}"
    else:
        words = "clock stopped" if item["still_since"] else until(item["decide_by"])
    return f'<span class="due">{words}</span>'
