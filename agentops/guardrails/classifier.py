"""The door for those who bring a model: it says how likely a text is an attack, and that joins the score. Pure."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a classifier thinks of a stretch of text: `probability` from 0 to 1, offsets in code points."""

    probability: float
    start: int
    end: int
    explanation: str = ""


class Classifier(Protocol):
    """Judges raw text. It may be slow and may fail: a failure is told to the caller of the scan, never swallowed."""

    @property
    def name(self) -> str:
        """What findings are signed with; letters, digits, dashes."""
        ...

    def judge(self, text: str) -> list[Opinion]:
        """Return what stands out in a text; an empty list where nothing does."""
        ...
