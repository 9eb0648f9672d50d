"""Print the button that asks for a passkey: {% load passkeys %}{% passkey_button "Use your passkey" js_data %}."""

import json
from typing import Any

from django import template
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()


@register.simple_tag
def passkey_button(text: str, options: dict[str, Any] | None = None, source: str = "", tone: str = "ink") -> SafeString:
    """Print it with what the browser needs to know, or the address `source` that says it, and a place for problems.

    It sends the form that it stands in, in whose field `credential` the answer is.
    """
    return format_html(
        '<button class="btn {}" type="button" data-passkey="{}" data-from="{}" data-module="{}">{}</button>'
        '<span class="help" data-said role="status"></span>',
        tone,
        json.dumps(options) if options else "",
        source,
        static("js/passkey.js"),
        text,
    )
