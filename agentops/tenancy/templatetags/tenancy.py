"""Links across the tenant border, for templates."""

from django import template

from agentops.tenancy import links

register = template.Library()


@register.simple_tag
def global_url(name: str, *args: object, **kwargs: object) -> str:
    """Print the path of a page outside of every tenant: `{% global_url 'sign_out' %}`."""
    return links.global_url(name, *args, **kwargs)


@register.simple_tag
def tenant_url(slug: str, name: str = "", *args: object, **kwargs: object) -> str:
    """Print the path of a tenant's page from outside of it: `{% tenant_url tenant.slug 'queue' %}`."""
    return links.tenant_url(slug, name, *args, **kwargs)
