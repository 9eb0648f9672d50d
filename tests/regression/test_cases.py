"""Suites in files: what they are, and that everything wrong with one is named."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops.regression.cases import BadCases, Case, json_schema, read_case, read_suite, write_suite
from agentops.wire.parse import JSON
from tools import schema as schemas

CASE: dict[str, Any] = {"id": "one", "title": "One", "input": {"x": 1}, "expect": {"state": "succeeded"}}
SUITE: dict[str, Any] = {"schema": "agentops-suite/1", "suite": "s", "task_type": "t", "cases": [CASE]}


def issues(raw: str | dict[str, Any]) -> list[tuple[str, str]]:
    text = raw if isinstance(raw, str) else json.dumps(raw)
    with pytest.raises(BadCases) as refused:
        read_suite(text.encode(), where="f.yaml")
    return [(one.path, one.message) for one in refused.value.issues]


def with_case(**changes: Any) -> dict[str, Any]:
    return {**SUITE, "cases": [{**CASE, **changes}]}


def test_a_suite_is_read_from_yaml_and_from_json() -> None:
    assert read_suite(json.dumps(SUITE).encode()) == read_suite(write_suite("s", "t", [Case(**CASE)]).encode())


@pytest.mark.parametrize(
    ("written", "path", "says"),
    [
        ({**SUITE, "schema": "other"}, "/schema", "agentops-suite/1"),
        ({**SUITE, "cases": []}, "/cases", "at least 1"),
        ({**SUITE, "cases": [CASE, CASE]}, "", "two cases have the id one"),
        (with_case(id="Not a slug"), "/cases/0/id", "pattern"),
        (with_case(extra=1), "/cases/0/extra", "Extra"),
        (with_case(expect={}), "/cases/0/expect/state", "required"),
        (with_case(expect={"state": "fine"}), "/cases/0/expect/state", "succeeded"),
        (with_case(expect={"state": "failed", "answer": {"matches": "("}}), "/cases/0/expect/answer", "Not a pattern"),
        (with_case(tools=[{"tool": "a"}]), "/cases/0/tools/0", "exactly one of output"),
        (with_case(tools=[{"tool": "a", "output": {}, "unknown": "x"}]), "/cases/0/tools/0", "exactly one"),
        (with_case(tools=[{"tool": "a", "error": {"code": "nope"}}]), "/cases/0/tools/0/error/code", "invalid_input"),
        (with_case(model=[{}]), "/cases/0/model/0", "exactly one of plan"),
        (with_case(decisions=[{"tool": "a", "verdict": "edit"}]), "/cases/0/decisions/0", "edit has arguments"),
        (with_case(decisions=[{"tool": "a", "verdict": "allow"}]), "/cases/0/decisions/0/verdict", "approve"),
        (with_case(quarantine={"until": "soon", "reason": "x"}), "/cases/0/quarantine/until", "date"),
        ("- a\n- b\n", "", "valid dictionary"),
        ("a: &x 1\nb: *x\n", "", "aliases are not allowed (line 2)"),
        ("a: 1\na: 2\n", "", "line 2: 'a' is no name, or is there twice"),
        ("a: !!python/object:os.system {}\n", "", "could not determine a constructor"),
        ("{", "", ""),
        ("a: [", "", "line 1, column 5"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(written: str | dict[str, Any], path: str, says: str) -> None:
    found = issues(written)
    assert any(where == path and says.lower() in message.lower() for where, message in found), found


def test_the_error_names_the_file() -> None:
    with pytest.raises(BadCases, match=r"f\.yaml: "):
        read_suite(b"a: 1", where="f.yaml")


TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00"), max_size=40)
VALUES: st.SearchStrategy[JSON] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(TEXT, VALUES, max_size=4), TEXT)
def test_any_case_is_written_and_read_again_as_file_and_as_row(value: dict[str, JSON], note: str) -> None:
    case = Case(
        id="one",
        title="One",
        input=value,
        tools=[{"tool": "a", "arguments": value, "output": value}],  # type: ignore[list-item]
        decisions=[{"tool": "a", "verdict": "approve", "note": note}],  # type: ignore[list-item]
        expect={"state": "succeeded", "never": [{"tool": "b", "arguments": value}]},  # type: ignore[arg-type]
    )
    assert read_suite(write_suite("s", "t", [case]).encode()).cases == [case]
    assert read_case(case.text()) == case


def test_the_schema_accepts_what_is_shipped() -> None:
    import yaml

    from agentops.regression.planning import SHIPPED

    schema = json_schema()
    assert schema["$schema"].endswith("2020-12/schema")
    validator = schemas.compile(schema)
    for path in sorted(Path(SHIPPED).iterdir()):
        assert validator.validate(yaml.safe_load(path.read_text("utf-8"))) == [], path
