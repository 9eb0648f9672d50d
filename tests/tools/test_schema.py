"""Schemas behind the guard: nothing is fetched, nothing crashes, nothing backtracks, issues are machine-readable."""

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools import schema
from tools.schema import Issue, SchemaError

AMOUNT: dict[str, Any] = {
    "type": "object",
    "properties": {"amount": {"type": "integer", "minimum": 1, "maximum": 100}, "to/from": {"type": "string"}},
    "required": ["amount"],
    "additionalProperties": False,
}


def test_a_value_that_fits_has_no_issues() -> None:
    assert schema.compile(AMOUNT).validate({"amount": 5}) == []


def test_issues_name_the_place_and_the_keyword_and_never_the_value() -> None:
    issues = schema.compile(AMOUNT).validate({"amount": 4242, "to/from": 7, "secret": "hunter2"})
    assert {(issue.path, issue.code) for issue in issues} == {
        ("/amount", "maximum"),
        ("/to~1from", "type"),
        ("", "additionalProperties"),
    }
    assert all("4242" not in issue.message and "hunter2" not in issue.message for issue in issues)
    assert schema.compile(AMOUNT).validate({})[0].code == "required"


def test_messages_are_short_even_for_long_keys() -> None:
    (issue,) = schema.compile({"type": "object", "additionalProperties": False}).validate({"k" * 100_000: 1})
    assert len(issue.message) <= 300


def test_the_number_of_issues_is_bounded() -> None:
    issues = schema.compile({"type": "array", "items": {"type": "string"}}).validate(list(range(1000)))
    assert len(issues) == schema.MAX_ISSUES


@pytest.mark.parametrize("ref", ["http://127.0.0.1:9/schema", "https://schema.example/x", "file:///etc/passwd"])
def test_references_to_other_documents_are_refused(ref: str) -> None:
    with pytest.raises(SchemaError, match="refused"):
        schema.compile({"$ref": ref})


def test_a_file_that_exists_is_not_read_either(tmp_path: Path) -> None:
    target = tmp_path / "schema.json"
    target.write_text('{"type": "string"}')
    with pytest.raises(SchemaError, match="refused"):
        schema.compile({"$ref": target.as_uri()})


def test_patterns_run_in_linear_time() -> None:
    validator = schema.compile({"type": "string", "pattern": "^(a+)+$"})
    started = time.process_time()
    assert validator.validate("a" * 5000 + "!")[0].code == "pattern"
    assert time.process_time() - started < 2


@pytest.mark.parametrize("pattern", [r"(a)\1", "(?=a)b", "("])
def test_patterns_that_need_backtracking_are_refused(pattern: str) -> None:
    with pytest.raises(SchemaError):
        schema.compile({"type": "string", "pattern": pattern})


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (nested(100_000), "too_deep"),
        (float("inf"), "not_finite"),
        (float("nan"), "not_finite"),
        ("\x00", "bad_character"),
        ("\ud800", "bad_character"),
        ("x" * 5_000_000, "too_large"),
        ({1: 2}, "not_json"),
        (object(), "not_json"),
    ],
)
def test_what_is_not_safe_json_never_reaches_the_validator(value: Any, code: str) -> None:
    assert [issue.code for issue in schema.compile({"type": "object"}).validate(value)] == [code]


@pytest.mark.parametrize("bad", [nested(5000), {"type": "nothing"}, {"type": "object", "x": float("inf")}])
def test_a_hostile_schema_is_refused(bad: Any) -> None:
    with pytest.raises(SchemaError):
        schema.compile(bad if isinstance(bad, dict) else {"items": bad})


def test_decimal_multiples_are_exact() -> None:
    assert schema.compile({"type": "number", "multipleOf": 0.01}).validate(19.99) == []


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)


@given(JSON_VALUES)
def test_validating_never_raises(value: Any) -> None:
    issues = schema.compile(AMOUNT).validate(value)
    assert all(isinstance(issue, Issue) for issue in issues)


OK: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": ["string", "null"], "maxLength": 5},
        "count": {"type": "integer", "minimum": 0, "maximum": 5},
        "kind": {"enum": ["a", "b"]},
        "tags": {"type": "array", "maxItems": 3, "items": {"type": "string", "maxLength": 3}},
    },
    "required": ["name", "count", "kind", "tags"],
    "additionalProperties": False,
}


def changed(name: str, part: Any) -> dict[str, Any]:
    return OK | {"properties": OK["properties"] | {name: part}}


@pytest.mark.parametrize(
    "loose",
    [
        {"type": "array", "items": {"type": "string", "maxLength": 1}, "maxItems": 1},
        OK | {"additionalProperties": True},
        {key: value for key, value in OK.items() if key != "additionalProperties"},
        OK | {"required": ["name"]},
        changed("name", {"type": "string"}),
        changed("name", {}),
        changed("name", True),
        changed("count", {"type": "integer", "minimum": 0}),
        changed("count", {"type": "number", "maximum": 1}),
        changed("tags", {"type": "array", "items": {"type": "string", "maxLength": 1}}),
        changed("tags", {"type": "array", "maxItems": 3}),
        changed("tags", {"type": "array", "maxItems": 3, "items": {"type": "string"}}),
        changed("kind", {"$ref": "#/properties/name"}),
        changed("kind", {"anyOf": [{"type": "null"}, {"type": "string"}]}),
        changed("kind", {"type": "object", "properties": {}, "required": []}),
        changed("kind", {"type": "object", "patternProperties": {"x": {}}, "additionalProperties": False}),
    ],
)
def test_a_loose_schema_is_named_as_such(loose: dict[str, Any]) -> None:
    schema.assert_strict(OK)
    with pytest.raises(SchemaError):
        schema.assert_strict(loose)
