"""What a request costs, in millionths of a currency unit: the tenant's own prices first, then the price table.

The table is the one that comes with genai-prices, as installed; nothing is ever downloaded. A model that is in neither
has no price, which is None and never zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from fnmatch import fnmatchcase
from typing import Final

from agentops.providers.catalogue import KNOWN

MILLION: Final = 1_000_000
FRAMING_TOKENS: Final = 1_000
"""What providers add to a request of their own, for roles and tools, on top of what is sent; generous."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of one request; `cached` are among `input`."""

    input: int
    output: int
    cached: int = 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """The most a request can use: tokens, and micros, which are None when the model has no price."""

    tokens: int
    micros: int | None

    def __add__(self, other: "Estimate") -> "Estimate":
        unknown = self.micros is None or other.micros is None
        return Estimate(self.tokens + other.tokens, None if unknown else (self.micros or 0) + (other.micros or 0))


@dataclass(frozen=True, slots=True)
class OwnPrice:
    """One row of the override table; micros per million tokens."""

    pattern: str
    input_micros: int
    output_micros: int
    cached_micros: int
    valid_from: datetime


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Prices as a value: made once where the database is at hand, asked where it is not."""

    own: tuple[OwnPrice, ...] = ()

    def cost_micros(self, model: str, tokens: Tokens, at: datetime) -> int | None:
        """Return what a request cost, rounded up; None when the model has no price. `model` is the full name."""
        row = self._own(model, at)
        if row is None:
            return _listed(model, tokens, at)
        cached = min(tokens.cached, tokens.input)
        total = (
            (tokens.input - cached) * row.input_micros + cached * row.cached_micros + tokens.output * row.output_micros
        )
        return -(-total // MILLION)

    def estimate(self, model: str, input_bytes: int, max_output_tokens: int, at: datetime) -> Estimate:
        """Return an upper bound for a request before it is made.

        No tokenizer needs more tokens than bytes, so the bytes of the request bound its input tokens; nothing is
        counted as cached.
        """
        tokens = Tokens(input_bytes + FRAMING_TOKENS, max_output_tokens)
        return Estimate(tokens.input + tokens.output, self.cost_micros(model, tokens, at))

    def unpriced(self, models: Sequence[str], at: datetime) -> list[str]:
        """Return which of these models have no price."""
        return [model for model in models if self.cost_micros(model, Tokens(1, 1), at) is None]

    def _own(self, model: str, at: datetime) -> OwnPrice | None:
        fitting = [row for row in self.own if row.valid_from <= at and fnmatchcase(model, row.pattern)]
        return max(fitting, key=lambda row: (len(row.pattern), row.valid_from), default=None)


def _listed(model: str, tokens: Tokens, at: datetime) -> int | None:
    prefix, colon, name = model.partition(":")
    provider = KNOWN.get(prefix) if colon else None
    if provider is None or not provider.price_list:
        return None
    try:
        from genai_prices import Usage, calc_price
    except ImportError:
        return None
    usage = Usage(
        input_tokens=tokens.input,
        cache_read_tokens=min(tokens.cached, tokens.input),
        output_tokens=tokens.output,
    )
    try:
        price = calc_price(usage, name, provider_id=provider.price_list, genai_request_timestamp=at)
    except (LookupError, ValueError, ArithmeticError):
        return None
    return int((Decimal(price.total_price) * MILLION).to_integral_value(ROUND_CEILING))


LISTED: Final = PriceTable()
"""The price table alone."""
