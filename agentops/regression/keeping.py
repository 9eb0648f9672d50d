"""What of an event is not shown as it happened: texts that were removed or lost, and values that a file hides."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from agentops.payloads.references import reference, references
from agentops.regression.recordings import Masked

MODEL_TURNS: Final = frozenset({"plan.made", "plan.finished", "plan.failed", "question.answered"})
"""Events whose exchange with a model a masked file leaves out."""

_TOKEN: Final = re.compile(r"\[[a-z_ ]{2,24} [0-9a-f]{12}\]|[0-9a-f]{12}@masked\.invalid")


@dataclass(frozen=True, slots=True)
class Text:
    """A long text that an event names: its hash and size, and why it cannot be read (empty where it can)."""

    sha256: str
    size: int
    problem: str


@dataclass(frozen=True, slots=True)
class Kept:
    """What one event still has: its texts, how many values of it are hidden, and whether an exchange was left out."""

    texts: tuple[Text, ...]
    hidden: int = 0
    left_out: bool = False

    @property
    def whole(self) -> bool:
        """Whether all of it is there."""
        return not (self.hidden or self.left_out or any(text.problem for text in self.texts))


def kept_of_run(data: Mapping[str, Any], what_became_of: Callable[[str], str]) -> Kept:
    """Look at an event of a run; `what_became_of` says why a text cannot be read."""
    sizes = _sizes(data)
    return Kept(tuple(Text(name, sizes.get(name, 0), what_became_of(name)) for name in dict.fromkeys(references(data))))


def kept_of_file(event_type: str, data: Mapping[str, Any], masked: Masked | None) -> Kept:
    """Look at an event of a file; a reference in it stands for a text that was gone when it was written."""
    sizes = _sizes(data)
    gone = "It was not there any more when this file was written."
    texts = tuple(Text(name, sizes.get(name, 0), gone) for name in dict.fromkeys(references(data)))
    if masked is None:
        return Kept(texts)
    hidden = len(set(_TOKEN.findall(json.dumps(data, ensure_ascii=False))))
    return Kept(texts, hidden, event_type in MODEL_TURNS and "exchange" not in data)


def _sizes(data: Mapping[str, Any]) -> dict[str, int]:
    exchange = data.get("exchange")
    if not isinstance(exchange, dict):
        return {}
    earlier = exchange.get("earlier")
    found: dict[str, int] = {}
    for attempt in (exchange, *(earlier if isinstance(earlier, list) else ())):
        if isinstance(attempt, dict):
            for name in ("request", "response"):
                value = attempt.get(name)
                if isinstance(value, dict) and (sha256 := reference(value)):
                    size = value["bytes"]
                    found[sha256] = size if isinstance(size, int) else 0
    return found
