"""Server-sent events: what an open page hears, when it stops hearing, and what it costs meanwhile."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth import HASH_SESSION_KEY
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.backends.signals import connection_created
from django.test import Client

from agentops.audit.services import NewEvent, append
from agentops.handler import web_application
from agentops.tenancy.access import SYSTEM
from agentops.tenancy.models import Membership, Tenant
from agentops.tenancy.scope import give_back_connection, tenant_scope
from approvals.queue import live
from approvals.queue.live import Signal, Watcher, _Position
from tests.conftest import person

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def bobs(acme: Tenant, bob: User) -> Watcher:
    """Return bob, signed in and watching acme."""
    return watcher(acme, bob)


def watcher(tenant: Tenant, user: User) -> Watcher:
    client = Client()
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    kept = client.session
    return Watcher(tenant.pk, user.pk, kept.session_key or "", kept[HASH_SESSION_KEY])


def happen(tenant_id: int, kind: str, subject: tuple[str, str] = ("proposal", "p-1")) -> int:
    """Record something in a tenant and return the event's id."""

    def write() -> int:
        with transaction.atomic():
            append("tenant", [NewEvent(kind, {}, subject)], actor=SYSTEM)
        return live.newest()

    return cast(int, live.in_scope(tenant_id, write))


async def elsewhere(work: Callable[..., Any], *args: Any) -> Any:
    """Do something with the database as another process would, while streams are open."""

    def and_close() -> Any:
        try:
            return work(*args)
        finally:
            connection.close()

    return await asyncio.to_thread(and_close)


PATIENCE_S = 60.0
"""How long a test waits for what has to come: the machine may be busy with something else."""
SOON_S = 5.0
"""What ends at once has ended by then on any machine; of itself nothing would for longer."""


async def hear(
    stream: AsyncIterator[bytes], within_s: float = PATIENCE_S, *, ticks: bool = False
) -> tuple[str, dict[str, Any], int]:
    """Return name, data and id of the next event that is no tick; ticks have no id (0)."""
    async with asyncio.timeout(within_s):
        async for chunk in stream:
            fields = dict(
                line.split(": ", 1) for line in chunk.decode().strip().split("\n") if not line.startswith(":")
            )
            if "event" in fields and (fields["event"] != "tick" or ticks):
                return fields["event"], json.loads(fields["data"]), int(fields.get("id", 0))
    raise AssertionError("the stream ended")


async def end_of(stream: AsyncIterator[bytes], within_s: float = PATIENCE_S) -> float:
    """Return how long it took the stream to end by itself."""
    began = time.monotonic()
    async with asyncio.timeout(within_s):
        async for _ in stream:
            pass
    return time.monotonic() - began


@pytest.mark.asyncio
async def test_a_page_hears_of_a_new_proposal_within_a_second(bobs: Watcher) -> None:
    stream = live.stream(bobs, None)
    name, data, seen = await hear(stream)
    assert (name, data) == ("hello", {"n": 0, "seq": seen})
    took: list[float] = []
    for n in range(1, 4):
        seq = await elsewhere(happen, bobs.tenant_id, "call.proposed")
        began = time.monotonic()
        assert await hear(stream) == ("proposal", {"id": "p-1", "n": n, "seq": seq, "type": "call.proposed"}, seq)
        took.append(time.monotonic() - began)
    # The machine may have been busy with something else in one of them.
    assert min(took) < 1.0
    await stream.aclose()


@pytest.mark.asyncio
async def test_every_page_hears_it_and_other_tenants_do_not(
    bobs: Watcher, sam: User, charlie: User, acme: Tenant, globex: Tenant
) -> None:
    streams = [live.stream(who, None) for who in (bobs, await elsewhere(watcher, acme, sam))]
    foreign = live.stream(await elsewhere(watcher, globex, charlie), None)
    for stream in (*streams, foreign):
        assert (await hear(stream))[0] == "hello"
    seq = await elsewhere(happen, bobs.tenant_id, "proposal.decided")
    assert [(await hear(stream))[2] for stream in streams] == [seq, seq]
    with pytest.raises(TimeoutError):
        await hear(foreign, within_s=1.2)
    for stream in (*streams, foreign):
        await stream.aclose()


@pytest.mark.asyncio
async def test_a_browser_that_comes_back_hears_what_it_missed(bobs: Watcher) -> None:
    before = await elsewhere(happen, bobs.tenant_id, "tenant.member_added")
    first = await elsewhere(happen, bobs.tenant_id, "call.proposed")
    await elsewhere(happen, bobs.tenant_id, "token.issued")
    second = await elsewhere(happen, bobs.tenant_id, "proposal.expired")
    stream = live.stream(bobs, before)
    assert [(await hear(stream))[2] for _ in range(2)] == [first, second]
    third = await elsewhere(happen, bobs.tenant_id, "proposal.withdrawn")
    assert (await hear(stream))[2] == third
    await stream.aclose()


