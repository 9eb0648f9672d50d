"""What the runs of one worker are driven with."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from agentops import clock
from agentops.engine.planner import Planner
from agentops.engine.state import State
from agentops.runs.models import Run
from agentops.worker.calls import Tools
from agentops.worker.planners import planner_for
from tools import executor


@dataclass(frozen=True)
class Means:
    """The worker's name, and clock, planners, dice and tools: the caller's to choose."""

    owner: str
    now: Callable[[], datetime] = clock.now
    planners: Callable[[Run, State], Planner] = planner_for
    rng: random.Random = field(default_factory=random.Random)
    tools: Tools = executor
