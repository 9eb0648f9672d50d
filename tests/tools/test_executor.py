"""The executor: nothing runs without a permit for exactly this action, and every outcome says what happened."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import NestedTenantScope, current_tenant_id, tenant_scope
from tools.contracts import (
    ArgumentRole,
    CallContext,
    CannotTell,
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
    action_digest,
)
from tools.executor import (
    CallRequest,
    Executor,
    Failed,
    Outcome,
    Permit,
    PermitRefused,
    Succeeded,
    Unknown,
    execute,
    reconcile,
)
from tools.registry import Registry

from .conftest import RUN, permit_any, request_for

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def contract(effect: Effect) -> ToolContract:
    return ToolContract(
        name="probe",
        version="1.0.0",
        title="Probe",
        description="Do what the test says.",
        input_schema={
            "type": "object",
            "properties": {"size": {"type": "integer", "minimum": 0, "maximum": 10}},
            "required": ["size"],
            "additionalProperties": False,
        },
        output_schema={
            "type": "object",
            "properties": {"done": {"type": "boolean"}},
            "required": ["done"],
            "additionalProperties": False,
        },
        effect=effect,
        roles={"size": ArgumentRole.CONTENT},
        output_trust={"": Trust.TRUSTED},
        error_codes=frozenset(
            {ErrorCode.CONFLICT, ErrorCode.RATE_LIMITED, ErrorCode.OUTCOME_UNKNOWN, ErrorCode.OUTPUT_INVALID}
        ),
        sentence="Probe {size}",
        reversible=Reversibility(Reversal.NONE_NEEDED, "Nothing happens."),
    )


@dataclass
class Bench:
    """An executor with one tool that does what the test says, and a record of what was reached."""

    tenant: Tenant
    effect: Effect = Effect.READ
    answer: Callable[[], Any] = lambda: {"done": True}
    record: Callable[[], Reconciled] = DidNotHappen
    now: datetime = NOW
    handled: list[tuple[CallContext, Any]] = field(default_factory=list)
    consumed: list[str] = field(default_factory=list)

    def executor(self) -> Executor:
        def handler(ctx: CallContext, arguments: Any) -> Any:
            assert current_tenant_id() == self.tenant.pk
            self.handled.append((ctx, arguments))
            return self.answer()

        tools = Registry()
        made = Executor(tools, now=lambda: self.now)
        tools.register(contract(self.effect), handler, reconcile=lambda ctx, arguments: self.record())
        return made

    def consume(self, request: CallRequest) -> Permit:
        self.consumed.append(request.digest)
        return Permit("grant", request.digest)

    def run(self, **changes: Any) -> Outcome:
        return self.executor().execute(replace(self.request(), **changes), self.consume)

    def request(self) -> CallRequest:
        return request_for(self.tenant, "probe", {"size": 3}, deadline=NOW + timedelta(seconds=30))


@pytest.fixture
def bench(acme: Tenant) -> Bench:
    return Bench(acme)


def test_a_permitted_call_runs_once_in_the_tenants_scope(bench: Bench) -> None:
    outcome = bench.run()
    assert isinstance(outcome, Succeeded)
    assert outcome.output == {"done": True}
    assert len(bench.handled) == len(bench.consumed) == 1
    context, arguments = bench.handled[0]
    assert (context.run_id, context.call_id, context.idempotency_key) == (RUN, "call-1", "key-1")
    assert arguments == {"size": 3}


@pytest.mark.parametrize(
    "changes",
    [
        {"tool": "nothing"},
        {"version": "2.0.0"},
        {"arguments": {"size": 11}},
        {"arguments": {"size": 3, "more": 1}},
        {"arguments": {"size": "3"}},
        {"arguments": {}},
        {"arguments": [1]},
        {"arguments": None},
        {"arguments": {"size": 4}},
        {"digest": "0" * 64},
        {"tenant_id": 999_999},
        {"deadline": NOW},
        {"deadline": NOW - timedelta(days=1)},
    ],
)
def test_what_does_not_fit_fails_before_anything_is_consumed(bench: Bench, changes: dict[str, Any]) -> None:
    assert isinstance(bench.run(**changes), Failed)
    assert bench.consumed == []
    assert bench.handled == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"tool": "nothing"}, ErrorCode.NOT_FOUND),
        ({"version": "1.0.1"}, ErrorCode.NOT_FOUND),
        ({"arguments": {"size": 11}}, ErrorCode.INVALID_INPUT),
        ({"arguments": {"size": 4}}, ErrorCode.POLICY_BLOCKED),
        ({"deadline": NOW}, ErrorCode.TIMEOUT),
    ],
)
def test_each_failure_has_its_code(bench: Bench, changes: dict[str, Any], code: ErrorCode) -> None:
    outcome = bench.run(**changes)
    assert isinstance(outcome, Failed)
    assert outcome.code is code


def deep(levels: int) -> Any:
    value: Any = 3
    for _ in range(levels):
        value = [value]
    return {"size": value}


HOSTILE = {
    "broken text": '{"INVALID_JSON"',
    "broken bytes": b'{"INVALID_JSON"',
    "number that is not finite": '{"size": 1e999}',
    "value that is not finite": {"size": float("inf")},
    "not a number": '{"size": NaN}',
    "escaped NUL": '{"size": "\\u0000"}',
    "NUL": {"size": "\x00"},
    "lone surrogate": {"size": "\ud800"},
    "deep text": '{"size":' + "[" * 10_000 + "]" * 10_000 + "}",
    "deep value": deep(10_000),
    "deeper value": deep(200_000),
    "5 MB of text": '{"size": "' + "x" * 5_000_000 + '"}',
    "5 MB value": {"size": "x" * 5_000_000},
    "5 MB of keys": {f"k{i}": i for i in range(400_000)},
    "duplicate key": '{"size": 3, "size": 4}',
    "invalid UTF-8": b'{"size": "\xff"}',
    "huge integer": '{"size": ' + "9" * 5000 + "}",
    "no JSON type": {"size": {1, 2}},
}


@pytest.mark.parametrize("arguments", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("tool", ["probe", "shop.issue_refund", "create_ticket"])
def test_hostile_arguments_end_in_invalid_input_with_nothing_consumed(bench: Bench, tool: str, arguments: Any) -> None:
    request = replace(bench.request(), tool=tool, arguments=arguments)
    run = bench.executor().execute if tool == "probe" else execute
    outcome = run(replace(request, deadline=datetime.now(UTC) + timedelta(hours=1)), bench.consume)
    assert isinstance(outcome, Failed)
    assert outcome.code is ErrorCode.INVALID_INPUT
    assert len(outcome.message) < 2000
    assert bench.consumed == []
    assert bench.handled == []


def test_raw_text_is_parsed_strictly_and_then_runs(bench: Bench) -> None:
    assert isinstance(bench.run(arguments='{"size": 3}'), Succeeded)


def test_nothing_runs_when_the_permit_is_refused(bench: Bench) -> None:
    def refuse(request: CallRequest) -> Permit:
        raise PermitRefused(ErrorCode.BUDGET_EXCEEDED, "Spent.")

    outcome = bench.executor().execute(bench.request(), refuse)
    assert outcome == Failed(ErrorCode.BUDGET_EXCEEDED, "Spent.", reached=False)
    assert bench.handled == []


def test_a_refusal_with_a_code_of_its_own_is_a_policy_block(bench: Bench) -> None:
    def refuse(request: CallRequest) -> Permit:
        raise PermitRefused("allowlist_changed", "No longer allowed.")

    outcome = bench.executor().execute(bench.request(), refuse)
    assert outcome == Failed(ErrorCode.POLICY_BLOCKED, "No longer allowed.", reached=False)


def test_a_crash_while_consuming_propagates_and_nothing_runs(bench: Bench) -> None:
    def crash(request: CallRequest) -> Permit:
        raise LookupError("the lease is lost")

    with pytest.raises(LookupError):
        bench.executor().execute(bench.request(), crash)
    assert bench.handled == []


def test_a_permit_for_another_action_runs_nothing(bench: Bench) -> None:
    other = action_digest(tenant_id=bench.tenant.pk, tool="probe", version="1.0.0", arguments={"size": 9})
    outcome = bench.executor().execute(bench.request(), lambda request: Permit("grant", other))
    assert isinstance(outcome, Failed)
    assert outcome.code is ErrorCode.POLICY_BLOCKED
    assert bench.handled == []


def test_a_deadline_that_passes_while_consuming_runs_nothing(bench: Bench) -> None:
    def slow(request: CallRequest) -> Permit:
        bench.now = NOW + timedelta(minutes=5)
        return Permit("grant", request.digest)

    outcome = bench.executor().execute(bench.request(), slow)
    assert isinstance(outcome, Failed)
    assert outcome.code is ErrorCode.TIMEOUT
    assert bench.handled == []


def raising(error: Exception) -> Callable[[], Any]:
    def answer() -> Any:
        raise error

    return answer


def test_a_declared_error_keeps_its_code_and_waiting_time(bench: Bench) -> None:
    bench.answer = raising(ToolError(ErrorCode.RATE_LIMITED, "Slow down.", retry_after=7.5))
    outcome = bench.run()
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.message, outcome.retry_after) == (ErrorCode.RATE_LIMITED, "Slow down.", 7.5)


def test_an_undeclared_code_is_internal(bench: Bench) -> None:
    bench.answer = raising(ToolError(ErrorCode.PERMISSION_DENIED, "No."))
    outcome = bench.run()
    assert isinstance(outcome, Failed)
    assert outcome.code is ErrorCode.INTERNAL


def test_a_crash_of_a_read_is_a_failure(bench: Bench) -> None:
    bench.effect, bench.answer = Effect.READ, raising(KeyError("secret-token"))
    outcome = bench.run()
    assert isinstance(outcome, Failed)
    assert outcome.code is ErrorCode.INTERNAL
    assert "secret-token" not in outcome.message


@pytest.mark.parametrize("effect", [Effect.IDEMPOTENT_WRITE, Effect.UNSAFE_WRITE])
@pytest.mark.parametrize("error", [KeyError("secret-token"), RecursionError(), MemoryError(), TimeoutError()])
def test_a_crash_of_a_write_leaves_the_outcome_unknown(bench: Bench, error: Exception, effect: Effect) -> None:
    bench.effect, bench.answer = effect, raising(error)
    outcome = bench.run()
    assert isinstance(outcome, Unknown)
    assert "secret-token" not in outcome.message


@pytest.mark.parametrize("effect", [Effect.IDEMPOTENT_WRITE, Effect.UNSAFE_WRITE])
def test_a_code_that_a_write_never_declared_says_nothing_of_its_effect(bench: Bench, effect: Effect) -> None:
    bench.effect, bench.answer = effect, raising(ToolError(ErrorCode.PERMISSION_DENIED, "No."))
    assert isinstance(bench.run(), Unknown)


@pytest.mark.parametrize("effect", [Effect.IDEMPOTENT_WRITE, Effect.UNSAFE_WRITE])
@pytest.mark.parametrize("code", [ErrorCode.OUTCOME_UNKNOWN, ErrorCode.OUTPUT_INVALID])
def test_a_write_may_say_that_it_does_not_know(bench: Bench, effect: Effect, code: ErrorCode) -> None:
    bench.effect = effect
    bench.answer = raising(ToolError(code, "No answer."))
    outcome = bench.run()
    assert isinstance(outcome, Unknown)
    assert outcome.message == "No answer."


BAD_OUTPUTS: list[Any] = [
    None,
    [],
    {},
    {"done": "yes"},
    {"done": True, "more": 1},
    {"done": float("nan")},
    "\x00",
    b"bytes",
]


@pytest.mark.parametrize("output", BAD_OUTPUTS, ids=repr)
@pytest.mark.parametrize("effect", list(Effect))
def test_an_invalid_answer_is_never_a_success(bench: Bench, effect: Effect, output: Any) -> None:
    bench.effect, bench.answer = effect, lambda: output
    outcome = bench.run()
    if effect is not Effect.READ:
        assert isinstance(outcome, Unknown)
    else:
        assert isinstance(outcome, Failed)
        assert outcome.code is ErrorCode.OUTPUT_INVALID


def test_an_answer_too_large_to_store_is_invalid(bench: Bench) -> None:
    bench.answer = lambda: {"done": True, "x": "y" * 5_000_000}
    outcome = bench.run()
    assert isinstance(outcome, Failed)
    assert outcome.code is ErrorCode.OUTPUT_INVALID


def test_a_handler_cannot_change_what_the_caller_holds(bench: Bench) -> None:
    request = bench.request()
    bench.answer = lambda: bench.handled[-1][1].clear() or {"done": True}
    bench.executor().execute(request, bench.consume)
    assert request.arguments == {"size": 3}


def test_a_call_in_another_tenants_scope_is_refused(bench: Bench, globex: Tenant) -> None:
    with tenant_scope(globex), pytest.raises(NestedTenantScope):
        bench.run()
    assert bench.consumed == []
    assert bench.handled == []


# --- Reconciliation --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [DidNotHappen(), Happened({"done": True}), CannotTell("Nobody knows.")])
def test_reconciling_asks_the_tool(bench: Bench, answer: Reconciled) -> None:
    bench.record = lambda: answer
    assert bench.executor().reconcile(bench.request()) == answer
    assert bench.handled == []


@pytest.mark.parametrize(
    "record", [raising(KeyError("x")), lambda: Happened({"done": "maybe"})], ids=["crash", "bad record"]
)
def test_reconciling_never_guesses(bench: Bench, record: Callable[[], Any]) -> None:
    bench.record = record
    assert isinstance(bench.executor().reconcile(bench.request()), CannotTell)


def test_reconciling_works_after_the_deadline(bench: Bench) -> None:
    bench.now = NOW + timedelta(days=1)
    assert bench.executor().reconcile(bench.request()) == DidNotHappen()


@pytest.mark.parametrize("tool", ["nothing", "mail.read"])
def test_a_tool_without_a_record_cannot_tell(acme: Tenant, tool: str) -> None:
    assert isinstance(reconcile(request_for(acme, tool, {"message_id": "M-0001"})), CannotTell)


ARGUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@given(arguments=ARGUMENTS | st.text(max_size=40) | st.binary(max_size=40), digest=st.text(max_size=8))
def test_a_call_without_its_own_digest_never_consumes(arguments: Any, digest: str) -> None:
    consumed: list[str] = []

    def consume(request: CallRequest) -> Permit:
        consumed.append(request.digest)
        return permit_any(request)

    deadline = datetime.now(UTC) + timedelta(minutes=1)
    request = CallRequest(1, RUN, "c", "shop.issue_refund", "1.0.0", arguments, digest, "k", deadline)
    assert isinstance(execute(request, consume), Failed)
    assert consumed == []
