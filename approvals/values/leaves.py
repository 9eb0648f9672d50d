"""The leaves of a call's arguments, and which provenance covers them. Pure."""

from collections.abc import Iterator, Mapping

from agentops.guardrails.provenance import Provenance
from agentops.wire.parse import JSON, pointer_token


def covering(path: str, provenance: Mapping[str, Provenance]) -> list[Provenance]:
    """Return the entries at a pointer or above it."""
    parts = path.split("/")
    above = ("/".join(parts[:end]) for end in range(1, len(parts) + 1))
    return [provenance[pointer] for pointer in above if pointer in provenance]


def is_untrusted(path: str, provenance: Mapping[str, Provenance]) -> bool:
    """Say whether an attacker may have chosen the leaf at a pointer."""
    found = covering(path, provenance)
    return not found or any(one.untrusted for one in found)


def leaves(value: JSON, path: str = "") -> Iterator[tuple[str, JSON]]:
    """Yield every leaf with its JSON pointer; an empty object or array is a leaf."""
    match value:
        case dict() if value:
            for name, member in value.items():
                yield from leaves(member, f"{path}/{pointer_token(name)}")
        case list() if value:
            for index, member in enumerate(value):
                yield from leaves(member, f"{path}/{index}")
        case _:
            yield path, value
