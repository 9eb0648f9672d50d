"""How findings become one score, and where a tenant draws the line. Pure.

The score is a noisy-or of weights, `100 * (1 - prod(1 - w))`, each kind of finding once, over findings that stand close
together: what is scattered over a long document adds up no further than in a short one, and the longer a text is, the
more it takes, because somewhere in it anything is found by chance. Weights and operating points were set on a
development corpus split by source (`tests/guardrails/corpus/README.md`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

NEAR: Final = 1_500
"""Characters of raw text within which findings support each other."""
SHORT: Final = 3_000
"""Characters up to which a text's length says nothing."""
LENGTH: Final = 0.25
"""Evidence (`-ln(1 - weight)`) that every further power of e in length takes away."""
LONG: Final = 50_000
"""Characters from which on more length takes nothing more away: what is plain is flagged however long the text is."""


class Family(StrEnum):
    """What kind of trick a finding is."""

    SMUGGLING = "smuggling"
    INSTRUCTION = "instruction"
    FORGERY = "forgery"
    EXFILTRATION = "exfiltration"
    CREDENTIALS = "credentials"
    CLASSIFIER = "classifier"


class Point(StrEnum):
    """How much it takes to flag a text."""

    STRICT = "strict"
    BALANCED = "balanced"
    PERMISSIVE = "permissive"


THRESHOLDS: Final[Mapping[Point, int]] = MappingProxyType({Point.STRICT: 35, Point.BALANCED: 47, Point.PERMISSIVE: 70})
"""The least score that flags a text."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found: `start` and `end` are offsets in the raw text, `weight` is from 0 to 1.

    `view` says in which view of the text it was found (kinds joined by " > "), `explanation` why it matters, in words.
    """

    family: Family
    code: str
    explanation: str
    start: int
    end: int
    view: str
    weight: float

    def to_json(self) -> dict[str, str | int | float]:
        """Return the finding as plain JSON."""
        return {
            "family": self.family.value,
            "code": self.code,
            "explanation": self.explanation,
            "start": self.start,
            "end": self.end,
            "view": self.view,
            "weight": round(self.weight, 2),
        }


@dataclass(frozen=True, slots=True)
class Settings:
    """What a tenant looks for and from which score on: families that are off are still found, and do not count.

    `stubs`: what was found in a flagged output is not shown to models; a stub with a handle stands there.
    """

    point: Point = Point.BALANCED
    off: frozenset[Family] = field(default_factory=frozenset)
    stubs: bool = True

    @property
    def threshold(self) -> int:
        return THRESHOLDS[self.point]


DEFAULT: Final = Settings()


def score_of(findings: Sequence[Finding], settings: Settings = DEFAULT, length: int = 0) -> int:
    """Return the score from 0 to 100 of the worst place among the findings of a text so long, rounded down."""
    counted = sorted((f for f in findings if f.family not in settings.off), key=lambda f: f.start)
    best, first = 0.0, 0
    near: dict[str, dict[float, int]] = {}
    for finding in counted:
        weights = near.setdefault(_group(finding), {})
        weights[finding.weight] = weights.get(finding.weight, 0) + 1
        while counted[first].start < finding.start - NEAR:
            left = near[_group(counted[first])]
            left[counted[first].weight] -= 1
            if not left[counted[first].weight]:
                del left[counted[first].weight]
            first += 1
        best = max(best, _together(near))
    best = max(0.0, 1.0 - (1.0 - best) * math.exp(taken_by(length)))
    return int(100 * best + 1e-9)


def taken_by(length: int) -> float:
    """Return the evidence that the length of a text takes away."""
    return LENGTH * math.log(min(max(length, SHORT), LONG) / SHORT)


def _group(finding: Finding) -> str:
    """Name what is counted once: kinds of findings that say the same in other words begin with the same word."""
    return finding.code.partition("_")[0]


def _together(near: Mapping[str, Mapping[float, int]]) -> float:
    stays = 1.0
    for weights in near.values():
        stays *= 1.0 - max(weights, default=0.0)
    return 1.0 - stays
