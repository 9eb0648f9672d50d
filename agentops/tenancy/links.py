"""Addresses across the border between a tenant's pages and the global ones.

Inside a tenant `reverse()` and `{% url %}` give that tenant's addresses (the script prefix is `/t/<slug>/`). These
functions are for the other direction and for pages outside of any tenant.
"""

from typing import Any

from django.conf import settings
from django.urls import get_script_prefix, reverse, set_script_prefix

PATH = "/t/"


def tenant_urlconf() -> str:
    """Return the module with the addresses below `/t/<slug>/` (setting TENANT_URLCONF)."""
    return str(getattr(settings, "TENANT_URLCONF", "agentops.tenant_urls"))


def tenant_url(slug: str, name: str = "", *args: Any, **kwargs: Any) -> str:
    """Return the path of a tenant's page by its URL name, or of its start page, from anywhere."""
    prefix = f"{_base_prefix()}{PATH[1:]}{slug}/"
    return _reverse(name, tenant_urlconf(), prefix, args, kwargs) if name else prefix


def global_url(name: str, *args: Any, **kwargs: Any) -> str:
    """Return the path of a page outside of every tenant by its URL name, from anywhere."""
    return _reverse(name, settings.ROOT_URLCONF, _base_prefix(), args, kwargs)


def told_outside(path: str) -> str:
    """Return the address of a path as people and programs outside are told it: below `SITE_URL`."""
    return f"{settings.SITE_URL.rstrip('/')}{path}"


def _base_prefix() -> str:
    prefix = get_script_prefix()
    return prefix[: prefix.rindex(PATH) + 1] if PATH in prefix else prefix


def _reverse(name: str, urlconf: str, prefix: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    opened = get_script_prefix()
    set_script_prefix(prefix)
    try:
        return reverse(name, urlconf=urlconf, args=args or None, kwargs=kwargs or None)
    finally:
        set_script_prefix(opened)
