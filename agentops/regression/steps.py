"""A record, event by event: the state before and after each, what it changed, what a planner was told, what came next.

Pure. What cannot be read ends the folding there; everything before it is still shown.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from agentops.audit.services import Recorded
from agentops.engine.decide import (
    Command,
    Confirm,
    Execute,
    Fail,
    FallBack,
    Finalize,
    MakePlan,
    Nothing,
    Reconcile,
    Record,
    Reply,
    Select,
    Wait,
    decide,
    plan_request,
)
from agentops.engine.events import (
    CallDenied,
    CallFailed,
    CallSucceeded,
    CallUnknown,
    CriteriaUnmet,
    LoopDetected,
    PlanFailed,
    PlanFinished,
    PlanMade,
    RunFailed,
    SessionDropped,
    Stamped,
    StepVerified,
)
from agentops.engine.folding import apply
from agentops.engine.planner import CallView
from agentops.engine.state import Call, State
from agentops.engine.transitions import IllegalTransition
from agentops.regression.recordings import Recording
from agentops.runs.findings import readable
from agentops.runs.timeline import listing
from agentops.runs.usage import UsageRow, usage_rows
from agentops.wire.canonical import canonical
from agentops.wire.parse import JSON

AROUND = 12
"""Events listed before and after the one that is shown."""

MAX_LINE = 400


@dataclass(frozen=True, slots=True)
class Line:
    """One member of the state that an event changed; `before` or `after` is empty where it was not there."""

    path: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Told:
    """What a planner was told for an event: everything it may have gone by."""

    version: int
    planning: str
    instructions: str
    tools: tuple[str, ...]
    calls: tuple[CallView, ...]
    feedback: tuple[str, ...]
    tainted: bool
    steps_left: int


@dataclass(frozen=True, slots=True)
class StepView:
    """The record at one event. `position` counts from 1; `broken` says why nothing after it can be folded."""

    position: int
    count: int
    event: Recorded
    data: str
    state: State
    changes: tuple[Line, ...]
    calls: tuple[Call, ...]
    limits: tuple[UsageRow, ...]
    told: Told | None
    follows: str
    around: tuple[tuple[int, Recorded], ...]
    broken: str = ""


def recorded_of(recording: Recording) -> list[Recorded]:
    """Return the events of a file as those of a stream."""
    return [
        Recorded(one.seq, one.type, one.at, dict(one.actor), dict(one.data), None, b"") for one in recording.entries
    ]


def step_at(recorded: Sequence[Recorded], position: int) -> StepView:
    """Return the view of the event at a position, 1 to the number of events."""
    events, broken = readable(recorded[:position])
    before, after = State(), State()
    for stamped in events:
        before = after
        try:
            after = apply(after, stamped)
        except (IllegalTransition, ValueError) as error:
            broken = f"Event {stamped.seq} does not follow: {error}"
            break
    one = recorded[position - 1]
    first = max(0, position - 1 - AROUND)
    shown = recorded[first : position + AROUND]
    return StepView(
        position=position,
        count=len(recorded),
        event=one,
        data=listing({name: value for name, value in one.data.items() if name != "exchange"}),
        state=after,
        changes=() if broken else tuple(differences(before, after)),
        calls=tuple(after.calls.values()),
        limits=usage_rows(after),
        told=_told(before, events[-1]) if events and not broken else None,
        follows="" if broken else words(decide(after)),
        around=tuple((first + number, event) for number, event in enumerate(shown, start=1)),
        broken=broken,
    )


def cause_of(events: Sequence[Stamped]) -> int:
    """Return the number of the event that a failed run goes back to; 0 for any other run.

    Read backwards: the check that did not hold, and of its step what the tool answered; else the last failure or
    refusal of a call, or of a plan.
    """
    if not events or not isinstance(events[-1].event, RunFailed | SessionDropped):
        return 0
    step = ""
    for stamped in reversed(events):
        match stamped.event:
            case StepVerified(step_id=step_id, ok=False) if not step:
                step = step_id
            case CallSucceeded(call_id=call_id) if step and f".{step}." in call_id:
                return stamped.seq
            case (
                CallFailed(retry_at="")
                | CallDenied()
                | CallUnknown(retry_at="")
                | PlanFailed(retry_at="")
                | LoopDetected()
            ):
                return stamped.seq
            case CriteriaUnmet():
                return stamped.seq
            case _:
                pass
    return events[-1].seq


def differences(before: State, after: State) -> Iterator[Line]:
    """Yield what an event changed of the state, by path."""
    old, new = dict(_members(before)), dict(_members(after))
    for path in dict.fromkeys([*new, *old]):
        was, now = old.get(path, ""), new.get(path, "")
        if was != now:
            yield Line(path, _cut(was), _cut(now))


def words(command: Command) -> str:
    """Say what the engine does next."""
    match command:
        case MakePlan(version=version):
            return f"ask the planner for plan {version}"
        case Record(events=events):
            return f"record {', '.join(event.type for event in events)}"
        case Select(candidates=candidates):
            return f"put {', '.join(one.tool for one in candidates)} before the gate"
        case Execute(call_id=call_id):
            return f"run {call_id}"
        case Reconcile(call_id=call_id):
            return f"ask what became of {call_id}"
        case Confirm(call_id=call_id):
            return f"read {call_id} back"
        case Reply(call_id=call_id):
            return f"have the planner answer a question about {call_id}"
        case FallBack():
            return "hand the run to its fallback"
        case Wait(state=state, until=until):
            return f"wait ({state.value}{f' until {until.isoformat()}' if until else ''})"
        case Finalize(answer=answer):
            return f"check the answer and end well: {_cut(answer)}"
        case Fail(code=code, message=message):
            return f"fail with {code}: {message}"
        case Nothing():
            return "nothing; it has ended, or others have to act first"


def _told(before: State, stamped: Stamped) -> Told | None:
    if not isinstance(stamped.event, PlanMade | PlanFinished | PlanFailed) or before.submitted is None:
        return None
    request = plan_request(before, "", ())
    return Told(
        request.version,
        request.planning,
        request.instructions,
        tuple(sorted(before.submitted.tools)),
        request.calls,
        request.feedback,
        request.tainted,
        request.steps_left,
    )


def _members(state: State) -> Iterator[tuple[str, str]]:
    """Yield the parts of a state that people want to see change."""
    plain: Mapping[str, JSON] = {
        "state": state.state.value,
        "phase": state.phase.value,
        "planner": state.planner,
        "plan": len(state.plans),
        "plan failures": state.plan_failures,
        "steps used": state.steps_used,
        "calls used": state.calls_used,
        "denied calls": state.denied_calls,
        "tainted": state.tainted,
        "paused": state.paused,
        "tokens": state.tokens,
        "cost (millionths of USD)": state.cost_micros,
        "attention (s)": state.reviewer_s,
        "loops": state.loops,
        "answer": state.answer,
        "failure": f"{state.failure_code} {state.failure_message}".strip(),
    }
    for name, value in plain.items():
        if value or name in ("state", "phase"):
            yield name, value if isinstance(value, str) else canonical(value)
    for number, text in enumerate(state.feedback, start=1):
        yield f"feedback {number}", text
    for step in state.steps.values():
        yield f"step {step.id}", f"{step.outcome}{f': {step.message}' if step.message else ''}"
    for call in state.calls.values():
        told = [call.state.value, *(name for name in (call.code, call.deferred) if name)]
        yield f"call {call.call_id}", f"{call.tool} {' '.join(told)}, {call.attempts} attempts"
        if call.grant_id:
            yield f"call {call.call_id} permission", call.grant_id
        if call.output is not None:
            yield f"call {call.call_id} output", canonical(call.output)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_LINE else f"{text[: MAX_LINE - 1]}…"
