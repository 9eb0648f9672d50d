"""Whether somebody has just proved who they are. Every act that loosens rules asks here, whoever calls it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from agentops import clock
from agentops.tenancy.access import Actor

LASTS: Final = timedelta(minutes=5)
"""For how long somebody who has proved who they are is not asked again."""


@dataclass(frozen=True, slots=True)
class StepUpNeeded:
    """The person has to say again who they are; nothing was recorded."""


def missing(actor: Actor) -> StepUpNeeded | None:
    """Refuse whoever has not proved in the last minutes who they are."""
    proved = actor.proved_at is not None and clock.now() - LASTS <= actor.proved_at
    return None if proved else StepUpNeeded()
