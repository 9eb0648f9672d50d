"""What else ends with a run, in the transaction that ends it: layers above register what they keep for a live run."""

from collections.abc import Callable
from typing import Final
from uuid import UUID

from agentops.engine.events import Event
from agentops.engine.state import State

Ending = Callable[[UUID, State], list[Event]]
"""Clears what belongs to a run that has just ended and returns what to record of that; [] when there was nothing."""

Concern = Callable[[State], bool]
"""Whether there can be anything to clear for a run in this state; without a query."""

_endings: Final[dict[Ending, Concern]] = {}


def at_end(ending: Ending, concerns: Concern) -> None:
    """Register what to do when a run ends, and which runs that concerns. Once each, when applications are ready."""
    _endings[ending] = concerns


def concerned(state: State) -> bool:
    """Say whether anything else may end with a run that ends now."""
    return any(concerns(state) for concerns in _endings.values())


def events_of_end(run_id: UUID, before: State, after: State) -> list[Event]:
    """Clear what ends with the run if these two states say that it has just ended; return the events to append.

    Must run inside the transaction of the end, under the lock of the row of the run: whoever adds to a run's rows
    locks that row first, so nothing is added behind this back.
    """
    if before.state.terminal or not after.state.terminal:
        return []
    return [event for ending, concerns in _endings.items() if concerns(after) for event in ending(run_id, after)]
