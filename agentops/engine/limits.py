"""What a run may spend. Every limit is checked before the spend, never after."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Final, Self

HARD_MAXIMA: Final[Mapping[str, int]] = {
    "steps": 1000,
    "calls_per_step": 16,
    "plans": 20,
    "model_calls": 200,
    "repeats": 10,
    "attempts": 10,
    "wall_time_s": 7 * 24 * 3600,
}


class InvalidLimits(ValueError):
    """A limit is unknown, not a whole number, or outside its range; `field` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one run: counts, and `wall_time_s` in seconds without the time people took to decide.

    `repeats` is how often the same tool may be called with the same arguments; `attempts` how often one repeatable
    call may be tried when it fails for a transient reason.
    """

    steps: int = 8
    calls_per_step: int = 4
    plans: int = 4
    model_calls: int = 16
    repeats: int = 2
    attempts: int = 4
    wall_time_s: int = 900

    def to_json(self) -> dict[str, int]:
        return asdict(self)

    @classmethod
    def from_json(cls, raw: object) -> Self:
        """Parse limits a person wrote; missing ones take their default. Raises InvalidLimits."""
        if not isinstance(raw, Mapping):
            raise InvalidLimits("limits", "must be an object")
        known = {f.name for f in fields(cls)}
        values: dict[str, int] = {}
        for name, value in raw.items():
            if name not in known:
                raise InvalidLimits(str(name), f"unknown limit; known are {', '.join(sorted(known))}")
            if isinstance(value, bool) or not isinstance(value, int):
                raise InvalidLimits(name, "must be a whole number")
            if not 1 <= value <= HARD_MAXIMA[name]:
                raise InvalidLimits(name, f"must be between 1 and {HARD_MAXIMA[name]}")
            values[name] = value
        return cls(**values)
