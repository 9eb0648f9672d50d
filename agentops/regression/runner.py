"""Run cases: the real engine, driver, gate and executor in an isolated tenant, against scripted answers.

Nothing of a trial stays but what is returned. No effect, no grant outside of the transaction, no network but to a model
where somebody asks for a live one.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

from django.utils import timezone

from agentops.budgets.services import Allowance, Amounts, Refused
from agentops.engine.events import Stamped
from agentops.engine.folding import fold
from agentops.engine.planner import Planner
from agentops.engine.state import State
from agentops.engine.transitions import RunState
from agentops.regression.cases import Case, ScriptedDecision
from agentops.regression.checks import Problem, problems
from agentops.regression.exporting import recording_of
from agentops.regression.isolation import Place, isolated
from agentops.regression.paying import Purse, bound, spent_here
from agentops.regression.recordings import Recording
from agentops.regression.reviewer import say
from agentops.regression.scripts import Script, ScriptedModel, ScriptedTools, ScriptEnded
from agentops.runs.model_choice import ModelChoice
from agentops.runs.models import Origin, PlannerKind, Run, TaskType
from agentops.runs.recording import load
from agentops.runs.services import InvalidTask, submit
from agentops.tenancy.access import SYSTEM, Actor
from agentops.worker.driver import Driver
from agentops.worker.planners import planner_for
from approvals.models import Proposal, Status

REQUESTER: Final = Actor("system", "regression", "Regression", SYSTEM.roles)
SCRIPTED: Final = ModelChoice(models=("scripted",))
MAX_TURNS: Final = 200

Prepare = Callable[[], None]
"""Writes the task type, its playbooks and its allowlist into the isolated tenant, whose scope is open."""


@dataclass
class Ticking:
    """A clock that moves by a millisecond when it is looked at, and jumps where a run waits."""

    moment: datetime = field(default_factory=timezone.now)

    def __call__(self) -> datetime:
        self.moment += timedelta(milliseconds=1)
        return self.moment

    def jump(self, to: datetime | None) -> None:
        """Go on to a later moment."""
        if to is not None:
            self.moment = max(self.moment, to)


@dataclass(frozen=True, slots=True)
class Trial:
    """How one trial of a case came out; `record` is what was recorded, as a file would carry it."""

    case: Case
    problems: tuple[Problem, ...]
    steps: int
    calls: int
    duration_ms: int
    record: Recording | None = None

    @property
    def passed(self) -> bool:
        return not self.problems


class Runner:
    """Runs cases of one task type, one after the other. Needs no open tenant scope, and a database that it may use.

    `live`: a task type that a model plans is planned by the models of this machine, with the prompt as it is now,
    instead of by what the case says that a model answered. `purse` pays for that.
    """

    def __init__(self, task_type: str, prepare: Prepare, *, live: bool = False, purse: Purse | None = None) -> None:
        self.live = live
        self.purse = purse if live else None
        self.task_type = task_type
        self.prepare = prepare
        self.tools = ScriptedTools()

    def run(self, case: Case, *, seed: int = 0, prepare: Prepare | None = None) -> Trial:
        """Run one trial. `seed` throws the dice of waits; `prepare` is what it runs against, if not the usual."""
        began = time.monotonic()
        allowance = None
        if self.purse is not None:
            allowance = self.purse.allow(f"trial:{self.task_type}/{case.id}#{seed}")
        if isinstance(allowance, Refused):
            return Trial(case, (Problem("budget_exceeded", allowance.message),), 0, 0, _since(began))
        spent: Amounts | None = None
        script = self.tools.script = Script(case)
        found: list[Problem] = []
        events: Sequence[Stamped] = ()
        record: Recording | None = None
        try:
            before = partial(_prepared, prepare or self.prepare, allowance)
            with isolated(self.tools.executor, before) as place:
                attempt = _Attempt(place, case, script, self, seed)
                try:
                    attempt.drive()
                except ScriptEnded as ended:
                    found.append(Problem(ended.code, ended.message))
                spent = spent_here() if allowance is not None else None
                if attempt.run is not None:
                    events = load(attempt.run.id)
                    record = recording_of(
                        Run.objects.select_related("task_type").get(pk=attempt.run.id), now=attempt.clock()
                    )
        finally:
            self.tools.script = None
            if self.purse is not None and allowance is not None:
                self.purse.settle(allowance, spent)
        state = fold(events)
        if events:
            found += [one for one in problems(case.expect, events, state) if not (found and one.code == "state")]
        return Trial(case, tuple(found), state.steps_used, state.calls_used, _since(began), record)


def _prepared(prepare: Prepare, allowance: Allowance | None) -> None:
    prepare()
    if allowance is not None:
        bound(allowance)


class _Attempt:
    def __init__(self, place: Place, case: Case, script: Script, runner: Runner, seed: int) -> None:
        self.place = place
        self.case = case
        self.script = script
        self.task_type = runner.task_type
        self.live = runner.live
        self.clock = Ticking()
        self.run: Run | None = None
        self.unanswered: dict[UUID, ScriptedDecision] = {}
        self.driver = Driver(
            "regression",
            now=self.clock,
            planners=self.planner,
            rng=random.Random(seed),  # noqa: S311 - jitter, no secret
            tools=runner.tools.executor,
        )

    def planner(self, run: Run, state: State) -> Planner:
        """Give the scripted model where one plans, and what the task type has otherwise."""
        if state.planner.startswith("model:") and not self.live:
            return ScriptedModel(state.planner, self.script)
        return planner_for(run, state)

    def drive(self) -> None:
        """Take the run to its end, deciding what it asks; raises ScriptEnded where the case does not go on."""
        task_type = TaskType.objects.filter(slug=self.task_type).first()
        if task_type is None:
            raise ScriptEnded("no_task_type", f"There is no task type {self.task_type}.")
        scripted = bool(self.case.model) and not self.live
        if task_type.planner == PlannerKind.AUTO and not self.case.model and not self.live:
            task_type.planner = PlannerKind.PLAYBOOK  # whatever models this machine has
        run = submit(
            task_type=task_type,
            input=self.case.input,
            actor=REQUESTER,
            origin=Origin.REGRESSION,
            title=self.case.title,
            now=self.clock(),
            planned_by=SCRIPTED if scripted else None,
        )
        if isinstance(run, InvalidTask):
            told = "; ".join(f"{issue.path or '/'}: {issue.message}" for issue in run.issues)
            raise ScriptEnded("not_accepted", f"The task is not accepted: {told}")
        self.run = run
        for _ in range(MAX_TURNS):
            self.driver.drive(self.place.tenant, run.id)
            run = Run.objects.get(pk=run.id)
            state = RunState(run.state)
            if state.terminal:
                return
            match state:
                case RunState.AWAITING_APPROVAL:
                    self.decide(run)
                case RunState.AWAITING_RECONCILIATION:
                    raise ScriptEnded(
                        "outcome_unknown", "An effect stays unknown: the case does not say whether it happened."
                    )
                case _:
                    self.clock.jump(run.not_before)
        raise ScriptEnded("no_end", "The run did not come to an end.")

    def decide(self, run: Run) -> None:
        """Say what the script says of what waits; what nobody answers ends last, when the rest has been done."""
        waiting = list(Proposal.objects.filter(run=run, status=Status.PENDING).order_by("created_at", "id"))
        decisions: dict[UUID, ScriptedDecision] = {}
        for proposal in waiting:
            decision = self.unanswered.get(proposal.pk) or self.script.decision(proposal.tool)
            if decision is None:
                raise ScriptEnded(
                    "no_decision", f"Nobody says anything about {proposal.tool}, which waits for a person."
                )
            decisions[proposal.pk] = decision
        self.unanswered = {key: one for key, one in decisions.items() if one.verdict == "expire"}
        answered = [proposal for proposal in waiting if proposal.pk not in self.unanswered]
        for proposal in answered or waiting:
            decision = decisions[proposal.pk]
            if decision.verdict == "expire":
                self.clock.jump(proposal.decide_by + timedelta(seconds=1))
            if refused := say(self.place, proposal, decision, now=self.clock()):
                raise ScriptEnded("decision_impossible", f"The decision about {proposal.tool} is impossible: {refused}")


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
