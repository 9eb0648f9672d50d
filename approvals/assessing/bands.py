"""The four bands of risk: how much care a decision needs. Pure."""

from enum import StrEnum
from typing import Final


class Band(StrEnum):
    """How much care a decision needs."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for low to 3 for critical."""
        return _BANDS.index(self)

    @property
    def lowest(self) -> int:
        """The lowest score of the band."""
        return 25 * self.rank

    @classmethod
    def of(cls, score: int) -> "Band":
        """Return the band of a score: 0-24, 25-49, 50-74, 75-100."""
        return _BANDS[min(max(score, 0) // 25, 3)]


_BANDS: Final = tuple(Band)
