"""Hidden text becomes visible: invisible characters, and what HTML does not show."""

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops.guardrails.text import MAX_FINDINGS, html_text, printable, scan, surface, visible

ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=200)
HOSTILE = st.lists(
    st.one_of(
        st.sampled_from(["\u200b", "\u202e", "\U000e0041", "\ufe0f", "\x1b", "\x00", "\u200d", "\U0001f3f4", "\n"]),
        st.text(max_size=5),
    ),
    max_size=40,
).map("".join)
HTML = st.lists(
    st.one_of(
        st.sampled_from(
            [
                *(
                    "<p>",
                    "</p>",
                    "<div style='display:none'>",
                    "</div>",
                    "<!--",
                    "-->",
                    "<style>",
                    "</style>",
                    "<a href=",
                ),
                *('"', "<img alt='x'>", "<![CDATA[", "<b", ">", "&amp;", "&#0;", "<script>", "</script>", "<?", "</"),
            ]
        ),
        st.text(max_size=8),
    ),
    max_size=60,
).map("".join)


def tags(text: str) -> str:
    return "".join(chr(0xE0000 + ord(char)) for char in text)


@pytest.mark.parametrize(
    ("text", "code", "offset", "sample"),
    [
        ("pay\u200b now", "invisible_character", 3, "U+200B ZERO WIDTH SPACE"),
        ("\u202etxt.exe", "bidi_control", 0, "U+202E RIGHT-TO-LEFT OVERRIDE"),
        ("hello" + tags("refund A-1"), "tag_characters", 5, "spells: refund A-1"),
        ("a\x1b[31mred", "control_character", 1, "U+001B CONTROL"),
        ("plain\ufe0f", "variation_selector", 5, "U+FE0F VARIATION SELECTOR-16"),
        ("top" + "\n" * 40 + "bottom", "whitespace_padding", 3, "40 characters of white space"),
    ],
)
def test_each_class_is_found_where_it_is(text: str, code: str, offset: int, sample: str) -> None:
    (finding,) = scan(text)
    assert (finding.code, finding.offset, finding.sample) == (code, offset, sample)


@pytest.mark.parametrize(
    "text",
    [
        "Straße, naïve, 価格は１２円、東京",
        "می‌خواهم",
        "क्‍ष",
        "👨‍👩‍👧‍👦 and ☺️ and 1️⃣",
        "\U0001f3f4" + tags("gbsct") + "\U000e007f",
        "葛\U000e0100城市",
        "tabs\tand\nlines",
    ],
)
def test_what_scripts_and_emoji_need_is_no_finding(text: str) -> None:
    assert scan(text) == []
    assert visible(text) == text


def test_a_flag_is_no_hiding_place() -> None:
    text = "\U0001f3f4" + tags("erase C-1001") + "\U000e007f"
    assert [finding.code for finding in scan(text)] == ["tag_characters"]
    assert "erase C-1001" in surface(text)


def test_surfacing_names_every_hidden_character() -> None:
    assert surface("a\u200bb\u202ec" + tags("hi")) == (
        "a⟨U+200B ZERO WIDTH SPACE⟩b⟨U+202E RIGHT-TO-LEFT OVERRIDE⟩c⟨hidden text: hi⟩"
    )


def test_neighbours_are_one_finding_and_findings_are_bounded() -> None:
    assert [finding.length for finding in scan("x" + "\u200b" * 500)] == [500]
    assert len(scan("a\u200b" * 1000)) == MAX_FINDINGS


@given(st.one_of(ANY_TEXT, HOSTILE))
def test_findings_point_into_the_text_and_visible_text_has_none_left(text: str) -> None:
    for finding in scan(text):
        assert 0 <= finding.offset < finding.offset + finding.length <= len(text)
        assert all(unicodedata.category(char) not in {"Cc", "Cf", "Cs"} for char in finding.sample)
    hidden = {finding.code for finding in scan(visible(text))}
    assert hidden <= {"whitespace_padding", "variation_selector", "invisible_character"}
    assert len(visible(text)) <= len(text) <= len(surface(text))


@given(ANY_TEXT)
def test_printable_text_can_be_stored(text: str) -> None:
    assert "\x00" not in printable(text)
    assert len(printable(text)) == len(text)
    printable(text).encode("utf-8")


@pytest.mark.parametrize(
    ("html", "reason"),
    [
        ('<div style="display:none">pay</div>', "display"),
        ('<div style="DISPLAY : None !important">pay</div>', "display"),
        ('<span style="visibility:hidden">pay</span>', "visibility"),
        ('<span style="opacity:0">pay</span>', "opacity"),
        ('<span style="font-size:0">pay</span>', "font_size"),
        ('<span style="font-size:0.02em">pay</span>', "font_size"),
        ('<font size="0">pay</font>', "font_size"),
        ('<div style="max-height:0;overflow:hidden">pay</div>', "no_size"),
        ('<div style="position:absolute;left:-9999px">pay</div>', "out_of_view"),
        ('<span style="color:#fff">pay</span>', "colour"),
        ('<span style="color:rgb(250, 252, 255)">pay</span>', "colour"),
        ('<table bgcolor="#000000"><tr><td><font color="black">pay</font></td></tr></table>', "colour"),
        ("<p hidden>pay</p>", "hidden"),
        ("<!-- pay -->", "comment"),
        ("<!--[if mso]><p>pay</p><![endif]-->", "comment"),
        ('<img alt="pay">', "alt"),
        ('<input type="hidden" value="pay">', "input"),
        ("<title>pay</title>", "title"),
        ("<template>pay</template>", "never_shown"),
        ("<style>.x{display:none}</style><p class='a x'>pay</p>", "display"),
        ("<style>@media screen{#y , b{font-size:0px}}</style><b>pay</b>", "font_size"),
        ('<div style="display:none"><p>deep <b>down</b></p></div>pay<!--pay-->', "comment"),
    ],
)
def test_what_a_person_does_not_see_is_kept_apart(html: str, reason: str) -> None:
    read = html_text(f"<p>Hello</p>{html}<p>Bye</p>")
    assert any(part.reason == reason and "pay" in part.text for part in read.hidden)
    assert read.text.startswith("Hello")
    assert read.text.endswith("Bye")
    assert ("pay" in read.text) == ("</div>pay<" in html)


def test_visible_html_reads_like_the_page() -> None:
    read = html_text(
        "<html><body style='background:#111;color:#eee'><h1>Offer</h1><p>One &amp; two<br>three</p>"
        "<ul><li>a<li>b</ul><table><tr><td>1</td><td>2</td></tr></table>"
        "<a href='https://a.example/x'>click</a><script>evil()</script><p>5 < 6</p></body></html>"
    )
    assert read.hidden == ()
    assert " ".join(read.text.split()) == "Offer One & two three - a - b 1 2 click <https://a.example/x> 5 < 6"


@given(HTML)
def test_any_html_can_be_read(html: str) -> None:
    read = html_text(html)
    assert len(read.text) + len(read.hidden_text) <= 20 * len(html) + 20


@pytest.mark.parametrize(
    "part", ["<!--", "<", "<a ", '<a x="', "</x>", "<div>", "<![CDATA[", "<style>a{", "<p hidden>x"]
)
def test_reading_takes_linear_time(part: str) -> None:
    started = time.process_time()
    html_text(part * (400_000 // len(part)))
    assert time.process_time() - started < 10
