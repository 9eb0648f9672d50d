"""What the detectors find in a recorded run, for its pages. Pure."""

from collections.abc import Callable, Sequence
from typing import Any

from agentops.audit.services import Recorded
from agentops.engine.codec import UnknownEvent, decode
from agentops.engine.detectors import findings
from agentops.engine.events import Stamped


def readable(recorded: Sequence[Recorded]) -> tuple[list[Stamped], str]:
    """Decode a record up to the first event that cannot be read; return that, and why it stops there."""
    found: list[Stamped] = []
    for one in recorded:
        try:
            found.append(Stamped(one.seq, one.at, decode(one.type, one.data)))
        except UnknownEvent as error:
            return found, f"Event {one.seq} cannot be read: {error}"
    return found, ""


def found_in(recorded: Sequence[Recorded], url_of: Callable[[int], str]) -> list[dict[str, Any]]:
    """Return [{finding, urls [(seq, url)]}], the worst first; `url_of` makes the address of an event by its place.

    Looks at the record up to the first event that cannot be read.
    """
    events, _ = readable(recorded)
    places = {one.seq: number for number, one in enumerate(recorded, start=1)}
    return [{"finding": one, "urls": [(seq, url_of(places[seq])) for seq in one.seqs[:8]]} for one in findings(events)]
