"""What a run has used of its limits, and whether it may spend more. Pure; asked by `decide` before every spend."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from agentops.engine.events import RunWarned
from agentops.engine.folding import tool_cost
from agentops.engine.state import State


@dataclass(frozen=True, slots=True)
class Measure:
    """One limit that adds up over a run: its name in `Limits`, and how its use is read off a state.

    `counted`: using all of it is normal, so that only the share before the last one is worth a warning.
    """

    limit: str
    used: Callable[[State], int]
    counted: bool = False

    def allowed(self, state: State) -> int:
        """What the run may use; 0 where there is no limit."""
        value: int = getattr(state.limits, self.limit)
        return value


MEASURES: Final = (
    Measure("steps", lambda s: s.steps_used, counted=True),
    Measure("model_calls", lambda s: s.usage.requests, counted=True),
    Measure("tokens", lambda s: s.tokens),
    Measure("cost_micros", lambda s: s.cost_micros),
    Measure("wall_time_s", lambda s: int(s.wall_time.total_seconds())),
    Measure("reviewer_s", lambda s: s.reviewer_s),
)


def warning(state: State) -> RunWarned | None:
    """Return the next limit that is nearly used up and about which nothing is on record yet."""
    if state.limits.soft_percent == 100:
        return None
    for measure in MEASURES:
        if measure.limit not in state.warned and nearly(measure, state):
            return RunWarned(measure.limit, measure.used(state), measure.allowed(state))
    return None


def nearly(measure: Measure, state: State) -> bool:
    """Whether so much of a limit is used that it is worth a warning."""
    allowed, percent = measure.allowed(state), state.limits.soft_percent
    if not allowed or percent == 100:
        return False
    used = measure.used(state)
    return used * 100 >= allowed * percent and (used < allowed or not measure.counted)


def model_limit_reached(state: State, tokens: int = 0, cost_micros: int = 0) -> tuple[str, str] | None:
    """Say why a model may not be asked, as failure code and sentence; None if it may.

    `tokens` and `cost_micros` are the most the request can use. Without them this says whether anything is left at
    all; with them, whether the request fits, so that no run ever uses more than it may.
    """
    for limit, code, used, more, what in (
        (state.limits.tokens, "limit_tokens", state.tokens, tokens, "tokens"),
        (state.limits.cost_micros, "limit_cost", state.cost_micros, cost_micros, "millionths of a US dollar"),
    ):
        if not limit or used + max(1, more) <= limit:
            continue
        if not more:
            return code, f"The run may use {limit} {what} and has used {used}."
        return code, f"The next request may use up to {more} {what}; of {limit} the run has used {used}."
    return None


def affordable(state: State, tools: Iterable[str]) -> bool:
    """Whether one attempt at each of these tools fits into the run's money. Free ones always do."""
    if not state.limits.cost_micros:
        return True
    cost = sum(tool_cost(state, tool) for tool in tools)
    return not cost or state.cost_micros + cost <= state.limits.cost_micros


def too_dear(state: State) -> str:
    """Say in a sentence that a call does not fit into the run's money any more."""
    return (
        f"The run may cost {state.limits.cost_micros} millionths of a US dollar and has cost {state.cost_micros}; "
        "what comes next does not fit."
    )


def review_refused(state: State, reviewer_s: int) -> str:
    """Say why nobody may be asked for `reviewer_s` more seconds of attention; empty if somebody may."""
    limit = state.limits.reviewer_s
    if not limit or state.reviewer_s + reviewer_s <= limit:
        return ""
    return (
        f"The run may take {limit} s of people's attention; {state.reviewer_s} s are used or set aside, "
        f"and this would take about {reviewer_s} s."
    )
