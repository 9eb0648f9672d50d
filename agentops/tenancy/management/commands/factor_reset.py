"""`manage.py factor_reset EMAIL`: take all second factors from somebody who has lost them, recovery codes and all."""

from typing import Any

from allauth.mfa.models import Authenticator
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from agentops.tenancy.access import SYSTEM
from agentops.tenancy.factors import tell


class Command(BaseCommand):
    """Whoever runs it has made sure, outside of the desk, who asks. Every tenant of the person is told."""

    help = "Take all second factors from somebody who has lost them; their password alone opens the account then."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the address of the person."""
        parser.add_argument("email")

    def handle(self, *, email: str, **options: Any) -> None:
        """Remove the factors and say how many there were."""
        user = User.objects.filter(email__iexact=email).first()
        if user is None:
            raise CommandError(f"Nobody has the address {email}.")
        with transaction.atomic():
            count, _ = Authenticator.objects.filter(user=user).delete()
            if count:
                tell("auth.factor_removed", user=user, kind="all", actor=SYSTEM)
        self.stdout.write(f"{count} removed." if count else "There were none.")
