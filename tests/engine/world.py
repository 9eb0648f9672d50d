"""A world without a database: performs the engine's commands with answers drawn by a test, and records everything."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

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
)
from agentops.engine.events import (
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
    Event,
    PlanFailed,
    PlanFinished,
    PlanMade,
    ProposalAnswered,
    ProposalAsked,
    ProposalDecided,
    ProposalExpired,
    ProposalUnanswered,
    RunClaimed,
    RunFailed,
    RunSubmitted,
    RunSucceeded,
    RunWaiting,
    Stamped,
)
from agentops.engine.folding import apply
from agentops.engine.questions import MAX_QUESTIONS
from agentops.engine.replay import closings
from agentops.engine.state import Call, State
from agentops.engine.transitions import CallState, RunState
from agentops.wire.canonical import digest
from agentops.wire.parse import JSON, JSONObject

START = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)

EFFECTS = {"read": "read", "put": "idempotent_write", "pay": "unsafe_write"}


def submitted(**changes: object) -> RunSubmitted:
    values: dict[str, object] = {
        "task_type": "support",
        "input": {"message_id": "M-1"},
        "requested_by": "user:1",
        "planner": "playbook:support@1",
        "planning": "plan_first",
        "limits": {},
        "tools": {name: {"version": "1.0.0", "digest": "d", "authority": ["to"]} for name in EFFECTS},
    }
    return RunSubmitted(**(values | changes))  # type: ignore[arg-type]


@dataclass
class World:
    """`draw(choices)` picks what happens next; by default the first, friendliest choice."""

    plan: JSONObject
    """The first plan; later ones read, unless `plans` says otherwise. `fallback` is that of the fallback."""
    task: RunSubmitted = field(default_factory=submitted)
    draw: Callable[[list[str]], str] = lambda choices: choices[0]
    outputs: dict[str, JSON] = field(default_factory=dict)
    trust: dict[str, str] = field(default_factory=lambda: {"": "trusted"})
    state: State = field(default_factory=State)
    history: list[Stamped] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    effects: list[str] = field(default_factory=list)
    now: datetime = START
    plans: list[JSONObject | str] = field(default_factory=list)
    """What a planner answers from the first question on: plans, or a text that says that it is done."""
    fallback: JSONObject = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.add(self.task)

    def add(self, *events: Event, after: timedelta = timedelta(milliseconds=5)) -> None:
        for event in events:
            self.now += after
            stamped = Stamped(self.state.seq + 1, self.now, event)
            self.state = apply(self.state, stamped)
            self.history.append(stamped)

    def run(self, turns: int = 400) -> State:
        """Drive until the run ends, or until it waits for people and the draw says that nobody comes."""
        for _ in range(turns):
            if self.state.state.terminal:
                break
            if self.state.state is not RunState.RUNNING and not self.resume():
                break
            self.turn()
        return self.state

    def resume(self) -> bool:
        if self.state.state in (RunState.AWAITING_APPROVAL, RunState.AWAITING_RECONCILIATION):
            for call in self.state.open_calls(CallState.PROPOSED):
                if len(call.questions) < MAX_QUESTIONS and self.draw(["decide", "decide", "ask"]) == "ask":
                    number = len(call.questions) + 1
                    self.add(ProposalAsked(call.proposal_id, call.call_id, 1, number, "user:2", "Why?"))
                else:
                    self.decide_proposal(call.call_id, call.proposal_id, call.digest)
            for call in self.state.open_calls(CallState.UNKNOWN):
                verdict = self.draw(["happened", "did_not_happen", "gave_up"])
                self.add(CallReconciled(call.call_id, verdict, "user:2"))  # type: ignore[arg-type]
        if self.state.state is RunState.WAITING_RETRY:
            self.now += timedelta(seconds=10)
        self.add(RunClaimed("w1", 1))
        return True

    def decide_proposal(self, call_id: str, proposal_id: str, call_digest: str) -> None:
        match self.draw(["approve", "edit", "reject", "expire"]):
            case "expire":
                self.add(ProposalExpired(proposal_id, call_id))
            case "reject":
                rejected = ProposalDecided(proposal_id, call_id, 1, "reject", call_digest, "user:2", "other", "no")
                scope = self.draw(["", "call", "step", "run"])
                self.add(replace(rejected, scope=scope, retry=self.draw(["yes", "no"]) if scope else ""))
            case "edit":
                edited: JSON = {"edited": True}
                event = ProposalDecided(
                    proposal_id, call_id, 2, "edit", "e", "user:2", grant_id="g", arguments=edited, provenance={}
                )
                self.add(event)
            case _:
                self.add(
                    ProposalDecided(proposal_id, call_id, 1, "approve", call_digest, "user:2", grant_id=f"g-{call_id}")
                )

    def turn(self) -> None:
        command = decide(self.state)
        self.commands.append(command)
        match command:
            case MakePlan(version=version):
                self.add(self.planned(version))
            case Record(events=events):
                self.add(*events)
            case Select(candidates=candidates):
                for c in candidates:
                    if c.adopts:
                        self.add(CallAdopted(c.adopts, c.step_id))
                        continue
                    self.add(
                        CallSelected(
                            c.call_id,
                            c.step_id,
                            c.tool,
                            "1.0.0",
                            EFFECTS.get(c.tool, "read"),
                            c.arguments,
                            digest({"t": c.tool, "a": c.arguments}),
                            c.idempotency_key or f"key-{c.call_id}",
                            {path: p.to_json() for path, p in c.provenance.items()},
                            c.planned,
                        )
                    )
                    match "deny" if c.barred else self.draw(["grant", "propose", "deny"]):
                        case "grant":
                            self.add(CallGranted(c.call_id, f"g-{c.call_id}"))
                        case "propose":
                            self.add(CallProposed(c.call_id, f"p-{c.call_id}", "d", "low", 10, "r", ""))
                        case _:
                            self.add(CallDenied(c.call_id, "not_allowed", c.barred or "no"))
            case Execute(call_id=call_id):
                self.execute(call_id)
            case Confirm(call_id=call_id):
                verdict = self.draw(["confirmed", "cannot_tell", "contradicted"])
                self.add(CallConfirmed(call_id, verdict))  # type: ignore[arg-type]
            case Reply(call_id=call_id, round=number):
                self.reply(call_id, number)
            case FallBack(events=events):
                self.add(*events)
            case Reconcile(call_id=call_id):
                match self.draw(["happened", "did_not_happen", "cannot_tell"]):
                    case "cannot_tell":
                        self.add(CallUnknown(call_id, "cannot tell", asked=True))
                    case verdict:
                        self.add(CallReconciled(call_id, verdict, "hook"))  # type: ignore[arg-type]
            case Wait(state=state, until=until):
                self.add(RunWaiting(state.value, until.isoformat(timespec="microseconds") if until else ""))  # type: ignore[arg-type]
            case Finalize(answer=answer):
                self.add(RunSucceeded(answer))
            case Fail(code=code, message=message):
                self.add(*closings(self.state), RunFailed(code, message))
            case Nothing():
                raise AssertionError("a running run always has something to do")

    def reply(self, call_id: str, number: int) -> None:
        call, planner = self.state.calls[call_id], self.state.planner
        about = (call.proposal_id, call_id)
        match self.draw(["answered", "changed", "unanswered", "late", "died"]):
            case "answered":
                self.add(ProposalAnswered(*about, 1, number, planner, "So.", False))
            case "changed":
                new: JSON = {"changed": number}
                more = ProposalAnswered(*about, 2, number, planner, "Rather so.", True, f"c{number}", new)
                self.add(more)
            case "late":
                self.commands.pop()  # what it left is not what it wanted
                self.decide_proposal(call_id, call.proposal_id, call.digest)
                if not self.state.state.terminal:
                    self.add(ProposalAnswered(*about, 1, number, planner, "Too late.", False))
            case "died":
                self.commands.pop()
                self.add(RunClaimed("w2", 1))
            case _:
                self.add(ProposalUnanswered(*about, number, planner, "model_timeout", "No answer."))

    def planned(self, version: int) -> PlanMade | PlanFailed | PlanFinished:
        planner = self.state.planner
        if self.state.fell_back is not None:
            return PlanMade(version, planner, self.fallback)
        if self.plans:
            answer = self.plans.pop(0)
            if isinstance(answer, str):
                return PlanFinished(planner, answer)
            return PlanMade(version, planner, answer)
        if self.draw(["plan", "invalid"]) == "invalid":
            return PlanFailed(planner, "plan_invalid", "not a plan")
        return PlanMade(version, planner, renumbered(self.plan, version))

    def execute(self, call_id: str) -> None:
        call = self.state.calls[call_id]
        if self.draw(["admitted", "admitted", "refused"]) == "refused":
            self.defer(call)
            return
        attempt = call.attempts + 1
        if call.effect != "read":
            self.add(CallStarted(call_id, call.grant_id, attempt))
        choices = ["ok", "fail", "transient", "crash", "unknown", "unstarted"]
        match self.draw(choices[:4] if call.effect == "read" else choices):
            case "ok":
                self.effects.append(call_id)
                output = self.outputs.get(call.tool, {"ok": True})
                self.add(CallSucceeded(call_id, output, digest(output), 3, self.trust, attempt))
            case "fail":
                self.add(CallFailed(call_id, "conflict", "no", 3, "", attempt))
            case "transient":
                again = call.effect != "unsafe_write" and attempt < self.state.limits.attempts
                retry_at = (self.now + timedelta(seconds=2)).isoformat() if again else ""
                self.add(CallFailed(call_id, "timeout", "slow", 3, retry_at, attempt))
            case "unknown":
                again = call.effect == "idempotent_write" and attempt < self.state.limits.attempts
                retry_at = (self.now + timedelta(seconds=2)).isoformat() if again else ""
                self.add(CallUnknown(call_id, "connection lost", retry_at=retry_at))
            case "unstarted":
                self.add(CallReconciled(call_id, "did_not_happen", "worker"))
                self.defer(self.state.calls[call_id])
            case _:
                # The worker died; whether the effect happened nobody has recorded, nor that a read was tried.
                if call.effect == "read":
                    self.commands.pop()
                self.add(RunClaimed("w2", 2))

    def defer(self, call: Call) -> None:
        """The tool may not be called now; after as many waits as attempts the call ends without having started."""
        if call.deferrals < self.state.limits.attempts:
            until = self.now + timedelta(seconds=5)
            self.add(
                CallDeferred(
                    call.call_id, "breaker_open", "It keeps failing.", until.isoformat(timespec="microseconds")
                )
            )
        elif call.state in (CallState.EXECUTING, CallState.UNKNOWN):
            self.add(CallUnknown(call.call_id, "interrupted, and it cannot be repeated"))
        else:
            self.add(CallFailed(call.call_id, "breaker_open", "It keeps failing.", attempt=call.attempts))


def renumbered(plan: JSONObject, version: int) -> JSONObject:
    """A later plan needs new step ids; references keep naming earlier steps of the same plan."""
    if version == 1:
        return plan
    steps = plan["steps"]
    assert isinstance(steps, list)
    return {
        **plan,
        "steps": [{"id": f"v{version}_{i}", "tool": "read", "arguments": {"n": i}} for i in range(len(steps))],
    }
