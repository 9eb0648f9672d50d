"""Copies of frozen dataclasses with other values, several times faster than the standard library makes them."""

import dataclasses
from typing import Any, TypeVar

T = TypeVar("T")


def replace(one: T, /, **changes: Any) -> T:
    """Return a copy with other values, like `dataclasses.replace`; quick for a dataclass without slots.

    Nothing is computed again: for classes whose `__init__` does nothing but keep its arguments. Raises TypeError for a
    name that is no field.
    """
    known: dict[str, Any] | None = getattr(one, "__dict__", None)
    if known is None:
        return dataclasses.replace(one, **changes)  # type: ignore[type-var]  # what has slots here is a dataclass
    if not changes.keys() <= known.keys():
        raise TypeError(f"{type(one).__name__} has no field {', '.join(changes.keys() - known.keys())}")
    copy = object.__new__(type(one))
    copy.__dict__.update(known)
    copy.__dict__.update(changes)
    return copy
