"""Tell open pages that something happened, as server-sent events (WHATWG HTML, section 9.2).

One polling task per process asks the event table, for each tenant somebody is watching, what is newer than the last
look, and hands it to every open stream. An event is a doorbell: it carries ids, and the page reads what they mean from
the page itself, under the reader's own rights. A stream holds no database connection.
"""

import asyncio
import contextvars
import logging
import signal
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Final
from uuid import UUID
from weakref import WeakKeyDictionary

from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.utils import timezone

from agentops.audit.models import Event
from agentops.engine import events
from agentops.tenancy.access import roles_with
from agentops.tenancy.models import Membership
from agentops.tenancy.prepared import Ask, Query
from agentops.tenancy.scope import give_back_connection, tenant_scope
from agentops.wire.canonical import canonical

logger = logging.getLogger(__name__)

POLL_S: Final = 0.5
HEARTBEAT_S: Final = 15.0
TICK_S: Final = 10.0
LIFETIME_S: Final = 600.0
MOST_AT_ONCE: Final = 200
"""After a longer absence a page reads everything again instead of every event."""

MOST_OF_ONE: Final = 100
"""So many streams of one person one process keeps open, in one tenant; a further one ends the oldest."""

LATE_COMMIT_S: Final = 10.0
MOST_REMEMBERED: Final = 1_000
"""How far a look reaches back: event ids are given out before their transactions commit, which is in any order."""

ACTION: Final = "queue.view"
_PROPOSAL = (
    *(events.CallProposed, events.ProposalDecided, events.ProposalUndone),
    *(events.ProposalExpired, events.ProposalWithdrawn),
    *(events.ProposalAsked, events.ProposalAnswered, events.ProposalUnanswered),
)
_RUN = (
    *(events.RunSubmitted, events.RunWaiting, events.RunSucceeded, events.RunFailed, events.RunCancelled),
    *(events.RunPaused, events.RunResumed, events.RunRequeued),
)
_UNKNOWN = (events.CallUnknown, events.CallReconciled)
TOPICS: Final[dict[str, str]] = {
    **{kind.type: "proposal" for kind in _PROPOSAL},
    **{kind.type: "run" for kind in _RUN},
    **{kind.type: "unknown" for kind in _UNKNOWN},
    **dict.fromkeys(("halt.started", "halt.lifted"), "halt"),
    **dict.fromkeys(
        (
            *("proposal.revised", "proposal.served", "proposal.skipped", "proposal.claimed", "proposal.released"),
            *("proposal.assigned", "proposal.taken_over", "proposal.held", "proposal.resumed"),
        ),
        "proposal",
    ),
    # A run that waits is recorded together with what it waits for.
    "call.unknown": "run",
}
"""Type of a recorded event -> name of the server-sent event."""


@dataclass(frozen=True, slots=True)
class Signal:
    """Something happened: `name` is proposal, run, unknown or halt, `seq` is the id of the recorded event.

    `id` names which proposal or stop, or the run of everything else.
    """

    name: str
    id: str
    seq: int
    type: str

    def to_json(self) -> dict[str, Any]:
        """Return what goes over the wire."""
        return {"event": self.name, "id": self.id, "seq": self.seq, "type": self.type}

    def encode(self, number: int) -> bytes:
        """Write the server-sent event, the `number`th of its stream; its `id` lets the browser resume here."""
        return message(self.name, {"id": self.id, "n": number, "seq": self.seq, "type": self.type}, self.seq)


@dataclass(frozen=True, slots=True)
class Watcher:
    """Whose stream it is. `session` ends with sign-out, and the stream with it.

    `vouched` is what the session keeps of the password (`HASH_SESSION_KEY`): with a new one, the stream ends as well.
    """

    tenant_id: int
    user_id: int
    session: str
    vouched: str


@dataclass(frozen=True, slots=True)
class Topics:
    """What a stream is told about: the whole queue, or some proposals and every stop of the line."""

    queue: bool = True
    proposals: frozenset[str] = frozenset()

    def concern(self, signal_: Signal) -> bool:
        """Say whether a signal is among them."""
        return self.queue or signal_.name == "halt" or (signal_.name == "proposal" and signal_.id in self.proposals)


MOST_TOPICS: Final = 20


def read_topics(text: str) -> Topics | None:
    """Read `queue` and `proposal:<id>`, with commas; None when something else is among them."""
    queue, proposals = False, set[str]()
    names = text.split(",")
    for name in names:
        if name == "queue":
            queue = True
            continue
        kind, _, one = name.partition(":")
        try:
            proposals.add(str(UUID(one)))
        except ValueError:
            return None
        if kind != "proposal":
            return None
    return Topics(queue, frozenset(proposals)) if len(names) <= MOST_TOPICS else None


# --- reading the table (synchronous, in the tenant's scope) -----------------------------------------------------------


def asked_for() -> Ask:
    """Return what `newest` will ask, so that it can go along with another query."""
    return _NEWEST, ()