@pytest.mark.asyncio
async def test_after_a_long_absence_the_page_is_told_to_read_everything_again(
    bobs: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MOST_AT_ONCE", 2)
    newest = max([await elsewhere(happen, bobs.tenant_id, "call.proposed") for _ in range(3)])
    stream = live.stream(bobs, 0)
    assert (await hear(stream))[0] == "resync"
    await stream.aclose()
    from_the_future = live.stream(bobs, newest + 1_000)
    assert (await hear(from_the_future))[0] == "resync"
    await from_the_future.aclose()


@pytest.mark.asyncio
@pytest.mark.parametrize("loses", ["membership", "session", "account", "password"])
async def test_who_may_no_longer_watch_hears_nothing_more(bobs: Watcher, loses: str) -> None:
    stream = live.stream(bobs, None)
    await hear(stream)

    def lose() -> None:
        from django.contrib.sessions.models import Session

        match loses:
            case "membership":
                Membership.objects.filter(user_id=bobs.user_id).delete()
            case "session":
                Session.objects.filter(pk=bobs.session).delete()
            case "password":
                bob = User.objects.get(pk=bobs.user_id)
                bob.set_password("another horse battery staple")
                bob.save()
            case _:
                User.objects.filter(pk=bobs.user_id).update(is_active=False)

    await elsewhere(live.in_scope, bobs.tenant_id, lose)
    await elsewhere(happen, bobs.tenant_id, "call.proposed")
    rest = [chunk async for chunk in stream]
    assert not [chunk for chunk in rest if b"event:" in chunk and b"event: tick" not in chunk]


@pytest.mark.asyncio
async def test_a_stream_ends_by_itself_and_leaves_nothing_behind(bobs: Watcher) -> None:
    stream = live.stream(bobs, None, lifetime_s=0.2)
    assert await end_of(stream) < SOON_S
    assert live.hub().streams == 0


@pytest.mark.asyncio
async def test_a_reader_that_goes_away_is_forgotten(bobs: Watcher) -> None:
    stream = live.stream(bobs, None)
    await hear(stream)
    assert live.hub().streams == 1
    await stream.aclose()
    assert live.hub().streams == 0


@pytest.mark.asyncio
async def test_one_person_cannot_take_all_connections_of_a_process(
    bobs: Watcher, sam: User, acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MOST_OF_ONE", 3, raising=False)
    others = live.stream(await elsewhere(watcher, acme, sam), None)
    mine = [live.stream(bobs, None) for _ in range(4)]
    for stream in (others, *mine):
        assert (await hear(stream))[0] == "hello"
    assert await end_of(mine[0]) < SOON_S, "the oldest makes room"
    assert live.hub().streams == 4
    seq = await elsewhere(happen, bobs.tenant_id, "proposal.decided")
    assert [(await hear(stream))[2] for stream in (others, *mine[1:])] == [seq] * 4
    for stream in (others, *mine[1:]):
        await stream.aclose()


@pytest.mark.asyncio
async def test_streams_end_within_a_second_of_the_signal_to_stop_and_the_server_still_gets_it(bobs: Watcher) -> None:
    stream = live.stream(bobs, None)
    await hear(stream)
    told: list[int] = []
    handler = live._closing(live.hub(), lambda number, frame: told.append(number))
    handler(15, None)
    assert await end_of(stream) < SOON_S
    assert told == [15]
    late = live.stream(bobs, None)
    assert await end_of(late) < SOON_S


@pytest.mark.asyncio
async def test_a_page_that_does_not_keep_up_is_cut_off_to_read_again(
    bobs: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MOST_AT_ONCE", 1)
    stream = live.Stream(bobs)
    for seq in (1, 2):
        stream.put(Signal("proposal", "p-1", seq, "call.proposed"))
    assert stream.behind
    stream.close()
    assert await stream.get(1.0) is None


@pytest.mark.asyncio
async def test_events_are_numbered_and_silence_is_told_apart_from_a_dead_line(
    bobs: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "TICK_S", 0.3)
    stream = live.stream(bobs, None)
    numbers = [(await hear(stream, ticks=True))[1]["n"] for _ in range(2)]
    await elsewhere(happen, bobs.tenant_id, "proposal.claimed")
    while (heard := await hear(stream, ticks=True))[0] != "proposal":
        numbers.append(heard[1]["n"])
    assert [*numbers, heard[1]["n"]] == list(range(len(numbers) + 1))
    await stream.aclose()


@pytest.mark.asyncio
async def test_a_page_about_one_proposal_hears_of_that_one_and_of_stops(bobs: Watcher) -> None:
    mine = "0193aaaa-0000-7000-8000-000000000001"
    topics = live.read_topics(f"proposal:{mine.upper()}")
    assert topics is not None
    stream = live.stream(bobs, None, topics=topics)
    await hear(stream)
    await elsewhere(happen, bobs.tenant_id, "call.proposed")
    await elsewhere(happen, bobs.tenant_id, "run.failed", ("run", "r"))
    await elsewhere(happen, bobs.tenant_id, "proposal.decided", ("proposal", mine))
    await elsewhere(happen, bobs.tenant_id, "halt.started", ("halt", "1"))
    heard = [await hear(stream) for _ in range(2)]
    assert [(name, data["n"]) for name, data, _ in heard] == [("proposal", 1), ("halt", 2)]
    await stream.aclose()


@pytest.mark.parametrize(
    "topics", ["", "everything", "proposal:1", "run:0193aaaa-0000-7000-8000-000000000001", "queue,"]
)
def test_topics_that_mean_nothing_are_refused(topics: str) -> None:
    assert live.read_topics(topics) is None


def test_an_event_that_commits_late_is_still_told_once() -> None:
    position = _Position(floor=10)
    eleven, twelve, thirteen = (Signal("run", "r", seq, "run.failed") for seq in (11, 12, 13))
    assert position.fresh([twelve, thirteen], now=0.0) == [twelve, thirteen]
    assert position.fresh([eleven, twelve, thirteen], now=1.0) == [eleven]
    assert position.fresh([], now=live.LATE_COMMIT_S + 0.5) == []
    assert position.floor == 13
    assert position.delivered == {}


def test_what_is_remembered_of_a_busy_tenant_is_bounded() -> None:
    position = _Position(floor=0)
    found = [Signal("run", "r", seq, "run.failed") for seq in range(1, live.MOST_REMEMBERED + 501)]
    assert position.fresh(found, now=0.0) == found
    assert len(position.delivered) == live.MOST_REMEMBERED
    assert position.floor == 500


# --- over HTTP ------------------------------------------------------------------------------------------------------


def browser(user: User, path: str, **headers: str) -> Any:
    """Return an ASGI conversation of a signed-in person."""
    client = Client()
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    cookie = client.cookies.output(header="", sep=";").split(";")[0].strip()
    sent = {"host": "localhost", "cookie": cookie, **headers}
    path, _, query = path.partition("?")
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
    }
    return ApplicationCommunicator(web_application(), scope)  # type: ignore[no-untyped-call]


async def start(conversation: Any) -> tuple[int, dict[str, str]]:
    await conversation.send_input({"type": "http.request"})
    head = await conversation.receive_output(3)
    return head["status"], {name.decode().lower(): value.decode() for name, value in head["headers"]}


@pytest.mark.asyncio
async def test_over_http_a_stream_holds_no_database_connection(bob: User) -> None:
    opened: list[Any] = []

    def note(connection: Any, **_: Any) -> None:
        opened.append(connection)

    conversation = await elsewhere(browser, bob, "/t/acme/live?topics=queue")
    connection_created.connect(note)
    try:
        status, headers = await start(conversation)
        assert (status, headers["content-type"]) == (200, "text/event-stream")
        assert "no-store" in headers["cache-control"]
        chunks = [(await conversation.receive_output(3))["body"] for _ in range(2)]
    finally:
        connection_created.disconnect(note)
    assert b"event: hello" in b"".join(chunks)
    assert opened
    assert [one for one in opened if one.connection is not None] == []
    await conversation.send_input({"type": "http.disconnect"})
    await conversation.wait(3)
    assert live.hub().streams == 0


@pytest.mark.asyncio
async def test_over_http_the_browser_resumes_where_it_was(bob: User, acme: Tenant) -> None:
    before = await elsewhere(happen, acme.pk, "run.succeeded", ("run", "r"))
    seq = await elsewhere(happen, acme.pk, "call.proposed")
    conversation = await elsewhere(lambda: browser(bob, "/t/acme/live", **{"last-event-id": str(before)}))
    assert (await start(conversation))[0] == 200
    chunks = [(await conversation.receive_output(3))["body"] for _ in range(3)]
    assert f"id: {seq}\nevent: proposal\n".encode() in b"".join(chunks)
    await conversation.send_input({"type": "http.disconnect"})
    await conversation.wait(3)


@pytest.mark.asyncio
async def test_over_http_only_known_topics_and_own_tenants_are_served(bob: User, globex: Tenant) -> None:
    for path, expected in (("/t/acme/live?topics=everything", 400), ("/t/globex/live", 404)):
        conversation = await elsewhere(browser, bob, path)
        assert (await start(conversation))[0] == expected
        await conversation.receive_output(3)
        await conversation.wait(3)


def test_whoever_has_no_role_that_may_watch_is_not_admitted(acme: Tenant, bob: User, charlie: User) -> None:
    nobody = person("nobody", acme)
    watchers = {who: watcher(acme, who) for who in (bob, charlie, nobody)}
    allowed = live.in_scope(acme.pk, lambda: live.admitted(watchers.values()))
    assert allowed == {watchers[bob]}


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="the setting is PostgreSQL's")
def test_a_connection_that_is_given_back_forgets_the_tenant(acme: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[str] = []

    def give_back() -> None:
        with connection.cursor() as cursor:
            cursor.execute("select current_setting('app.tenant', true)")
            kept.append(cursor.fetchone()[0])

    with tenant_scope(acme):
        monkeypatch.setattr(connection, "close", give_back)
        give_back_connection()
        monkeypatch.undo()
    assert kept == [""]
