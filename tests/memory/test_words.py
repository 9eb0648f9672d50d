"""What can be searched for."""

from hypothesis import given
from hypothesis import strategies as st

from agentops.memory.words import MAX_ASKED, MAX_WORD, asked, words


@given(st.text())
def test_words_are_letters_and_digits_and_short(text: str) -> None:
    for word in words(text):
        assert word
        assert len(word) <= MAX_WORD
        assert all(char.isalnum() for char in word)


@given(st.lists(st.text(st.characters(categories=["Ll", "Nd"], max_codepoint=0x24F), min_size=1, max_size=10)))
def test_words_are_found_again_in_their_own_text(parts: list[str]) -> None:
    once = words(" ".join(parts))
    assert words("-".join(once)) == once
    assert words(" / ".join(once)) == once


def test_case_width_and_punctuation_do_not_matter() -> None:
    assert words("Refund A-1001, to WILMA@example.com!") == ["refund", "a", "1001", "to", "wilma", "example", "com"]
    assert words("Ｒｅｆｕｎｄ Straße snake_case") == ["refund", "strasse", "snake", "case"]
    assert words("'; drop table \" * NEAR( :") == ["drop", "table", "near"]


def test_a_question_has_each_word_once_and_not_too_many() -> None:
    assert asked("the tent, the TENT") == ["the", "tent"]
    assert len(asked(" ".join(f"w{number}" for number in range(1000)))) == MAX_ASKED
