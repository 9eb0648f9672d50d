"""What can become of an attempt to change rules."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from agentops.tenancy.proof import StepUpNeeded as StepUpNeeded


@dataclass(frozen=True, slots=True)
class Proposed:
    """The change waits for another admin."""

    change_id: UUID
    version: int


@dataclass(frozen=True, slots=True)
class Settled:
    """The change was put in force, refused or withdrawn."""

    change_id: UUID
    version: int
    status: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """Another change of the same rules waits already, proposed by `by`."""

    by: str
    version: int


@dataclass(frozen=True, slots=True)
class TooLate:
    """Somebody decided first: `status` is what became of it."""

    by: str
    status: str


@dataclass(frozen=True, slots=True)
class Stale:
    """The rules are no longer those that the change was made from; `what` says where. It has to be proposed anew."""

    what: str


@dataclass(frozen=True, slots=True)
class Forbidden:
    """This actor may not: `role`, `own` (whoever proposed a change does not decide on it) or `not_own`."""

    rule: str


@dataclass(frozen=True, slots=True)
class Invalid:
    """What was sent cannot be taken; problems by field."""

    problems: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class NotFound:
    """There is no such change in this tenant."""


Decided = Settled | TooLate | Stale | Forbidden | Invalid | NotFound | StepUpNeeded
Outcome = Proposed | Waiting | Decided
