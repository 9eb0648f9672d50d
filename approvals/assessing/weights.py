"""What each reason weighs and where the floors begin: one versioned set for each tenant. Pure.

Weights are per cent; each counts once, however many arguments it concerns. A set is changed as a whole: one admin
proposes it, and another lets it take effect (`approvals.assessing.weighing`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

from agentops.wire.parse import JSON, JSONObject

WEIGHTS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "look_alike": 40,
        "untrusted_authority": 35,
        "hidden_characters": 35,
        "steering": 30,
        "personal_data_leaves": 30,
        "secret_leaves": 30,
        "no_evidence": 25,
        "first_contact": 22,
        "irreversible": 20,
        "unusual_amount": 20,
        "unscreened": 20,
        "recently_rejected": 15,
        "changed_after_question": 12,
        "padding": 10,
        "untrusted_content": 8,
        "outside_hours": 5,
    }
)
"""The starting value of each reason; also the closed list of them."""

NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "look_alike": "A target looks like a name we know",
        "untrusted_authority": "Untrusted text decides where this goes",
        "hidden_characters": "Characters a reader cannot see",
        "steering": "Comes from a text that tries to steer an agent",
        "unscreened": "Comes from a text that no guardrail could look at",
        "personal_data_leaves": "Data from our records leaves the tenant",
        "secret_leaves": "Something that looks like a key or a token leaves the tenant",
        "no_evidence": "Nothing on record supports a value that matters",
        "first_contact": "First contact with this recipient",
        "irreversible": "Cannot be taken back",
        "unusual_amount": "Far more than this tool has moved before",
        "recently_rejected": "Calls like this were rejected lately",
        "changed_after_question": "The agent changed the call when it was asked",
        "padding": "White space that can push text out of view",
        "untrusted_content": "Contains text from an untrusted source",
        "outside_hours": "Outside of working hours",
    }
)

MOST: Final = 95
"""No reason alone makes anything certain."""

THRESHOLDS: Final[Mapping[str, int]] = MappingProxyType(
    {"high_money": 500, "critical_money": 5_000, "many_recipients": 5, "many_rows": 1_000}
)
"""Where the floors of amounts and counts begin: major units of whatever currency, recipients, rows."""

THRESHOLD_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "high_money": "Money from which it is at least High (major units)",
        "critical_money": "Money from which it is Critical if it cannot be taken back",
        "many_recipients": "More recipients than this are at least High",
        "many_rows": "More rows, records or files than this are at least High",
    }
)

_MOST_THRESHOLD: Final = 10**9


@dataclass(frozen=True, slots=True)
class Hours:
    """The working hours of a tenant, in UTC: from `start` to `end` o'clock on `days` (Monday is 0). None by default."""

    start: int = 0
    end: int = 24
    days: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)

    def contain(self, weekday: int, hour: int) -> bool:
        """Say whether a moment lies inside them; night shifts may run past midnight."""
        inside = self.start <= hour < self.end if self.start <= self.end else hour >= self.start or hour < self.end
        return weekday in self.days and inside


@dataclass(frozen=True, slots=True)
class Weights:
    """One version of what a tenant weighs; version 0 is what everybody starts with."""

    version: int = 0
    values: Mapping[str, int] = field(default_factory=lambda: WEIGHTS)
    thresholds: Mapping[str, int] = field(default_factory=lambda: THRESHOLDS)
    hours: Hours = Hours()

    def to_json(self) -> JSONObject:
        """Return the set as plain JSON, without its version."""
        return {
            "weights": dict[str, JSON](self.values),
            "thresholds": dict[str, JSON](self.thresholds),
            "hours": {"start": self.hours.start, "end": self.hours.end, "days": list[JSON](self.hours.days)},
        }


START: Final = Weights()


class BadWeights(ValueError):
    """A set that cannot be used; `problems` says what is wrong, by field."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {why}" for name, why in problems.items()))
        self.problems = dict(problems)


def parse_weights(raw: Mapping[str, Any], version: int = 0) -> Weights:
    """Read a set; raises `BadWeights`. Reasons that an older set does not name have their starting value."""
    problems: dict[str, str] = {}
    values = _numbers(raw.get("weights"), WEIGHTS, 0, MOST, problems)
    thresholds = _numbers(raw.get("thresholds"), THRESHOLDS, 1, _MOST_THRESHOLD, problems)
    if not problems and thresholds["critical_money"] < thresholds["high_money"]:
        problems["critical_money"] = "must not be below the one for High"
    hours = _hours(raw.get("hours"), problems)
    if problems:
        raise BadWeights(problems)
    return replace(START, version=version, values=values, thresholds=thresholds, hours=hours)


def _numbers(raw: Any, start: Mapping[str, int], low: int, high: int, problems: dict[str, str]) -> dict[str, int]:
    given = raw if isinstance(raw, Mapping) else {}
    problems |= {str(name): "is not known" for name in given if name not in start}
    found = {name: given.get(name, value) for name, value in start.items()}
    for name, value in found.items():
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            problems[name] = f"must be a whole number from {low} to {high}"
    return found


def _hours(raw: Any, problems: dict[str, str]) -> Hours:
    if not isinstance(raw, Mapping):
        return Hours()
    start, end, days = raw.get("start", 0), raw.get("end", 24), raw.get("days", [0, 1, 2, 3, 4, 5, 6])
    fine = all(isinstance(one, int) and not isinstance(one, bool) and 0 <= one <= 24 for one in (start, end))
    if not fine or start == end:
        problems["hours"] = "need a start and an end from 0 to 24 o'clock that differ"
        return Hours()
    if not isinstance(days, list) or not days or any(day not in range(7) or isinstance(day, bool) for day in days):
        problems["days"] = "choose at least one day"
        return Hours()
    return Hours(start, end, tuple(sorted(set(days))))
