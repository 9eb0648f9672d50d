"""How long tools take, so that quick ones are called where they are needed and slow ones where they hold nobody up."""

from dataclasses import dataclass
from typing import Final

QUICK_S: Final = 0.005
"""A tool below this, on average, costs less than handing it to another thread and back does."""

KNOWN_AFTER: Final = 5
"""Calls before a tool is trusted to be quick."""

WEIGHT: Final = 0.2
LAPSE_S: Final = 0.05
"""One call above this and the tool counts as slow again."""


@dataclass
class _Seen:
    calls: int = 0
    mean_s: float = 0.0


class Pace:
    """Remembers, for one process, how long each tool took lately."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def quick(self, tool: str) -> bool:
        """Say whether a call of the tool takes but an instant; of an unknown one nobody knows."""
        seen = self._seen.get(tool)
        return seen is not None and seen.calls >= KNOWN_AFTER and seen.mean_s < QUICK_S

    def took(self, tool: str, seconds: float) -> None:
        """Remember how long a call took."""
        seen = self._seen.setdefault(tool, _Seen())
        if seconds > LAPSE_S:
            seen.calls = 0
        seen.calls += 1
        seen.mean_s = seconds if seen.calls == 1 else (1 - WEIGHT) * seen.mean_s + WEIGHT * seconds
