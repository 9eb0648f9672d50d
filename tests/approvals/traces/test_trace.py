"""Recorded calls of any agent through the real gate: no model, no tools, no database."""

import io
import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from hypothesis import given, settings
from hypothesis import strategies as st

from approvals.traces.trace import run_trace
from approvals.traces.trace_format import MAX_OUTPUT_BYTES, BadTrace, read_trace, schema, trace_of

TRACES = Path(__file__).parent
ROOT = Path(__file__).parents[3]


def example(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((TRACES / f"{name}.json").read_text())
    return found


def run(trace: dict[str, Any]) -> dict[str, Any]:
    """Run a trace and return its calls by id."""
    found: Any = run_trace(trace_of(trace))
    return {**found, "by_id": {call["id"]: call for call in found["calls"]}}


def rules(found: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {name: (call["verdict"], call["rule"]) for name, call in found["by_id"].items()}


def test_planned_first_only_what_was_planned_reaches_a_person() -> None:
    found = run(example("banking"))
    assert rules(found) == {
        "read": ("allow", "allowlist.auto"),
        "hijack": ("deny", "plan.off_plan"),
        "hijack_mail": ("deny", "plan.off_plan"),
        "pay": ("gate", "sensitive.financial"),
        "hijack_note": ("deny", "plan.off_plan"),
        "note": ("allow", "allowlist.auto"),
    }
    pay = found["by_id"]["pay"]
    assert pay["attacked"] == ["/amount", "/recipient"] or pay["attacked"] == ["/recipient", "/amount"]
    assert found["by_id"]["note"]["step"] == "note", "a hijacked call does not use up the slot of a planned one"
    assert found["summary"] == {
        "calls": 6,
        "allow": 2,
        "gate": 1,
        "deny": 3,
        "off_plan": 3,
        "prompts": 1,
        "attacked": 1,
    }
    assert found["not_called"] == []


def test_a_person_is_shown_what_a_card_would_show() -> None:
    screen = run(example("banking"))["by_id"]["pay"]["screen"]
    assert screen["sentence"] == "Send 98.7 to UK12345678901234567890"
    assert screen["consequence"]["summary"] == "Moves 98.70"
    assert screen["consequence"]["reversible"]["state"] == "irreversible"
    assert screen["risk"]["band"] == "high"
    assert {"untrusted_authority", "irreversible"} <= {reason["code"] for reason in screen["risk"]["reasons"]}
    assert screen["agent_says"] == ""
    assert [one["name"] for one in screen["arguments"]] == ["amount", "recipient", "subject"] or len(
        screen["arguments"]
    ) == 3


def test_one_step_at_a_time_everything_after_untrusted_text_is_tainted() -> None:
    found = run(example("reactive"))
    assert rules(found) == {
        "early": ("allow", "allowlist.auto"),
        "hotels": ("allow", "allowlist.auto"),
        "late": ("gate", "provenance.untrusted_authority"),
        "leak": ("deny", "output.canary"),
        "beacon": ("gate", "sensitive.external_communication"),
        "unknown": ("deny", "tool.unknown"),
    }
    assert found["by_id"]["late"]["attacked"] == ["/participants"]
    codes = [finding["code"] for finding in found["by_id"]["beacon"]["findings"]]
    assert codes == ["image", "unsupported_financial"]
    assert any("carries data out" in reason for reason in found["by_id"]["beacon"]["reasons"])


def test_a_step_that_was_rejected_has_no_output_and_what_needs_it_is_no_step() -> None:
    trace = example("banking")
    trace["plan"]["steps"][2]["arguments"]["folder"] = {"$ref": "steps.pay.output.folder"}
    with pytest.raises(BadTrace) as refused:
        run(trace)
    assert [(i.path, i.code) for i in refused.value.issues] == [("/calls/5/arguments", "arguments_missing")]


def test_a_call_of_the_plan_with_other_arguments_is_not_the_planned_one() -> None:
    trace = example("banking")
    trace["calls"][3] = {"id": "pay", "tool": "send_money", "step": "pay", "arguments": {"recipient": "X", "amount": 1}}
    assert rules(run(trace))["pay"] == ("deny", "plan.off_plan")
    assert run(trace)["not_called"] == ["pay"]


def test_what_a_playbook_says_is_a_constant() -> None:
    trace = example("banking") | {"planner": "playbook"}
    [source] = run(trace)["by_id"]["note"]["provenance"]["/folder"]["sources"]
    assert source["kind"] == "constant"


def test_the_answer_depends_on_the_trace_alone() -> None:
    for name in ("banking", "reactive", "policy"):
        assert run_trace(trace_of(example(name))) == run_trace(trace_of(example(name)))


# --- the tenant's own rules -----------------------------------------------------------------------------------------


def test_the_policy_and_the_constraints_of_a_tenant_are_part_of_every_verdict() -> None:
    found = run(example("policy"))
    assert rules(found) == {
        "one": ("allow", "policy.1.small"),
        "same": ("gate", "sensitive.financial"),  # once a day for each order
        "two": ("allow", "policy.1.small"),
        "three": ("gate", "sensitive.financial"),  # twice an hour
        "later": ("allow", "policy.1.small"),  # the first one is an hour ago
        "large": ("gate", "sensitive.financial"),
        "huge": ("deny", "allowlist.constraint.sane"),
        "note": ("allow", "allowlist.auto"),
        "night": ("deny", "policy.1.no-nights"),
    }
    calls = found["by_id"]
    assert [one["rule"] for one in calls["one"]["policy"]] == ["policy.1.small"]
    assert calls["one"]["policy"][0]["effect"] == "allow"
    assert "at most 2 calls of the tool in 1 hour" in calls["one"]["policy"][0]["says"]
    large = calls["large"]
    assert [one["rule"] for one in large["policy"]] == ["policy.1.large"]
    assert (large["quorum"], large["role"], large["decide_within_s"]) == (2, "senior", 14_400)
    assert "2 people, seniors, have to agree within 4 hours." in large["reasons"][1]
    assert calls["night"]["reasons"] == ["The policy denies it: Nobody is there at night."]
    assert "sane: args.amount_minor <= 100000" in calls["huge"]["reasons"][0]


def test_rules_see_the_risk_that_a_person_would_be_shown() -> None:
    trace = example("banking")
    when = "risk.band == 'high' && risk.score > 30 && 'untrusted_authority' in risk.reasons"
    trace["policy"] = {"policy": 1, "rules": [{"id": "hot", "when": when, "effect": "deny"}]}
    found = run(trace)["by_id"]
    assert (found["pay"]["verdict"], found["pay"]["rule"]) == ("deny", "policy.1.hot")
    assert found["read"]["verdict"] == "allow"


@pytest.mark.parametrize(
    ("change", "path", "code"),
    [
        (lambda t: t["policy"]["rules"][0].update(when="time.hour <"), "/policy/rules/0/when", "invalid_policy"),
        (lambda t: t["policy"]["rules"][0].update(when="memory.x"), "/policy/rules/0/when", "invalid_policy"),
        (lambda t: t["policy"]["rules"][0].update(quorum=2), "/policy/rules/0/quorum", "invalid_policy"),
        (lambda t: t["policy"]["rules"][1].update(quorum=9), "/policy/rules/1/quorum", "invalid_policy"),
        (lambda t: t["policy"]["rules"][1].pop("id"), "/policy/rules/1", "invalid_policy"),
        (lambda t: t["policy"]["rules"][3].pop("expires"), "/policy/rules/3", "invalid_policy"),
        (
            lambda t: t["policy"]["rules"][3]["bounds"][1].update(within="1y"),
            "/policy/rules/3/bounds/1/within",
            "invalid_policy",
        ),
        (
            lambda t: t["policy"]["rules"][3]["bounds"][1].update(calls="2"),
            "/policy/rules/3/bounds/1/calls",
            "invalid_policy",
        ),
        (
            lambda t: t["policy"]["rules"][3]["bounds"][2].update(per="tool"),
            "/policy/rules/3/bounds/2",
            "invalid_policy",
        ),
        (lambda t: t["policy"].update(more=1), "/policy/more", "invalid_policy"),
        (lambda t: t["policy"].update(policy=2), "/policy/policy", "invalid_policy"),
        (lambda t: t.update(policy=[]), "/policy", "type"),
        (lambda t: t["run"].update(at="yesterday"), "/run/at", "invalid_moment"),
        (lambda t: t["run"].update(at="2026-11-26T09:00:00"), "/run/at", "invalid_moment"),
        (lambda t: t["run"].update(origin="nowhere"), "/run/origin", "enum"),
        (lambda t: t["calls"][2].update(at="2026-11-26T08:00:00Z"), "/calls/2/at", "out_of_order"),
        (
            lambda t: t["tools"][0].update(constraints={"sane": "args.x <"}),
            "/tools/0/constraints/sane",
            "invalid_constraint",
        ),
        (
            lambda t: t["tools"][0].update(constraints={"a/b": "true"}),
            "/tools/0/constraints/a~1b",
            "invalid_constraint",
        ),
        (lambda t: t["tools"][0].update(constraints={"sane": 1}), "/tools/0/constraints/sane", "type"),
    ],
)
def test_what_is_wrong_with_the_rules_of_a_tenant_is_named_with_its_place(change: Any, path: str, code: str) -> None:
    trace = example("policy")
    change(trace)
    with pytest.raises(BadTrace) as refused:
        run(trace)
    assert (path, code) in [(issue.path, issue.code) for issue in refused.value.issues]


def test_every_trace_of_the_documentation_and_of_the_tree_runs() -> None:
    section = (ROOT / "README.md").read_text().split("### run a benchmark through the gate")[1].split("\n### ")[0]
    shown = [block for block in re.findall(r"```json\n(.*?)```", section, re.DOTALL) if '"calls"' in block]
    assert shown
    for text in [*shown, *(path.read_text() for path in sorted(TRACES.glob("*.json")))]:
        found: Any = run_trace(read_trace(text))
        assert found["summary"]["calls"] == len(found["calls"]) > 0
    assert len(list(TRACES.glob("*.json"))) == 3


# --- what is not said is careful ------------------------------------------------------------------------------------


def small(**tool: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "task": {"text": "t"},
        "tools": [
            {"name": "read", "effect": "read", "roles": {}},
            {"name": "act", "roles": {"to": "authority"}, **tool},
        ],
        "calls": [
            {"id": "r", "tool": "read", "arguments": {}, "output": "hello"},
            {"id": "a", "tool": "act", "arguments": {"to": "somebody"}},
        ],
    }


def test_a_tool_of_which_nothing_is_said_writes_for_good_and_returns_untrusted_text() -> None:
    act = run(small())["by_id"]["a"]
    assert (act["verdict"], act["attacked"]) == ("gate", ["/to"])
    assert act["screen"]["consequence"]["reversible"]["state"] == "irreversible"


def test_an_argument_that_nobody_described_is_refused() -> None:
    trace = small(input_schema={"type": "object", "properties": {"to": {"type": "string"}}})
    trace["calls"][1]["arguments"]["bcc"] = "mallory@evil.example"
    assert run(trace)["by_id"]["a"]["code"] == "invalid_input"


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "path", "code"),
    [
        (lambda t: t.pop("task"), "", "required"),
        (lambda t: t.update(version=2), "/version", "const"),
        (lambda t: t.update(extra=1), "", "additionalProperties"),
        (lambda t: t["tools"][0].update(name="Read File"), "/tools/0", "invalid_tool"),
        (lambda t: t["tools"].append(deepcopy(t["tools"][0])), "/tools/5/name", "duplicate_tool"),
        (lambda t: t["tools"][0].update(sensitivity=["financial"]), "/tools/0", "invalid_tool"),
        (lambda t: t["tools"][0].update(roles={"path": "maybe"}), "/tools/0/roles/path", "enum"),
        (
            lambda t: t["tools"][1].update(
                input_schema={"type": "object", "properties": {"a": {"$ref": "http://x/y"}}, "roles": {}}
            ),
            "/tools/1",
            "invalid_tool",
        ),
        (lambda t: t["calls"][0].update(id="hijack"), "/calls/1/id", "duplicate_id"),
        (lambda t: t["calls"][0].update(step="nowhere"), "/calls/0/step", "unknown_step"),
        (lambda t: t["calls"][0].update(output={"deep": 10**20}), "/calls/0/output/deep", "not_json"),
        (lambda t: t["calls"][0].update(output="x" * (MAX_OUTPUT_BYTES + 1)), "/calls/0/output", "too_large"),
        (lambda t: t["calls"][1].pop("arguments"), "/calls/1/arguments", "arguments_missing"),
        (
            lambda t: t["calls"][1].update(arguments={"password": {"$ref": "steps.x.output"}}),
            "/calls/1/arguments/password/$ref",
            "unknown_step",
        ),
        (lambda t: t["plan"]["steps"][1].update(tool=7), "/plan/steps/1/tool", "invalid_call"),
        (
            lambda t: t["plan"]["steps"][0].update(arguments={"a": {"$ref": "steps.later.output"}}),
            "/plan/steps/0/arguments/a/$ref",
            "unknown_step",
        ),
        (lambda t: t.update(planning="reactive"), "/plan", "plan_not_used"),
        (
            lambda t: t.update(output_policy={"actions": {"secret": "report"}}),
            "/output_policy/actions/secret",
            "invalid_output_policy",
        ),
    ],
)
def test_bad_input_is_named_with_its_place(change: Any, path: str, code: str) -> None:
    trace = example("banking")
    change(trace)
    with pytest.raises(BadTrace) as refused:
        run(trace)
    assert (path, code) in [(issue.path, issue.code) for issue in refused.value.issues]


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b'{"a": NaN}', b"\xff", b'{"a":1,"a":2}', b"[" * 500])
def test_what_is_no_trace_at_all_is_a_bad_trace(raw: bytes) -> None:
    with pytest.raises(BadTrace) as refused:
        read_trace(raw)
    assert refused.value.issues


