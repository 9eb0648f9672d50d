"""One run, read twice in one pass: what it contributed when it was last counted, and what it contributes now. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from agentops.engine.events import Stamped
from agentops.engine.folding import apply
from agentops.engine.state import State
from agentops.metrics.units import Reading, Units


@dataclass(frozen=True, slots=True)
class Counted:
    """A run that was read up to event `seq`: its units before and after, its state and its events."""

    run_id: UUID
    seq: int
    before: Units | None
    after: Units | None
    state: State
    events: Sequence[Stamped]


def read_run(run_id: UUID, events: Sequence[Stamped], counted_to: int) -> Counted:
    """Read a run that was counted up to event `counted_to` (0: never). A record that cannot be raises."""
    reading, state, before = Reading(), State(), None
    for one in events:
        if one.seq == counted_to + 1:
            before = reading.units(state)
        state = apply(state, one)
        reading.take(one)
    after = reading.units(state)
    return Counted(run_id, state.seq, after if counted_to >= state.seq else before, after, state, events)
