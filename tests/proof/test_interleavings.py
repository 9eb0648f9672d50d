"""People, deadlines, crashes and sweeps in any order: one end per run and question, one effect per permission.

A hypothesis state machine drives the real services on the real database. Workers die at named places of the driver and
at any database statement; people decide, edit and cancel between two statements of a worker. The tools change a world
that no rollback touches, as a payment provider's would be.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from agentops.audit.verify import verify_tenant
from agentops.engine.events import (
    CallStarted,
    ProposalDecided,
    ProposalExpired,
    ProposalWithdrawn,
    RunCancelled,
    RunFailed,
    RunSucceeded,
)
from agentops.engine.transitions import CallState, RunState
from agentops.runs import points
from agentops.runs.models import Playbook, Run, TaskType
from agentops.runs.recording import load, state_of
from agentops.tenancy.access import SYSTEM, Actor
from agentops.tenancy.models import Tenant
from agentops.wire.canonical import canonical
from agentops.wire.parse import JSON, JSONObject
from agentops.worker.driver import Driver
from agentops.worker.sweeper import sweep_tenant
from approvals.models import Grant, Proposal, Status
from approvals.services import expire, reject
from approvals.stopping.intervention import Verdict, cancel_run, reconcile_call
from tests.deciding import approve, edit_and_approve
from tests.replaying import problems_of
from tests.shop import Clock, start, task_type
from tests.worker.test_flaky_tool import LOOK, PAY, PUT
from tools import health
from tools.allowing import seed_rules
from tools.allowlist import AllowlistState
from tools.contracts import CallContext, DidNotHappen, ErrorCode, Happened, Reconciled, ToolContract, ToolError
from tools.registry import registry

pytestmark = pytest.mark.django_db

AUTO, GATED = AllowlistState.AUTO, AllowlistState.GATED
PATIENT = {"wall_time_s": 7 * 24 * 3600}
"""Dead workers and sweeps take time, which must not be what ends the runs."""

ALLOW = {"lab.look": AUTO, "lab.put": AUTO, "lab.pay": GATED}
LOOKING: JSONObject = {"id": "look", "tool": "lab.look", "arguments": {"n": 1}}
PAYING: JSONObject = {"id": "pay", "tool": "lab.pay", "arguments": {"n": 2}}
PUTTING: JSONObject = {"id": "put", "tool": "lab.put", "arguments": {"n": 3}, "on_failure": "continue"}
TWICE: JSONObject = {
    "id": "twice",
    "calls": [{"tool": "lab.pay", "arguments": {"n": n}} for n in (4, 5)],
    "on_failure": "continue",
}


class Killed(BaseException):
    """Stands for SIGKILL: nothing that handles exceptions may catch it."""


@dataclass
class World:
    """What the tools reach. `mood` says how the next call goes."""

    paid: Counter[str] = field(default_factory=Counter)
    payers: dict[str, UUID] = field(default_factory=dict)
    mood: str = "well"
    problems: list[str] = field(default_factory=list)

    def handler(self, contract: ToolContract) -> Callable[[CallContext, JSONObject], JSONObject]:
        def handle(ctx: CallContext, arguments: JSONObject) -> JSONObject:
            mood, self.mood = self.mood, "well"
            if mood == "dies before":
                raise Killed
            if mood == "down":
                raise ToolError(ErrorCode.UNAVAILABLE, "The provider does not answer.")
            if contract is PAY:
                self.pay(ctx)
            if mood == "dies after":
                raise Killed
            if mood == "lost" and contract is PAY:
                raise ToolError(ErrorCode.OUTCOME_UNKNOWN, "The connection broke.")
            return {"receipt": "ok"}

        return handle

    def pay(self, ctx: CallContext) -> None:
        """The permission is consumed and the intent on record before anything happens."""
        grant = Grant.objects.filter(run_id=ctx.run_id, call_id=ctx.call_id).first()
        started = [s for s in load(ctx.run_id) if isinstance(s.event, CallStarted) and s.event.call_id == ctx.call_id]
        if grant is None or grant.consumed_at is None or not started:
            self.problems.append(f"{ctx.call_id} of {ctx.run_id} took effect without a consumed grant and an intent")
        self.paid[ctx.idempotency_key] += 1
        self.payers[ctx.idempotency_key] = ctx.run_id

    def was_paid(self, ctx: CallContext, arguments: JSONObject) -> Reconciled:
        return Happened({"receipt": "ok"}) if self.paid[ctx.idempotency_key] else DidNotHappen()


@dataclass
class Desk:
    tenant: Tenant
    bob: Actor
    sam: Actor


fates = st.one_of(
    st.just(("on", "", 0)),
    st.just(("on", "", 0)),
    st.tuples(st.just("dies at"), st.sampled_from(points.POINTS), st.integers(1, 3)),
    st.tuples(st.just("dies at statement"), st.just(""), st.integers(1, 120)),
    st.tuples(
        st.sampled_from(["cancel", "approve", "edit", "reject", "expire", "later"]),
        st.sampled_from(points.POINTS),
        st.integers(1, 3),
    ),
)


verdicts = st.sampled_from(["approve", "approve", "edit", "reject"])
moods = st.sampled_from(["well", "well", "down", "down", "lost", "dies before", "dies after"])


class Interleavings(RuleBasedStateMachine):
    """Everything that may happen to a few runs."""

    seen: Counter[str] = Counter()
    """What has happened in all examples together."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk
        self.world = World()
        self.clock = Clock()
        self.rng = random.Random(5)
        self.worker = 0
        self.open = ExitStack()
        whole = transaction.atomic()
        whole._from_testcase = True  # type: ignore[attr-defined]  # as Django's TestCase: effects commit inside it
        self.open.enter_context(whole)
        self.depth = len(connection.atomic_blocks)
        hooks: dict[str, Any] = {PAY.name: {"reconcile": self.world.was_paid}}
        for contract in (LOOK, PUT, PAY):
            registry.register(contract, self.world.handler(contract), **hooks.get(contract.name, {}))
            self.open.callback(registry.remove, contract.name, contract.version)
        self.make_kinds()

    def make_kinds(self) -> None:
        """A plain kind, one with two questions at once, and a critical one."""
        job = task_type([LOOKING, PAYING, PUTTING], ALLOW, limits=PATIENT)
        for slug, steps, more in (
            ("double", [TWICE, PUTTING], {}),
            (
                "critical",
                [LOOKING, PAYING, LOOKING | {"id": "again", "arguments": {"n": 7}}, PUTTING],
                {"critical": True, "fallback": self.spare()},
            ),
        ):
            playbook = Playbook.objects.create(slug=slug, version=1, body=_body(steps))
            kind = TaskType.objects.create(
                slug=slug, name=slug, playbook=playbook, input_schema=job.input_schema, limits=PATIENT, **more
            )
            for tool, state in ALLOW.items():
                seed_rules(kind.pk, {tool: state})

    def spare(self) -> Playbook:
        steps = [PUTTING, *(step | {"on_failure": "continue"} for step in (LOOKING, PAYING))]
        return Playbook.objects.create(slug="spare", version=1, body=_body(steps))

    # --- what may happen --------------------------------------------------------------------------------------------

    @initialize(slugs=st.lists(st.sampled_from(["job", "double", "critical", "critical"]), min_size=2, max_size=3))
    def submit(self, slugs: list[str]) -> None:
        for slug in slugs:
            start(slug, {}, now=self.clock())

    @precondition(lambda self: self.unfinished())
    @rule(index=st.integers(0, 9), fate=fates, mood=moods, due=st.booleans())
    def work(self, index: int, fate: tuple[str, str, int], mood: str, due: bool) -> None:
        """A worker takes a run up, when it is due or whenever it was told; what it meets on the way is its fate."""
        runs = self.unfinished()
        run = runs[index % len(runs)]
        if due:
            moments = [m for m in (run.lease_until, run.not_before) if m is not None]
            self.clock.now = max([self.clock.now, *(moment + timedelta(seconds=1) for moment in moments)])
        self.world.mood = mood
        try:
            self.drive(run, fate)
        except Killed:
            self.seen["killed"] += 1
        self.world.mood = "well"

    @precondition(lambda self: self.unfinished())
    @rule(index=st.integers(0, 9))
    def work_undisturbed(self, index: int) -> None:
        self.work(index, ("on", "", 0), "well", due=True)

    def drive(self, run: Run, fate: tuple[str, str, int]) -> bool:
        """Let a new worker take the run up; return whether it came to its fate and lived."""
        self.worker += 1
        what, where, nth = fate
        driver = Driver(f"w{self.worker}", now=self.clock, rng=self.rng)
        left = [nth]

        def reached(name: str) -> None:
            if name != where or not what or left[0] <= 0:
                return
            if what != "dies at" and len(connection.atomic_blocks) > self.depth:
                return  # nobody else can act inside this worker's transaction
            left[0] -= 1
            if left[0]:
                return
            if what == "dies at":
                raise Killed
            self.meanwhile(what, run)

        def statement(execute: Callable[..., Any], *args: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            return execute(*args)

        with ExitStack() as stack:
            if what == "dies at statement":
                stack.enter_context(connection.execute_wrapper(statement))
            elif what != "on":
                stack.enter_context(points.installed(reached))
            driver.drive(self.desk.tenant, run.pk)
        return what != "on" and left[0] <= 0

    def meanwhile(self, what: str, run: Run) -> None:
        pending = Proposal.objects.filter(run=run, status=Status.PENDING).order_by("call_id").first()
        if what == "later":
            self.clock.forward(minutes=2)
        elif what == "cancel":
            cancel_run(run_id=run.pk, actor=self.desk.sam, now=self.clock())
        elif pending is not None and what == "expire":
            # Its time ends here: nobody else's clock is a day ahead.
            now = self.clock()
            Proposal.objects.filter(pk=pending.pk).update(decide_by=now)
            expire(proposal_id=pending.pk, now=now)
        elif pending is not None:
            self.answer(pending, what)

    @precondition(lambda self: Proposal.objects.exists())
    @rule(index=st.integers(0, 9), verdict=verdicts, stale=st.booleans())
    def decide(self, index: int, verdict: str, stale: bool) -> None:
        """Somebody decides a proposal, be it open or not, on what is or was shown."""
        proposals = list(Proposal.objects.order_by("pk"))
        self.answer(proposals[index % len(proposals)], verdict, stale=stale and index > 6)

    def answer(self, p: Proposal, verdict: str, *, stale: bool = False) -> None:
        seen: dict[str, Any] = {"proposal_id": p.pk, "actor": self.desk.bob, "version": p.version, "now": self.clock()}
        seen["digest"] = "0" * 64 if stale else p.digest
        match verdict:
            case "approve":
                approve(**seen)
            case "edit":
                edit_and_approve(**seen, arguments={"n": 9})
            case _:
                reject(**seen, reason_code="not_enough_evidence", note="No")

    @precondition(lambda self: self.unfinished())
    @rule(index=st.integers(0, 19))
    def cancel(self, index: int) -> None:
        runs = self.unfinished()
        if index < len(runs):
            cancel_run(run_id=runs[index].pk, actor=self.desk.sam, now=self.clock())

    @rule()
    def reconcile(self) -> None:
        """Somebody says what became of every unknown effect, as it was, or that nobody can tell."""
        for run in self.unfinished():
            for call in state_of(run.pk).open_calls(CallState.UNKNOWN):
                truth: Verdict = "happened" if self.world.paid[call.idempotency_key] else "did_not_happen"
                answers: list[Verdict] = [truth, truth, "gave_up"]
                reconcile_call(
                    run_id=run.pk,
                    call_id=call.call_id,
                    verdict=self.rng.choice(answers),
                    actor=self.desk.sam,
                    note="I have asked",
                    now=self.clock(),
                )

    @rule(hours=st.sampled_from([0, 0, 0, 25]))
    def sweep(self, hours: int) -> None:
        """Now and then nobody answers for a day."""
        self.clock.forward(minutes=2, hours=hours)
        sweep_tenant(self.desk.tenant, self.clock())

    @rule(
        tool=st.sampled_from(["lab.look", "lab.look", "lab.pay", "lab.put"]), down=st.sampled_from([True, True, False])
    )
    def breaker(self, tool: str, down: bool) -> None:
        (health.hold if down else health.close)(tool, actor=SYSTEM, now=self.clock())

    # --- what always holds ------------------------------------------------------------------------------------------

    def unfinished(self) -> list[Run]:
        return list(Run.objects.filter(ended_at__isnull=True).order_by("pk"))

    @invariant()
    def one_effect_for_each_permission(self) -> None:
        assert not self.world.problems
        assert max(self.world.paid.values(), default=0) <= 1, "an effect happened twice"
        critical = set(Run.objects.filter(task_type__slug="critical").values_list("pk", flat=True))
        payers = Counter(run_id for run_id in self.world.payers.values() if run_id in critical)
        assert max(payers.values(), default=0) <= 1, "what was done before was done again by the fallback"

    @invariant()
    def one_end_for_each_run_and_question(self) -> None:
        for run in Run.objects.all():
            events = [s.event for s in load(run.pk)]
            ends = [e for e in events if isinstance(e, RunSucceeded | RunFailed | RunCancelled)]
            assert len(ends) == RunState(run.state).terminal
            closed = Counter(
                e.proposal_id for e in events if isinstance(e, ProposalDecided | ProposalExpired | ProposalWithdrawn)
            )
            assert max(closed.values(), default=0) <= 1
            done = {str(p.pk) for p in Proposal.objects.filter(run=run) if p.status != Status.PENDING}
            assert done == set(closed)

    def teardown(self) -> None:
        """Let everything come to its end, and look at the whole."""
        try:
            self.finish()
        finally:
            transaction.set_rollback(True)
            self.open.close()

    def finish(self) -> None:
        for tool in ("lab.look", "lab.pay", "lab.put"):
            health.close(tool, actor=SYSTEM, now=self.clock())
        for _ in range(12):
            self.clock.forward(minutes=3)
            sweep_tenant(self.desk.tenant, self.clock())
            for run in self.unfinished():
                self.drive(run, ("on", "", 0))
            self.reconcile()
            for p in Proposal.objects.filter(status=Status.PENDING):
                self.answer(p, "approve")
            if not self.unfinished():
                break
        self.clock.forward(minutes=3)
        sweep_tenant(self.desk.tenant, self.clock())
        assert not self.unfinished(), "a run is stuck"
        self.one_effect_for_each_permission()
        self.one_end_for_each_run_and_question()
        self.effects_are_the_grants_that_were_consumed()
        for run in Run.objects.all():
            assert not list(problems_of(run.pk))
            self.seen.update(s.event.type for s in load(run.pk))
        assert not verify_tenant().findings

    def effects_are_the_grants_that_were_consumed(self) -> None:
        """Exactly, but for the calls of which nobody could say whether they took effect."""
        for grant in Grant.objects.filter(tool=PAY.name):
            call = state_of(grant.run_id).calls[grant.call_id]
            paid = self.world.paid[call.idempotency_key]
            if call.state is CallState.UNKNOWN or (call.state is CallState.FAILED and call.code == "outcome_unknown"):
                assert grant.consumed_at is not None
            elif call.state is CallState.FAILED:
                assert not paid, "a failure had an effect"
            else:
                assert paid == (grant.consumed_at is not None), (call.state, paid)


def _body(steps: Sequence[JSONObject]) -> str:
    written: JSON = {"steps": list(steps), "answers": [{"text": "done"}]}
    return canonical(written)


@pytest.fixture
def desk(
    scoped: Tenant, bob: User, sam: User, actor_of: Callable[[User, Tenant], Actor], monkeypatch: pytest.MonkeyPatch
) -> Desk:
    from agentops.celery import app

    monkeypatch.setattr(app, "send_task", lambda *args, **options: None)
    return Desk(scoped, actor_of(bob, scoped), actor_of(sam, scoped))


def test_in_whatever_order_things_happen(desk: Desk) -> None:
    examples = settings.default.max_examples if settings.default is not None else 40
    run_state_machine_as_test(
        lambda: Interleavings(desk),  # type: ignore[arg-type]  # anything that makes one will do
        settings=settings(
            max_examples=max(10, examples // 2),
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],  # a failure is as readable as it comes, and shrinking takes minutes
        ),
    )
    happened = {name for name, times in Interleavings.seen.items() if times}
    assert happened >= {
        *("killed", "run.succeeded", "run.failed", "run.cancelled", "run.fell_back", "call.adopted"),
        *("proposal.decided", "proposal.expired", "call.deferred"),
    }, Interleavings.seen


@contextmanager
def opened(desk: Desk) -> Iterator[Interleavings]:
    """One example, written out by hand; at its end everything is finished and looked at."""
    machine = Interleavings(desk)
    try:
        yield machine
    finally:
        machine.teardown()


def dying(machine: Interleavings, run: Run, fate: tuple[str, str, int]) -> bool:
    """Let a worker meet its fate; say whether it died of it."""
    try:
        machine.drive(run, fate)
    except Killed:
        return True
    return False


@pytest.mark.parametrize("slug", ["job", "double", "critical"])
@pytest.mark.parametrize("point", points.POINTS)
def test_a_worker_may_die_at_every_place_again_and_again(desk: Desk, point: str, slug: str) -> None:
    """Every worker that takes the run up dies the first, then the second, then the third time it comes to the place."""
    with opened(desk) as machine:
        run = start(slug, {}, now=machine.clock())
        deaths = 0
        for turn in range(1, 7):
            deaths += dying(machine, run, ("dies at", point, turn))
            machine.clock.forward(minutes=3)
            if slug == "critical" and Proposal.objects.exists():
                machine.breaker("lab.look", True)  # it has read once, and will have to read again
            for p in Proposal.objects.filter(status=Status.PENDING):
                machine.answer(p, "approve")
        assert deaths


@pytest.mark.parametrize("slug", ["job", "critical"])
def test_a_worker_may_die_at_every_statement_of_an_approved_effect(desk: Desk, slug: str) -> None:
    """From the claim to the last commit; if it lives through all of them, it is done."""
    for nth in range(1, 500, 1 if slug == "job" else 3):
        with opened(desk) as machine:
            run = start(slug, {}, now=machine.clock())
            machine.drive(run, ("on", "", 0))
            machine.answer(Proposal.objects.get(run=run), "approve")
            if slug == "critical":
                machine.breaker("lab.look", True)
            died = dying(machine, run, ("dies at statement", "", nth))
        assert sum(machine.world.paid.values()) == 1
        if not died:
            break
    assert nth > 12


@pytest.mark.parametrize("what", ["cancel", "approve", "edit", "reject", "expire"])
@pytest.mark.parametrize("point", points.POINTS)
def test_people_may_act_at_every_place(desk: Desk, point: str, what: str) -> None:
    """While a worker executes the first of two approved or open payments, somebody does something about the run.

    A place that the worker does not come to again, or where nobody else can act, is the same for every later time.
    """
    for nth in (1, 2, 3):
        with opened(desk) as machine:
            run = start("double", {}, now=machine.clock())
            machine.drive(run, ("on", "", 0))
            machine.answer(Proposal.objects.filter(run=run).earliest("call_id"), "approve")
            acted = machine.drive(run, (what, point, nth))
        if not acted:
            break
