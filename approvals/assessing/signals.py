"""What our own history says about a call: facts from outside of it that its risk also depends on. Pure.

They are frozen with the proposal, so that its risk can be worked out again from what stands in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agentops.wire.parse import JSON, JSONObject


@dataclass(frozen=True, slots=True)
class Signals:
    """Nothing is known by default, and nothing unknown makes a call riskier.

    `look_alike`: pointer -> the known name it could be taken for. `unusual`: pointer of an amount -> the largest one
    among at least twenty before. `rejected` of `similar` like it were rejected. `first_use`: a kind of task that has a
    record has never used this tool.
    """

    look_alike: Mapping[str, str] = field(default_factory=dict)
    unusual: Mapping[str, str] = field(default_factory=dict)
    rejected: int = 0
    similar: int = 0
    first_use: bool = False
    outside_hours: bool = False
    changed_after_question: bool = False
    production: bool = False

    def to_json(self) -> JSONObject:
        """Return what is known as plain JSON, defaults left out."""
        known: JSONObject = {}
        for name in ("look_alike", "unusual"):
            if found := getattr(self, name):
                known[name] = dict[str, JSON](found)
        for name in ("rejected", "similar", "first_use", "outside_hours", "changed_after_question", "production"):
            if value := getattr(self, name):
                known[name] = value
        return known

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Signals":
        """Read what `to_json` wrote; what is missing is not known."""
        return cls(
            look_alike={str(k): str(v) for k, v in dict(raw.get("look_alike", {})).items()},
            unusual={str(k): str(v) for k, v in dict(raw.get("unusual", {})).items()},
            rejected=int(raw.get("rejected", 0)),
            similar=int(raw.get("similar", 0)),
            first_use=bool(raw.get("first_use")),
            outside_hours=bool(raw.get("outside_hours")),
            changed_after_question=bool(raw.get("changed_after_question")),
            production=bool(raw.get("production")),
        )


UNKNOWN = Signals()
