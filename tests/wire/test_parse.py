"""Strict JSON: what comes in from outside is exact, bounded and storable, or refused with a code."""

import math
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops.wire import JSON, WireError
from agentops.wire.canonical import canonical
from agentops.wire.parse import MAX_INTEGER, clean, clean_text, guard, parse_json

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
numbers = st.integers(-MAX_INTEGER, MAX_INTEGER) | st.floats(
    allow_nan=False, allow_infinity=False, max_value=float(MAX_INTEGER), min_value=-float(MAX_INTEGER)
)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=20,
)
hostile: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)


def code_of(raw: str | bytes, **limits: int) -> str:
    with pytest.raises(WireError) as caught:
        parse_json(raw, **limits)
    return caught.value.code


@given(values)
def test_canonical_text_reads_back_as_the_same_value(value: JSON) -> None:
    assert parse_json(canonical(value)) == value


@given(values)
def test_guarding_gives_exactly_what_the_canonical_text_reads_back_as(value: JSON) -> None:
    again = parse_json(canonical(value))
    assert repr(guard(value)) == repr(again) or canonical(guard(value)) == canonical(again)
    assert [type(leaf) for leaf in leaves(guard(value))] == [type(leaf) for leaf in leaves(again, like=guard(value))]


def leaves(value: JSON, like: JSON = None) -> list[Any]:
    """Return the leaves in the order of `like`'s keys."""
    match value:
        case list():
            others = like if isinstance(like, list) else value
            return [leaf for member, other in zip(value, others, strict=True) for leaf in leaves(member, other)]
        case dict():
            others_by_key = like if isinstance(like, dict) else value
            return [leaf for key in others_by_key for leaf in leaves(value[key], others_by_key[key])]
        case _:
            return [value]


@given(st.binary(max_size=60) | st.text(st.characters(), max_size=60))
def test_any_input_is_either_a_guarded_value_or_a_wire_error(raw: str | bytes) -> None:
    outcome = outcome_of(raw)
    if isinstance(outcome, WireError):
        assert outcome.code
        assert outcome.message.isascii()
    else:
        assert guard(outcome) == outcome


def outcome_of(raw: str | bytes) -> JSON | WireError:
    try:
        return parse_json(raw)
    except WireError as error:
        return error


@pytest.mark.parametrize("levels", [65, 10_000, 1_000_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_deep_nesting_is_refused_before_the_recursive_parser_sees_it(levels: int, opening: str, closing: str) -> None:
    raw = opening * levels + "1" + closing * levels
    assert code_of(raw, max_bytes=10_000_000) == "too_deep"


def test_sixty_four_levels_are_allowed_and_brackets_inside_strings_do_not_count() -> None:
    assert parse_json("[" * 64 + "]" * 64)
    assert parse_json('["' + "[" * 100 + '\\"' + "{" * 100 + '"]') == ["[" * 100 + '"' + "{" * 100]


def test_unterminated_strings_full_of_escapes_take_linear_time() -> None:
    assert code_of('"' + '\\"' * 2_000_000, max_bytes=5_000_000) == "invalid_json"


@pytest.mark.parametrize("raw", ['"' + "x" * 5_000_000 + '"', b'"' + b"x" * 5_000_000 + b'"', "é" * 200_000])
def test_five_megabytes_are_refused_by_size(raw: str | bytes) -> None:
    assert code_of(raw) == "too_large"


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ("", "invalid_json"),
        ('{"INVALID_JSON"', "invalid_json"),
        ("[1,]", "invalid_json"),
        ("{'a': 1}", "invalid_json"),
        ("\ufeff1", "invalid_json"),
        ("1 2", "invalid_json"),
        ('"\t"', "invalid_json"),
        ("\\[", "invalid_json"),
        ("NaN", "not_finite"),
        ("[Infinity]", "not_finite"),
        ("-Infinity", "not_finite"),
        ("1e999", "not_finite"),
        ('{"amount": -1e999}', "not_finite"),
        ('"\\u0000"', "bad_character"),
        ('{"\\u0000": 1}', "bad_character"),
        ('"\\ud800"', "bad_character"),
        ('"\ud800"', "bad_character"),
        (b'"\xff"', "bad_character"),
        (b'"\xed\xa0\x80"', "bad_character"),
        ('{"a": 1, "a": 2}', "duplicate_key"),
        ('{"a": 1, "\\u0061": 2}', "duplicate_key"),
        ('[{"b": {"a": 1, "a": 1}}]', "duplicate_key"),
        ("9007199254740992", "not_json"),
        ("-9007199254740993", "not_json"),
        ("1e20", "not_json"),
        ("9" * 100_000, "not_json"),
    ],
)
def test_what_is_refused_has_a_code(raw: str | bytes, code: str) -> None:
    assert code_of(raw) == code


