"""When somebody last proved who they are, by what their session remembers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from allauth.account.internal.flows.login import get_authentication_records
from django.http import HttpRequest


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
