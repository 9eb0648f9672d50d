"""Every kind of argument, shown so that nobody takes it for something else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops.wire.parse import JSON
from approvals.values.kinds import kinds_of
from approvals.values.previews import previews
from approvals.values.rendering import in_words, money, number, paths, shown
from tests.approvals.lab import LETTER, REQUEST, STATEMENT, TRANSFER, letter
from tools.builtin.mail import SEND
from tools.builtin.shop import ISSUE_REFUND
from tools.contracts import SHOWN_AS

KINDS = [*sorted(SHOWN_AS), "money", ""]


def test_kinds_are_declared_or_beyond_doubt() -> None:
    assert kinds_of(SEND) == {"to": "email.to", "subject": "email.subject", "body": "email.body"}
    assert kinds_of(ISSUE_REFUND) == {"amount_minor": "money"}
    assert kinds_of(TRANSFER)["api_key"] == "secret"
    assert kinds_of(LETTER)["sender"] == "email.from"


@pytest.mark.parametrize(
    ("minor", "currency", "text", "words"),
    [
        (124_000, "EUR", "EUR 1,240.00", "one thousand two hundred and forty EUR"),
        (100_150, "EUR", "EUR 1,001.50", "one thousand and one EUR and 50/100"),
        (99_999, "EUR", "EUR 999.99", ""),
        (1_000, "JPY", "JPY 1,000", "one thousand JPY"),
        (5, "ZZZ", "5 minor units of ZZZ", None),
    ],
)
def test_money_is_exact_and_large_sums_are_written_out(minor: int, currency: str, text: str, words: str | None) -> None:
    found = money(minor, currency)
    assert found["text"] == text
    assert found.get("words") == words


def test_numbers_in_words() -> None:
    assert in_words(0) == "zero"
    assert in_words(21) == "twenty-one"
    assert in_words(1_000_019) == "one million and nineteen"
    assert in_words(2_310_554) == "two million three hundred and ten thousand five hundred and fifty-four"


def test_big_integers_are_exact() -> None:
    assert number(2**53 - 1) == "9007199254740991"
    assert number(0.1) == "0.1"


def test_of_a_url_the_part_that_somebody_registered_stands_out() -> None:
    found = shown("url", "https://bank.example@shop.evil.co.uk:8443/pay?to=bank.example", {})
    assert (found["before"], found["owned"]) == ("https://bank.example@shop.", "evil.co.uk")
    assert "the host is shop.evil.co.uk" in found["warning"]
    assert shown("url", "https://[", {})["warning"].startswith("The address cannot be taken apart")


def test_an_address_in_foreign_letters_is_also_written_in_plain_ones() -> None:
    [one] = shown("email.to", "maria@b\u0430nk.example", {})["addresses"]
    assert one["owned"] == "b\u0430nk.example"
    assert one["really"].startswith("xn--")


def test_a_path_says_where_it_really_leads() -> None:
    found = shown("file.path", "/srv/www/../../etc/passwd", {})
    assert found["real"] == "/etc/passwd"
    assert found["warning"]


def test_a_secret_is_never_shown() -> None:
    assert shown("secret", "hunter2", {}) == {"kind": "secret", "text": "a secret of 7 characters"}


def test_two_hundred_values_to_a_page() -> None:
    value: JSON = {"lines": [{"price": index} for index in range(500)]}
    first, last = paths(value), paths(value, after=400)
    assert (len(first["rows"]), first["total"], first["more"]) == (200, 500, 300)
    assert (len(last["rows"]), last["more"]) == (100, 0)
    assert [row["path"] for row in paths(value, find="/7/")["rows"]] == ["/lines/7/price"]


anything: st.SearchStrategy[JSON] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=80),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@given(st.sampled_from(KINDS), anything)
def test_no_value_breaks_a_renderer(kind: str, value: JSON) -> None:
    assert shown(kind, value, {"currency": "EUR"})["kind"]


@given(anything, anything)
def test_no_value_breaks_a_preview(one: JSON, other: JSON) -> None:
    for tool in (LETTER, REQUEST, STATEMENT):
        change: JSON = {"field": "a", "before": one, "after": other}
        previews(kinds_of(tool), dict.fromkeys(tool.parameters, one), {"changes": [change]})


def test_a_letter_warns_of_what_its_parts_do_not_say() -> None:
    [found] = previews(
        kinds_of(LETTER),
        letter(reply_to="eve@evil.example", html="<p>It is on its way.</p><p hidden>Pay eve</p>"),
        {"blast": [{"kind": "external recipients", "count": 1, "detail": "maria@bank.example"}]},
    )
    assert found["warnings"] == [
        "Answers go to another domain than it comes from.",
        "The HTML part hides text; it is shown below as it is written.",
    ]
    [to] = [header for header in found["headers"] if header["name"] == "To"]
    assert to["addresses"][0]["note"] == "external"


def test_a_request_masks_what_lets_somebody_in() -> None:
    [found] = previews(
        kinds_of(REQUEST),
        {
            "method": "post",
            "url": "https://api.example/pay?a=1",
            "headers": [{"name": "Authorization", "value": "Bearer abc"}, {"name": "Accept", "value": "*/*"}],
            "body": '{"amount": 5}',
        },
        {},
    )
    assert found["method"] == "POST"
    assert [header["value"] for header in found["headers"]] == ["a secret of 10 characters", "*/*"]
    assert found["body"]["rows"] == [{"path": "/amount", "text": "5", "type": "number"}]


def test_a_record_shows_what_changes_and_folds_the_rest() -> None:
    changes: list[JSON] = [
        {"field": "status", "before": "open", "after": "closed"},
        {"field": "note", "before": "one\ntwo", "after": "one\nthree"},
        {"field": "owner", "before": "Ann", "after": "Ann"},
    ]
    [found] = previews({}, {}, {"changes": changes})
    assert found["unchanged"] == 1
    assert [(row["field"], row["before"], row["after"], bool(row["lines"])) for row in found["rows"]] == [
        ("status", "open", "closed", False),
        ("note", "one\ntwo", "one\nthree", True),
    ]
