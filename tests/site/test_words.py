"""The short name of a digest."""

import hashlib

import pytest

from approvals.values.words import WORDS, digest_words


def test_there_are_256_words_and_no_two_are_alike() -> None:
    assert len(set(WORDS)) == len(WORDS) == 256
    assert all(word.isascii() and word.isalpha() and word.islower() and len(word) <= 9 for word in WORDS)


def test_a_name_is_six_digits_and_three_words() -> None:
    assert digest_words("9f27ac" + "000102" + "00" * 26) == "9f27ac acorn-agate-alder"


def test_other_arguments_have_another_name() -> None:
    names = {digest_words(hashlib.sha256(str(number).encode()).hexdigest()) for number in range(5_000)}
    assert len(names) == 5_000


@pytest.mark.parametrize("text", ["", "9f27", "not a digest", "zz" * 32])
def test_what_is_no_digest_has_no_name(text: str) -> None:
    with pytest.raises(ValueError):
        digest_words(text)
