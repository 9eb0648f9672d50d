"""A tool that fails now and then, is down for a while, and comes back: calls wait, one probes, and every run ends."""

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby, pairwise

import pytest
from django.contrib.auth.models import User
from django.db import connection

from agentops import clock
from agentops.audit.services import Recorded
from agentops.audit.services import load as load_stream
from agentops.audit.verify import verify_tenant
from agentops.engine.events import CallDeferred, CallFailed, CallStarted, RunFellBack
from agentops.engine.replay import Identical
from agentops.engine.replay import replay as replayed
from agentops.runs.models import Playbook, Run, TaskType, ToolCall
from agentops.runs.points import install, installed
from agentops.runs.recording import load
from agentops.runs.timeline import tell
from agentops.tenancy.access import SYSTEM, Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.wire.canonical import canonical
from agentops.wire.parse import JSONObject
from agentops.worker.driver import Driver
from approvals.models import Grant
from approvals.services import Decided
from approvals.stopping.intervention import Paused, Resumed, pause_run, resume_run
from tests.approvals.threads import at_once
from tests.deciding import approve
from tests.keys import key_of
from tests.shop import Clock, only_proposal, start, task_type
from tools import executor, health
from tools.allowing import seed_rules
from tools.allowlist import AllowlistState
from tools.builtin.shapes import closed, number, text
from tools.contracts import (
    ArgumentRole,
    CallContext,
    DidNotHappen,
    Effect,
    ErrorCode,
    Happened,
    Reconciled,
    Reversal,
    Reversibility,
    ToolContract,
    ToolError,
    Trust,
)
from tools.models import AllowlistEntry, ToolHealth
from tools.registry import registry

AUTO, GATED = AllowlistState.AUTO, AllowlistState.GATED


def contract(name: str, effect: Effect) -> ToolContract:
    return ToolContract(
        name=name,
        version="1.0.0",
        title=name,
        description="Asks a provider.",
        input_schema=closed(n=number(0, 100)),
        output_schema=closed(receipt=text(40)),
        effect=effect,
        roles={"n": ArgumentRole.AUTHORITY},
        output_trust={"": Trust.TRUSTED},
        error_codes=frozenset({ErrorCode.UNAVAILABLE, ErrorCode.CONFLICT, ErrorCode.OUTCOME_UNKNOWN}),
        sentence="Ask for {n}",
        reversible=Reversibility(Reversal.IRREVERSIBLE, "It cannot be taken back."),
    )


LOOK = contract("lab.look", Effect.READ)
PUT = contract("lab.put", Effect.IDEMPOTENT_WRITE)
PAY = contract("lab.pay", Effect.UNSAFE_WRITE)


@dataclass
class Provider:
    """What the tools reach. `failing` says whether a request made at a moment fails."""

    clock: Clock = field(default_factory=Clock)
    failing: Callable[[datetime], bool] = lambda moment: False
    requests: list[tuple[str, datetime]] = field(default_factory=list)
    paid: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    """Payments whose confirmation never arrived."""
    crashes: int = 0
    """How many requests more end in an error that nobody declared, after they have arrived."""
    odd: list[ErrorCode | JSONObject] = field(default_factory=list)
    """What the next requests are answered with, after they have arrived: a declared code, or an output."""
    keys: list[str] = field(default_factory=list)
    dice: random.Random = field(default_factory=lambda: random.Random(8))

    def ask(self, tool: str) -> Callable[[CallContext, JSONObject], JSONObject]:
        def handler(ctx: CallContext, arguments: JSONObject) -> JSONObject:
            self.requests.append((tool, self.clock.now))
            self.keys.append(ctx.idempotency_key)
            if self.crashes:
                self.crashes -= 1
                raise RuntimeError("a bug of the tool")
            down = self.failing(self.clock.now)
            if tool == PAY.name and not (down and self.dice.random() < 0.5):
                self.paid[ctx.idempotency_key] += 1
                if down:
                    self.lost += 1
                    raise ToolError(ErrorCode.OUTCOME_UNKNOWN, "The connection broke after the request was sent.")
            if self.odd:
                odd = self.odd.pop(0)
                if isinstance(odd, ErrorCode):
                    raise ToolError(odd, "Said the provider.")
                return odd
            if down:
                raise ToolError(ErrorCode.UNAVAILABLE, "The provider does not answer.")
            return {"receipt": "ok"}

        return handler

    def was_paid(self, ctx: CallContext, arguments: JSONObject) -> Reconciled:
        return Happened({"receipt": "ok"}) if self.paid[ctx.idempotency_key] else DidNotHappen()


