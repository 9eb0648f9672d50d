"""Foreign text on a page: it builds nothing, hides nothing, and can be read back."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.values.inert import inert

HOSTILE = (
    "\u202e\u2066\u200b\u200d\u200c\u00ad\ufe0f\u3164\u2028\ufeff\x00\x07\x1b\x7f\x85\u00a0\u3000\u0301\u0301\u0301"
    "\U000e0041\U000e007f\ud800\U0001f469\U0001f4bb\u0430aZ09 <>&\"'\n\t\r/="
)
TEXTS = st.one_of(
    st.text(st.characters(codec=None)),
    st.text(st.sampled_from(HOSTILE), max_size=60),
    st.builds(lambda char, count: char * count, st.sampled_from(HOSTILE), st.integers(0, 40)),
)


class Reader(HTMLParser):
    """Read a fragment back to the text it was made of, and note each element."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.text = ""
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.marks: list[str] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.elements.append((tag, values))
        if points := values.get("data-cp"):
            self._inside = True
            self.marks.append("")
            for point in points.split():
                code, _, count = point.partition("*")
                self.text += chr(int(code, 16)) * int(count or 1)

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.marks[-1] += data
        else:
            self.text += data

    def handle_entityref(self, name: str) -> None:
        self.handle_data({"lt": "<", "gt": ">", "amp": "&", "quot": '"'}[name])

    def handle_charref(self, name: str) -> None:
        self.handle_data({"x27": "'"}[name])


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(inert(text))
    reader.close()
    return reader


@given(TEXTS)
def test_only_our_marks_are_elements(text: str) -> None:
    for tag, attributes in read(text).elements:
        assert tag == "span"
        assert attributes.keys() <= {"class", "data-cp", "data-like"}
        assert attributes["class"] in {"cp", "ws", "mix"}


@given(TEXTS)
def test_the_text_can_be_read_back(text: str) -> None:
    assert read(text).text == text


@given(TEXTS)
def test_what_is_printed_has_no_raw_control_and_can_be_sent(text: str) -> None:
    printed = inert(text)
    printed.encode()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b\u2028\ufeff]", printed)


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("a\u202eb", "\u27e8U+202E RIGHT-TO-LEFT OVERRIDE\u27e9"),
        ("a\u200b\u200bb", "\u27e8U+200B ZERO WIDTH SPACE \u00d72\u27e9"),
        ("".join(chr(0xE0000 + ord(c)) for c in "pay <me>"), "\u27e8hidden text: \u201c"),
        ("\x1b[31m", "\u27e8U+001B ESCAPE\u27e9"),
        ("\ud800", "\u27e8U+D800 LONE SURROGATE\u27e9"),
        ("\u200b\u200c" * 40, "\u27e880 hidden characters: U+200B ZERO WIDTH SPACE \u00d740, U+200C ZERO WIDTH NON"),
        ("".join(map(chr, range(0x202A, 0x202F))) * 3, "\u27e815 hidden characters: U+202A\u2013U+202E \u00d715\u27e9"),
        ("e" + "\u0301" * 30, "\u27e8+28 COMBINING MARKS\u27e9"),
        ("a" + " " * 300 + "b", "\u00b7 \u00d7300"),
        ("a" + "\n" * 200 + "b", "\u23ce 199 empty lines"),
    ],
)
def test_what_hides_is_named(text: str, mark: str) -> None:
    assert any(shown.startswith(mark) for shown in read(text).marks)


@pytest.mark.parametrize(
    "text",
    [
        "\U0001f469\u200d\U0001f4bb",  # woman technologist
        "\u263a\ufe0f and 1\ufe0f\u20e3",  # emoji and keycap presentation
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian needs its non-joiner
        "Zo\u00eb, \u65e5\u672c\u8a9e, Stra\u00dfe",
        "two\n\nparagraphs   and three spaces",
    ],
)
def test_ordinary_writing_is_left_alone(text: str) -> None:
    assert read(text).elements == []


def test_a_word_of_two_alphabets_is_underlined() -> None:
    assert inert("p\u0430ypal.example") == '<span class="mix" data-like="paypal">p\u0430ypal</span>.example'
    assert "mix" not in inert("\u041f\u0440\u0438\u0432\u0435\u0442 paypal")


def test_a_mark_cannot_be_imitated() -> None:
    assert read('<span class="cp" data-cp="41">\u27e8U+202E\u27e9</span>').elements == []
