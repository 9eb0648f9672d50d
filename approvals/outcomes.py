"""What can come of a verdict that a person sends. Every outcome is a value."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from approvals.models import Verdict
from approvals.risk import Band
from tools.schema import Issue


@dataclass(frozen=True, slots=True)
class Decided:
    """The verdict is recorded. `grant_id` is set unless it is a rejection; `digest` is what may execute."""

    proposal_id: UUID
    verdict: Verdict
    version: int
    digest: str
    at: datetime
    grant_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """Somebody was first: `verdict` is approve, edit, reject, or withdrawn when the run ended before anybody spoke."""

    by: str
    verdict: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Stale:
    """The proposal has changed since it was shown; this is what it is now."""

    version: int
    digest: str


@dataclass(frozen=True, slots=True)
class Expired:
    """The deadline passed unanswered; silence has denied the call."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Forbidden:
    """This actor may not: `people_only`, `role` or `self_approval`."""

    rule: str


@dataclass(frozen=True, slots=True)
class Invalid:
    """The answer cannot be taken as it is; the proposal is unchanged."""

    issues: tuple[Issue, ...]


@dataclass(frozen=True, slots=True)
class Reconfirm:
    """The edit is kept, but made it riskier: version `version` waits to be approved as it is shown now."""

    version: int
    digest: str
    band: Band


TooLate = Lost | Expired | Stale
Outcome = Decided | Lost | Stale | Expired | Forbidden | Invalid | Reconfirm