def test_a_refusal_says_where() -> None:
    with pytest.raises(WireError) as caught:
        parse_json('{"items": [1, {"a/b": "\\u0000"}]}')
    assert caught.value.path == "/items/1/a~1b"
    assert "U+0000" in caught.value.message


def test_surrogate_pairs_and_large_exponents_are_ordinary_json() -> None:
    assert parse_json('["\\ud83d\\ude00", 6.02e23, 1E2, -0]') == ["😀", 6.02e23, 100, 0]


def test_whole_floats_come_back_as_integers_so_that_amounts_are_exact() -> None:
    value = parse_json("[100.0, 1e2, 0.5]")
    assert isinstance(value, list)
    assert [type(member) for member in value] == [int, int, float]


class Colour(StrEnum):
    RED = "red"


def test_the_guard_turns_tuples_and_enums_into_plain_json() -> None:
    guarded = guard({"colours": (Colour.RED, Colour.RED)})
    assert guarded == {"colours": ["red", "red"]}
    assert isinstance(guarded, dict)
    assert isinstance(guarded["colours"], list)
    assert type(guarded["colours"][0]) is str


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ({1: 2}, "not_json"),
        ({"a": {1, 2}}, "not_json"),
        (Decimal("1.5"), "not_json"),
        (b"bytes", "not_json"),
        (math.nan, "not_finite"),
        (math.inf, "not_finite"),
        (2**53, "not_json"),
        ("\udfff", "bad_character"),
        (["x" * 300_000], "too_large"),
        ([[]] * 200_000, "too_large"),
    ],
)
def test_the_guard_refuses_python_values_that_are_not_storable_json(value: object, code: str) -> None:
    with pytest.raises(WireError) as caught:
        guard(value)
    assert caught.value.code == code


def test_the_guard_stops_at_cycles_and_at_shared_structure_that_explodes() -> None:
    cycle: list[object] = []
    cycle.append(cycle)
    with pytest.raises(WireError, match="deeper"):
        guard(cycle)
    explosion: list[object] = []
    for _ in range(40):
        explosion = [explosion, explosion]
    with pytest.raises(WireError, match="larger"):
        guard(explosion)


@given(hostile)
def test_cleaning_never_loses_a_value_and_makes_it_acceptable(value: Any) -> None:
    cleaned = clean(value)
    assert guard(cleaned) == cleaned
    if isinstance(value, dict):
        assert isinstance(cleaned, dict)
        assert len(cleaned) == len(value)


@given(values)
def test_cleaning_leaves_good_values_alone(value: JSON) -> None:
    assert clean(value) == value


def test_cleaning_is_visible() -> None:
    assert clean_text("a\x00b\ud800") == "a\ufffdb\ufffd [replaced: U+0000, U+D800]"
    assert clean({"a\x00": 1, "a\ud800": 2}) == {"a\ufffd": 1, "a\ufffd~2": 2}
    assert clean([math.nan, 2**60]) == ["nan", hex(2**60)]


def test_cleaning_cuts_what_is_nested_too_deeply() -> None:
    deep: Any = "end"
    for _ in range(100):
        deep = [deep]
    assert "cut here" in canonical(clean(deep))


def test_cleaning_refuses_only_programming_mistakes() -> None:
    with pytest.raises(WireError):
        clean({"when": object()})
