"""What judging a call looks at: not at all that its run has called before, unless a rule counts that."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from agentops.engine import refusals
from agentops.engine.decide import Candidate
from agentops.engine.state import Call, State
from agentops.engine.transitions import CallState
from agentops.guardrails.output.policy import DEFAULT
from approvals.gating import gate
from approvals.gating.judging import judged, output_context, used_so_far
from tests.approvals.contracts import NOTE
from tools.allowlist import AllowlistRule, AllowlistState
from tools.contracts import ToolContract


def call(number: int, tool: str = NOTE.name, state: CallState = CallState.SUCCEEDED) -> Call:
    return Call(f"1.s{number}.0", f"s{number}", tool, "1.0.0", "read", state, {}, "", "", {}, keys=(f"key{number}",))


class Untouchable(Mapping[str, Call]):
    """The calls of a run that nobody may walk through."""

    def __init__(self, calls: dict[str, Call]) -> None:
        self._calls = calls

    def __getitem__(self, call_id: str) -> Call:
        return self._calls[call_id]

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("all calls of the run are looked at")

    def __len__(self) -> int:
        return len(self._calls)


def run_of(*calls: Call, walked: bool = True) -> State:
    known = {one.call_id: one for one in calls}
    return State(calls=known if walked else Untouchable(known))


def found(tool: str, version: str | None) -> ToolContract | None:
    return NOTE if tool == NOTE.name else None


def candidate() -> Candidate:
    return Candidate("1.s9.0", "s9", NOTE.name, {}, {}, True, "")


def verdict(state: State, allow: AllowlistRule) -> gate.GateVerdict:
    return judged(state, candidate(), find=found, allow=allow, policy=DEFAULT, idempotency_key="k", tenant_id=1)[2]


def test_a_call_is_judged_without_walking_through_the_whole_run() -> None:
    assert not NOTE.egress
    state = run_of(*(call(n) for n in range(5)), walked=False)
    free = AllowlistRule(NOTE.name, AllowlistState.AUTO)
    assert verdict(state, free) is not None
    with pytest.raises(AssertionError, match="looked at"):
        verdict(state, replace(free, max_calls=3))


def test_where_a_rule_counts_calls_those_that_were_refused_do_not_and_later_ones_neither() -> None:
    refused = call(2, state=CallState.DENIED)
    state = run_of(call(1), refused, call(3), call(4, "other.tool"), call(5))
    assert used_so_far(state, NOTE.name) == 3
    assert used_so_far(state, NOTE.name, before="1.s3.0") == 1


def test_what_was_done_is_said_once_however_often() -> None:
    asked: list[str] = []

    def find(tool: str, version: str | None) -> ToolContract | None:
        asked.append(tool)
        return None

    context = output_context(run_of(*(call(n) for n in range(50)), call(99, "other.tool")), DEFAULT, find)
    assert [deed.tool for deed in context.deeds] == asked == [NOTE.name, "other.tool"]


def test_what_a_reviewer_has_barred_is_known_without_walking_through_the_whole_run() -> None:
    no = replace(call(1, state=CallState.REJECTED), barred=True)
    state = replace(run_of(no, *(call(n) for n in range(2, 6)), walked=False), barred=(no.call_id,))
    assert refusals.barred(state, NOTE.name, "key1", plan=0)
    assert refusals.barred(state, NOTE.name, "key9", plan=1)
    assert not refusals.barred(state, NOTE.name, "key9", plan=0)
    assert not refusals.barred(replace(state, barred=()), NOTE.name, "key1", plan=1)
