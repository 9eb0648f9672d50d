"""The few things about a call by which calls are compared: where it points, how much it moves, which arguments it has.

Small, and frozen with the proposal, so that hundreds of earlier ones can be compared without reading their arguments.
Pure.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import log10
from typing import Any

from agentops.wire.parse import JSON, JSONObject, pointer_token
from approvals.values.hosts import addresses_in
from approvals.values.kinds import kinds_of
from approvals.values.leaves import leaves
from tools.contracts import Consequence, ToolContract

_MOST_DOMAINS = 20


@dataclass(frozen=True, slots=True)
class Facets:
    """`domains` and `amounts` (minor units) by the pointer they stand at, `filled` the arguments with a value."""

    domains: Mapping[str, str]
    amounts: Mapping[str, int]
    currency: str
    filled: tuple[str, ...]
    touched: int

    def to_json(self) -> JSONObject:
        """Return the facets as plain JSON."""
        return {
            "domains": dict[str, JSON](self.domains),
            "amounts": dict[str, JSON](self.amounts),
            "currency": self.currency,
            "filled": list[JSON](self.filled),
            "touched": self.touched,
        }

    @classmethod
    def from_json(cls, raw: object) -> "Facets | None":
        """Read what `to_json` wrote; None for what an older program froze."""
        if not isinstance(raw, Mapping) or "domains" not in raw:
            return None
        known: Mapping[str, Any] = raw
        return cls(
            {str(path): str(name) for path, name in known["domains"].items()},
            {str(path): int(minor) for path, minor in known["amounts"].items()},
            str(known["currency"]),
            tuple(str(name) for name in known["filled"]),
            int(known["touched"]),
        )


def facets_of(contract: ToolContract, arguments: JSONObject, consequence: Consequence | None) -> Facets:
    """Return what a call is compared by."""
    kinds, currency = kinds_of(contract), arguments.get("currency")
    amounts = {
        f"/{pointer_token(name)}": value
        for name, kind in kinds.items()
        if kind == "money" and isinstance(value := arguments.get(name), int) and not isinstance(value, bool)
    }
    return Facets(
        domains=dict(list(_domains(contract, arguments))[:_MOST_DOMAINS]),
        amounts=amounts,
        currency=currency if isinstance(currency, str) else "",
        filled=tuple(name for name, value in arguments.items() if value not in (None, "", [], {})),
        touched=sum(one.count or 0 for one in consequence.blast) if consequence is not None else 0,
    )


def _domains(contract: ToolContract, arguments: JSONObject) -> Iterator[tuple[str, str]]:
    for name in contract.authority:
        for path, value in leaves(arguments.get(name), f"/{pointer_token(name)}"):
            for domain in addresses_in(value):
                yield path, domain


def distance(one: Facets, other: Facets) -> float:
    """Say how little alike two calls of one tool are: other targets, other arguments, other orders of magnitude."""
    apart = 0.0 if set(one.domains.values()) == set(other.domains.values()) else 2.0
    apart += len(set(one.filled) ^ set(other.filled))
    apart += 0.0 if one.currency == other.currency else 1.0
    for path in one.amounts.keys() | other.amounts.keys():
        apart += abs(_magnitude(one.amounts.get(path, 0)) - _magnitude(other.amounts.get(path, 0)))
    return apart + abs(_magnitude(one.touched) - _magnitude(other.touched)) / 2


def _magnitude(number: int) -> float:
    return log10(1 + min(abs(number), 10**18))
