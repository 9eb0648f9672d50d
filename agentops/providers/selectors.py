"""Read the prices of a tenant."""

from agentops.providers.models import ModelPrice
from agentops.providers.prices import OwnPrice, PriceTable


def price_table() -> PriceTable:
    """Return the prices of the open tenant scope. One query."""
    return PriceTable(
        tuple(
            OwnPrice(
                row.pattern,
                row.input_micros,
                row.output_micros,
                row.input_micros if row.cached_micros is None else row.cached_micros,
                row.valid_from,
            )
            for row in ModelPrice.objects.all()
        )
    )
