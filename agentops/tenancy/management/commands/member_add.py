"""Let a person into a tenant."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from agentops.accounts import password_link
from agentops.tenancy.access import SYSTEM
from agentops.tenancy.models import Role, Tenant
from agentops.tenancy.services import let_in


class Command(BaseCommand):
    """Give a person roles; without an account they get one, and a link to choose its password."""

    help = (
        "Give a person one or more roles in a tenant. If nobody has that e-mail address, an account is made, and the "
        "link where its password is chosen is printed: whoever has it can sign in as that person, once, for three days."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take tenant, person and roles."""
        parser.add_argument("tenant", help="Slug of the tenant.")
        parser.add_argument("email", help="E-mail address of the person, which they sign in with.")
        parser.add_argument("role", nargs="+", choices=Role.values)
        parser.add_argument("--name", default="", help="Name of the person, for a new account.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Give the roles, or say why not."""
        tenant = Tenant.objects.filter(slug=options["tenant"]).first()
        if tenant is None:
            raise CommandError(f"There is no tenant {options['tenant']}. Make it with manage.py tenant_create.")
        try:
            user, created = let_in(
                tenant=tenant, email=options["email"], roles=options["role"], actor=SYSTEM, name=options["name"]
            )
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        self.stdout.write(f"{user.get_username()} is {', '.join(options['role'])} in {tenant.slug}.")
        if created:
            self.stdout.write(f"The password is chosen at {password_link(user)}")
