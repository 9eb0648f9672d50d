"""Prepare the database of other processes: `python -m tests.proof.seeding shop|token TENANT`, which prints JSON."""

import json
import sys

import django

PASSWORD = "correct horse battery staple"


def token(slug: str) -> dict[str, str]:
    """Give a program of an existing tenant a token for the API."""
    from agentops.tenancy.access import SYSTEM
    from agentops.tenancy.models import Tenant
    from agentops.tenancy.services import issue_token

    tenant = Tenant.objects.get(slug=slug)
    _, plain = issue_token(tenant=tenant, name="agent", scopes=["run.submit", "run.view"], actor=SYSTEM)
    return {"token": plain}


def shop(slug: str) -> dict[str, str]:
    """Open the small shop in a tenant of its own, with an operator and a token."""
    from django.contrib.auth.models import User

    from agentops.tenancy.access import SYSTEM
    from agentops.tenancy.scope import tenant_scope
    from agentops.tenancy.services import add_member, create_tenant
    from tests.shop import open_shop

    tenant = create_tenant(slug=slug, name=slug.title(), environment="test", actor=SYSTEM)
    email = f"bob@{slug}.example"
    bob = User.objects.create_user(email, email, PASSWORD, first_name="Bob")
    add_member(tenant=tenant, user=bob, role="operator", actor=SYSTEM)
    with tenant_scope(tenant):
        open_shop(tenant)
    return {"tenant": str(tenant.pk), "operator": email, "password": PASSWORD} | token(slug)


if __name__ == "__main__":
    django.setup()
    prepare = {"shop": shop, "token": token}[sys.argv[1]]
    sys.stdout.write(json.dumps(prepare(sys.argv[2])))
