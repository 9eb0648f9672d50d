"""Texts are stored smaller, come back exactly, and a damaged store is never taken for a text."""

from hypothesis import given
from hypothesis import strategies as st

from agentops.audit.packing import pack, unpack

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXTS)
def test_what_is_packed_comes_back(text: str) -> None:
    assert unpack(pack("{" + text)) == "{" + text


@given(TEXTS.filter(bool), st.integers(0), st.integers(0, 7))
def test_a_changed_byte_never_gives_the_same_text(text: str, place: int, bit: int) -> None:
    whole = "{" + text * 3
    stored = bytearray(pack(whole))
    stored[place % len(stored)] ^= 1 << bit
    assert unpack(bytes(stored)) != whole


def test_ordinary_rows_become_much_smaller() -> None:
    told = (
        '{"actor":{"id":"host:12","kind":"worker","name":"Worker","roles":[]},"data":{"attempt":1,"call_id":"1.pay.0",'
        '"grant_id":"01a21379-92d0-785d-ab53-bbe5474b2b2e"},"run":"01a21379-9131-7a25-9d30-55cf8ffe7d63","seq":17,'
        '"stream":"run:01a21379-9131-7a25-9d30-55cf8ffe7d63","subject":{"id":"1.pay.0","kind":"call"},"tenant":"acme",'
        '"tool":"shop.pay","ts":"2026-11-25T16:11:04.729897Z","type":"call.started","v":1}'
    )
    assert len(pack(told)) < len(told) / 2


def test_what_was_stored_before_is_read_as_it_is() -> None:
    assert unpack(b'{"v":1}') == '{"v":1}'
    assert unpack("{}") == "{}"
    assert unpack(b"") == ""
