"""Whether a recorded run is what the engine would have done: every recorded step is derived again and compared.

`decide` is asked at every place of the record at which the driver asked it. What it says there must fit what was
recorded next, exactly: the same plan version, the same selected arguments and provenance, the same wait, the same end.
Events that others wrote (people, deadlines, the lease) need no command and may stand anywhere.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from agentops.engine.codec import encode
from agentops.engine.decide import (
    Candidate,
    Command,
    Confirm,
    Execute,
    Fail,
    FallBack,
    Finalize,
    MakePlan,
    Reconcile,
    Record,
    Reply,
    Select,
    Wait,
    decide,
)
from agentops.engine.events import (
    AnswerBlocked,
    CallAdopted,
    CallConfirmed,
    CallDeferred,
    CallDenied,
    CallFailed,
    CallGranted,
    CallProposed,
    CallReconciled,
    CallSelected,
    CallStarted,
    CallSucceeded,
    CallUnknown,
    CallWithdrawn,
    CriteriaUnmet,
    Event,
    LoopDetected,
    PlanFailed,
    PlanFinished,
    PlanMade,
    ProposalAnswered,
    ProposalUnanswered,
    ProposalWithdrawn,
    RunFailed,
    RunFellBack,
    RunSucceeded,
    RunWaiting,
    RunWarned,
    Stamped,
    StepSkipped,
    StepVerified,
)
from agentops.engine.folding import apply
from agentops.engine.questions import open_one
from agentops.engine.state import State
from agentops.engine.transitions import CallState, IllegalTransition, RunState
from agentops.guardrails.output.review import redacted
from agentops.wire.parse import JSON, clean

OWN_ENDS: Final = frozenset({"dead_letter", "internal"})
"""Ends that no command asks for: nobody got anywhere with the run, or it did not come to a stop."""

BLOCKED: Final = "output_blocked"
"""How a run ends whose answer was not let out; without a word of `answer.blocked` where an older program wrote it."""


@dataclass(frozen=True, slots=True)
class Identical:
    """The record is what the engine says. `state` is what it folds to, `commands` what was derived on the way."""

    state: State
    commands: tuple[Command, ...]


@dataclass(frozen=True, slots=True)
class Diverged:
    """Event `seq` is the first that does not follow: what the engine says there, and what was recorded."""

    seq: int
    expected: str
    recorded: str


def replay(events: Sequence[Stamped]) -> Identical | Diverged:
    """Derive a run's record again, from its first event; stops at the first difference and names both sides.

    A run that is still under way is as good as one that has ended. Never raises for what is recorded.
    """
    replayed = _Replay(events)
    try:
        while replayed.at < len(events):
            replayed.next()
    except _Difference as difference:
        return Diverged(difference.seq, difference.expected, difference.recorded)
    return Identical(replayed.state, tuple(replayed.commands))


class _Difference(Exception):
    def __init__(self, seq: int, expected: str, recorded: str) -> None:
        super().__init__(f"event {seq}: {expected} expected, {recorded} recorded")
        self.seq = seq
        self.expected = expected
        self.recorded = recorded


MADE_BY_COMMANDS: Final = (
    *(PlanMade, PlanFinished, PlanFailed),
    *(StepSkipped, StepVerified),
    *(CallSelected, CallDenied, CallGranted, CallProposed),
    *(CallDeferred, CallStarted, CallSucceeded, CallFailed, CallUnknown),
    *(CallAdopted, CallConfirmed, CallWithdrawn, LoopDetected, CriteriaUnmet, AnswerBlocked),
    *(ProposalAnswered, ProposalUnanswered),
    *(RunWaiting, RunWarned, RunFellBack, RunSucceeded, RunFailed),
)
"""What only the driver writes, and only because a command said so; everything else comes from outside."""

_UNSETTLED: Final = (CallState.EXECUTING, CallState.UNKNOWN)
_Outcome = CallDeferred | CallStarted | CallDenied | CallSucceeded | CallFailed | CallUnknown


class _Replay:
    """A reading position in the record, the state up to it, and the commands that were derived."""

    def __init__(self, events: Sequence[Stamped]) -> None:
        self.events = events
        self.at = 0
        self.state = State()
        self.commands: list[Command] = []

    @property
    def event(self) -> Event:
        return self.events[self.at].event

    def next(self) -> None:
        """Read what one command left, or one event from outside."""
        if not self.by_command():
            self.take()
            return
        if self.own_end():
            self.close()
            self.take()
            return
        command = decide(self.state)
        self.commands.append(command)
        self.perform(command)

    def by_command(self) -> bool:
        """Whether the event at hand can only have been written because the driver asked for a command here."""
        event = self.event
        if self.state.state.terminal:
            return False  # late outcomes, proposals that close after the end
        if self.settled_while_paused(event):
            return False
        if isinstance(event, CallProposed) and self.call_is(event.call_id, CallState.WITHDRAWN):
            return self.state.state is not RunState.QUEUED  # asked again by whoever queued the run again
        if isinstance(event, ProposalWithdrawn):
            return self.ends_run()
        if isinstance(event, ProposalAnswered | ProposalUnanswered) and not self.is_asked(event.call_id):
            return False  # the proposal was closed while a model thought about its answer
        if isinstance(event, CallReconciled):
            return event.by == "hook"
        if isinstance(event, CallDeferred | CallFailed) and self.never_started(event.call_id):
            return False
        if isinstance(event, CallUnknown) and self.ends_run():
            return True
        if isinstance(event, CallSucceeded | CallFailed | CallUnknown) and self.call_is(
            event.call_id, CallState.EXECUTING
        ):
            # Its command was the one that started it; others may have written meanwhile.
            return not self.may_have_been_started(event)
        return isinstance(event, MADE_BY_COMMANDS)

    def never_started(self, call_id: str) -> bool:
        """Whether the driver has just said that a call was not reached: what it does about that is part of the same."""
        before = self.events[self.at - 1].event
        return isinstance(before, CallReconciled) and before.by == "worker" and before.call_id == call_id

    def ends_run(self) -> bool:
        """Whether the events from here close what is open because the driver ended the run, or its plan."""
        for stamped in self.events[self.at :]:
            if isinstance(stamped.event, RunSucceeded | RunFailed | RunFellBack):
                return True
            if not isinstance(stamped.event, ProposalWithdrawn | CallWithdrawn | CallUnknown):
                return False
        return False

    def own_end(self) -> bool:
        """Whether the driver ended the run here by itself; what is open closes in the same commit, before the end."""
        for stamped in self.events[self.at :]:
            if not isinstance(stamped.event, ProposalWithdrawn | CallUnknown):
                return isinstance(stamped.event, RunFailed) and stamped.event.code in OWN_ENDS
        return False

    def settled_while_paused(self, event: Event) -> bool:
        """Whether this is what became of an effect, or of a question to a model, under way when the run was paused.

        The worker that made the call still says so, or the sweeper asks the hook, which no command asks for: a paused
        run has no worker. Nothing else happens in it but what people do.
        """
        if not self.state.paused:
            return False
        if isinstance(event, PlanMade | PlanFinished | PlanFailed) and event.planner.startswith("model:"):
            # A model that was asked before somebody paused the run has answered.
            going = replace(self.state, paused_at=None, paused_by="", paused_by_halt="")
            return isinstance(decide(going), MakePlan)
        if isinstance(event, ProposalAnswered | ProposalUnanswered) and event.planner.startswith("model:"):
            return self.is_asked(event.call_id)
        if isinstance(event, CallReconciled | CallUnknown) and self.call_is(event.call_id, *_UNSETTLED):
            by_sweeper = event.by == "hook" if isinstance(event, CallReconciled) else event.asked
            if by_sweeper:
                call = self.state.calls[event.call_id]
                return call.effect == "unsafe_write" and not call.hook_asked
        return isinstance(event, CallSucceeded | CallFailed | CallUnknown) and self.call_is(event.call_id, *_UNSETTLED)

    def call_is(self, call_id: str, *states: CallState) -> bool:
        call = self.state.calls.get(call_id)
        return call is not None and call.state in states

    def is_asked(self, call_id: str) -> bool:
        call = self.state.calls.get(call_id)
        return call is not None and open_one(call) is not None

    def may_have_been_started(self, event: CallSucceeded | CallFailed | CallUnknown) -> bool:
        """Whether the worker that started the call is the last that took the run up, so that this is its outcome."""
        for stamped in reversed(self.events[: self.at]):
            earlier = stamped.event
            if isinstance(earlier, CallStarted) and earlier.call_id == event.call_id:
                return True
            if isinstance(earlier, MADE_BY_COMMANDS) or earlier.type == "run.claimed":
                return False
        return False

    # --- reading ----------------------------------------------------------------------------------------------------

    def take(self) -> Event:
        """Fold the event at hand and go past it."""
        stamped = self.events[self.at]
        try:
            self.state = apply(self.state, stamped)
        except (IllegalTransition, ValueError) as error:
            raise _Difference(stamped.seq, f"nothing that is impossible ({error})", stamped.event.type) from error
        self.at += 1
        return stamped.event

    def want(self, expected: str, fits: Callable[[Event], bool]) -> Event:
        """Take the event at hand if it fits."""
        if self.at >= len(self.events):
            raise _Difference(self.events[-1].seq + 1, expected, "the end of the record")
        if not fits(self.event):
            raise _Difference(self.events[self.at].seq, expected, _told(self.event))
        return self.take()

    def want_exactly(self, event: Event) -> None:
        self.want(_told(event), lambda found: found.type == event.type and _written(found) == _written(event))

    # --- commands ---------------------------------------------------------------------------------------------------

    def perform(self, command: Command) -> None:
        match command:
            case MakePlan():
                self.plan(command)
            case Record(events=events) | FallBack(events=events):
                for event in events:
                    self.want_exactly(event)
            case Select(candidates=candidates):
                for candidate in candidates:
                    self.select(candidate)
            case Execute(call_id=call_id):
                self.want(
                    f"what came of starting {call_id}",
                    lambda found: isinstance(found, _Outcome) and found.call_id == call_id,
                )
            case Confirm(call_id=call_id):
                self.want(
                    f"what reading {call_id} back has shown",
                    lambda found: isinstance(found, CallConfirmed) and found.call_id == call_id,
                )
            case Reconcile(call_id=call_id):
                self.want(
                    f"what the hook says of {call_id}",
                    lambda found: (
                        (isinstance(found, CallReconciled) and found.by == "hook" and found.call_id == call_id)
                        or (isinstance(found, CallUnknown) and found.asked and found.call_id == call_id)
                    ),
                )
            case Reply(call_id=call_id, round=number):
                self.want(
                    f"what became of question {number} about {call_id}",
                    lambda found: (
                        isinstance(found, ProposalAnswered | ProposalUnanswered)
                        and (found.call_id, found.round) == (call_id, number)
                    ),
                )
            case Wait(state=state, until=until):
                moment = until.isoformat(timespec="microseconds") if until is not None else ""
                self.want_exactly(RunWaiting(state.value, moment))  # type: ignore[arg-type]  # a state that waits
            case Finalize() | Fail():
                self.end(command)
            case _:
                raise _Difference(self.events[self.at].seq, "nothing", _told(self.event))

    def plan(self, command: MakePlan) -> None:
        version = command.version

        def fits(found: Event) -> bool:
            return isinstance(found, PlanFinished | PlanFailed) or (
                isinstance(found, PlanMade) and found.version == version
            )

        self.want(f"plan {version}", fits)

    def select(self, candidate: Candidate) -> None:
        """The call with the same arguments and provenance, then what the gate said of it; or one that is taken over."""
        if candidate.adopts:
            self.want_exactly(CallAdopted(candidate.adopts, candidate.step_id))
            return
        wanted = {
            "call_id": candidate.call_id,
            "step_id": candidate.step_id,
            "tool": candidate.tool,
            "arguments": candidate.arguments,
            "provenance": {path: p.to_json() for path, p in candidate.provenance.items()},
            "planned": candidate.planned,
        }

        def fits(found: Event) -> bool:
            if not isinstance(found, CallSelected):
                return False
            if candidate.idempotency_key and found.idempotency_key != candidate.idempotency_key:
                return False
            return all(clean(getattr(found, name)) == clean(value) for name, value in wanted.items())

        call_id = candidate.call_id
        self.want(f"call.selected {clean(wanted)}", fits)
        verdicts = (CallDenied,) if candidate.barred else (CallDenied, CallGranted, CallProposed)
        self.want(
            f"what the gate says of {call_id}",
            lambda found: isinstance(found, verdicts) and found.call_id == call_id,
        )

    def close(self) -> None:
        """Take what the end of the run closes, in the order of the calls."""
        for event in closings(self.state):
            self.want(
                f"{event.type} {event.call_id}",
                lambda found, event=event: found.type == event.type and found.call_id == event.call_id,  # type: ignore[misc]
            )

    def end(self, command: Finalize | Fail) -> None:
        """What is open closes first; then the run ends as the command says. An answer held back ends nothing."""
        if isinstance(command, Finalize) and isinstance(self.event, AnswerBlocked):
            self.take()
            return
        self.close()
        match command:
            case Fail(code=code, message=message):
                self.want_exactly(RunFailed(code, message))
            case Finalize(answer=answer):
                self.want(f"run.succeeded {answer!r}", lambda found: _same_answer(found, answer))


def closings(state: State) -> Iterator[ProposalWithdrawn | CallUnknown]:
    """Yield what the end of a run closes: proposals nobody answered, and effects that are under way."""
    for call in state.calls.values():
        if call.state is CallState.PROPOSED:
            yield ProposalWithdrawn(call.proposal_id, call.call_id, "The run ended.")
        elif call.state is CallState.EXECUTING:
            yield CallUnknown(call.call_id, "The run ended while this was under way.", asked=True)


def _same_answer(found: Event, answer: str) -> bool:
    if isinstance(found, RunFailed):
        return found.code == BLOCKED
    if not isinstance(found, RunSucceeded):
        return False
    whole = str(clean(redacted(answer, found.findings)))
    shortened = any(finding.get("code") == "shortened" for finding in found.findings)
    return found.answer == whole or (shortened and answer.startswith(found.answer))


def _written(event: Event) -> JSON:
    """The payload as the record carries it, where hostile text has been replaced."""
    return clean(encode(event))


def _told(event: Event) -> str:
    return f"{event.type} {_written(event)}"[:600]
