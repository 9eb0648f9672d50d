"""Who may have an account: people are invited by an admin, nobody signs up."""

from datetime import UTC, datetime

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.flows.login import get_authentication_records
from django.http import HttpRequest


class InvitedOnlyAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Close the sign-up door."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Refuse every sign-up."""
        return False


def authenticated_at(request: HttpRequest) -> datetime | None:
    """Return when this session last proved who the signed-in person is; None if nobody knows."""
    moments = [one.get("at") for one in get_authentication_records(request, request.user)]
    known = [moment for moment in moments if isinstance(moment, int | float)]
    return datetime.fromtimestamp(max(known), UTC) if known else None