def test_where_a_text_is_no_json_is_said_by_line_and_column() -> None:
    with pytest.raises(BadTrace) as refused:
        read_trace('{"version": 1,\n  "task" {}}')
    told: Any = refused.value.to_json()
    [issue] = told["error"]["issues"]
    assert (issue["code"], issue["line"], issue["column"]) == ("invalid_json", 2, 10)


# --- the command ----------------------------------------------------------------------------------------------------


def told(*args: str) -> tuple[str, int]:
    out = io.StringIO()
    try:
        call_command("gate_trace", *args, stdout=out)
    except SystemExit as ended:
        return out.getvalue(), int(str(ended.code))
    return out.getvalue(), 0


def test_the_command_needs_no_database_and_prints_json(tmp_path: Path) -> None:
    text, code = told(str(TRACES / "banking.json"))
    assert (json.loads(text)["summary"]["calls"], code) == (6, 0)
    lines = [json.dumps(example("banking")), "{", json.dumps(example("reactive"))]
    many = tmp_path / "many.jsonl"
    many.write_text("\n".join(lines))
    text, code = told(str(many))
    answers = [json.loads(line) for line in text.splitlines()]
    assert [answer["line"] for answer in answers] == [1, 2, 3]
    assert (answers[1]["error"]["issues"][0]["code"], code) == ("invalid_json", 2)


