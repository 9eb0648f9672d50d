"""Rates with their intervals, and quantiles of histograms that can be added up. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil, exp, log, sqrt
from typing import Final

Z95: Final = 1.959963984540054
FEW: Final = 20
"""Below so many units there is no rate, only the counts."""

GROWTH: Final = 1.05
QUANTILE_ERROR: Final = (GROWTH - 1) / (GROWTH + 1)
"""The largest relative error of a quantile of `log_bin` values: 2.44 %."""


@dataclass(frozen=True, slots=True)
class Rate:
    """`hits` of `n` units, with the 95 % interval. `share`, `low` and `high` lie in 0..1 and are None below 20 units.

    `effective` is how many independent units the n are worth, where they come in clusters.
    """

    hits: int
    n: int
    share: float | None
    low: float | None
    high: float | None
    effective: float

    @property
    def few(self) -> bool:
        """Whether there are too few units for a rate."""
        return self.share is None


def wilson(hits: float, n: float) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share (Wilson 1927). `n` may be an effective, fractional size above 0."""
    p, z2 = hits / n, Z95 * Z95
    middle = p + z2 / (2 * n)
    half = Z95 * sqrt(max(0.0, p * (1 - p) / n + z2 / (4 * n * n)))
    scale = 1 + z2 / n
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def rate(hits: int, n: int) -> Rate:
    """Return the rate of independent units."""
    if n < FEW:
        return Rate(hits, n, None, None, None, n)
    low, high = wilson(hits, n)
    return Rate(hits, n, hits / n, low, high, n)


def clustered_rate(hits: int, n: int, *, clusters: int, hits2: int, cross: int, n2: int) -> Rate:
    """Return the rate of units that come in clusters (the calls of one run): a Wilson interval on their effective size.

    `hits2`, `cross` and `n2` are the sums over clusters of hits², hits·n and n². The variance of the ratio is the
    linearised one (Cochran 1977, 6.3), which is what a bootstrap over clusters tends to; the effective size is the
    number of independent units with that variance, never more than n. With fewer than two clusters it is 1.
    """
    if n < FEW:
        return Rate(hits, n, None, None, None, float(n))
    p = hits / n
    if clusters < 2:
        effective = 1.0
    else:
        spread = max(0.0, hits2 - 2 * p * cross + p * p * n2) * clusters / (clusters - 1)
        variance = spread / (n * n)
        if 0 < p < 1 and variance > 0:
            effective = min(float(n), max(1.0, p * (1 - p) / variance))
        else:
            # Nothing varies: then clusters, not units, are what was seen.
            effective = float(min(n, clusters)) if p in (0.0, 1.0) else float(n)
    low, high = wilson(p * effective, effective)
    return Rate(hits, n, p, low, high, effective)


def newcombe(hits: int, n: int, base_hits: int, base_n: int) -> tuple[float, float]:
    """Return the 95 % interval of the first share minus the second (Newcombe 1998, method 10)."""
    p, q = hits / n, base_hits / base_n
    (low, high), (base_low, base_high) = wilson(hits, n), wilson(base_hits, base_n)
    return (
        p - q - sqrt((p - low) ** 2 + (base_high - q) ** 2),
        p - q + sqrt((high - p) ** 2 + (q - base_low) ** 2),
    )


def direction(now: Rate, before: Rate) -> str:
    """Say in a word whether a share moved, from Newcombe's interval: up, down, no clear difference, too few."""
    if now.few or before.few:
        return "too few to compare"
    low, high = newcombe(now.hits, now.n, before.hits, before.n)
    return "up" if low > 0 else "down" if high < 0 else "no clear difference"


def log_bin(value: int) -> int:
    """Return the bin of a value that is not negative: bin 0 is 0 and 1, bin i ends at 1.05^i."""
    return 0 if value <= 1 else ceil(log(value) / log(GROWTH) - 1e-9)


def bin_value(index: int) -> float:
    """Return the value that stands for a bin, off by at most `QUANTILE_ERROR` from any value in it above 1."""
    return 1.0 if index == 0 else 2 * exp(log(GROWTH) * index) / (GROWTH + 1)


def quantile(bins: Mapping[int, int], q: float) -> int | None:
    """Return the bin that holds the q-quantile (the smallest value with at least q of all at or below it)."""
    total = sum(bins.values())
    if total <= 0:
        return None
    rank, seen = max(1, ceil(q * total - 1e-9)), 0
    for index in sorted(bins):
        seen += bins[index]
        if seen >= rank:
            return index
    return max(bins)


def added(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the sum of counts by name; what adds up to nothing is left out."""
    total: dict[str, int] = {}
    for part in parts:
        for name, count in part.items():
            total[name] = total.get(name, 0) + count
    return {name: count for name, count in total.items() if count}
