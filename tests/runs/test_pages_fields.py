"""Form fields of a schema: what a person types becomes a value of the right type, and what was not touched stays."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops.runs.fields import SchemaField, UnreadableValue, schema_fields
from agentops.wire.money import format_money
from agentops.wire.parse import JSON

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "amount_minor": {"type": "integer", "minimum": 1, "maximum": 10**9},
        "currency": {"type": "string", "maxLength": 3},
        "to": {"type": "string", "minLength": 1, "maxLength": 200},
        "body": {"type": "string", "maxLength": 9_000},
        "count": {"type": "integer", "minimum": 0, "maximum": 9},
        "share": {"type": "number", "minimum": 0, "maximum": 1},
        "priority": {"enum": ["low", "med", "high"]},
        "level": {"enum": [1, 2, None]},
        "urgent": {"type": "boolean"},
        "due": {"type": ["string", "null"], "maxLength": 10},
        "order": {"anyOf": [{"type": "string", "maxLength": 9}, {"type": "null"}]},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 9}, "maxItems": 5},
    },
}
FIELDS = {field.name: field for field in schema_fields(SCHEMA)}


def test_each_type_gets_its_control() -> None:
    kinds = {name: field.kind for name, field in FIELDS.items()}
    assert kinds == {
        "amount_minor": "money",
        "currency": "text",
        "to": "text",
        "body": "textarea",
        "count": "number",
        "share": "number",
        "priority": "select",
        "level": "select",
        "urgent": "select",
        "due": "text",
        "order": "text",
        "tags": "json",
    }
    assert {name for name, field in FIELDS.items() if field.nullable} == {"level", "due", "order"}
    assert {name for name, field in FIELDS.items() if not field.may_be_empty} == {
        *("amount_minor", "to", "count", "share", "priority", "urgent", "tags")
    }


@pytest.mark.parametrize(
    ("name", "typed", "value"),
    [
        ("count", " 7 ", 7),
        ("count", "-3", -3),
        ("share", "0.25", 0.25),
        ("share", "1", 1),
        ("urgent", "true", True),
        ("level", "2", 2),
        ("level", "", None),
        ("due", "", None),
        ("due", "2026-11-22", "2026-11-22"),
        ("order", "   ", None),
        ("to", " a@example.com ", " a@example.com "),
        ("body", "one\r\ntwo", "one\ntwo"),
        ("tags", '["a"]', ["a"]),
    ],
)
def test_a_value_is_read_with_its_type(name: str, typed: str, value: JSON) -> None:
    assert FIELDS[name].read(typed) == value
    assert type(FIELDS[name].read(typed)) is type(value)


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        *[("count", typed) for typed in ("", "x", "1.5", "1e999", "nan", "9" * 50, "0x10")],
        *[("share", typed) for typed in ("inf", "half", "9" * 41)],
        *[("priority", typed) for typed in ("", "urgent")],
        *[("tags", typed) for typed in ("a, b", "[1e999]", "[" * 100, '["\\u0000"]')],
    ],
)
def test_what_is_no_value_of_the_type_is_refused_in_words(name: str, typed: str) -> None:
    with pytest.raises(UnreadableValue) as refusal:
        FIELDS[name].read(typed)
    assert len(str(refusal.value)) > 10


@pytest.mark.parametrize(
    ("typed", "currency", "minor"),
    [
        ("1240", "EUR", 124_000),
        ("1,240.50", "EUR", 124_050),
        ("EUR 12.5", "EUR", 1_250),
        ("0.01", "EUR", 1),
        ("-3.20", "EUR", -320),
        ("500", "JPY", 500),
        ("1.234", "KWD", 1_234),
        ("1 000.00", "CHF", 100_000),
    ],
)
def test_money_is_typed_as_a_decimal_and_kept_in_minor_units(typed: str, currency: str, minor: int) -> None:
    assert FIELDS["amount_minor"].read(typed, currency) == minor


@pytest.mark.parametrize(
    ("typed", "currency"),
    [
        ("12,40", "EUR"),
        ("1.5", "JPY"),
        ("0.001", "EUR"),
        ("1,24,000", "EUR"),
        ("12", "XYZ"),
        ("12", ""),
        ("1e3", "EUR"),
    ],
)
def test_an_amount_that_could_be_misread_is_refused(typed: str, currency: str) -> None:
    with pytest.raises(UnreadableValue):
        FIELDS["amount_minor"].read(typed, currency)


@given(st.integers(-(10**12), 10**12), st.sampled_from(["EUR", "JPY", "KWD", "CLF"]))
def test_an_amount_shown_is_the_amount_read(minor: int, currency: str) -> None:
    field = FIELDS["amount_minor"]
    assert field.read(field.show(minor, currency), currency) == minor
    assert field.read(format_money(minor, currency), currency) == minor


LEAVES = (
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(st.characters(exclude_categories=["Cs"]))
)
VALUES = LEAVES | st.lists(LEAVES, max_size=4) | st.dictionaries(st.text(max_size=5), LEAVES, max_size=4)


def through_a_browser(shown: str) -> str:
    """Return what a browser posts for a textarea that was not touched."""
    first_line_dropped = shown.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\n")
    return first_line_dropped.replace("\n", "\r\n")


@given(st.sampled_from(sorted(FIELDS)), VALUES)
def test_what_a_person_does_not_touch_comes_back_exactly(name: str, value: JSON) -> None:
    field = FIELDS[name]
    kept = field.keep_or_read(through_a_browser(field.show(value, "EUR")), value, "EUR", "EUR")
    assert kept is value


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=50), st.sampled_from(["to", "body", "due"]))
def test_text_is_read_as_it_is_typed(typed: str, name: str) -> None:
    field: SchemaField = FIELDS[name]
    read = field.read(typed)
    assert read == typed or (field.nullable and not typed.strip() and read is None)


def test_another_currency_makes_an_untouched_amount_a_new_one() -> None:
    field = FIELDS["amount_minor"]
    assert field.keep_or_read("124.00", 12_400, "EUR", "KWD") == 124_000


@given(VALUES)
def test_json_shown_is_the_json_read(value: JSON) -> None:
    field = FIELDS["tags"]
    if value is not None and "\x00" not in json.dumps(value, ensure_ascii=False) and "\\u0000" not in json.dumps(value):
        assert field.read(field.show(value)) == value


def test_fields_come_in_the_order_of_required_which_every_database_keeps() -> None:
    shuffled = {"properties": {"b": {"type": "string"}, "a": {"type": "string"}, "c": {"type": "string"}}}
    assert [field.name for field in schema_fields(shuffled | {"required": ["c", "a"]})] == ["c", "a", "b"]
