"""Where units are added up: cells of a span of time, a task type and a dimension, each a bag of counts. Pure.

A count has a name; a histogram is a set of counts named `<measure>~<bin>`. Adding is the only thing ever done to cells,
so hours add up to days, task types to a tenant, and what a run has contributed can be taken out again.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from agentops.metrics.statistics import Rate, clustered_rate, log_bin
from agentops.metrics.units import CallUnit, ProposalUnit, RunUnit, Units

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Grain(StrEnum):
    """How long the span of a cell is. `all` is everything there ever was."""

    HOUR = "hour"
    DAY = "day"
    ALL = "all"


class Kind(StrEnum):
    """What the key of a cell names: nothing (all runs), a version of something, a tool, a band, a rule."""

    RUN = "run"
    PLANNER = "planner"
    PROMPT = "prompt"
    MODEL = "model"
    TOOL = "tool"
    BAND = "band"
    RULE = "rule"


@dataclass(frozen=True, slots=True, order=True)
class CellKey:
    """Which cell: `start` is the first moment of its span (UTC)."""

    grain: str
    start: datetime
    task_type: str
    kind: str
    key: str


Cells = dict[CellKey, dict[str, int]]


def start_of(grain: Grain, at: datetime) -> datetime:
    """Return the first moment (UTC) of the span of this grain that a moment lies in."""
    at = at.astimezone(UTC)
    match grain:
        case Grain.HOUR:
            return at.replace(minute=0, second=0, microsecond=0)
        case Grain.DAY:
            return at.replace(hour=0, minute=0, second=0, microsecond=0)
        case Grain.ALL:
            return EPOCH


def span_of(grain: Grain) -> timedelta:
    """Return the length of a span."""
    return timedelta(hours=1) if grain is Grain.HOUR else timedelta(days=1)


def cells_of(units: Units | None) -> Cells:
    """Return what the units of one run add to which cells."""
    cells: Cells = defaultdict(lambda: defaultdict(int))
    if units is None:
        return {}
    for grain in Grain:
        if units.run is not None:
            keys = [(Kind.RUN, ""), *((Kind(kind), value[:128]) for kind, value in units.variants)]
            for kind, key in keys:
                _add(cells[_key(grain, units.run.at, units, kind, key)], run_counts(units.run))
        calls: dict[CellKey, list[CallUnit]] = defaultdict(list)
        for call in units.calls:
            calls[_key(grain, call.at, units, Kind.TOOL, call.tool[:128])].append(call)
        for key_, together in calls.items():
            _add(cells[key_], call_counts(together))
        for proposal in units.proposals:
            for kind, key in ((Kind.BAND, proposal.band), (Kind.RULE, proposal.rule[:128])):
                _add(cells[_key(grain, proposal.at, units, kind, key)], proposal_counts(proposal))
    return {key: dict(counts) for key, counts in cells.items()}


def difference(after: Cells, before: Cells) -> Cells:
    """Return what has to be added to cells that hold `before` so that they hold `after`."""
    result: Cells = {}
    for key in {**before, **after}:
        new, old = after.get(key, {}), before.get(key, {})
        counts = {name: new.get(name, 0) - old.get(name, 0) for name in {**old, **new}}
        if changed := {name: count for name, count in counts.items() if count}:
            result[key] = changed
    return result


def run_counts(run: RunUnit) -> dict[str, int]:
    """Count one run. What a run that is not counted cost is counted all the same: it was spent."""
    counts = {
        "model_micros": run.model_micros,
        "tool_micros": run.tool_micros,
        "tokens": run.tokens,
        "model_calls": run.model_calls,
        "unpriced": run.unpriced,
        "reviewer_s": run.reviewer_s,
        "wall_ms": run.latency_ms - run.human_ms,
        "all_steps": run.steps + run.repeats,
        "all_runs": 1,
    }
    if not run.counted:
        return {**counts, "taken_back": 1}
    counts |= {"ended": 1, run.outcome: 1}
    if run.completed:
        counts |= {
            ("verified" if run.checked else "unchecked"): 1,
            "steps": run.steps,
            "repeats": run.repeats,
            f"steps~{run.steps}": 1,
            f"latency~{log_bin(run.latency_ms)}": 1,
            f"work~{log_bin(run.latency_ms - run.human_ms)}": 1,
        }
    return counts


def call_counts(calls: Iterable[CallUnit]) -> dict[str, int]:
    """Count the calls of one run to one tool in one span, which are one cluster."""
    counts: dict[str, int] = defaultdict(int)
    for call in calls:
        counts["calls"] += 1
        counts[call.outcome] += 1
        counts["effects"] += call.effect
        counts["auto"] += call.auto
        counts["orphans"] += call.orphan
    errors = counts["calls"] - counts["ok"]
    return dict(counts) | {
        "clusters": 1,
        "errors2": errors * errors,
        "cross": errors * counts["calls"],
        "calls2": counts["calls"] * counts["calls"],
    }


def proposal_counts(proposal: ProposalUnit) -> dict[str, int]:
    """Count one proposal."""
    counts = {"closed": 1, proposal.verdict: 1, "tainted": int(proposal.tainted)}
    if not proposal.decided:
        return counts
    counts |= {
        "decided": 1,
        "undone": int(proposal.undone),
        "overridden": int(proposal.overridden),
        f"wait~{log_bin(proposal.wait_ms)}": 1,
    }
    if proposal.reading_ms is not None:
        counts |= {"read": 1, "reading_ms": proposal.reading_ms, f"reading~{log_bin(proposal.reading_ms)}": 1}
        counts |= {f"expected~{log_bin(proposal.expected_ms)}": 1}
        if proposal.verdict == "approve" and proposal.band != "low":
            counts |= {"approvals": 1, "stamped": int(2 * proposal.reading_ms < proposal.expected_ms)}
    return counts


def histogram(counts: Mapping[str, int], measure: str) -> dict[int, int]:
    """Return the bins of one histogram of a cell."""
    prefix = f"{measure}~"
    return {int(name[len(prefix) :]): count for name, count in counts.items() if name.startswith(prefix)}


def error_rate(counts: Mapping[str, int]) -> Rate:
    """Return the share of calls of a tool cell that ended in an error, with an interval that knows about runs."""
    calls = counts.get("calls", 0)
    return clustered_rate(
        calls - counts.get("ok", 0),
        calls,
        clusters=counts.get("clusters", 0),
        hits2=counts.get("errors2", 0),
        cross=counts.get("cross", 0),
        n2=counts.get("calls2", 0),
    )


def _key(grain: Grain, at: datetime, units: Units, kind: Kind, key: str) -> CellKey:
    return CellKey(grain, start_of(grain, at), units.task_type, kind, key)


def _add(into: dict[str, int], counts: Mapping[str, int]) -> None:
    for name, count in counts.items():
        if count:
            into[name] += count
