"""Who may have an account: people are invited by an admin, nobody signs up."""

from datetime import UTC, datetime

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.forms import default_token_generator
from allauth.account.internal.flows.login import get_authentication_records
from allauth.account.utils import user_pk_to_url_str
from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.urls import reverse


class InvitedOnlyAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Close the sign-up door."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Refuse every sign-up."""
        return False


def password_link(user: User) -> str:
    """Return the address where this person can choose a password once, as the e-mail of a forgotten one has it."""
    key = default_token_generator.make_token(user)
    path = reverse("account_reset_password_from_key", args=[user_pk_to_url_str(user), key])
    return f"{settings.SITE_URL.rstrip('/')}{path}"


def authenticated_at(request: HttpRequest) -> datetime | None:
    """Return when this session last proved who the signed-in person is; None if nobody knows."""
    moments = [one.get("at") for one in get_authentication_records(request, request.user)]
    known = [moment for moment in moments if isinstance(moment, int | float)]
    return datetime.fromtimestamp(max(known), UTC) if known else None
