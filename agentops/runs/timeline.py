"""A run's recorded events told as steps, in words. Pure: no queries.

Nothing here decides anything. What cannot be read (a type or version this program does not know) becomes a gap with its
sequence number, and the rest is still shown.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, assert_never

from agentops.audit.services import Recorded
from agentops.budgets.measures import amount_text
from agentops.engine.codec import UnknownEvent, decode
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
    ProposalAsked,
    ProposalDecided,
    ProposalExpired,
    ProposalUnanswered,
    ProposalUndone,
    ProposalWithdrawn,
    RunCancelled,
    RunClaimed,
    RunFailed,
    RunFellBack,
    RunPaused,
    RunRequeued,
    RunResumed,
    RunSubmitted,
    RunSucceeded,
    RunWaiting,
    RunWarned,
    SessionDropped,
    Stamped,
    StepSkipped,
    StepVerified,
)
from agentops.engine.folding import apply
from agentops.engine.plan import ArrayTree, ObjectTree, Plan, Ref, Text, Tree
from agentops.engine.plan import Literal as PlanLiteral
from agentops.engine.state import State
from agentops.engine.transitions import CallState, IllegalTransition, RunState
from agentops.runs.words import Tone, question_words, reach_words, rule_words, turn_words
from agentops.runs.words import planner_words as planner_words
from agentops.tenancy.people import who_acted
from agentops.wire.canonical import canonical
from agentops.wire.parse import JSON, JSONObject

MAX_DATA: Final = 8_000
"""Characters of an event's data shown on the page; the audit page has the whole of it."""

LIMIT_NAMES: Final = {
    "steps": "Steps",
    "model_calls": "Model calls",
    "tokens": "Tokens",
    "cost_micros": "Cost",
    "wall_time_s": "Time at work",
    "reviewer_s": "Reviewers' time",
}
"""Limit of `engine.spend.MEASURES` -> what people call it."""

