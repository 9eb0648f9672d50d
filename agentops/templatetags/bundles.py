"""Print what a page asks for together: {% load bundles %}{% styles "css/desk.css" %}{% scripts "js/pages.js" %}."""

from django import template
from django.templatetags.static import static
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from agentops.static_files import parts

register = template.Library()


@register.simple_tag
def styles(bundle: str) -> SafeString:
    """Print the links to the style sheets of a bundle."""
    return format_html_join("\n", '<link rel="stylesheet" href="{}">', ((static(name),) for name in parts(bundle)))


@register.simple_tag
def scripts(bundle: str) -> SafeString:
    """Print the elements of the scripts of a bundle, which run in this order once the page is there."""
    return format_html_join("\n", '<script src="{}" defer></script>', ((static(name),) for name in parts(bundle)))