@pytest.fixture
def provider(scoped: Tenant) -> Iterator[Provider]:
    provider = Provider()
    registry.register(LOOK, provider.ask(LOOK.name))
    registry.register(PUT, provider.ask(PUT.name))
    registry.register(PAY, provider.ask(PAY.name), reconcile=provider.was_paid)
    yield provider
    for one in (LOOK, PUT, PAY):
        registry.remove(one.name, one.version)


def drive(run: Run, provider: Provider, owner: str = "w1", rng: random.Random | None = None) -> Run:
    Driver(owner, now=provider.clock, rng=rng or random.Random(1)).drive(run.tenant_id, run.id)
    return Run.objects.get(pk=run.pk)


def kinds(run: Run) -> list[str]:
    return [stamped.event.type for stamped in load(run.id) if stamped.event.type.startswith("call.")]


def breaker_events(tool: str) -> list[Recorded]:
    return [event for event in load_stream("tenant") if event.tool == tool and event.type.startswith("breaker.")]


def trip(tool: ToolContract, now: datetime) -> None:
    """Let five calls fail somewhere else."""
    for _ in range(tool.breaker.failures):
        health.report(tool.name, tool, health.Admitted(), outcome_code="timeout", now=now)


LOOK_STEP: JSONObject = {"id": "look", "tool": "lab.look", "arguments": {"n": 1}}
PUT_STEP: JSONObject = {"id": "put", "tool": "lab.put", "arguments": {"n": 3}}
PAY_STEP: JSONObject = {"id": "pay", "tool": "lab.pay", "arguments": {"n": 2}}


def test_flaky_then_down_then_back(provider: Provider) -> None:
    clock, dice = provider.clock, provider.dice
    began = clock.now
    outage, recovery = began + timedelta(minutes=5), began + timedelta(minutes=8)
    provider.failing = lambda moment: moment < recovery and (moment >= outage or dice.random() < 0.3)
    task_type([PAY_STEP | {"on_failure": "continue"}, LOOK_STEP], {"lab.look": AUTO, "lab.pay": AUTO})
    rng = random.Random(4)
    submitted: list[tuple[datetime, Run]] = []

    for tick in range(400):
        clock.forward(seconds=5)
        if tick % 3 == 0 and clock.now < recovery + timedelta(minutes=2):
            submitted.append((clock.now, start("job", {}, now=clock.now)))
        waiting = Run.objects.filter(ended_at__isnull=True)
        if not waiting and clock.now > recovery + timedelta(minutes=2):
            break
        for i, run in enumerate(waiting):
            drive(run, provider, f"w{i % 3}", rng)

    runs = {run.pk: run for run in Run.objects.all()}
    assert len(runs) == len(submitted)
    assert {run.state for run in runs.values()} <= {"succeeded", "failed"}
    assert {run.lease_owner for run in runs.values()} == {""}

    # Every payment happened at most once, also those of which nobody heard at first, and the runs know which did.
    assert provider.lost > 3
    assert set(provider.paid.values()) == {1}
    known = ToolCall.objects.filter(tool="lab.pay", state="succeeded")
    assert {key_of(call) for call in known} == set(provider.paid)
    starts = [s.event for run in runs.values() for s in load(run.pk) if isinstance(s.event, CallStarted)]
    paying = [event.grant_id for event in starts if event.call_id == "1.pay.0"]
    assert len(paying) == len(set(paying))
    assert Grant.objects.filter(tool="lab.pay", consumed_at__isnull=False).count() == len(paying)

    # The breaker of each tool opened, let single probes through, and closed.
    for tool in ("lab.look", "lab.pay"):
        events = breaker_events(tool)
        told = "".join({"breaker.opened": "o", "breaker.probed": "p", "breaker.closed": "c"}[e.type] for e in events)
        assert re.fullmatch(r"(o(po)*pc)+", told), told
        assert events[-1].at >= recovery
        assert ToolHealth.objects.get(tool=tool).state == "closed"
        while_open = 0
        for opened, end in pauses(events):
            while_open += sum(name == tool and opened < moment <= end for name, moment in provider.requests)
        assert while_open == told.count("p"), "nothing but probes reaches a tool that is down"

    # Runs went on: those that met the outage waited, and everything after the recovery is well.
    deferred = [run for run in runs.values() if "call.deferred" in kinds(run)]
    assert len(deferred) >= 5
    assert sum(run.state == "succeeded" for run in deferred) >= len(deferred) / 2
    late = [runs[run.pk].state for at, run in submitted if at > recovery + timedelta(minutes=1)]
    assert late
    assert set(late) == {"succeeded"}
    assert not verify_tenant().findings


