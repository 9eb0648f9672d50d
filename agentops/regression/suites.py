"""Run the cases of a suite k times and say what that shows. Writes nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from agentops.regression.cases import Case
from agentops.regression.paying import Purse
from agentops.regression.runner import Prepare, Runner, Trial
from agentops.regression.statistics import Comparison, Outcome, compare, estimates
from agentops.wire.parse import JSON, JSONObject

MAX_REPEAT: Final = 100


@dataclass(frozen=True, slots=True)
class Planned:
    """A suite that is to be run: its cases, those of them that are in quarantine now, and what they run against."""

    suite: str
    task_type: str
    cases: tuple[Case, ...]
    prepare: Prepare
    quarantined: frozenset[str] = frozenset()
    pinned: Mapping[str, Prepare] = field(default_factory=dict)
    """What single cases run against instead, by case: those that carry the rules they are decided by."""

    def prepare_of(self, case: Case) -> Prepare:
        """Return what a case runs against."""
        return self.pinned.get(case.id, self.prepare)


@dataclass(frozen=True, slots=True)
class CaseShown:
    """How one case came out; `failing` is its first trial that failed, `shown` that or the last one."""

    case: Case
    outcome: Outcome
    shown: Trial
    failing: Trial | None
    duration_ms: int

    @property
    def counts_against(self) -> bool:
        """Whether it fails its suite."""
        return not self.outcome.passed and not self.outcome.quarantined

    def to_json(self) -> JSONObject:
        return {
            "id": self.case.id,
            "title": self.case.title,
            "passes": self.outcome.passes,
            "trials": self.outcome.trials,
            "quarantined": self.outcome.quarantined,
            "problems": list[JSON]([one.to_json() for one in self.failing.problems] if self.failing else ()),
            "steps": self.shown.steps,
            "calls": self.shown.calls,
            "duration_ms": self.duration_ms,
        }


@dataclass(frozen=True, slots=True)
class Shown:
    """What a suite has shown on one release."""

    planned: Planned
    repeat: int
    cases: tuple[CaseShown, ...]
    comparison: Comparison | None = None

    @property
    def passed(self) -> bool:
        return not any(one.counts_against for one in self.cases)

    @property
    def outcomes(self) -> dict[str, Outcome]:
        return {one.case.id: one.outcome for one in self.cases}

    def summary(self) -> JSONObject:
        """Return pass^k, counts and the comparison, as pages and reports show them."""
        counted = [one for one in self.cases if not one.outcome.quarantined]
        return {
            "cases": len(self.cases),
            "passed": sum(one.outcome.passed for one in counted),
            "failed": sum(not one.outcome.passed for one in counted),
            "flaky": sum(one.outcome.flaky for one in self.cases),
            "quarantined": sum(one.outcome.quarantined for one in self.cases),
            "pass_hat": estimates([one.outcome for one in counted], self.repeat),
            "comparison": self.comparison.to_json() if self.comparison is not None else None,
        }

    def to_json(self) -> JSONObject:
        return {
            "suite": self.planned.suite,
            "task_type": self.planned.task_type,
            "verdict": "passed" if self.passed else "failed",
            "repeat": self.repeat,
            **self.summary(),
            "results": [one.to_json() for one in self.cases],
        }


def run_suite(
    planned: Planned,
    *,
    repeat: int = 1,
    baseline: str = "",
    before: Mapping[str, Outcome] | None = None,
    live: bool = False,
    purse: Purse | None = None,
    after_trial: Callable[[], None] | None = None,
) -> Shown:
    """Run every case `repeat` times, with the models of this machine if `live`. No tenant's scope may be open.

    `before` are the outcomes of the baseline release, by case. `purse` pays for what models are asked. `after_trial` is
    called after each trial; what it raises ends the run of the suite.
    """
    if not 1 <= repeat <= MAX_REPEAT:
        raise ValueError(f"a suite is repeated 1 to {MAX_REPEAT} times")
    runner = Runner(planned.task_type, planned.prepare, live=live, purse=purse)

    def trial(case: Case, number: int) -> Trial:
        found = runner.run(case, seed=number, prepare=planned.prepare_of(case))
        if after_trial is not None:
            after_trial()
        return found

    cases = tuple(
        _shown(case, [trial(case, number) for number in range(repeat)], case.id in planned.quarantined)
        for case in planned.cases
    )
    shown = Shown(planned, repeat, cases)
    if before is None:
        return shown
    return Shown(planned, repeat, cases, compare(baseline, before, shown.outcomes))


def in_quarantine(case: Case, now: datetime) -> bool:
    """Whether the case says that it is in quarantine; the last day counts, in UTC."""
    return case.quarantine is not None and now.astimezone(UTC).date() <= case.quarantine.until


def _shown(case: Case, trials: Sequence[Trial], quarantined: bool) -> CaseShown:
    failing = next((one for one in trials if not one.passed), None)
    outcome = Outcome(sum(one.passed for one in trials), len(trials), quarantined)
    return CaseShown(case, outcome, failing or trials[-1], failing, sum(one.duration_ms for one in trials))