def newest() -> int:
    """Return the id of the newest event of the open tenant, 0 when there is none. One query."""
    return next(iter(_NEWEST()), (0,))[0]


_NEWEST: Final = Query(lambda: Event.objects.order_by("-pk").values_list("pk")[:1])


def signals_after(seq: int, limit: int = MOST_AT_ONCE) -> list[Signal]:
    """Return what happened after an event id in the open tenant, oldest first. One query."""
    rows = Event.objects.filter(pk__gt=seq, type__in=list(TOPICS)).order_by("pk")
    found = rows.values_list("pk", "type", "subject_id", "run_id")[:limit]
    return [
        Signal(TOPICS[kind], subject if TOPICS[kind] in ("proposal", "halt") else str(run_id), pk, kind)
        for pk, kind, subject, run_id in found
    ]


def admitted(watchers: Iterable[Watcher]) -> set[Watcher]:
    """Return those who may still watch the open tenant: signed in, active, with a role that may. Two queries."""
    asked = list(watchers)
    roles = roles_with(ACTION)
    members = Membership.objects.filter(
        user_id__in={w.user_id for w in asked}, user__is_active=True, role__in=roles
    ).values_list("user_id", "user__password")
    sessions = Session.objects.filter(
        session_key__in={w.session for w in asked}, expire_date__gt=timezone.now()
    ).values_list("session_key", flat=True)
    people, open_sessions = {user_id: _vouching(password) for user_id, password in members}, set(sessions)
    return {w for w in asked if w.vouched in people.get(w.user_id, ()) and w.session in open_sessions}


def _vouching(password: str) -> frozenset[str]:
    """Return what sessions may keep of a stored password: by the present secret, and by those before it."""
    person = User(password=password)
    return frozenset((person.get_session_auth_hash(), *person.get_session_auth_fallback_hash()))


def in_scope(tenant_id: int, read: Callable[[], Any]) -> Any:
    """Read in a tenant's scope and give the connection back; for threads of our own."""
    try:
        with tenant_scope(tenant_id):
            return read()
    finally:
        give_back_connection()


# --- one hub per event loop -------------------------------------------------------------------------------------------


class Stream:
    """One open stream: what the hub has put in and the browser has not been told yet."""

    def __init__(self, watcher: Watcher) -> None:
        self.watcher = watcher
        self.opened = time.monotonic()
        self._waiting: asyncio.Queue[Signal | None] = asyncio.Queue(maxsize=MOST_AT_ONCE)
        self.behind = False

    def put(self, signal_: Signal) -> None:
        """Hand over a signal; a browser that does not keep up reads everything again later."""
        try:
            self._waiting.put_nowait(signal_)
        except asyncio.QueueFull:
            self.behind = True

    def close(self) -> None:
        """End the stream after what was handed over so far, or at once when it is behind."""
        while True:
            try:
                self._waiting.put_nowait(None)
            except asyncio.QueueFull:
                self._waiting.get_nowait()
            else:
                return

    async def get(self, within_s: float) -> Signal | None:
        """Return the next signal, or None when the stream is to end; raises TimeoutError."""
        return await asyncio.wait_for(self._waiting.get(), within_s)


@dataclass(slots=True)
class _Position:
    """What of a tenant's events has been seen: everything up to `floor`, and `delivered` above it."""

    floor: int
    delivered: dict[int, float] = field(default_factory=dict)

    def fresh(self, found: list[Signal], now: float) -> list[Signal]:
        """Return what was not seen before, and remember it."""
        new = [one for one in found if one.seq not in self.delivered]
        self.delivered.update((one.seq, now) for one in new)
        settled = [seq for seq, at in self.delivered.items() if now - at > LATE_COMMIT_S]
        settled += sorted(self.delivered)[:-MOST_REMEMBERED]
        if settled:
            self.floor = max(self.floor, *settled)
            self.delivered = {seq: at for seq, at in self.delivered.items() if seq > self.floor}
        return new


