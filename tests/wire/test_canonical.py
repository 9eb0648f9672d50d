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
from agentops.wire.canonical import canonical, digest, read_canonical
from agentops.wire.parse import guard, is_plain
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


ANY = st.recursive(
    st.none() | st.booleans() | st.integers(1 - 2**53, 2**53 - 1) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
)


@given(ANY, st.sampled_from([(",", ":"), (", ", ":"), (",", ": ")]), st.booleans(), st.booleans())
def test_what_is_read_as_canonical_is(value: Any, separators: tuple[str, str], ordered: bool, escaped: bool) -> None:
    text = json.dumps(value, separators=separators, sort_keys=ordered, ensure_ascii=escaped)
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        return
    found = read_canonical(raw)
    if found is not None:
        assert rfc8785.dumps(json.loads(raw)) == raw
        assert found == json.loads(raw)


@given(values)
def test_what_we_write_is_read_back_where_it_has_no_fractions(value: JSON) -> None:
    text = canonical(value)
    found = read_canonical(text.encode())
    assert found is None or found == json.loads(text)
    if is_plain(value, 128) and text.isascii():
        assert found == value


def test_every_character_is_spelled_as_the_standard_does() -> None:
    for first in range(0, 0x110000, 64):
        text = "".join(chr(one) for one in range(first, first + 64) if not 0xD800 <= one < 0xE000)
        raw = rfc8785.dumps([text])
        assert read_canonical(raw) == ([text] if first < 0x10000 else None)


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b" 1", b"1 ", b"1.0", b"1e3", b"-0", b"01", b"[1,]", b"NaN", b"\xef\xbb\xbf1", b'"\xff"', b'"\xc0\x80"'),
        *(b'"\\ud800"', b'"\\u0041"', b'"\\/"', b'"\\u000A"', b'{"b":1,"a":2}', b'{"a":1,"a":1}', b'{"a":1}{"b":2}'),
        *(b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b'"\x01"', b"18446744073709551616.0", b"1" * 5_000),
        *(b"true ", b"tru", b"'a'", b"[1 ,2]", b'"\xed\xa0\x80"', '{"\ufb33":1,"😀":2}'.encode()),
    ],
)
def test_no_other_text_is_read_as_canonical(text: bytes) -> None:
    assert read_canonical(text) is None
