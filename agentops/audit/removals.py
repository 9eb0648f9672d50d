"""What retention has removed of the record, and the events that say so, in a stream that is never removed."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from agentops.audit.models import Event, RemovedSegment
from agentops.audit.services import read
from agentops.payloads.models import RemovedText
from agentops.wire.parse import JSON, JSONObject

STREAM: Final = "retention"
TYPE: Final = "retention.removed"


@dataclass(frozen=True, slots=True)
class Removal:
    """The newest removal of one stream. `told` says that the chained event it names tells the same."""

    segment: RemovedSegment
    told: bool


def described(segment: RemovedSegment) -> JSONObject:
    """Return what the event says about a segment."""
    return {
        "stream": segment.stream.name,
        "upto": segment.upto,
        "events": segment.events,
        "hash": bytes(segment.hash).hex(),
        "newest_at": segment.newest_at.isoformat(),
    }


def newest_removals(stream_ids: Collection[int]) -> Mapping[int, Removal]:
    """Return what was removed of these streams of the open tenant scope, by stream. One query, two if anything was."""
    if not stream_ids:
        return {}
    # Streams are asked for by hundreds that lie together, of which few have lost anything.
    span = RemovedSegment.objects.filter(stream_id__gte=min(stream_ids), stream_id__lte=max(stream_ids))
    rows, wanted = span.select_related("stream").order_by("upto"), set(stream_ids)
    newest = {row.stream_id: row for row in rows if row.stream_id in wanted}
    if not newest:
        return {}
    events = Event.objects.filter(
        pk__in={row.event_id for row in newest.values()}, stream__name=STREAM, type=TYPE
    ).values_list("pk", "body")
    told = {pk: _told(body, "segments") for pk, body in events}
    return {stream_id: Removal(row, described(row) in told.get(row.event_id, [])) for stream_id, row in newest.items()}


def removal_of(stream: str) -> RemovedSegment | None:
    """Return the newest removal of one stream. One query."""
    return RemovedSegment.objects.filter(stream__name=stream).order_by("-upto").first()


def words_of(removed: RemovedSegment) -> str:
    """Say what is not there any more, since when, and which event of the record tells of it."""
    return (
        f"{removed.events} events up to {removed.newest_at:%Y-%m-%d} were removed on {removed.removed_at:%Y-%m-%d}, "
        f"because their retention period had ended (event row {removed.event_id})."
    )


def described_text(removed: RemovedText) -> JSONObject:
    """Return what the event says about a text."""
    return {"sha256": removed.sha256, "bytes": removed.size, "stored_at": removed.stored_at.isoformat()}


class Texts:
    """Which removals of texts the record tells of. Remembers the events it has read, so it serves one walk."""

    def __init__(self) -> None:
        self._told: dict[int, tuple[datetime, list[JSON]] | None] = {}

    def tells(self, removed: RemovedText, named_at: datetime) -> bool:
        """Say whether the chained event that a removal names tells the same, later than the text was named."""
        if removed.event_id not in self._told:
            rows = Event.objects.filter(pk=removed.event_id, stream__name=STREAM, type=TYPE)
            found = rows.values_list("at", "body").first()
            self._told[removed.event_id] = (found[0], _told(found[1], "texts")) if found is not None else None
        told = self._told[removed.event_id]
        return told is not None and told[0] > named_at and described_text(removed) in told[1]


def _told(body: str, what: str) -> list[JSON]:
    try:
        [event] = read(body, b"")
    except (ValueError, KeyError, TypeError):
        return []
    found = event.data.get(what)
    return found if isinstance(found, list) else []