class Hub:
    """Asks the table for all streams of one event loop."""

    def __init__(self) -> None:
        self._streams: dict[int, set[Stream]] = {}
        self._positions: dict[int, _Position] = {}
        self._task: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._checked = time.monotonic()
        self.closing = False

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return sum(len(streams) for streams in self._streams.values())

    def join(self, stream: Stream, seen: int) -> None:
        """Let a stream hear what happens after the event id `seen`."""
        tenant_id = stream.watcher.tenant_id
        self._positions.setdefault(tenant_id, _Position(seen))
        streams = self._streams.setdefault(tenant_id, set())
        own = [one for one in streams if one.watcher.user_id == stream.watcher.user_id]
        if len(own) >= MOST_OF_ONE:
            oldest = min(own, key=lambda one: one.opened)
            streams.discard(oldest)
            oldest.close()
        streams.add(stream)
        if self.closing:
            stream.close()
        elif self._task is None or self._task.done():
            # Not in the request's context: the task outlives the request that happened to come first.
            self._task = self._loop.create_task(self._poll(), context=contextvars.Context())

    def leave(self, stream: Stream) -> None:
        """Forget a stream; the task ends with the last one."""
        tenant_id = stream.watcher.tenant_id
        streams = self._streams.get(tenant_id, set())
        streams.discard(stream)
        if not streams:
            self._streams.pop(tenant_id, None)
            self._positions.pop(tenant_id, None)

    def close(self) -> None:
        """End every stream: the process is about to stop."""
        self.closing = True
        for streams in self._streams.values():
            for stream in streams:
                stream.close()

    def close_soon(self) -> None:
        """Call `close` from a signal handler or another thread."""
        self._loop.call_soon_threadsafe(self.close)

    async def _poll(self) -> None:
        while self._streams and not self.closing:
            await asyncio.sleep(POLL_S)
            due = time.monotonic() - self._checked >= HEARTBEAT_S
            if due:
                self._checked = time.monotonic()
            for tenant_id in list(self._streams):
                try:
                    await self._look(tenant_id, check=due)
                except Exception:
                    logger.exception("live events of tenant %s could not be read", tenant_id)

    async def _look(self, tenant_id: int, *, check: bool) -> None:
        position, streams = self._positions.get(tenant_id), self._streams.get(tenant_id)
        if position is None or not streams:
            return
        floor, delivered = position.floor, set(position.delivered)
        limit = MOST_AT_ONCE + len(delivered)
        watchers = {stream.watcher for stream in streams}

        def read() -> tuple[list[Signal], set[Watcher] | None]:
            found = signals_after(floor, limit)
            news = any(one.seq not in delivered for one in found)
            return found, admitted(watchers) if news or check else None

        found, allowed = await asyncio.to_thread(in_scope, tenant_id, read)
        fresh = position.fresh(found, time.monotonic())
        for stream in list(self._streams.get(tenant_id, ())):
            if allowed is not None and stream.watcher in watchers and stream.watcher not in allowed:
                stream.close()
                self.leave(stream)
                continue
            for one in fresh:
                stream.put(one)


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def hub() -> Hub:
    """Return the hub of the running event loop, made when it is first asked for."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub()
        if threading.current_thread() is threading.main_thread():
            _close_before_exit(_hubs[loop])
    return _hubs[loop]


def _close_before_exit(hub_: Hub) -> None:
    """End the streams when the server is told to stop: it waits for open responses, and these never end by themselves.

    The server's own handler runs as before. Nothing is done for a signal that nobody handles.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        previous = signal.getsignal(number)
        if not callable(previous) or previous is signal.default_int_handler:
            continue

        signal.signal(number, _closing(hub_, previous))


def _closing(hub_: Hub, server: Callable[[int, FrameType | None], Any]) -> Callable[[int, FrameType | None], None]:
    def handle(number: int, frame: FrameType | None) -> None:
        hub_.close_soon()
        server(number, frame)

    return handle


# --- the stream -------------------------------------------------------------------------------------------------------


def message(name: str, data: dict[str, Any], seq: int | None = None) -> bytes:
    """Write one server-sent event."""
    identified = f"id: {seq}\n" if seq is not None else ""
    return f"{identified}event: {name}\ndata: {canonical(data)}\n\n".encode()


async def stream(
    watcher: Watcher, last_seen: int | None, *, topics: Topics = Topics(), lifetime_s: float = LIFETIME_S
) -> AsyncGenerator[bytes, None]:
    """Yield server-sent events until the reader goes, loses the right to watch, or `lifetime_s` has passed.

    First `hello` with the id of the newest event, or what happened since `last_seen`; `resync` when that is too much to
    tell. Then `proposal`, `run`, `unknown` and `halt` as they happen, and `tick` when nothing has for ten seconds: a
    page that hears neither is out of date. Each carries its number in this stream, `n`, from 0; a page that misses one
    reads everything again. The browser comes back by itself.
    """
    ends = time.monotonic() + lifetime_s

    def begin() -> tuple[int, list[Signal]]:
        return newest(), [] if last_seen is None else signals_after(last_seen, MOST_AT_ONCE + 1)

    seen, missed = await asyncio.to_thread(in_scope, watcher.tenant_id, begin)
    mine = Stream(watcher)
    the_hub = hub()
    the_hub.join(mine, seen)
    told = {one.seq for one in missed}
    number = 0
    try:
        yield b"retry: 2000\n\n"
        if last_seen is None:
            yield message("hello", {"n": number, "seq": seen}, seen)
        elif len(missed) > MOST_AT_ONCE or last_seen > seen:
            yield message("resync", {"n": number, "seq": seen}, seen)
        else:
            yield message("tick", {"n": number})
            for one in filter(topics.concern, missed):
                number += 1
                yield one.encode(number)
        while (left := ends - time.monotonic()) > 0 and not mine.behind:
            try:
                heard = await mine.get(min(TICK_S, left))
            except TimeoutError:
                number += 1
                yield message("tick", {"n": number})
                continue
            if heard is None:
                return
            if heard.seq not in told and topics.concern(heard):
                number += 1
                yield heard.encode(number)
    finally:
        the_hub.leave(mine)
