"""Who may have an account (people are invited by an admin), and when somebody last proved who they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.flows.login import get_authentication_records
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest


class InvitedOnlyAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Close the sign-up door."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Refuse every sign-up."""
        return False

    def get_reauthentication_methods(self, user: User | AnonymousUser) -> list[dict[str, str]]:
        """Return how somebody can prove again who they are: with a second factor where there is one, passkeys first."""
        found: list[dict[str, str]] = super().get_reauthentication_methods(user)
        factors = [one for one in found if one["id"] != "reauthenticate"]
        return sorted(factors, key=lambda one: "webauthn" not in one["id"]) or found


@dataclass(frozen=True, slots=True)
class Proved:
    """When somebody last proved who they are, and when they last did so with a second factor; None if nobody knows."""

    at: datetime | None = None
    by_factor_at: datetime | None = None

    def moved(self, now: datetime) -> "Proved":
        """Return the same for a proof that was given just now: of the kind that is the latest on record."""
        return Proved(now, now if self.at is not None and self.by_factor_at == self.at else self.by_factor_at)


UNPROVED: Final = Proved()


def proved(request: HttpRequest) -> Proved:
    """Return what this session knows about the signed-in person. No query."""
    records = get_authentication_records(request, request.user)
    return Proved(_latest(records), _latest([one for one in records if one.get("method") == "mfa"]))


def authenticated_at(request: HttpRequest) -> datetime | None:
    """Return when this session last proved who the signed-in person is; None if nobody knows."""
    return proved(request).at


def _latest(records: Sequence[Mapping[str, Any]]) -> datetime | None:
    known = [moment for one in records if isinstance(moment := one.get("at"), int | float)]
    return datetime.fromtimestamp(max(known), UTC) if known else None
