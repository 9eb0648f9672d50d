"""Where a budget will stand at the end of its period if it goes on as it did. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from agentops.budgets.balance import Balance

EARLY: Final = 0.05
"""Share of a period before which nothing is said about its end."""


@dataclass(frozen=True, slots=True)
class Projection:
    """`amount` at the end of the period, and when the hard limit is reached (None: not in this period)."""

    amount: int
    runs_out_at: datetime | None


def project(
    balance: Balance, hard: int, *, start: datetime, end: datetime | None, now: datetime, counted_from: datetime
) -> Projection | None:
    """Carry on what was spent since `counted_from` (or `start`, if later) evenly to `end`; what is set aside is added.

    None for a budget without an end, and in the first twentieth of the time it is counted in.
    """
    if end is None:
        return None
    since = max(start, counted_from)
    whole, elapsed = (end - since).total_seconds(), (now - since).total_seconds()
    if whole <= 0 or elapsed < EARLY * whole:
        return None
    amount = round(balance.spent * whole / min(elapsed, whole)) + balance.reserved
    if balance.left(hard) == 0:
        return Projection(amount, now)
    if amount <= hard or not balance.spent:
        return Projection(amount, None)
    return Projection(amount, now + timedelta(seconds=balance.left(hard) * elapsed / balance.spent))
