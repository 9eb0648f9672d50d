"""Named places between two statements of the worker, for tests that let it die or stumble exactly there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

POINTS: Final = (
    "claimed",
    "folded",
    "plan_made",
    "before_intent",
    "after_intent",
    "before_effect",
    "after_effect",
    "before_outcome",
    "after_outcome",
    "before_release",
    "after_release",
    "in_transaction",
)

_hook: Callable[[str], None] | None = None


def reached(name: str) -> None:
    """Say that the worker is at a point; nothing happens unless a test has installed a hook."""
    if _hook is not None:
        _hook(name)


def install(hook: Callable[[str], None] | None) -> None:
    """Call `hook` with the name of every point that is reached from now on; None takes it away."""
    global _hook
    _hook = hook


@contextmanager
def installed(hook: Callable[[str], None]) -> Iterator[None]:
    """Have a hook installed inside the block."""
    install(hook)
    try:
        yield
    finally:
        install(None)
