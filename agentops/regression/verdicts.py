"""What replaying a record says, for people, for programs and as an exit code. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from agentops.engine.events import Stamped
from agentops.engine.replay import Diverged, Identical, replay
from agentops.regression.recordings import BadRecording, Masked, Recording, stamped
from agentops.wire.parse import JSON, JSONObject


class Outcome(StrEnum):
    """How a record compares with the engine of this program."""

    IDENTICAL = "identical"
    DIVERGED = "diverged"
    UNCHECKED = "unchecked"
    """The file is masked, and the first difference may come from that."""

    UNREADABLE = "unreadable"
    REMOVED = "removed"
    """Retention has removed it; nothing is wrong, and nothing can be compared any more."""


EXIT: Final = {
    Outcome.IDENTICAL: 0,
    Outcome.REMOVED: 0,
    Outcome.DIVERGED: 1,
    Outcome.UNCHECKED: 2,
    Outcome.UNREADABLE: 2,
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one record: `seq` is the first event that does not follow, with what was expected there and what stands there.

    `commands` were derived on the way; `unchecked` says what a masked file keeps from being compared.
    """

    outcome: Outcome
    events: int
    commands: int = 0
    seq: int = 0
    expected: str = ""
    recorded: str = ""
    message: str = ""
    unchecked: tuple[str, ...] = ()

    def to_json(self) -> JSONObject:
        found: JSONObject = {"outcome": self.outcome.value, "events": self.events}
        if self.outcome is Outcome.IDENTICAL:
            found["commands"] = self.commands
        if self.seq:
            found["divergence"] = {"seq": self.seq, "expected": self.expected, "recorded": self.recorded}
        if self.message:
            found["message"] = self.message
        if self.unchecked:
            found["unchecked"] = list[JSON](self.unchecked)
        return found

    def sentence(self) -> str:
        """Say it in a line."""
        sides = f"expected {self.expected}; recorded {self.recorded}"
        match self.outcome:
            case Outcome.IDENTICAL:
                return f"identical: {self.events} events, {self.commands} commands derived again"
            case Outcome.DIVERGED:
                return f"diverged at event {self.seq}: {sides}"
            case Outcome.UNCHECKED:
                return f"not checkable from event {self.seq} on, because it is masked: {sides}"
            case Outcome.UNREADABLE:
                return f"unreadable: {self.message}"
            case Outcome.REMOVED:
                return f"removed: {self.message}"


def verdict_of(events: Sequence[Stamped], masked: Masked | None = None) -> Verdict:
    """Derive a record again and say how it compares."""
    unchecked = masked.unchecked if masked is not None else ()
    match replay(events):
        case Identical(commands=commands):
            return Verdict(Outcome.IDENTICAL, len(events), len(commands), unchecked=unchecked)
        case Diverged(seq=seq, expected=expected, recorded=recorded):
            outcome = Outcome.UNCHECKED if masked is not None else Outcome.DIVERGED
            return Verdict(outcome, len(events), 0, seq, expected, recorded, unchecked=unchecked)


def verdict_of_recording(recording: Recording) -> Verdict:
    """Replay a file."""
    try:
        return verdict_of(stamped(recording.entries), recording.masked)
    except BadRecording as error:
        return Verdict(Outcome.UNREADABLE, len(recording.entries), message=str(error))


def verdict_of_record(load: Callable[[], Sequence[Stamped]]) -> Verdict:
    """Replay what `load` reads; a record that cannot be read is a verdict as well."""
    try:
        events = load()
    except (ValueError, LookupError) as error:
        return Verdict(Outcome.UNREADABLE, 0, message=str(error))
    return verdict_of(events)
