"""What else ends with a run, in the transaction that ends it: layers above register what they keep for a live run."""

from collections.abc import Callable
from typing import Final
from uuid import UUID

from agentops.engine.events import Event
from agentops.engine.state import State

Ending = Callable[[UUID, State], list[Event]]
"""Clears what belongs to a run that has just ended and returns what to record of that; [] when there was nothing."""

_endings: Final[list[Ending]] = []


def at_end(ending: Ending) -> Ending:
    """Register what to do when a run ends. Called once each, when applications are ready."""
    if ending not in _endings:
        _endings.append(ending)
    return ending


def events_of_end(run_id: UUID, before: State, after: State) -> list[Event]:
    """Clear what ends with the run if these two states say that it has just ended; return the events to append.

    Must run inside the transaction of the end, after the row of the run was written: whoever adds to a run's rows
    locks that row first, so nothing is added behind this back.
    """
    if before.state.terminal or not after.state.terminal:
        return []
    return [event for ending in _endings for event in ending(run_id, after)]