def test_a_critical_task_completes_through_its_playbook_while_the_tool_is_down(provider: Provider) -> None:
    """A flaky tool, an outage, recovery: one kind of task waits, the critical kind goes another way."""
    clock, dice = provider.clock, provider.dice
    began = clock.now
    outage, recovery = began + timedelta(minutes=2), began + timedelta(minutes=6)

    def failing(moment: datetime) -> bool:
        return moment < recovery and (moment >= outage or dice.random() < 0.3)

    provider.failing = lambda moment: not provider.requests[-1][0].endswith("put") and failing(moment)
    patient = task_type([LOOK_STEP], {"lab.look": AUTO})
    spare = Playbook.objects.create(
        slug="spare",
        version=1,
        body=canonical(
            {"steps": [{"id": "put", "tool": "lab.put", "arguments": {"n": 3}}], "answers": [{"text": "put"}]}
        ),
    )
    urgent = TaskType.objects.create(
        slug="urgent",
        name="Urgent",
        playbook=patient.playbook,
        input_schema=patient.input_schema,
        critical=True,
        fallback=spare,
    )
    for tool in ("lab.look", "lab.put"):
        seed_rules(urgent.pk, {tool: AUTO})
    rng = random.Random(4)
    ended: dict[object, datetime] = {}

    for tick in range(200):
        clock.forward(seconds=5)
        if tick % 3 == 0 and clock.now < recovery + timedelta(minutes=1):
            start("job", {}, now=clock.now)
            start("urgent", {}, now=clock.now)
        for i, run in enumerate(Run.objects.filter(ended_at__isnull=True)):
            if drive(run, provider, f"w{i % 3}", rng).ended_at:
                ended[run.pk] = clock.now
        if clock.now > recovery + timedelta(minutes=5) and not Run.objects.filter(ended_at__isnull=True):
            break

    told = [event.type for event in breaker_events("lab.look")]
    assert told.count("breaker.opened") > 1
    assert told[-2:] == ["breaker.probed", "breaker.closed"]
    assert ToolHealth.objects.get(tool="lab.look").state == "closed"

    runs = Run.objects.filter(task_type=urgent)
    fell_back = [run for run in runs if any(isinstance(s.event, RunFellBack) for s in load(run.pk))]
    assert len(fell_back) >= 5
    for run in fell_back:
        assert (run.state, run.answer) == ("succeeded", "put")
        assert "waiting_retry" not in [getattr(s.event, "state", "") for s in load(run.pk)][-8:]
    open_from, open_until = next(pauses(breaker_events("lab.look")))
    during = [run for run in runs if open_from < run.created_at < open_until]
    # Those that were the probe found the tool failing themselves; everybody else went by the playbook, at once.
    at_once = [run for run in during if run in fell_back and ended[run.pk] - run.created_at < timedelta(seconds=10)]
    assert len(at_once) >= 0.8 * len(during) > 5
    waiting = Run.objects.filter(task_type=patient, created_at__gt=open_from, created_at__lt=open_until)
    assert all(ended[run.pk] >= open_until - timedelta(seconds=10) for run in waiting if run.state == "succeeded")
    after = recovery + timedelta(minutes=1)
    assert {run.state for run in Run.objects.filter(created_at__gt=after)} <= {"succeeded"}
    assert not verify_tenant().findings


