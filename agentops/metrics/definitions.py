"""What every number means: numerator, denominator, window, unit, and how it is read off cells. Pure.

Excluded everywhere: runs of regression suites, replays and forks. Unit and window are stated with each; units count in
the span they ended in; an interval is Wilson's at 95 %; below 20 units there is no rate.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from agentops.metrics.cells import Kind, error_rate, histogram
from agentops.metrics.statistics import Rate, bin_value, quantile, rate

VERSION: Final = 1
"""Of all definitions together. A change starts the rollups again from the record."""

Counts = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Definition:
    """One share: `hits` of `of`, as names of counts in cells of `kind`."""

    name: str
    title: str
    numerator: str
    denominator: str
    unit: str
    kind: Kind
    read: Callable[[Counts], Rate]
    up_is: str = ""
    """good, bad, or empty where neither direction is."""


def _of(hits: str, of: str) -> Callable[[Counts], Rate]:
    return lambda counts: rate(counts.get(hits, 0), counts.get(of, 0))


SUCCESS: Final = Definition(
    "success",
    "Task success",
    "runs that completed and met their task type's success criterion",
    "runs that ended, without those their requester took back before a first effect",
    "run",
    Kind.RUN,
    _of("verified", "ended"),
    "good",
)
UNCHECKED: Final = Definition(
    "unchecked",
    "Completed without a check",
    "runs that completed under a task type without a success criterion",
    "runs that completed",
    "run",
    Kind.RUN,
    _of("unchecked", "succeeded"),
)
COMPLETED: Final = Definition(
    "completed",
    "Completed",
    "runs that completed, checked or not",
    "runs that ended, without those their requester took back before a first effect",
    "run",
    Kind.RUN,
    _of("succeeded", "ended"),
    "good",
)
TOOL_ERRORS: Final = Definition(
    "tool_errors",
    "Tool errors",
    "calls that ended in an error after the tool's own retries: caused by the agent, the tool, or policy",
    "calls attempted, without those that were never sent because a person rejected them",
    "call, clustered by run",
    Kind.TOOL,
    error_rate,
    "bad",
)
OVERRIDE: Final = Definition(
    "override",
    "Human override",
    "decided proposals that were rejected, edited, or undone by whoever decided",
    "proposals a person decided; not those that expired, were withdrawn, or that policy approved",
    "proposal",
    Kind.BAND,
    _of("overridden", "decided"),
)
REJECTED: Final = Definition(
    "rejected", "Rejected", "decided proposals that were rejected", "as above", "proposal", Kind.BAND,
    _of("reject", "decided"),
)  # fmt: skip
EDITED: Final = Definition(
    "edited", "Edited", "decided proposals approved with other arguments", "as above", "proposal", Kind.BAND,
    _of("edit", "decided"),
)  # fmt: skip
UNDONE: Final = Definition(
    "undone", "Undone", "decided proposals whose approval was taken back by whoever decided", "as above", "proposal",
    Kind.BAND, _of("undone", "decided"),
)  # fmt: skip
GATE_YIELD: Final = Definition(
    "gate_yield",
    "Gate yield of a rule",
    "proposals of the rule that a person did not let through as they were",
    "proposals of the rule that a person decided",
    "proposal",
    Kind.RULE,
    _of("overridden", "decided"),
)
AUTONOMY: Final = Definition(
    "autonomy",
    "Autonomy",
    "effects nobody was asked about, because policy let them through",
    "effects executed",
    "call",
    Kind.TOOL,
    _of("auto", "effects"),
)
STAMPED: Final = Definition(
    "stamped",
    "Approved faster than it can be read",
    "approvals of medium risk and above after less than half the time that reading the arguments takes (250 words a "
    "minute and 0.8 s an argument)",
    "approvals of medium risk and above whose reading time was measured",
    "proposal",
    Kind.BAND,
    _of("stamped", "approvals"),
    "bad",
)
EXPIRED: Final = Definition(
    "expired",
    "Nobody answered",
    "proposals that expired",
    "proposals that were decided or closed",
    "proposal",
    Kind.BAND,
    _of("expired", "closed"),
    "bad",
)
TAINTED: Final = Definition(
    "tainted",
    "Untrusted target",
    "proposals in which untrusted text decides where the effect lands",
    "proposals that were decided or closed",
    "proposal",
    Kind.BAND,
    _of("tainted", "closed"),
)

RATES: Final = (
    *(SUCCESS, UNCHECKED, COMPLETED, TOOL_ERRORS, OVERRIDE, REJECTED, EDITED, UNDONE),
    *(GATE_YIELD, AUTONOMY, STAMPED, EXPIRED, TAINTED),
)

AMOUNTS: Final[Mapping[str, str]] = {
    "Steps per completed task": "Steps of completed runs; one plan step with a call is one step, and a step that only "
    "does the same calls with the same arguments again counts as a repeat instead. Median, 90th percentile, mean.",
    "Latency per completed task": "End minus start of completed runs, and the same without the time in which a "
    "proposal was open. Median and 90th percentile, within 2.5 %.",
    "Human wait": "Decision minus proposal, by band. Median and 90th percentile, within 2.5 %.",
    "Reading time": "Decision minus the moment its card was rendered, at most ten minutes, by band.",
    "Cost per completed task": "Cost of models and tools of all runs that ended, failed ones included, divided by the "
    "runs that completed. Reviewers' time stands beside it. Requests without a known price are counted apart.",
    "Orphan actions": "Effects without any permission on record. Wanted: none.",
}


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and 90th percentile of a histogram over `n` units, in the unit of its measure; None without any."""

    n: int
    p10: int | None
    p50: int | None
    p90: int | None


def spread(counts: Counts, measure: str, *, exact: bool = False) -> Spread:
    """Return the spread of a histogram. `exact`: its bins are the values themselves."""
    bins = histogram(counts, measure)

    def at(q: float) -> int | None:
        found = quantile(bins, q)
        return found if found is None or exact else round(bin_value(found))

    return Spread(sum(bins.values()), at(0.1), at(0.5), at(0.9))


@dataclass(frozen=True, slots=True)
class Cost:
    """What completing one task cost, in millionths of a US dollar, tokens and seconds; None without completed runs."""

    completed: int
    micros: int | None
    model_micros: int | None
    tool_micros: int | None
    tokens: int | None
    reviewer_s: int | None
    unpriced: int


def cost(counts: Counts) -> Cost:
    """Return the cost per completed task of a run cell."""
    done = counts.get("succeeded", 0)

    def each(*names: str) -> int | None:
        return round(sum(counts.get(name, 0) for name in names) / done) if done else None

    return Cost(
        completed=done,
        micros=each("model_micros", "tool_micros"),
        model_micros=each("model_micros"),
        tool_micros=each("tool_micros"),
        tokens=each("tokens"),
        reviewer_s=each("reviewer_s"),
        unpriced=counts.get("unpriced", 0),
    )
