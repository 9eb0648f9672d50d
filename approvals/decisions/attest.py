"""Attest by value: pick the true value of an argument out of near misses, instead of ticking that one has looked.

Which arguments are asked about, the wrong answers and their order follow from the card that was served, so the server
finds the same questions again when the answers come back, and keeps nothing. Pure but for the secret key.
"""

import random
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.utils.crypto import salted_hmac

from agentops.runs.fields import CURRENCY, is_money
from agentops.wire.money import format_money
from agentops.wire.parse import JSON, JSONObject
from approvals.models import Proposal
from approvals.values.leaves import leaves
from tools.contracts import ArgumentRole, ToolContract
from tools.registry import registry

OPTIONS: Final = 4
MAX_LENGTH: Final = 120
"""Longer texts are read, not compared."""


@dataclass(frozen=True, slots=True)
class Question:
    """What somebody has to pick: `options` in order, `answer` the place of the true one, as it is posted."""

    path: str
    name: str
    options: tuple[str, ...]
    answer: str


def questions(proposal: Proposal, view: UUID, count: int) -> tuple[Question, ...]:
    """Return up to `count` questions about a proposal's arguments: the attacked and the most consequential first."""
    if count <= 0:
        return ()
    contract = registry.get(proposal.tool, proposal.contract_version)
    values = proposal.argument_values
    ranked = sorted(
        (_rank(path, contract, proposal.attacked), path, value) for path, value in leaves(values) if _askable(value)
    )
    asked: list[Question] = []
    for _, path, value in ranked:
        name = path.split("/")[1]
        rng = random.Random(salted_hmac("approvals.attest", f"{view.hex}{path}").digest())  # noqa: S311 - keyed seed
        options = _options(name, value, values, contract, rng)
        if len(options) < OPTIONS:
            continue
        true = options[0]
        rng.shuffle(options)
        asked.append(Question(path, path.removeprefix("/").replace("/", " "), tuple(options), str(options.index(true))))
        if len(asked) == count:
            break
    return tuple(asked)


def _askable(value: JSON) -> bool:
    match value:
        case bool():
            return False
        case int():
            return True
        case str():
            return 0 < len(value) <= MAX_LENGTH and "\n" not in value
        case _:
            return False


def _rank(path: str, contract: ToolContract | None, attacked: list[str]) -> int:
    name = path.split("/")[1] if path else ""
    authority = contract is not None and contract.roles.get(name) is ArgumentRole.AUTHORITY
    must_see = contract is not None and name in contract.must_see
    named = contract is not None and name in contract.promises.attestations
    return -(8 * (path in attacked) + 3 * named + 2 * authority + must_see) + (name == CURRENCY) * 8


def _options(
    name: str, value: JSON, siblings: JSONObject, contract: ToolContract | None, rng: random.Random
) -> list[str]:
    """Return the true value first and then near misses, as people read them; fewer than four if there are none."""
    properties: Mapping[str, object] = {}
    if contract is not None and isinstance(found := contract.input_schema.get("properties"), Mapping):
        properties = found
    schema = properties.get(name)
    currency = siblings.get(CURRENCY)
    options: list[str] = []
    wrong: Iterator[JSON]
    match value:
        case int():
            wrong = _near_numbers(value, rng)
        case str() if isinstance(schema, Mapping) and isinstance(choices := schema.get("enum"), list):
            wrong = iter(rng.sample(choices, len(choices)))
        case str():
            wrong = _near_texts(value, rng)
        case _:
            return []
    money = isinstance(value, int) and isinstance(schema, Mapping) and is_money(name, schema, properties)
    for one in (value, *wrong):
        text = _shown(one, currency if money else None)
        if text not in options:
            options.append(text)
        if len(options) == OPTIONS:
            break
    return options


def _shown(value: JSON, currency: JSON) -> str:
    if isinstance(value, int) and isinstance(currency, str):
        try:
            return format_money(value, currency)
        except ValueError:
            return f"{value} minor units of {currency}"
    return str(value)


def _near_numbers(value: int, rng: random.Random) -> Iterator[int]:
    """Yield up to ten per cent more and less, and the same digits in another order."""
    step = max(1, abs(value) // 10)
    near = [value + step, value - step, value + max(1, step // 2), value * 10]
    digits = str(abs(value))
    near.extend(
        int(digits[:at] + digits[at + 1] + digits[at] + digits[at + 2 :])
        for at in range(len(digits) - 1)
        if digits[at] != digits[at + 1]
    )
    rng.shuffle(near)
    yield from (one for one in near if one != value and (one > 0) == (value > 0))
    yield from (value + more * step for more in range(2, 6))


def _near_texts(value: str, rng: random.Random) -> Iterator[str]:
    """Yield texts at most two edits away, of the domain where the text has one."""
    local, at, domain = value.rpartition("@")
    head, part = (f"{local}@", domain) if at else ("", value)
    places = [index for index, letter in enumerate(part) if letter.isalnum()] or list(range(len(part)))
    for _ in range(40):
        index = rng.choice(places)
        letter = part[index]
        match rng.randrange(3):
            case 0:
                other = rng.choice(string.digits if letter.isdigit() else string.ascii_lowercase)
                changed = part[:index] + (other.upper() if letter.isupper() else other) + part[index + 1 :]
            case 1:
                changed = part[:index] + letter + part[index:]
            case _:
                changed = part[:index] + part[index + 1 : index + 2] + letter + part[index + 2 :]
        if changed != part:
            yield head + changed