def pauses(events: list[Recorded]) -> Iterator[tuple[datetime, datetime]]:
    """Return when the breaker opened and closed."""
    opened = None
    for closed_, group in groupby(events, lambda event: event.type == "breaker.closed"):
        first = next(iter(group))
        if closed_ and opened is not None:
            yield opened, first.at
        opened = None if closed_ else first.at


def test_a_refund_waits_for_its_tool_with_its_permission_unused_and_then_happens_once(
    scoped: Tenant, provider: Provider, bob: User, actor_of: Callable[[User, Tenant], Actor]
) -> None:
    clock = provider.clock
    task_type([PAY_STEP], {"lab.pay": GATED})
    run = drive(start("job", {}, now=clock()), provider)
    proposal = only_proposal()
    answer = approve(
        proposal_id=proposal.id, actor=actor_of(bob, scoped), version=1, digest=proposal.digest, now=clock()
    )
    assert isinstance(answer, Decided)
    trip(PAY, clock.now)

    run = drive(run, provider)
    assert run.state == "waiting_retry"
    assert run.not_before is not None
    assert timedelta(seconds=29) < run.not_before - clock.now < timedelta(seconds=33)
    assert Grant.objects.get().consumed_at is None
    assert ToolCall.objects.get().code == "breaker_open"
    assert provider.requests == []

    assert drive(run, provider).state == "waiting_retry", "it is not taken up before its time"
    clock.forward(seconds=33)
    run = drive(run, provider)
    assert run.state == "succeeded"
    assert kinds(run) == ["call.selected", "call.proposed", "call.deferred", "call.started", "call.succeeded"]
    assert set(provider.paid.values()) == {1}
    assert Grant.objects.get().consumed_at is not None
    assert ToolCall.objects.get().code == ""
    assert [event.type for event in breaker_events("lab.pay")] == ["breaker.opened", "breaker.probed", "breaker.closed"]
    assert {event.run_id for event in breaker_events("lab.pay")[1:]} == {run.id}
    words = [entry.text for group in tell(load_stream(f"run:{run.id}"), str).groups for entry in group.events]
    assert "lab.pay waits: The tool kept failing, so calls to it wait." in words


@pytest.mark.parametrize("tool", ["lab.look", "lab.put", "lab.pay"])
def test_a_call_waits_as_often_as_it_may_be_tried_and_then_ends_without_having_started(
    provider: Provider, tool: str
) -> None:
    clock = provider.clock
    task_type([{"id": "a", "tool": tool, "arguments": {"n": 1}}], {tool: AUTO}, limits={"attempts": 3})
    run = start("job", {}, now=clock())
    health.hold(tool, actor=SYSTEM, now=clock.now)
    for _ in range(3):
        run = drive(run, provider)
        assert run.state == "waiting_retry"
        clock.forward(minutes=2)
    run = drive(run, provider)
    assert (run.state, run.failure_code) == ("failed", "tool_failed")
    assert "breaker_open" in run.failure_message
    ended = [stamped.event for stamped in load(run.id) if isinstance(stamped.event, CallFailed)]
    assert [(event.code, event.attempt) for event in ended] == [("breaker_open", 0)]
    assert not Grant.objects.exists(), "what was never used needs no row"
    assert provider.requests == []


def test_runs_above_a_rate_limit_take_turns_and_all_get_theirs(provider: Provider) -> None:
    clock = provider.clock
    task_type([PAY_STEP], {"lab.pay": AUTO})
    AllowlistEntry.objects.update(rate_per_minute=6)
    runs = [start("job", {}, now=clock()) for _ in range(8)]
    for _ in range(20):
        for run in Run.objects.filter(ended_at__isnull=True).order_by("pk"):
            drive(run, provider)
        clock.forward(seconds=5)
    assert {run.state for run in Run.objects.all()} == {"succeeded"}
    moments = [moment for _, moment in provider.requests]
    assert all(later - sooner > timedelta(seconds=9) for sooner, later in pairwise(moments))
    waits = [sum(isinstance(s.event, CallDeferred) for s in load(run.id)) for run in runs]
    assert waits == [0] + [1] * 7, "each is told its own turn at once"