_BEGINNING: Final = "start"
_END: Final = "end"
_AGAIN: Final = "again"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the timeline. `call_id` is empty where the event is not about one call."""

    seq: int
    at: datetime
    kind: str
    text: str
    actor: str = ""
    tone: Tone = ""
    url: str = ""
    call_id: str = ""
    recorded: JSONObject = field(default_factory=dict, repr=False, compare=False)

    @property
    def data(self) -> str:
        """What the event recorded, a path and a value per line; empty when too long."""
        listed = listing(self.recorded)
        return listed if len(listed) <= MAX_DATA else ""


@dataclass(slots=True)
class Group:
    """The lines of one step, of a plan, of the beginning or of the end. `state` is empty where nothing is decided."""

    id: str
    title: str
    state: str = ""
    events: list[Entry] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Told:
    """A run as its page shows it. `state` is folded from the readable events; `broken` names the first bad one."""

    groups: tuple[Group, ...]
    state: State
    broken: str = ""
    held: tuple[str, ...] = ()
    """Why nothing new starts, in the words of the timeline: a stop of the line, a pause, or both."""


def tell(
    recorded: Sequence[Recorded],
    proposal_url: Callable[[str], str] = lambda _: "",
    exchange_url: Callable[[int], str] = lambda _: "",
) -> Told:
    """Group a run's events by step and put each into words.

    `proposal_url` makes the address of a proposal, `exchange_url` that of what was said to a model for an event.
    """
    who = who_acted(one.actor for one in recorded)
    teller = _Teller(proposal_url, exchange_url, {one.seq: name for one, name in zip(recorded, who, strict=True)})
    for one in recorded:
        teller.hear(one)
    held = tuple(teller.held.values()) if teller.state.paused else ()
    return Told(tuple(teller.groups.values()), teller.state, teller.broken, held)


class _Teller:
    def __init__(
        self, proposal_url: Callable[[str], str], exchange_url: Callable[[int], str], who: Mapping[int, str]
    ) -> None:
        self.called = who
        self.proposal_url = proposal_url
        self.exchange_url = exchange_url
        self.groups: dict[str, Group] = {}
        self.here = _BEGINNING
        self.state = State()
        self.broken = ""
        self.tools: dict[str, str] = {}
        self.steps: dict[str, str] = {}
        self.proposed_at: dict[str, datetime] = {}
        self.again = 0
        """How often the run was tried again after its end."""
        self.held: dict[bool, str] = {}
        """Whether it was a stop of the line -> what is told of the pause."""
        self.taken_over = ""
        """What sets the steps of a fallback playbook apart from those before it, which may have the same names."""

    def hear(self, one: Recorded) -> None:
        try:
            event = decode(one.type, one.data)
        except UnknownEvent as error:
            self.broken = self.broken or f"event {one.seq}: {error}"
            self.put(self.here, one, f"Event {one.seq} cannot be read: {error}", "error")
            return
        self.fold(one, event)
        where = self.where(event)
        self.here = where
        text, tone, url = self.words(event, one)
        match event:
            case RunPaused(halt=halt):
                self.held[bool(halt)] = text
            case RunResumed(halt=halt):
                self.held.pop(bool(halt), None)
        self.put(where, one, text, tone, url)
        self.mark(where, event)

    def who(self, one: Recorded) -> str:
        return self.called.get(one.seq) or str(one.actor.get("kind") or "somebody")

    def fold(self, one: Recorded, event: Event) -> None:
        if self.broken:
            return
        try:
            self.state = apply(self.state, Stamped(one.seq, one.at, event))
        except (IllegalTransition, ValueError) as error:
            self.broken = f"event {one.seq}: {error}"

    def put(self, where: str, one: Recorded, text: str, tone: Tone = "", url: str = "") -> None:
        group = self.groups.setdefault(where, Group(where, self.title(where)))
        # Where the sentence is about what a person did, it names the person already.
        actor = self.who(one) if one.type == RunSubmitted.type else ""
        call_id = str(one.data.get("call_id") or "")
        group.events.append(Entry(one.seq, one.at, one.type, text, actor, tone, url, call_id, one.data))

    def title(self, where: str) -> str:
        if where == _BEGINNING:
            return "Task"
        if where.startswith(_END):
            return "End"
        if where.startswith(_AGAIN):
            return "Tried again"
        if where.startswith("plan:"):
            return f"Plan {where.removeprefix('plan:')}"
        step = where.removeprefix("step:")
        return self.steps.get(step, step.removeprefix(self.taken_over))

    def where(self, event: Event) -> str:
        match event:
            case RunSubmitted():
                return _BEGINNING
            case RunSucceeded() | RunFailed() | RunCancelled() | SessionDropped():
                return f"{_END}:{self.again}" if self.again else _END
            case RunRequeued():
                self.again += 1
                return f"{_AGAIN}:{self.again}"
            case PlanMade(version=version):
                for step, title in self.planned_steps(event):
                    self.steps.setdefault(f"{self.taken_over}{step}", title)
                return f"plan:{version}"
            case PlanFailed() | PlanFinished():
                return f"plan:{len(self.state.plans) + 1}" if not self.broken else self.here
            case RunFellBack() | LoopDetected() | CriteriaUnmet() | AnswerBlocked():
                self.taken_over = "then:" if isinstance(event, RunFellBack) else self.taken_over
                return f"plan:{len(self.state.plans) + 1}" if not self.broken else self.here
            case StepSkipped(step_id=step_id) | StepVerified(step_id=step_id) | CallAdopted(step_id=step_id):
                return f"step:{self.taken_over}{step_id}"
            case CallSelected(call_id=call_id, step_id=step_id, tool=tool):
                self.tools[call_id] = tool
                self.steps.setdefault(f"{self.taken_over}{step_id}", tool)
                return f"step:{self.taken_over}{step_id}"
            case RunClaimed() | RunWaiting() | RunWarned() | RunPaused() | RunResumed():
                return self.here
            case _:
                return f"step:{self.taken_over}{self.step_of(event.call_id)}"

    def step_of(self, call_id: str) -> str:
        call = self.state.calls.get(call_id)
        return call.step_id if call is not None else call_id

    def planned_steps(self, event: PlanMade) -> list[tuple[str, str]]:
        plan = self.state.plan
        if plan is None or plan.version != event.version:
            return []
        return [(step.id, step.why or _tools_of(step.calls)) for step in plan.steps]

    def mark(self, where: str, event: Event) -> None:
        """Keep the state word of a group: what its step has come to so far."""
        group = self.groups[where]
        match event:
            case StepSkipped(reason=reason):
                group.state = "skipped" if reason == "condition" else "no value"
            case StepVerified(step_id=step_id, ok=ok):
                progress = self.state.steps.get(step_id)
                group.state = progress.outcome if progress is not None else ("succeeded" if ok else "failed")
            case RunSucceeded():
                group.state = "succeeded"
            case RunFailed():
                group.state = "failed"
            case RunCancelled():
                group.state = "cancelled"
            case _ if where.startswith("step:") and (call := self.state.calls.get(getattr(event, "call_id", ""))):
                group.state = call.state.value

    def words(self, event: Event, one: Recorded) -> tuple[str, Tone, str]:
        match event:
            case RunWarned(limit=limit, used=used, allowed=allowed):
                return f"Near its limit: {usage_words(limit, used, allowed)}", "wait", ""
            case RunSubmitted() | RunClaimed() | RunWaiting() | RunSucceeded() | RunFailed() | RunCancelled():
                return *self.run_words(event, self.who(one)), ""
            case RunPaused() | RunResumed() | RunRequeued():
                return *_holding_words(event, self.who(one)), ""
            case PlanMade() | PlanFinished() | PlanFailed():
                return *_plan_words(event), self.exchange_url(one.seq) if event.exchange else ""
            case RunFellBack() | LoopDetected() | CriteriaUnmet() | AnswerBlocked():
                return *turn_words(event), ""
            case CallConfirmed() | CallAdopted() | CallWithdrawn():
                return *rule_words(event, self.tool(event.call_id), self.state), ""
            case StepSkipped(reason="condition", detail=detail):
                return f"Skipped, because its condition does not hold: {detail}", "", ""
            case StepSkipped(detail=detail):
                return f"Skipped, because there is no value for {detail}", "wait", ""
            case SessionDropped(notes=notes):
                return f"{_count(len(notes), 'session note')} deleted with the end of the run", "", ""
            case StepVerified(ok=True):
                return "Verified", "ok", ""
            case StepVerified(message=message):
                return f"Not verified{': ' + message if message else ''}", "error", ""
            case CallProposed() | ProposalDecided() | ProposalUndone() | ProposalExpired() | ProposalWithdrawn():
                return *self.proposal_words(event, one), self.proposal_url(event.proposal_id)
            case ProposalAsked():
                text = question_words(event, self.tool(event.call_id), self.who(one))
                return text, "gate", self.proposal_url(event.proposal_id)
            case ProposalAnswered() | ProposalUnanswered():
                tainted: Tone = "taint" if isinstance(event, ProposalAnswered) and event.tainted else ""
                url = self.exchange_url(one.seq) if event.exchange else self.proposal_url(event.proposal_id)
                return question_words(event, self.tool(event.call_id), ""), tainted, url
            case _:
                return *self.call_words(event, one), ""

    def run_words(
        self, event: RunSubmitted | RunClaimed | RunWaiting | RunSucceeded | RunFailed | RunCancelled, who: str
    ) -> tuple[str, Tone]:
        match event:
            case RunSubmitted(task_type=task_type, planner=planner, prompt=prompt, models=models):
                others = "".join(f", else by {name}" for name in models[1:])
                told = f", told by prompt {prompt.replace('@', ' version ')}" if prompt else ""
                return (
                    f"Task of type {task_type} submitted, to be planned by {planner_words(planner)}{others}{told}",
                    "",
                )
            case RunClaimed(screened=screened) if screened:
                return f"A worker took it up{_screened_words(screened, 'its input')}", "taint"
            case RunClaimed(attempt=attempt):
                if attempt <= 1:
                    return "A worker took it up", ""
                return f"A worker took it up, attempt {attempt}", "wait"
            case RunWaiting(state=RunState.WAITING_RETRY.value):
                return "Waits for the next try", "wait"
            case RunWaiting(state=RunState.AWAITING_APPROVAL.value):
                return "Waits for a person to decide", "gate"
            case RunWaiting():
                return "Waits for somebody to say whether the effect happened", "error"
            case RunSucceeded(findings=findings):
                found = f", {len(findings)} finding{'s' * (len(findings) != 1)} in its answer" if findings else ""
                return f"Finished{found}", "ok"
            case RunFailed(code=code, message=message):
                return f"Failed with {code}: {message}", "error"
            case RunCancelled(reason=reason):
                return f"Cancelled by {who}{': ' + reason if reason else ''}", "error"

    def proposal_words(
        self,
        event: CallProposed | ProposalDecided | ProposalUndone | ProposalExpired | ProposalWithdrawn,
        one: Recorded,
    ) -> tuple[str, Tone]:
        tool, at, who = self.tool(event.call_id), one.at, self.who(one)
        match event:
            case CallProposed(band=band, score=score):
                self.proposed_at[event.proposal_id] = at
                return f"{tool} is put before a person, {band} risk {score}", "gate"
            case ProposalDecided(verdict="approve"):
                return f"{tool} approved by {who}{self.waited(event.proposal_id, at)}", "gate"
            case ProposalDecided(verdict="edit"):
                return f"{tool} changed and approved by {who}{self.waited(event.proposal_id, at)}", "gate"
            case ProposalDecided(reason_code=code, note=note):
                said = f"{tool} rejected by {who}, {code.replace('_', ' ')}{': ' + note if note else ''}"
                return f"{said}{reach_words(event)}", "error"
            case ProposalUndone(by=by) if by.startswith("policy:"):
                return f"{tool} waits again: the policy asks for more people now, or others, than approved it", "gate"
            case ProposalUndone():
                return f"{who} took back the approval of {tool} before it could start", "gate"
            case ProposalExpired():
                return f"Nobody decided about {tool} in time, so it will not run", "error"
            case ProposalWithdrawn(reason=reason):
                return f"The question about {tool} was withdrawn{': ' + reason if reason else ''}", ""

    def call_words(
        self,
        event: CallSelected
        | CallDenied
        | CallGranted
        | CallDeferred
        | CallStarted
        | CallSucceeded
        | CallFailed
        | CallUnknown
        | CallReconciled,
        one: Recorded,
    ) -> tuple[str, Tone]:
        tool = self.tool(event.call_id)
        match event:
            case CallSelected(version=version, planned=planned):
                call = self.state.calls.get(event.call_id)
                off_plan = "" if planned else ", which is not in the plan"
                if call is not None and call.untrusted:
                    return f"{tool} {version} selected with untrusted values in its arguments{off_plan}", "taint"
                return f"{tool} {version} selected{off_plan}", ""
            case CallDenied(code=code, message=message):
                return f"{tool} denied, {code}: {message}", "error"
            case CallGranted(rule=rule):
                return f"{tool} allowed by {rule or 'the allowlist'}", ""
            case CallDeferred(message=message):
                return f"{tool} waits: {message}", "wait"
            case CallStarted(attempt=attempt):
                return f"{tool} started{f', attempt {attempt}' if attempt > 1 else ''}", ""
            case CallSucceeded(duration_ms=duration, screened=screened):
                told = _screened_words(screened, "its output")
                return f"{tool} succeeded in {_milliseconds(duration)}{told}", "taint" if told else "ok"
            case CallFailed(code=code, message=message, retry_at=retry_at):
                again = ", will be tried again" if retry_at else ""
                return f"{tool} failed with {code}{again}: {message}", "wait" if retry_at else "error"
            case CallUnknown(message=message, retry_at=retry_at):
                again = "; it will be repeated under its own key" if retry_at else ""
                return f"Nobody knows whether {tool} had its effect{again}: {message}", "wait" if retry_at else "error"
            case CallReconciled(verdict=verdict, note=note, reference=reference):
                said = {
                    "happened": "did happen",
                    "did_not_happen": "did not happen",
                    "gave_up": "cannot be found out about",
                }[verdict]
                told = f"{tool} {said}, says {self.who(one)}{': ' + note if note else ''}"
                told += f" (reference {reference})" if reference else ""
                return told, "ok" if verdict == "happened" else "wait"
            case _:
                assert_never(event)

    def tool(self, call_id: str) -> str:
        return self.tools.get(call_id, call_id)

    def waited(self, proposal_id: str, at: datetime) -> str:
        since = self.proposed_at.get(proposal_id)
        return f" after {length(at - since)}" if since is not None else ""


def _screened_words(screened: Sequence[JSONObject], where: str) -> str:
    """Say in our own words what guardrails made of a text: flagged, looked at in vain, or nothing worth a word."""
    if any(one.get("failed") for one in screened):
        return f"; a guardrail broke on {where}, so nothing runs without a person from here on"
    families = dict.fromkeys(
        str(family)
        for one in screened
        if one.get("flagged") and isinstance(named := one.get("families"), list)
        for family in named
    )
    return f"; guardrails flag {where} ({', '.join(families)})" if families else ""


def usage_words(limit: str, used: int, allowed: int) -> str:
    """Say how much of a run's limit is used."""
    return f"{LIMIT_NAMES.get(limit, limit)}, {amount_text(limit, used)} of {amount_text(limit, allowed)}"


