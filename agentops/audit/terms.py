"""What events are found by beyond type, person, tool, subject and time. Pure, but for what other apps add.

A term is `key:value`, folded to lower case. Apps above add what only they know (`describe_with`): the band and policy
of the proposal an event is about, the references of a payment.

    decision:approve  role:senior  band:high  policy:sensitive.financial  task:support-email  taint:yes
    outcome:unavailable  digest:9f27c01d55aa  ref:pay_0192  has:note  is:orphan  proposal:<id>  grant:<id>
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from agentops.audit.services import Recorded

LONGEST: Final = 120
DIGEST: Final = 12
"""Hexadecimal digits by which a digest is found; as many as pages show."""
KEYS: Final = (
    "band", "decision", "digest", "grant", "has", "is", "outcome", "policy", "proposal", "ref", "role", "task", "taint",
)  # fmt: skip

Describer = Callable[[Sequence[Recorded]], Sequence[Sequence[str]]]
"""Takes events, returns for each the terms that it adds, in the same order."""

_describers: list[Describer] = []
_DIGEST = re.compile(r"[0-9a-f]{64}")


def describe_with(describer: Describer) -> None:
    """Ask this one, too, from now on (idempotent)."""
    if describer not in _describers:
        _describers.append(describer)


def terms_of(events: Sequence[Recorded]) -> list[frozenset[str]]:
    """Return the terms of each event."""
    found = [set(_own(event)) for event in events]
    for describer in _describers:
        for terms, more in zip(found, describer(events), strict=True):
            terms.update(more)
    return [frozenset(terms) for terms in found]


def term(key: str, value: object) -> str:
    """Return how a pair is written in the index; what is too long is cut, on both sides of a comparison alike."""
    text = " ".join(str(value).split()).casefold()
    if key == "digest":
        text = text.removeprefix("sha256:")[:DIGEST]
    return f"{key}:{text}"[:LONGEST]


def _own(event: Recorded) -> Iterator[str]:
    data: dict[str, Any] = event.data
    if event.actor.get("kind") in ("user", "token"):
        for role in event.actor.get("roles", ()):
            yield term("role", role)
    for name, key in _COPIED.get(event.type, ()):
        if isinstance(value := data.get(name), str) and value:
            yield term(key, value)
    if event.type in _WITH_NOTES and data.get("note"):
        yield "has:note"


_COPIED: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "run.submitted": (("task_type", "task"),),
    "run.failed": (("code", "outcome"),),
    "call.proposed": (("proposal_id", "proposal"), ("band", "band"), ("rule", "policy"), ("digest", "digest")),
    "call.failed": (("code", "outcome"),),
    "call.denied": (("code", "outcome"), ("rule", "policy")),
    "proposal.decided": (
        ("proposal_id", "proposal"), ("verdict", "decision"), ("digest", "digest"), ("grant_id", "grant"),
    ),
    "proposal.undone": (("proposal_id", "proposal"),),
    "proposal.expired": (("proposal_id", "proposal"),),
    "proposal.withdrawn": (("proposal_id", "proposal"),),
}  # fmt: skip
_WITH_NOTES: Final = frozenset({"proposal.decided"})
