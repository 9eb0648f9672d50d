"""What a model was asked and answered within one run, in words. Pure; read from the recorded events.

A run has no other conversation: every question is made anew from the task, the recorded calls and the feedback, so what
a model "remembers" of a run is what stands here and in the timeline, and it ends with the run.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from agentops.audit.services import Recorded
from agentops.engine.codec import UnknownEvent, decode
from agentops.engine.events import PlanFailed, PlanFinished, PlanMade, ProposalAnswered, ProposalUnanswered

Heard = PlanMade | PlanFinished | PlanFailed | ProposalAnswered | ProposalUnanswered
"""What a model's answer is recorded as."""

_TYPES = frozenset(kind.type for kind in Heard.__args__)


@dataclass(frozen=True, slots=True)
class Turn:
    """One question to a model: when it was answered, by whom, what came of it, and the tokens it took.

    `tainted`: text that outsiders may have written was in the question. `kept`: what was said word for word is kept.
    """

    number: int
    seq: int
    at: datetime
    planner: str
    said: str
    tokens: int
    tainted: bool
    kept: bool

    @property
    def tokens_text(self) -> str:
        """The tokens as usage is written everywhere: `1,020`."""
        return f"{self.tokens:,}"


def turns(recorded: Sequence[Recorded]) -> tuple[Turn, ...]:
    """Return the questions a run has put to models, oldest first; events that cannot be read are left out."""
    return tuple(_turn(number, one, event) for number, (one, event) in enumerate(_answers(recorded), start=1))


def _turn(number: int, one: Recorded, event: Heard) -> Turn:
    planner = event.planner.removeprefix("model:")
    return Turn(number, one.seq, one.at, planner, _said(event), _tokens(event), _tainted(event), bool(event.exchange))


def _answers(recorded: Sequence[Recorded]) -> Iterator[tuple[Recorded, Heard]]:
    for one in recorded:
        if one.type not in _TYPES:
            continue
        try:
            event = decode(one.type, one.data)
        except UnknownEvent:
            continue
        if isinstance(event, Heard) and event.planner.startswith("model:"):
            yield one, event


def _said(event: Heard) -> str:
    match event:
        case PlanMade(version=version, plan=plan):
            steps = plan.get("steps")
            count = len(steps) if isinstance(steps, list) else 0
            return f"Plan {version} with {count} step{'' if count == 1 else 's'}"
        case PlanFinished():
            return "Done"
        case PlanFailed(code=code):
            return f"No plan: {code.replace('_', ' ')}"
        case ProposalAnswered(round=number):
            return f"Answer to question {number}"
        case ProposalUnanswered(round=number, code=code):
            return f"No answer to question {number}: {code.replace('_', ' ')}"


def _tokens(event: Heard) -> int:
    return event.usage.input_tokens + event.usage.output_tokens if event.usage is not None else 0


def _tainted(event: Heard) -> bool:
    return not isinstance(event, PlanFailed | ProposalUnanswered) and event.tainted
