"""Canonical text and digest: one value, one text."""

import hashlib
import json
import random
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from agentops.wire import JSON, WireError
from agentops.wire.canonical import canonical, digest
from agentops.wire.parse import guard
from tests.wire.test_parse import values


def shuffled(value: JSON, order: random.Random) -> JSON:
    match value:
        case dict():
            pairs = list(value.items())
            order.shuffle(pairs)
            return {key: shuffled(member, order) for key, member in pairs}
        case list():
            return [shuffled(member, order) for member in value]
        case _:
            return value


@given(values, st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(value: JSON, order: random.Random) -> None:
    assert canonical(shuffled(value, order)) == canonical(value)


@given(values)
def test_canonical_text_is_json_with_the_same_meaning(value: JSON) -> None:
    assert json.loads(canonical(value)) == value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"b": 1, "a": [True, None]}, '{"a":[true,null],"b":1}'),
        # RFC 8785, section 3.2.3: keys sort by UTF-16 code units, so the smiley comes before U+FB33.
        ({"\ufb33": 1, "😀": 2, "ö": 3, "1": 4}, '{"1":4,"ö":3,"😀":2,"\ufb33":1}'),
        ([333333333.33333329, 1e30, 4.50, 2e-3, 1e-27], "[333333333.3333333,1e+30,4.5,0.002,1e-27]"),
        ('\u20ac$\u000f\nA\'B"\\"/', '"€$\\u000f\\nA\'B\\"\\\\\\"/"'),
        (-0.0, "0"),
        (100.0, "100"),
    ],
)
def test_the_examples_of_the_standard(value: Any, expected: str) -> None:
    assert canonical(value) == expected


def test_the_digest_is_the_sha256_of_the_text() -> None:
    assert digest({"a": "ü"}) == hashlib.sha256('{"a":"ü"}'.encode()).hexdigest()
    assert digest({"a": 1}) != digest({"a": "1"})


def test_what_cannot_be_read_back_has_no_canonical_text() -> None:
    for value in (float("nan"), 2**53, "\x00", {1: 2}):
        with pytest.raises(WireError):
            canonical(value)


@given(values)
def test_the_fast_way_and_the_standard_way_write_the_same_text(value: JSON) -> None:
    assert canonical(value) == rfc8785.dumps(guard(value, max_depth=128, max_bytes=None)).decode()


@pytest.mark.parametrize("text", ["\x00", "\ud800", "a\\u0000b", "\x7f\x1f", "\u2028", "\U0001f600"])
def test_odd_characters_are_written_or_refused_as_the_standard_says(text: str) -> None:
    try:
        expected = rfc8785.dumps(guard({"t": text})).decode()
    except WireError:
        with pytest.raises(WireError):
            canonical({"t": text})
    else:
        assert canonical({"t": text}) == expected
