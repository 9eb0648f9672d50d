"""What changed between two texts: nothing is lost, nothing that stayed is marked, and no text takes for ever."""

import time

from hypothesis import given
from hypothesis import strategies as st

from approvals.values.difference import Line, difference

TEXTS = st.text(st.sampled_from("ab \n"), max_size=60)


def joined(lines: list[Line], *ops: str) -> list[str]:
    return ["".join(piece.text for piece in line.pieces) for line in lines if line.op in ops]


@given(TEXTS, TEXTS)
def test_both_texts_can_be_read_back(before: str, after: str) -> None:
    lines = difference(before, after)
    folded = sum(line.count for line in lines if line.op == "folded")
    assert len(joined(lines, "same", "removed")) + folded == len(before.split("\n"))
    assert len(joined(lines, "same", "added")) + folded == len(after.split("\n"))
    if not folded:
        assert joined(lines, "same", "removed") == before.split("\n")
        assert joined(lines, "same", "added") == after.split("\n")


def test_only_the_words_that_changed_are_marked() -> None:
    [removed, added] = difference("pay 50 EUR to Maria", "pay 500 EUR to Maria")
    assert [piece.text for piece in removed.pieces if piece.changed] == ["50"]
    assert [piece.text for piece in added.pieces if piece.changed] == ["500"]


def test_what_stayed_is_folded() -> None:
    before = [f"line {number}" for number in range(40)]
    lines = difference("\n".join(before), "\n".join([*before[:20], "new", *before[20:]]))
    assert [(line.op, line.count) for line in lines if line.op != "same"] == [
        ("folded", 18),
        ("added", 1),
        ("folded", 18),
    ]


def test_a_difference_of_hostile_size_is_shown_whole_and_at_once() -> None:
    began = time.process_time()
    lines = difference("ab\n" * 20_000, "ba\n" * 20_000)
    assert len(lines) == 40_002
    assert time.process_time() - began < 1
