"""What can come of a verdict that a person sends. Every outcome is a value."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from agentops.tenancy.proof import StepUpNeeded as StepUpNeeded
from approvals.assessing.risk import Band
from approvals.models import Proposal, Verdict
from tools.schema import Issue


@dataclass(frozen=True, slots=True)
class Decided:
    """The verdict is recorded. `grant_id` is set unless it is a rejection; `digest` is what may execute.

    `proposal` is the row as the verdict left it, with what a verdict looks at.
    """

    proposal: Proposal = field(repr=False, compare=False)
    proposal_id: UUID
    verdict: Verdict
    version: int
    digest: str
    at: datetime
    grant_id: UUID | None = None
    release_at: datetime | None = None
    """Until then the call does not start, and the verdict can be taken back."""


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
    """This actor may not: `people_only`, `role`, or a rule of `duties`."""

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


@dataclass(frozen=True, slots=True)
class Gated:
    """Gates of the band are not open yet: one issue for each; `missed` are values that were picked wrongly."""

    issues: tuple[Issue, ...]
    missed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Moved:
    """What the call would touch has changed since it was shown: version `version` shows it as it is now."""

    version: int
    digest: str


@dataclass(frozen=True, slots=True)
class Seconded:
    """The approval counts, and `needed - given` more people have to approve."""

    proposal_id: UUID
    given: int
    needed: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Leased:
    """Somebody else has it until this moment, and until then nobody but them decides it."""

    by: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Asked:
    """The question is on record as the `round`th about the proposal; the agent answers it by itself."""

    proposal_id: UUID
    round: int


TooLate = Lost | Expired | Stale
Refusal = Forbidden | Invalid | Leased | Gated | StepUpNeeded | Moved
"""Why an approval was not taken although the proposal is open."""

Outcome = Decided | Seconded | Lost | Stale | Expired | Refusal | Reconfirm
