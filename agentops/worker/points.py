"""Named places between two statements of the driver, where tests kill it or let something else happen.

Nothing is installed outside of tests, and a place then costs one comparison.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

POINTS: Final = (
    "claimed",  # the lease is taken, nothing is read yet
    "folded",  # the run's events are folded
    "plan_made",  # a planner has answered and the answer is not committed
    "before_intent",  # a call is about to start
    "in_transaction",  # between two statements of a commit
    "after_intent",  # the intent and the grant's consumption are committed
    "before_effect",  # the permit is given, the handler is next
    "after_effect",  # the handler has returned
    "before_outcome",  # what came of it is not committed
    "after_outcome",  # what came of it is committed
    "before_release",  # the run is about to let the worker go
    "after_release",  # the run has let the worker go
)

Hook = Callable[[str], None]
_hook: Hook | None = None


def reached(name: str) -> None:
    """Say that the driver is at a place; does nothing unless a test listens."""
    if _hook is not None:
        assert name in POINTS, name
        _hook(name)


@contextmanager
def installed(hook: Hook) -> Iterator[None]:
    """Call `hook` with the name of every place that any driver of this process reaches."""
    global _hook
    before, _hook = _hook, hook
    try:
        yield
    finally:
        _hook = before
