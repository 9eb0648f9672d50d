"""Print the keys: {% load keys %}{% keymap as keyboard %}."""

from typing import Any

from django import template

from approvals import keys

register = template.Library()


@register.simple_tag(takes_context=True)
def keymap(context: dict[str, Any]) -> keys.Keymap:
    """Return the keyboard of whoever looks at the page."""
    request = context.get("request")
    return keys.read(request.COOKIES.get(keys.COOKIE, "") if request is not None else "")