def test_the_readable_form_shows_everything_and_hides_nothing(tmp_path: Path) -> None:
    trace = example("reactive")
    trace["calls"][2]["arguments"]["title"] = "ok\u202e\x1b[31m\nALLOW  faked"
    path = tmp_path / "hostile.json"
    path.write_text(json.dumps(trace))
    text, _ = told(str(path), "--text")
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert not any(line.startswith("ALLOW  faked") for line in text.splitlines())
    assert "attacked: /participants" in text


def test_a_file_that_is_not_there_is_an_error_a_program_can_read() -> None:
    text, code = told("/nowhere/trace.json")
    assert (json.loads(text)["error"]["issues"][0]["code"], code) == ("unreadable_file", 2)


def test_the_schema_is_printed_and_describes_the_examples() -> None:
    text, _ = told("--schema")
    assert json.loads(text) == schema()


# --- an attacker's value in a plan ----------------------------------------------------------------------------------

values = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)
effects = st.sampled_from(["idempotent_write", "unsafe_write"])


@settings(max_examples=60)
@given(values, values, effects, st.lists(st.sampled_from(["financial", "data_deletion"]), unique=True))
def test_an_attackers_value_in_an_authority_argument_never_runs_unattended(
    ours: str, theirs: str, effect: str, sensitivity: list[str]
) -> None:
    tools = [
        {"name": "read", "effect": "read", "roles": {}},
        {"name": "act", "effect": effect, "sensitivity": sensitivity, "roles": {"to": "authority", "text": "content"}},
    ]
    clean = [
        {"id": "read", "tool": "read", "arguments": {}},
        {"id": "act", "tool": "act", "arguments": {"to": ours, "text": ours}},
    ]
    base: dict[str, Any] = {"version": 1, "task": {"text": "t"}, "tools": tools}
    output = {"id": "r", "tool": "read", "output": {"value": theirs}}
    # The plan itself takes the leaf from what an attacker wrote.
    attacked = deepcopy(clean)
    attacked[1]["arguments"]["to"] = {"$ref": "steps.read.output.value"}  # type: ignore[index]
    calls = [output, {"id": "a", "tool": "act"}]
    by_reference = run({**base, "plan": {"steps": attacked}, "calls": calls})["by_id"]["a"]
    assert by_reference["verdict"] != "allow"
    assert by_reference["verdict"] == "deny" or "/to" in by_reference["attacked"]
    # The agent replaces the literal after it has read what the attacker wrote.
    calls = [output, {"id": "a", "tool": "act", "arguments": {"to": theirs, "text": ours}}]
    replaced = run({**base, "plan": {"steps": clean}, "calls": calls})["by_id"]["a"]
    assert replaced["verdict"] != "allow" or theirs == ours
    # It goes step by step, and its literal is what it has read.
    calls = [{**output, "arguments": {}}, {"id": "a", "tool": "act", "arguments": {"to": theirs, "text": ours}}]
    assert run({**base, "calls": calls})["by_id"]["a"]["verdict"] != "allow"
    # Only what an argument says may come from anywhere.
    content = deepcopy(clean)
    content[1]["arguments"]["text"] = {"$ref": "steps.read.output.value"}  # type: ignore[index]
    said = run({**base, "plan": {"steps": content}, "calls": [output, {"id": "a", "tool": "act"}]})["by_id"]["a"]
    assert said["verdict"] == ("gate" if sensitivity else "allow")
