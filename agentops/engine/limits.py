"""What a run may spend. Every limit is checked before the spend, never after.

What a run fails with when a limit stops it: limit_steps, limit_calls (of one step), limit_plans, limit_model_calls,
limit_tokens, limit_cost, limit_wall_time, limit_repeats. Attention that is used up denies the call that needs more of
it (budget_exceeded), and so does money that is used up between two attempts.
"""

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
    "tokens": 1_000_000_000,
    "cost_micros": 1_000_000_000_000,
    "reviewer_s": 7 * 24 * 3600,
    "soft_percent": 100,
}

NONE_BY_DEFAULT: Final = frozenset({"tokens", "cost_micros", "reviewer_s"})
"""Limits for which 0 is allowed, is the default, and means that there is none."""


class InvalidLimits(ValueError):
    """A limit is unknown, not a whole number, or outside its range; `field` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one run: counts, and `wall_time_s` in seconds without the time people took to decide.

    `repeats` is how often the same tool may be called with the same arguments; `attempts` how often one repeatable
    call may be tried when it fails for a transient reason. `tokens` are those of models, in and out together;
    `cost_micros` millionths of a US dollar, models and tools together; `reviewer_s` seconds of people's attention.
    From `soft_percent` of a limit on the run says so, once for each; 100 never does.
    """

    steps: int = 8
    calls_per_step: int = 4
    plans: int = 4
    model_calls: int = 16
    repeats: int = 2
    attempts: int = 4
    wall_time_s: int = 900
    tokens: int = 0
    cost_micros: int = 0
    reviewer_s: int = 0
    soft_percent: int = 80

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
            least = 0 if name in NONE_BY_DEFAULT else 1
            if not least <= value <= HARD_MAXIMA[name]:
                none = "0 (no limit)" if name in NONE_BY_DEFAULT else "1"
                raise InvalidLimits(name, f"must be between {none} and {HARD_MAXIMA[name]}")
            values[name] = value
        return cls(**values)