def _holding_words(event: RunPaused | RunResumed | RunRequeued, who: str) -> tuple[str, Tone]:
    why = f": {event.reason}" if event.reason else ""
    match event:
        case RunPaused(halt=halt):
            return (
                (f"Stopped with the line, by stop {halt}{why}", "error") if halt else (f"Paused by {who}{why}", "wait")
            )
        case RunResumed(halt=halt):
            return (f"Stop {halt} was lifted{why}" if halt else f"Resumed by {who}{why}"), ""
        case RunRequeued():
            return f"Queued again by {who}{why}", "wait"


def length(span: timedelta) -> str:
    """Say how long something took, largest unit only."""
    seconds = max(0, int(span.total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or (unit == "min" and seconds >= size):
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def verdict(state: RunState, told: Told) -> str:
    """Say in one sentence where a run stands."""
    s = told.state
    if s.paused:
        what = "Stopped with the line" if s.paused_by_halt else "Paused"
        return f"{what}, {_step_words(s)}. Nothing new starts, and its deadlines stand still."
    if state in (RunState.QUEUED, RunState.WAITING_RETRY) and (held := _to_be_released(s)):
        others = ", ".join(sorted({c.tool for c in s.open_calls(CallState.PROPOSED)}))
        asked = f" A person still has to decide about {others}." if others else ""
        return f"Approved: {', '.join(held)} starts by itself as soon as that can no longer be taken back.{asked}"
    match state:
        case RunState.QUEUED:
            return "Queued; a worker takes it up in a moment."
        case RunState.RUNNING:
            return f"Running, {_step_words(s)}."
        case RunState.WAITING_RETRY:
            return f"A tool or the model was not available; the next try comes by itself, {_step_words(s)}."
        case RunState.AWAITING_APPROVAL:
            tools = ", ".join(sorted({c.tool for c in s.open_calls(CallState.PROPOSED)}))
            return f"Waits for a person to decide about {tools or 'a call'}."
        case RunState.AWAITING_RECONCILIATION:
            tools = ", ".join(sorted({c.tool for c in s.open_calls(CallState.UNKNOWN)}))
            return f"Nobody knows whether {tools or 'a call'} had its effect. Nothing is repeated until somebody says."
        case RunState.SUCCEEDED:
            done = sum(1 for c in s.calls.values() if c.state is CallState.SUCCEEDED)
            return f"Succeeded with {_count(s.steps_used, 'step')} and {_count(done, 'successful call')}{_denied(s)}."
        case RunState.FAILED:
            return f"Failed, {_step_words(s)}: {s.failure_message or s.failure_code or 'no reason was recorded'}"
        case RunState.CANCELLED:
            return f"Cancelled, {_step_words(s)}. What was under way was not repeated."


def _to_be_released(state: State) -> list[str]:
    """Return the tools of approved calls whose approval can still be taken back."""
    approved = [call for call in state.open_calls(CallState.GRANTED) if call.proposal_id and call.retry_at is not None]
    return sorted({call.tool for call in approved if call.deferred in ("", "not_released")})


def _step_words(state: State) -> str:
    plan, step = state.plan, state.current_step
    if plan is None:
        return "before there was a plan"
    if step is None:
        return f"after all {len(plan.steps)} steps of its plan"
    return f"at step {state.cursor + 1} of {len(plan.steps)} ({step.id})"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _denied(state: State) -> str:
    return f"; {_count(state.denied_calls, 'call')} denied" if state.denied_calls else ""


def _milliseconds(duration: int) -> str:
    return f"{duration} ms" if duration < 1000 else f"{duration / 1000:.1f} s"


def _plan_words(event: PlanMade | PlanFinished | PlanFailed) -> tuple[str, Tone]:
    match event:
        case PlanMade(plan=plan, planner=planner, tainted=tainted):
            steps = plan.get("steps")
            count = _count(len(steps) if isinstance(steps, list) else 0, "step")
            by = planner_words(planner)
            if tainted:
                return f"Planned {count} by {by}, after it had seen untrusted text", "taint"
            return f"Planned {count} by {by}", ""
        case PlanFinished(planner=planner):
            return f"{planner_words(planner).capitalize()} says that it is done", "ok"
        case PlanFailed(planner=planner, code=code, message=message, retry_at=retry_at):
            again = ", will be asked again" if retry_at else ""
            return f"No plan from {planner_words(planner)}, {code}{again}: {message}", "wait" if retry_at else "error"


# --- the plan in readable form --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One step of a plan in words. `calls` are (tool, ((argument, text), ...))."""

    id: str
    why: str
    when: str
    expect: str
    goes_on: bool
    calls: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]


def plan_steps(plan: Plan | None) -> tuple[PlannedStep, ...]:
    """Put a plan into words; references are written as `{steps.order.output.total}`."""
    if plan is None:
        return ()
    return tuple(
        PlannedStep(
            id=step.id,
            why=step.why,
            when=step.when,
            expect=step.expect,
            goes_on=step.on_failure.value == "continue",
            calls=tuple(
                (call.tool, tuple((name, tree_words(tree)) for name, tree in call.arguments.members))
                for call in step.calls
            ),
        )
        for step in plan.steps
    )


def tree_words(tree: Tree) -> str:
    """Write an argument tree as text; what is filled in later stands in braces."""
    match tree:
        case PlanLiteral(value):
            return value if isinstance(value, str) else canonical(value)
        case Ref():
            return f"{{{tree}}}"
        case Text(parts):
            return "".join(part if isinstance(part, str) else f"{{{part}}}" for part in parts)
        case ObjectTree(members):
            return ", ".join(f"{name}: {tree_words(child)}" for name, child in members)
        case ArrayTree(items):
            return ", ".join(tree_words(child) for child in items)


def listing(value: JSON) -> str:
    """Write a JSON value as one line per leaf, `steps.0.tool: "mail.read"`; text stays quoted, so it cannot pose."""
    return "\n".join(f"{path}: {canonical(leaf)}" for path, leaf in _leaves(value, ""))


def _leaves(value: JSON, path: str) -> Iterator[tuple[str, JSON]]:
    match value:
        case dict() if value:
            for name, member in value.items():
                yield from _leaves(member, f"{path}.{name}" if path else name)
        case list() if value:
            for index, member in enumerate(value):
                yield from _leaves(member, f"{path}.{index}")
        case _:
            yield path, value


def _tools_of(calls: Sequence[object]) -> str:
    return " and ".join(str(getattr(call, "tool", "")) for call in calls)
