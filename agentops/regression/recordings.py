"""A recorded run as a file: written, read back, and replayed without a database. Pure.

The file is one JSON object:

    {"format": "agentops-run", "version": 1,
     "run": {"id", "task_type", "title", "origin", "state", "tenant"},
     "exported_at": RFC 3339,
     "masked": null, or {"kinds": [...], "values": n, "unchecked": [what cannot be compared any more]},
     "events": [{"seq", "at", "type", "v", "actor": {"kind", "id", "name", "roles"}, "data"}, ...],
     "digest": SHA-256 (hex) of the canonical JSON (RFC 8785) of everything else}

`data` is the payload of the event as it was recorded, with the texts of models in their place. The digest finds a file
that was damaged; it proves nothing about who wrote it, so nothing in a file is ever taken for our own record.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from agentops.engine.codec import EVENT_VERSION, UnknownEvent, decode
from agentops.engine.events import Stamped
from agentops.wire.canonical import canonical, digest
from agentops.wire.parse import JSON, JSONObject, WireError, parse_json

FORMAT: Final = "agentops-run"
VERSION: Final = 1
MAX_BYTES: Final = 32 * 1024 * 1024
MAX_EVENTS: Final = 50_000
_DEPTH: Final = 96
"""Events may nest as deep as a task or an output, inside of the envelope."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One event as a file carries it; `actor` as it was recorded, `data` not read yet."""

    seq: int
    at: datetime
    type: str
    data: JSONObject
    actor: JSONObject = field(default_factory=dict)
    version: int = EVENT_VERSION

    def to_json(self) -> JSONObject:
        return {
            "seq": self.seq,
            "at": self.at.isoformat(timespec="microseconds"),
            "type": self.type,
            "v": self.version,
            "actor": self.actor,
            "data": self.data,
        }


@dataclass(frozen=True, slots=True)
class Masked:
    """What was hidden in a file: kinds of values, how many different ones, and what that keeps from being compared."""

    kinds: tuple[str, ...]
    values: int
    unchecked: tuple[str, ...] = ()

    def to_json(self) -> JSONObject:
        return {
            "kinds": list[JSON](self.kinds),
            "values": self.values,
            "unchecked": list[JSON](self.unchecked),
        }


@dataclass(frozen=True, slots=True)
class Recording:
    """A run outside of its tenant. `about` has id, task_type, title, origin, state and tenant, all text."""

    about: Mapping[str, str]
    entries: tuple[Entry, ...]
    exported_at: str = ""
    masked: Masked | None = None

    def to_json(self) -> JSONObject:
        body: JSONObject = {
            "format": FORMAT,
            "version": VERSION,
            "run": dict[str, JSON](self.about),
            "exported_at": self.exported_at,
            "masked": self.masked.to_json() if self.masked is not None else None,
            "events": [one.to_json() for one in self.entries],
        }
        return {**body, "digest": digest(body)}

    def text(self) -> str:
        """Return the file: canonical JSON and a newline."""
        return canonical(self.to_json()) + "\n"


class BadRecording(ValueError):
    """A file is no recording of a run: where (a JSON pointer), a stable code, and a sentence."""

    def __init__(self, path: str, code: str, message: str) -> None:
        super().__init__(f"{path or '/'}: {message}")
        self.path = path
        self.code = code
        self.message = message

    def to_json(self) -> JSONObject:
        return {"path": self.path, "code": self.code, "message": self.message}


ABOUT: Final = ("id", "task_type", "title", "origin", "state", "tenant")


def read_recording(raw: bytes | str) -> Recording:
    """Read a file; raises BadRecording for what is none. The events in it are not decoded yet (`stamped`)."""
    try:
        found = parse_json(raw, max_bytes=MAX_BYTES, max_depth=_DEPTH)
    except WireError as error:
        raise BadRecording(error.path, str(error.code), error.message) from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise BadRecording("/format", "format", f'This is no exported run: "format" must be "{FORMAT}".')
    if found.get("version") != VERSION:
        raise BadRecording("/version", "version", f"This program reads version {VERSION} of exported runs.")
    body = {name: value for name, value in found.items() if name != "digest"}
    if found.get("digest") != digest(body):
        raise BadRecording("/digest", "digest", "The file is not what was exported: its digest differs.")
    about = found.get("run")
    if not isinstance(about, dict) or any(not isinstance(about.get(name, ""), str) for name in ABOUT):
        raise BadRecording("/run", "type", "What the run is must be an object of texts.")
    events = found.get("events")
    if not isinstance(events, list) or not events or len(events) > MAX_EVENTS:
        raise BadRecording("/events", "events", f"There must be 1 to {MAX_EVENTS} events.")
    return Recording(
        about={name: str(about.get(name, "")) for name in ABOUT},
        entries=tuple(_entry(one, index) for index, one in enumerate(events)),
        exported_at=str(found.get("exported_at", "")),
        masked=_masked(found.get("masked")),
    )


def _entry(raw: JSON, index: int) -> Entry:
    where = f"/events/{index}"
    if not isinstance(raw, dict):
        raise BadRecording(where, "type", "An event is an object.")
    seq, at, type_, version = (raw.get(name) for name in ("seq", "at", "type", "v"))
    data, actor = raw.get("data"), raw.get("actor", {})
    if type(seq) is not int or type(version) is not int or not isinstance(type_, str) or not isinstance(at, str):
        raise BadRecording(where, "type", "An event has seq and v (numbers), type and at (texts).")
    if not isinstance(data, dict) or not isinstance(actor, dict):
        raise BadRecording(where, "type", "The data and the actor of an event are objects.")
    try:
        moment = datetime.fromisoformat(at)
    except ValueError as error:
        raise BadRecording(f"{where}/at", "moment", "This is no RFC 3339 moment.") from error
    if moment.tzinfo is None:
        raise BadRecording(f"{where}/at", "moment", "A moment has its time zone.")
    return Entry(seq, moment, type_, data, actor, version)


def _masked(raw: JSON) -> Masked | None:
    if not isinstance(raw, dict):
        return None
    kinds, values, unchecked = raw.get("kinds"), raw.get("values"), raw.get("unchecked")
    return Masked(
        tuple(str(one) for one in kinds) if isinstance(kinds, list) else (),
        values if isinstance(values, int) else 0,
        tuple(str(one) for one in unchecked) if isinstance(unchecked, list) else (),
    )


def stamped(entries: Sequence[Entry]) -> list[Stamped]:
    """Decode the events of a recording; raises BadRecording naming the first that this program cannot read."""
    found: list[Stamped] = []
    for index, one in enumerate(entries):
        try:
            found.append(Stamped(one.seq, one.at, decode(one.type, one.data, one.version)))
        except UnknownEvent as error:
            raise BadRecording(f"/events/{index}", "unknown_event", str(error)) from error
    return found
