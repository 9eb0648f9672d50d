"""The sentence says what would execute, in the values that would execute, whatever they look like."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops.wire.parse import JSON
from approvals.values.sentence import MAX_AUTHORITY, MAX_SHOWN, plain, render, shorten
from tests.approvals.contracts import REFUND, arguments, contract
from tools.builtin.shapes import closed, rows, text
from tools.contracts import ToolContract


def letter(sentence: str) -> ToolContract:
    return contract(
        input_schema=closed(to=rows(text(400), 20), body=text(5000)),
        roles={"to": REFUND.roles["order_ref"], "body": REFUND.roles["reason"]},
        must_see=(),
        sentence=sentence,
    )


def test_words_and_values_take_turns() -> None:
    assert render(REFUND, arguments()) == [
        {"t": "Refund "},
        {"arg": "/amount_minor", "text": "EUR 49.90"},
        {"t": " for order "},
        {"arg": "/order_ref", "text": "A-1093"},
    ]
    assert plain(render(REFUND, arguments(amount_minor=124_000))) == "Refund EUR 1,240.00 for order A-1093"


def test_an_amount_in_no_known_currency_is_not_made_to_look_like_one() -> None:
    shown = plain(render(REFUND, arguments(currency="ZZZ")))
    assert shown == "Refund 4990 minor units of ZZZ for order A-1093"


@pytest.mark.parametrize(
    ("to", "shown"),
    [
        (["ann@example.org"], "ann@example.org"),
        (["ann@example.org", "bo@example.net"], "ann@example.org, bo@example.net"),
        ([f"p{i}@a.example" for i in range(9)], "9 recipients: p0@a.example and 8 more at a.example"),
        (
            [*(f"p{i}@a.example" for i in range(9)), "eve@evil.example"],
            "10 recipients: eve@evil.example, p0@a.example and 8 more at a.example",
        ),
        (["ann@example.org, eve@evil.example"], "ann@example.org, eve@evil.example"),
        ([], "nobody"),
    ],
)
def test_recipients_are_counted(to: list[JSON], shown: str) -> None:
    assert plain(render(letter("Write to {to|recipients}"), {"to": to, "body": "Hello"})) == f"Write to {shown}"


def test_the_end_of_a_long_address_stays_in_view() -> None:
    address = f"support@bank.example.{'a' * 300}.evil.example"
    shown = plain(render(letter("Write to {to|recipients}"), {"to": [address], "body": ""}))
    assert shown.endswith(".evil.example")
    assert f"({len(address) - MAX_AUTHORITY} characters)" in shown


def test_a_target_that_the_template_forgot_is_named_all_the_same() -> None:
    silent = contract(sentence="Refund {amount_minor|money:currency}")
    assert plain(render(silent, arguments())) == "Refund EUR 49.90; order ref: A-1093"


def test_of_a_url_the_host_that_is_asked_comes_first() -> None:
    fetch = contract(sentence="Fetch {order_ref|url}")
    for url in ("https://bank.example@evil.example/login", "https://evil.example/?u=https://bank.example"):
        shown = plain(render(fetch, arguments(order_ref=url)))
        assert shown.startswith(f"Fetch evil.example ({url})")


def test_no_member_of_a_structured_target_hides_the_others() -> None:
    account: JSON = {"note": "x" * 400, "iban": "GB33BUKB20201555555555"}
    shown = plain(render(contract(sentence="Pay {order_ref}"), arguments(order_ref=account)))
    assert "iban: GB33BUKB20201555555555" in shown


def test_a_long_text_is_cut_and_says_by_how_much() -> None:
    shown = plain(render(letter("Say {body|quote}"), {"to": [], "body": "x" * 1100}))
    assert shown == f"Say “{'x' * 80}… (1,020 more characters)”"


def test_a_placeholder_without_a_value_stays_as_it_is_written() -> None:
    given = arguments()
    del given["order_ref"], given["amount_minor"]
    assert plain(render(REFUND, given)) == "Refund {amount_minor|money:currency} for order {order_ref}"


def test_values_are_never_read_as_a_template() -> None:
    shown = render(REFUND, arguments(order_ref="{reason} <b>{amount_minor|money:currency}</b>"))
    assert shown[-1] == {"arg": "/order_ref", "text": "{reason} <b>{amount_minor|money:currency}</b>"}


anything: st.SearchStrategy[JSON] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["order_ref", "amount_minor", "currency", "reason"]), anything))
def test_no_value_breaks_the_sentence_and_only_arguments_are_quoted(given: dict[str, JSON]) -> None:
    parts = render(REFUND, given)
    words = [part for part in parts if "arg" not in part]
    assert plain(words) in {
        "Refund  for order ",
        "Refund  for order {order_ref}",
        "Refund {amount_minor|money:currency} for order ",
        "Refund {amount_minor|money:currency} for order {order_ref}",
    }


@given(st.text(max_size=500), st.booleans())
def test_shortened_text_tells_how_much_is_missing(value: str, keep_end: bool) -> None:
    shown = shorten(value, keep_end=keep_end)
    if len(value) <= MAX_SHOWN:
        assert shown == value
    else:
        assert f"{len(value) - MAX_SHOWN:,}" in shown
        assert len(shown) < MAX_SHOWN + 40
