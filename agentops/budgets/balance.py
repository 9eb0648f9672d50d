"""What an account holds, and how it changes. Pure; `services` does the same in SQL, under one conditional update each.

`reserved` is what is under way and may still be spent, `spent` what was. A reservation is admitted only if it fits
beside both; what was really spent is written down whatever it is, so an account is above its limit only by what a
reservation was too small.
"""

from dataclasses import dataclass, replace


class Overdrawn(ValueError):
    """More was settled or released than is reserved; nothing that keeps its books does that."""


@dataclass(frozen=True, slots=True)
class Balance:
    """Amounts of one measure in one period."""

    reserved: int = 0
    spent: int = 0

    @property
    def used(self) -> int:
        """What is gone or may be any moment."""
        return self.reserved + self.spent

    def left(self, hard: int) -> int:
        """What may still be reserved under a hard limit."""
        return max(0, hard - self.used)

    def share(self, hard: int) -> int:
        """Percent of the hard limit, rounded down."""
        return self.used * 100 // hard

    def near(self, soft: int | None) -> bool:
        """Whether the soft limit is reached."""
        return soft is not None and self.used >= soft

    def reserve(self, amount: int, hard: int) -> "Balance | None":
        """Return the balance with `amount` more reserved, or None if it does not fit."""
        if amount < 0:
            raise ValueError("an amount is not negative")
        return replace(self, reserved=self.reserved + amount) if self.used + amount <= hard else None

    def settle(self, reserved: int, spent: int) -> "Balance":
        """Return the balance after a reservation came to its end; `spent` of 0 releases it."""
        if reserved > self.reserved or reserved < 0 or spent < 0:
            raise Overdrawn(f"{reserved} settled of {self.reserved} reserved")
        return Balance(self.reserved - reserved, self.spent + spent)

    def correct(self, assumed: int, spent: int) -> "Balance":
        """Return the balance after an amount that was assumed turned out to be another."""
        if assumed > self.spent or assumed < 0 or spent < 0:
            raise Overdrawn(f"{assumed} corrected of {self.spent} spent")
        return replace(self, spent=self.spent - assumed + spent)
