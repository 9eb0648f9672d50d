"""Create a tenant."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from agentops.tenancy.access import SYSTEM
from agentops.tenancy.models import Environment
from agentops.tenancy.services import create_tenant


class Command(BaseCommand):
    """Create a tenant, which nobody belongs to yet."""

    help = "Create a tenant. Its slug stands in every address and never changes. `member_add` lets people in."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take slug and name."""
        parser.add_argument("slug", help="Small letters, digits and dashes, for example harbor-shop.")
        parser.add_argument("name", help="What people read, for example “Harbor Shop”.")
        parser.add_argument("--environment", choices=Environment.values, default=Environment.PRODUCTION)

    def handle(self, *args: Any, **options: Any) -> None:
        """Create it, or say why not."""
        slug, name = options["slug"], options["name"]
        try:
            create_tenant(slug=slug, name=name, actor=SYSTEM, environment=options["environment"])
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        self.stdout.write(f"The tenant {slug} is there. Next: manage.py member_add {slug} E-MAIL admin")
