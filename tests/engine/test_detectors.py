"""What the detectors find in records, and that they never fail on any."""

from hypothesis import given
from hypothesis import strategies as st

from agentops.engine.detectors import Severity, findings
from agentops.engine.events import CallSelected, CallStarted, PlanFailed, RunFailed, RunSubmitted, RunWarned, Stamped
from agentops.guardrails.provenance import SourceKind, provenance
from tests.engine.test_decide import PAY, steps
from tests.engine.world import START, World, submitted


def codes(events: list[Stamped]) -> list[tuple[str, str]]:
    return [(one.code, one.severity.word) for one in findings(events)]


def of(*events: object) -> list[Stamped]:
    return [Stamped(i, START, event) for i, event in enumerate((submitted(), *events), start=1)]  # type: ignore[arg-type]


def selected(call_id: str = "1.pay.0", tool: str = "pay", path: str = "/to", *, untrusted: bool = True) -> CallSelected:
    source = provenance(SourceKind.TOOL, "mail", untrusted=untrusted).to_json()
    return CallSelected(call_id, "pay", tool, "1.0.0", "unsafe_write", {"to": "x"}, "d", "k", {path: source})


def test_a_good_run_has_no_findings() -> None:
    world = World(steps(PAY))
    world.run()
    assert findings(world.history) == ()


def test_the_same_call_again_and_again_is_found() -> None:
    again = [CallSelected(f"{n}.r.0", "r", "read", "1", "read", {"n": 1}, "d", "k", {}) for n in range(3)]
    found = findings(of(*again))
    assert [(one.code, one.seqs) for one in found] == [("repeated_call", (2, 3, 4))]


def test_a_tool_that_fails_and_fails_is_a_storm() -> None:
    tries = iter(["transient", "transient", "fail"])
    world = World(steps({"id": "r", "tool": "read", "arguments": {}}))
    world.draw = lambda choices: next(tries, "ok") if "transient" in choices else choices[0]
    world.run()
    assert ("retry_storm", "warning") in codes(world.history)


def test_plans_that_fail_in_a_row_are_a_storm() -> None:
    assert codes(of(*[PlanFailed("model:x", "plan_invalid", "no")] * 3)) == [("plan_storm", "warning")]


def test_limits_that_come_near_and_that_end_a_run_are_told_apart() -> None:
    found = codes(of(RunWarned("tokens", 90, 100), RunFailed("limit_tokens", "used up")))
    assert found == [("budget_used_up", "serious"), ("budget_near", "note")]


def test_a_tool_that_is_not_there_is_found() -> None:
    assert codes(of(selected(tool="rm_rf", untrusted=False))) == [("invented_tool", "serious")]


def test_untrusted_text_in_an_authority_argument_of_an_effect_is_serious() -> None:
    assert codes(of(selected(), CallStarted("1.pay.0", "g", 1))) == [("taint_in_effect", "serious")]
    assert codes(of(selected(path="/note"), CallStarted("1.pay.0", "g", 1))) == [("taint_in_effect", "note")]
    assert codes(of(selected(untrusted=False), CallStarted("1.pay.0", "g", 1))) == []


def test_findings_come_worst_first() -> None:
    severities = [
        one.severity for one in findings(of(RunWarned("tokens", 9, 10), selected(), CallStarted("1.pay.0", "g", 1)))
    ]
    assert severities == [Severity.SERIOUS, Severity.NOTE]


@given(st.data())
def test_any_record_of_the_engine_can_be_looked_through(data: st.DataObject) -> None:
    world = World(steps({"id": "r", "tool": "read", "arguments": {}}, PAY))
    world.draw = lambda choices: data.draw(st.sampled_from(choices))
    world.run()
    for one in findings(world.history):
        assert one.seqs
        assert all(1 <= seq <= len(world.history) for seq in one.seqs)
    assert isinstance(world.history[0].event, RunSubmitted)
