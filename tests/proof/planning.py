"""Whole runs planned by a model, which is a scripted server on this machine."""

from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

from agentops.engine.events import Event
from agentops.engine.planner import Planner
from agentops.engine.state import State
from agentops.runs.models import Run
from agentops.runs.recording import load
from agentops.worker.driver import Driver
from agentops.worker.model_planner import ModelPlanner
from agentops.worker.planners import planner_for
from tests.shop import Clock
from tests.stubs.model_server import ModelServer, Script

STEPWISE = "support-stepwise"

Answers = Callable[[Script], ModelServer]


def drive_on(run_id: UUID, clock: Clock, deadline_s: float | None = None) -> Run:
    """Drive a run until it ends or people are asked; waits for a retry pass on the clock and take no time."""

    def planner(run: Run, state: State) -> Planner:
        chosen = planner_for(run, state)
        assert isinstance(chosen, ModelPlanner)
        return chosen if deadline_s is None else replace(chosen, deadline_s=deadline_s)

    driver = Driver("w1", now=clock, planners=planner)
    for _ in range(10):
        run = Run.objects.get(pk=run_id)
        if run.not_before is not None:
            clock.now = max(clock.now, run.not_before)
        driver.drive(run.tenant_id, run_id)
        run = Run.objects.get(pk=run_id)
        if run.state != "waiting_retry":
            return run
    raise AssertionError("it goes on for ever")


def events_of(run: Run, *types: type[Event]) -> list[Event]:
    """Return the events of these types, oldest first."""
    return [stamped.event for stamped in load(run.id) if isinstance(stamped.event, types)]
