"""What a person had typed when a decision was not taken."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Draft:
    """What a person had typed when a decision was not taken; nothing of it is lost."""

    reason_code: str = ""
    scope: str = ""
    retry: str = ""
    note: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    open: str = ""
    answers: Mapping[str, str] = field(default_factory=dict)
    facts: Sequence[str] = ()
