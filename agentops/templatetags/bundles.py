"""Print what a page asks for together: {% load bundles %}{% styles "css/desk.css" %}{% scripts "js/pages.js" %}."""

from functools import cache

from django import template
from django.conf import settings
from django.templatetags.static import static
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from agentops.static_files import parts

register = template.Library()


@register.simple_tag
def styles(bundle: str) -> SafeString:
    """Print the links to the style sheets of a bundle."""
    return _kept(_LINK, bundle, settings.STATIC_ROOT) if settings.STATIC_ROOT else _elements(_LINK, bundle)


@register.simple_tag
def scripts(bundle: str) -> SafeString:
    """Print the elements of the scripts of a bundle, which run in this order once the page is there."""
    return _kept(_SCRIPT, bundle, settings.STATIC_ROOT) if settings.STATIC_ROOT else _elements(_SCRIPT, bundle)


def _elements(form: str, bundle: str) -> SafeString:
    return format_html_join("\n", form, ((static(name),) for name in parts(bundle)))


_LINK = '<link rel="stylesheet" href="{}">'
_SCRIPT = '<script src="{}" defer></script>'


@cache
def _kept(form: str, bundle: str, collected_in: str) -> SafeString:
    return _elements(form, bundle)
