"""How a model is asked: the few parameters a task type may set, read strictly."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final, Self

from agentops.wire.parse import JSONObject

DEFAULT_MAX_TOKENS: Final = 8192
"""Output tokens of one answer where the task type does not say: always sent, because it bounds what a request costs."""

DEFAULT_DEADLINE_S: Final = 60
MAX_DEADLINE_S: Final = 600


class InvalidParameters(ValueError):
    """A parameter is unknown, of the wrong type or out of range; the message names it."""


@dataclass(frozen=True, slots=True)
class ModelParameters:
    """Parameters of a request; None leaves the choice to the provider.

    `deadline_s` bounds one question as a whole, all models of the chain together; `timeout_s` each of them.
    """

    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    max_tokens: int = DEFAULT_MAX_TOKENS
    deadline_s: int = DEFAULT_DEADLINE_S
    timeout_s: int | None = None

    @classmethod
    def from_json(cls, raw: object) -> Self:
        """Read what a person wrote; raises InvalidParameters."""
        if not isinstance(raw, Mapping):
            raise InvalidParameters('Write a JSON object, such as {"temperature": 0.2}.')
        values: dict[str, int | float] = {}
        for name, value in raw.items():
            if name not in _RANGES:
                raise InvalidParameters(f"{str(name)[:40]!a} is no parameter; known are {', '.join(_RANGES)}.")
            whole, low, high = _RANGES[name]
            fits = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
            if not fits or not low <= value <= high:
                kind = "a whole number" if whole else "a number"
                raise InvalidParameters(f"{name} must be {kind} from {low} to {high}.")
            values[name] = value
        read = cls(**values)  # type: ignore[arg-type]  # checked above, name by name
        if read.timeout_s is not None and read.timeout_s > read.deadline_s:
            raise InvalidParameters("timeout_s may not be longer than deadline_s.")
        return read

    def to_json(self) -> JSONObject:
        """Return everything that is set, defaults included, so that a record does not depend on them."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}


_RANGES: Final[Mapping[str, tuple[bool, int, int]]] = {
    "temperature": (False, 0, 2),
    "top_p": (False, 0, 1),
    "seed": (True, 0, 2**31 - 1),
    "max_tokens": (True, 16, 200_000),
    "deadline_s": (True, 1, MAX_DEADLINE_S),
    "timeout_s": (True, 1, MAX_DEADLINE_S),
}
"""Name -> whole number?, lowest, highest."""

DEFAULTS: Final = ModelParameters()
