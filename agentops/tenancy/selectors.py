"""Read memberships where no single tenant is open yet."""

from typing import Final

from django.contrib.auth.models import AbstractBaseUser

from agentops.tenancy.models import Membership, Role, Tenant
from agentops.tenancy.prepared import Query
from agentops.tenancy.scope import user_scope

# Asked by every request inside of a tenant.
_MEMBER: Final = Query(
    lambda user_id, slug: Membership.objects.filter(user_id=user_id, tenant__slug=slug).select_related("tenant"),
    lifted=True,
)


def tenants_of(user: AbstractBaseUser) -> list[tuple[Tenant, list[Role]]]:
    """Return the tenants a person belongs to, by name, each with the person's roles there."""
    with user_scope(user.pk):
        rows = Membership.objects.filter(user_id=user.pk).select_related("tenant").order_by("tenant__name", "role")
        tenants: dict[int, tuple[Tenant, list[Role]]] = {}
        for row in rows:
            tenants.setdefault(row.tenant_id, (row.tenant, []))[1].append(Role(row.role))
    return list(tenants.values())


def membership_of(user: AbstractBaseUser, slug: str) -> tuple[Tenant, list[Role]] | None:
    """Return the tenant with the person's roles in it, or None when it does not exist for them.

    One query either way, so that an unknown tenant and a foreign one cannot be told apart by time.
    """
    rows = _MEMBER.as_person(user.pk, user.pk, slug)
    return (rows[0].tenant, [Role(row.role) for row in rows]) if rows else None
