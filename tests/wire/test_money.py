"""Money as people read it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops.wire.money import currency_exponent, format_micros, format_money


@pytest.mark.parametrize(
    ("minor", "currency", "shown"),
    [
        (124_000, "EUR", "EUR 1,240.00"),
        (5, "EUR", "EUR 0.05"),
        (0, "USD", "USD 0.00"),
        (-1_250, "CHF", "CHF -12.50"),
        (1_240, "JPY", "JPY 1,240"),
        (1_234_567, "KWD", "KWD 1,234.567"),
        (12_345, "CLF", "CLF 1.2345"),
        (10**18, "EUR", "EUR 10,000,000,000,000,000.00"),
    ],
)
def test_amounts_are_printed_with_the_digits_of_their_currency(minor: int, currency: str, shown: str) -> None:
    assert format_money(minor, currency) == shown


@pytest.mark.parametrize("currency", ["", "eur", "EURO", "XXX", "€", "E\x00R"])
def test_an_unknown_currency_is_an_error_and_never_a_guess(currency: str) -> None:
    with pytest.raises(ValueError, match="Unknown currency"):
        format_money(1, currency)


@given(st.integers(-(10**15), 10**15), st.sampled_from(["EUR", "JPY", "KWD", "CLF"]))
def test_no_amount_loses_a_digit(minor: int, currency: str) -> None:
    shown = format_money(minor, currency).removeprefix(f"{currency} ").replace(",", "").replace(".", "")
    assert int(shown) == minor
    assert currency_exponent(currency) in {0, 2, 3, 4}


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (0, "USD 0.00"),
        (1, "USD 0.000001"),
        (120_000, "USD 0.12"),
        (1_234_567_890, "USD 1,234.567890"),
        (-2_500_000, "USD -2.50"),
    ],
)
def test_millionths_of_a_dollar_keep_every_digit_that_counts(micros: int, text: str) -> None:
    assert format_micros(micros) == text