def test_a_probe_that_is_not_permitted_any_more_leaves_the_next_call_to_find_out(provider: Provider) -> None:
    clock = provider.clock
    task_type([PAY_STEP], {"lab.pay": AUTO})
    first, second = start("job", {}, now=clock()), start("job", {}, now=clock())
    trip(PAY, clock.now)
    for run in (first, second):
        assert drive(run, provider).state == "waiting_retry"
    clock.forward(seconds=33)
    AllowlistEntry.objects.update(state="denied")
    assert drive(first, provider).failure_code == "call_not_allowed"
    AllowlistEntry.objects.update(state="auto")
    assert drive(second, provider).state == "succeeded"
    assert [event.type.removeprefix("breaker.") for event in breaker_events("lab.pay")] == [
        *("opened", "probed", "probed", "closed")
    ]


class Killed(BaseException):
    """Stands for SIGKILL: nothing that handles exceptions may catch it."""


def test_a_prober_that_is_killed_holds_the_others_up_for_no_longer_than_its_lease(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = provider.clock
    task_type([LOOK_STEP], {"lab.look": AUTO})
    dying, other = start("job", {}, now=clock()), start("job", {}, now=clock())
    trip(LOOK, clock.now)
    for run in (dying, other):
        drive(run, provider)
    clock.forward(seconds=33)

    def die(*args: object) -> executor.Outcome:
        raise Killed

    monkeypatch.setattr(executor, "execute", die)
    with pytest.raises(Killed):
        drive(dying, provider)
    monkeypatch.undo()

    assert drive(other, provider, "w2").state == "waiting_retry"
    assert provider.requests == []
    clock.forward(minutes=2)
    assert drive(other, provider, "w2").state == "succeeded"
    assert drive(dying, provider, "w2").state == "succeeded"
    assert [event.type.removeprefix("breaker.") for event in breaker_events("lab.look")] == [
        *("opened", "probed", "probed", "closed")
    ]


def test_a_repeatable_write_that_was_interrupted_waits_for_its_tool_before_it_is_repeated(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = provider.clock
    task_type([{"id": "a", "tool": "lab.put", "arguments": {"n": 1}}], {"lab.put": AUTO})
    run = start("job", {}, now=clock())

    def die(request: executor.CallRequest, consume: executor.Consume) -> executor.Outcome:
        consume(request)
        raise Killed

    monkeypatch.setattr(executor, "execute", die)
    with pytest.raises(Killed):
        drive(run, provider)
    monkeypatch.undo()
    clock.forward(minutes=5)
    trip(PUT, clock.now)

    run = drive(run, provider, "w2")
    assert (run.state, ToolCall.objects.get().state) == ("waiting_retry", "executing")
    clock.forward(seconds=33)
    run = drive(run, provider, "w2")
    assert run.state == "succeeded"
    assert kinds(run)[2:] == ["call.started", "call.deferred", "call.started", "call.succeeded"]
    assert len(provider.requests) == 1


def test_answers_of_a_tool_that_works_never_open_its_breaker(provider: Provider) -> None:
    clock = provider.clock
    task_type([LOOK_STEP], {"lab.look": AUTO})

    def refuse(ctx: CallContext, arguments: JSONObject) -> JSONObject:
        raise ToolError(ErrorCode.CONFLICT, "It is closed on Sundays.")

    registry.remove(LOOK.name, LOOK.version)
    registry.register(LOOK, refuse)
    for _ in range(8):
        run = drive(start("job", {}, now=clock()), provider)
        assert (run.state, run.failure_code) == ("failed", "tool_failed")
    assert not ToolHealth.objects.exists()


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
def test_of_many_workers_that_come_back_at_once_one_asks_the_tool(provider: Provider, acme: Tenant) -> None:
    """Eight workers with a connection and a run each, at the moment the pause of the breaker is over."""
    clock = provider.clock
    provider.failing = lambda moment: True
    task_type([LOOK_STEP], {"lab.look": AUTO})
    trip(LOOK, clock.now)
    runs = [start("job", {}, now=clock()) for _ in range(8)]
    clock.forward(seconds=31)

    def work(run: Run) -> None:
        with tenant_scope(acme):
            Driver(f"w-{run.pk}", now=clock, rng=random.Random(1)).drive(acme, run.pk)

    at_once([partial(work, run) for run in runs])
    assert len(provider.requests) == 1
    assert [event.type for event in breaker_events(LOOK.name)] == [
        "breaker.opened",
        "breaker.probed",
        "breaker.opened",
    ]
    assert {run.state for run in Run.objects.all()} == {"waiting_retry"}
    assert verify_tenant().findings == ()


# --- what nobody knows ----------------------------------------------------------------------------------------------


def test_a_repeatable_write_that_crashes_is_unknown_and_repeated_under_its_own_key(provider: Provider) -> None:
    task_type([PUT_STEP], {"lab.put": AUTO})
    provider.crashes = 1
    run = drive(start("job", {}, now=provider.clock()), provider)
    assert run.state == "waiting_retry"
    assert ToolCall.objects.get().state == "unknown"
    words = [entry.text for group in tell(load_stream(f"run:{run.id}"), str).groups for entry in group.events]
    assert any("it will be repeated under its own key" in text for text in words)

    provider.clock.forward(seconds=30)
    run = drive(run, provider)
    assert run.state == "succeeded"
    assert kinds(run) == [
        *("call.selected", "call.granted", "call.started", "call.unknown"),
        *("call.started", "call.succeeded"),
    ]
    assert len(provider.keys) == 2
    assert set(provider.keys) == {key_of(ToolCall.objects.get())}
    assert isinstance(replayed(load(run.id)), Identical)


def test_what_stays_unknown_after_all_attempts_is_asked_about_and_not_repeated(provider: Provider) -> None:
    task_type([PUT_STEP], {"lab.put": AUTO}, limits={"attempts": 3})
    provider.crashes = 10
    run = start("job", {}, now=provider.clock())
    for _ in range(6):
        run = drive(run, provider)
        provider.clock.forward(minutes=2)
    assert run.state == "awaiting_reconciliation"
    assert len(provider.keys) == 3
    assert len(set(provider.keys)) == 1
    assert ToolCall.objects.get().hook_asked
    assert isinstance(replayed(load(run.id)), Identical)


def test_an_unknown_write_waits_for_a_tool_that_is_held_and_is_never_said_to_have_failed(provider: Provider) -> None:
    task_type([PUT_STEP], {"lab.put": AUTO}, limits={"attempts": 3})
    provider.crashes = 1
    run = drive(start("job", {}, now=provider.clock()), provider)
    health.hold("lab.put", actor=SYSTEM, now=provider.clock.now)
    for _ in range(6):
        provider.clock.forward(minutes=2)
        run = drive(run, provider)
    assert run.state == "awaiting_reconciliation"
    assert len(provider.keys) == 1
    assert isinstance(replayed(load(run.id)), Identical)


@pytest.mark.parametrize("odd", [{"receipt": 7}, ErrorCode.OUTCOME_UNKNOWN], ids=["invalid output", "declared"])
def test_a_repeatable_write_that_may_have_happened_is_repeated_under_its_own_key(
    provider: Provider, odd: ErrorCode | JSONObject
) -> None:
    task_type([PUT_STEP], {"lab.put": AUTO})
    provider.odd = [odd, odd]
    run = start("job", {}, now=provider.clock())
    for _ in range(3):
        run = drive(run, provider)
        provider.clock.forward(minutes=2)
    assert run.state == "succeeded"
    assert kinds(run)[2:] == ["call.started", "call.unknown"] * 2 + ["call.started", "call.succeeded"]
    assert len(provider.keys) == 3
    assert set(provider.keys) == {key_of(ToolCall.objects.get())}
    assert isinstance(replayed(load(run.id)), Identical)


@pytest.mark.parametrize("odd", [{"receipt": 7}, ErrorCode.OUTCOME_UNKNOWN], ids=["invalid output", "declared"])
def test_a_repeatable_write_nobody_can_read_the_answer_of_is_put_before_a_person_and_not_said_to_have_failed(
    provider: Provider, odd: ErrorCode | JSONObject
) -> None:
    task_type([PUT_STEP], {"lab.put": AUTO}, limits={"attempts": 3})
    provider.odd = [odd] * 10
    run = start("job", {}, now=provider.clock())
    for _ in range(6):
        run = drive(run, provider)
        provider.clock.forward(minutes=2)
    assert run.state == "awaiting_reconciliation"
    assert len(provider.keys) == 3
    assert "call.failed" not in kinds(run)
    assert isinstance(replayed(load(run.id)), Identical)


@pytest.mark.parametrize("code", [ErrorCode.CONFLICT, ErrorCode.UNAVAILABLE])
def test_a_repeat_that_fails_does_not_say_that_the_first_attempt_had_no_effect(
    provider: Provider, code: ErrorCode
) -> None:
    task_type([PUT_STEP], {"lab.put": AUTO}, limits={"attempts": 3})
    provider.odd = [ErrorCode.OUTCOME_UNKNOWN, code, code, code]
    run = start("job", {}, now=provider.clock())
    for _ in range(6):
        run = drive(run, provider)
        provider.clock.forward(minutes=2)
    assert run.state == "awaiting_reconciliation"
    assert len(provider.keys) == (3 if code is ErrorCode.UNAVAILABLE else 2), "only what passes is tried again"
    assert "call.failed" not in kinds(run)
    assert isinstance(replayed(load(run.id)), Identical)


def test_a_payment_whose_answer_is_invalid_happened_once_and_the_tools_own_record_says_so(provider: Provider) -> None:
    task_type([PAY_STEP], {"lab.pay": AUTO})
    provider.odd = [{"receipt": 7}]
    run = drive(start("job", {}, now=provider.clock()), provider)
    assert run.state == "succeeded"
    assert kinds(run)[2:] == ["call.started", "call.unknown", "call.reconciled"]
    assert ToolCall.objects.get().state == "succeeded"
    assert set(provider.paid.values()) == {1}
    assert isinstance(replayed(load(run.id)), Identical)


# --- what never started ---------------------------------------------------------------------------------------------


class LateExecutor:
    """Lets the deadline of the first so many calls pass before their handlers are reached."""

    def __init__(self, provider: Provider, late: int) -> None:
        self.provider = provider
        self.late = late

    def execute(self, request: executor.CallRequest, consume: executor.Consume) -> executor.Outcome:
        if self.late:
            self.late -= 1
            self.provider.clock.forward(minutes=5)
            # As `tools.executor` says it, whose own clock no test moves.
            return executor.Failed(ErrorCode.TIMEOUT, "The deadline has passed.", reached=False)
        return executor.execute(replace(request, deadline=clock.now() + timedelta(seconds=30)), consume)

    reconcile = staticmethod(executor.reconcile)
    read_back = staticmethod(executor.read_back)


def drive_late(run: Run, provider: Provider, tools: LateExecutor) -> Run:
    Driver("w1", now=provider.clock, rng=random.Random(1), tools=tools).drive(run.tenant_id, run.id)
    return Run.objects.get(pk=run.pk)


@pytest.mark.parametrize("tool", ["lab.put", "lab.pay"])
def test_a_call_that_could_not_start_in_time_has_its_permission_back_and_happens_once(
    scoped: Tenant, provider: Provider, bob: User, actor_of: Callable[[User, Tenant], Actor], tool: str
) -> None:
    task_type([{"id": "a", "tool": tool, "arguments": {"n": 1}}], {tool: GATED})
    run = drive(start("job", {}, now=provider.clock()), provider)
    proposal = only_proposal()
    now = provider.clock()
    answer = approve(proposal_id=proposal.id, actor=actor_of(bob, scoped), version=1, digest=proposal.digest, now=now)
    assert isinstance(answer, Decided)
    provider.clock.forward(minutes=2)

    tools = LateExecutor(provider, late=1)
    run = drive_late(run, provider, tools)
    assert run.state == "waiting_retry"
    assert Grant.objects.get().consumed_at is None, "nothing started"
    assert provider.keys == []

    provider.clock.forward(minutes=2)
    run = drive_late(run, provider, tools)
    assert run.state == "succeeded"
    assert kinds(run)[2:] == [
        *("call.started", "call.reconciled", "call.deferred"),
        *("call.started", "call.succeeded"),
    ]
    assert len(provider.keys) == 1
    assert Grant.objects.get().consumed_at is not None
    assert ToolHealth.objects.filter(tool=tool).first() is None, "the tool has done nothing wrong"
    assert isinstance(replayed(load(run.id)), Identical)
    assert not verify_tenant().findings


def test_a_call_that_never_gets_to_start_fails_in_the_end_without_having_used_its_permission(
    provider: Provider,
) -> None:
    task_type([PAY_STEP], {"lab.pay": AUTO}, limits={"attempts": 3, "wall_time_s": 86_400})
    run = start("job", {}, now=provider.clock())
    tools = LateExecutor(provider, late=100)
    for _ in range(8):
        run = drive_late(run, provider, tools)
        provider.clock.forward(minutes=2)
    assert (run.state, run.failure_code) == ("failed", "tool_failed")
    assert "timeout" in run.failure_message
    assert provider.keys == []
    assert Grant.objects.get().consumed_at is None
    assert isinstance(replayed(load(run.id)), Identical)


def test_what_could_not_start_is_on_record_although_somebody_paused_the_run_meanwhile(
    scoped: Tenant, provider: Provider, sam: User, actor_of: Callable[[User, Tenant], Actor]
) -> None:
    task_type([PAY_STEP], {"lab.pay": AUTO})
    run = start("job", {}, now=provider.clock())
    senior = actor_of(sam, scoped)

    class Meanwhile(LateExecutor):
        def execute(self, request: executor.CallRequest, consume: executor.Consume) -> executor.Outcome:
            if self.late:
                assert isinstance(pause_run(run_id=run.id, actor=senior, reason="Wait."), Paused)
            return super().execute(request, consume)

    tools = Meanwhile(provider, late=1)
    run = drive_late(run, provider, tools)
    assert run.paused_at is not None
    assert ToolCall.objects.get().state == "granted"
    assert Grant.objects.get().consumed_at is None
    assert isinstance(resume_run(run_id=run.id, actor=senior, reason="Go."), Resumed)
    provider.clock.forward(minutes=10)
    run = drive_late(run, provider, tools)
    assert run.state == "succeeded"
    assert len(provider.keys) == 1
    assert isinstance(replayed(load(run.id)), Identical)


def test_what_an_earlier_attempt_may_have_done_is_not_said_to_have_not_happened(provider: Provider) -> None:
    task_type([PUT_STEP], {"lab.put": AUTO}, limits={"attempts": 3, "wall_time_s": 86_400})
    provider.crashes = 1
    run = drive(start("job", {}, now=provider.clock()), provider)
    assert ToolCall.objects.get().state == "unknown"
    tools = LateExecutor(provider, late=100)
    for _ in range(8):
        provider.clock.forward(minutes=2)
        run = drive_late(run, provider, tools)
    assert "call.reconciled" not in kinds(run)
    assert run.state == "awaiting_reconciliation"
    assert len(provider.keys) == 1
    assert isinstance(replayed(load(run.id)), Identical)


def test_a_worker_that_was_away_for_longer_than_its_lease_does_not_start_the_effect_any_more(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor._executor, "_now", provider.clock)
    task_type([PAY_STEP], {"lab.pay": AUTO}, limits={"wall_time_s": 86_400})
    run = start("job", {}, now=provider.clock())

    def sleep(point: str) -> None:
        if point == "before_effect":
            install(None)
            provider.clock.forward(minutes=10)
            assert drive(run, provider, owner="w2").state == "succeeded"

    with installed(sleep):
        drive(run, provider)
    assert sum(provider.paid.values()) == 1
    assert len(provider.keys) == 1
    assert Run.objects.get(pk=run.pk).state == "succeeded"
    assert isinstance(replayed(load(run.id)), Identical)
