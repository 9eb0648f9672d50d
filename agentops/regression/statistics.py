"""What trials of cases say together: pass^k, and whether a release differs from its baseline. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import comb
from typing import Final

from agentops.wire.parse import JSON, JSONObject

ALPHA: Final = 0.05
FEWEST_DISCORDANT: Final = 6
"""With fewer pairs that differ, the exact test cannot reach 5 % whatever they say."""


def pass_hat(counts: Iterable[tuple[int, int]], k: int) -> float | None:
    """Return pass^k: how likely all of k trials of a case pass, averaged over cases given as (passes, trials).

    The unbiased estimate C(c, k) / C(n, k) of Yao et al., "tau-bench" (2024). None if no case has k trials.
    """
    shares = [comb(passes, k) / comb(trials, k) for passes, trials in counts if trials >= k]
    return sum(shares) / len(shares) if shares else None


def mcnemar(newly_failing: int, newly_passing: int) -> float:
    """Return the two-sided p of the exact McNemar test (1947) on the pairs that differ."""
    n, least = newly_failing + newly_passing, min(newly_failing, newly_passing)
    if n == 0:
        return 1.0
    return float(min(1.0, 2 * sum(comb(n, i) for i in range(least + 1)) / 2**n))


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a case came out: `passes` of `trials`."""

    passes: int
    trials: int
    quarantined: bool = False

    @property
    def passed(self) -> bool:
        return self.passes == self.trials

    @property
    def flaky(self) -> bool:
        return 0 < self.passes < self.trials


@dataclass(frozen=True, slots=True)
class Comparison:
    """A release against its baseline, case by case; cases that only one of them has are named apart.

    `verdict` is better, worse, no clear difference, or too few; p is not worth looking at for the last.
    """

    baseline: str
    paired: int
    newly_failing: tuple[str, ...]
    newly_passing: tuple[str, ...]
    newly_flaky: tuple[str, ...]
    added: tuple[str, ...]
    gone: tuple[str, ...]
    p: float
    verdict: str

    def to_json(self) -> JSONObject:
        return {
            "baseline": self.baseline,
            "paired": self.paired,
            "newly_failing": list[JSON](self.newly_failing),
            "newly_passing": list[JSON](self.newly_passing),
            "newly_flaky": list[JSON](self.newly_flaky),
            "added": list[JSON](self.added),
            "gone": list[JSON](self.gone),
            "p": round(self.p, 6),
            "verdict": self.verdict,
        }


def compare(baseline: str, before: Mapping[str, Outcome], after: Mapping[str, Outcome]) -> Comparison:
    """Compare two runs of a suite on the cases that both have."""
    both = sorted(before.keys() & after.keys())
    failing = tuple(name for name in both if before[name].passed and not after[name].passed)
    passing = tuple(name for name in both if after[name].passed and not before[name].passed)
    flaky = tuple(name for name in both if after[name].flaky and not before[name].flaky)
    p = mcnemar(len(failing), len(passing))
    return Comparison(
        baseline,
        len(both),
        failing,
        passing,
        flaky,
        tuple(sorted(after.keys() - before.keys())),
        tuple(sorted(before.keys() - after.keys())),
        p,
        _verdict(len(failing), len(passing), p),
    )


def _verdict(failing: int, passing: int, p: float) -> str:
    if failing == passing == 0:
        return "no clear difference"
    if failing + passing < FEWEST_DISCORDANT:
        return "too few"
    if p > ALPHA:
        return "no clear difference"
    return "worse" if failing > passing else "better"


def estimates(outcomes: Sequence[Outcome], repeat: int) -> JSONObject:
    """Return pass^1 to pass^repeat, as far as it can be said."""
    counts = [(one.passes, one.trials) for one in outcomes]
    found = {str(k): pass_hat(counts, k) for k in range(1, repeat + 1)}
    return {k: round(value, 6) for k, value in found.items() if value is not None}
