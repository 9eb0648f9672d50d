"""Texts are stored smaller, come back exactly, and a damaged store is never taken for a text."""

import hashlib
import zlib

from hypothesis import given
from hypothesis import strategies as st

from agentops.audit.dictionaries import FIRST, SECOND
from agentops.audit.packing import pack, unpack, unpack_bytes

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


@given(TEXTS.filter(bool), st.binary(min_size=1))
def test_nothing_hides_behind_a_packed_text(text: str, more: bytes) -> None:
    whole = "{" + text * 3
    stored = pack(whole)
    if stored[0] == ord("{"):
        stored = pack(STARTED)
    packed = stored[5:] + more
    assert unpack_bytes(stored) is not None
    assert unpack_bytes(stored[:1] + zlib.crc32(packed).to_bytes(4, "big") + packed) is None


STARTED = (
    '{"actor":{"id":"host:12","kind":"worker","name":"Worker","roles":[]},"data":{"attempt":1,"call_id":"1.pay.0",'
    '"grant_id":"01a21379-92d0-785d-ab53-bbe5474b2b2e"},"run":"01a21379-9131-7a25-9d30-55cf8ffe7d63","seq":17,'
    '"stream":"run:01a21379-9131-7a25-9d30-55cf8ffe7d63","subject":{"id":"1.pay.0","kind":"call"},"tenant":"acme",'
    '"tool":"shop.pay","ts":"2026-11-25T16:11:04.729897Z","type":"call.started","v":1}'
)
STARTED_BY_THE_FIRST = (
    "01fd6684879596c10ec23008869f0853a048bb47f156d69a5dcc96cc8b6fafd3b925dd8c7ae74fe0037ea83da7ebc76b83f4a7f37cebf390"
    "6ecf4dafe60b592344ca0e34488664c26056c4ab37322a53812bae57343282261288991d88b4e7f0b00ccd475e70ea0ece5fc41bdcefb43f"
    "314feda5acdcc7ae1f26c9be752236ce1f9462887aaabb32df9bf9fdbc03"
)


def test_ordinary_rows_become_much_smaller() -> None:
    assert len(pack(STARTED)) < 140


def test_what_was_packed_with_the_first_dictionary_is_read() -> None:
    assert unpack(bytes.fromhex(STARTED_BY_THE_FIRST)) == STARTED


def test_no_dictionary_is_ever_changed() -> None:
    # Rows are on record that only these bytes unpack: a better dictionary gets a number of its own.
    assert hashlib.sha256(FIRST).hexdigest() == "85f275a6dfae424d0d065c0e6a764acc2f2f93d1175d49ccc06593bfa7dbd652"
    assert hashlib.sha256(SECOND).hexdigest() == "5236d18f2b0a127790ac408bdf24530f028878bfad2cad025bf0faee0a286b55"


def test_what_was_stored_before_is_read_as_it_is() -> None:
    assert unpack(b'{"v":1}') == '{"v":1}'
    assert unpack("{}") == "{}"
    assert unpack(b"") == ""
