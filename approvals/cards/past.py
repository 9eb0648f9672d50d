"""What happened to a proposal so far: its call in the run's record, and what people did to the proposal. One query.

What is about the call stands in the run's stream; versions, claims, holds and the like stand in the tenant's own stream
under the proposal's id. Both are shown in one list, the earliest first.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from django.db.models import QuerySet

from agentops.audit.models import Event
from agentops.audit.services import TENANT_STREAM, Recorded, read
from agentops.runs.timeline import Told
from agentops.tenancy.people import who_acted
from agentops.tenancy.prepared import Ask, Query
from approvals.cards.asked import changes_of
from approvals.cards.readings import VIEWED
from approvals.models import Proposal, Status

MOST: Final = 50

_SAID: Final[Mapping[str, str]] = {"proposal.revised": "changed the arguments; this is version {version}, {band} risk"}
"""Event of the tenant's stream -> what is said of it; others are named by their type."""


_BLIND: Final = frozenset({"proposal.seconded", "proposal.vote_taken_back", "proposal.attest_missed", "auth.step_up"})
"""What would say how others see it; nobody is told before it is decided."""


def asked_for(proposal: Proposal) -> Ask:
    """Return what `past_of` will ask, so that it can go along with another query."""
    return _TOLD, (str(proposal.pk),)


def past_of(proposal: Proposal, told: Told) -> list[dict[str, Any]]:
    """Return what happened, the earliest first: {at, actor, text, changes [{path, text}]}."""
    rows: list[dict[str, Any]] = [
        {"at": entry.at, "actor": entry.actor, "text": entry.text, "changes": []}
        for group in told.groups
        for entry in group.events
        if entry.call_id == proposal.call_id
    ]
    return sorted([*rows, *_own(proposal)], key=lambda row: row["at"])


def _own(proposal: Proposal) -> Iterator[dict[str, Any]]:
    """Yield what people did to the proposal itself, at most the newest fifty."""
    told, values = asked_for(proposal)
    for body, digest in told(*values):
        for event in read(body, bytes(digest)):
            if proposal.status == Status.PENDING and event.type in _BLIND:
                continue
            yield {
                "at": event.at,
                "actor": who_acted([event.actor])[0],
                "text": _text(event),
                "changes": _changes(event),
            }


def _told(subject: Any) -> "QuerySet[Event, tuple[str, bytes | memoryview[int]]]":
    found = Event.objects.filter(subject_kind="proposal", subject_id=subject, stream__name=TENANT_STREAM)
    found = found.exclude(type=VIEWED)  # who has looked stands in the audit trail, and would bury what was done
    return found.order_by("-id").values_list("body", "hash")[:MOST]


_TOLD: Final = Query(_told)


def _text(event: Recorded) -> str:
    said = _SAID.get(event.type)
    if said is None:
        return event.type.partition(".")[2].replace("_", " ") or event.type
    return said.format(version=event.data.get("version", ""), band=event.data.get("band", ""))


def _changes(event: Recorded) -> list[dict[str, str]]:
    """Return what a revision changed against what the agent had proposed, as it was recorded (RFC 6902)."""
    patch = event.data.get("patch")
    return changes_of(one for one in (patch if isinstance(patch, list) else ()) if isinstance(one, Mapping))
