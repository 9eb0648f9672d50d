"""What is past its period goes and leaves an event; what is held, young or needed stays; and the record verifies."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentops.audit import guards, verification
from agentops.audit.indexing import index_new
from agentops.audit.models import Event, EventTerm, RemovedSegment, Stream, Verification
from agentops.audit.removals import STREAM
from agentops.audit.services import TENANT_STREAM, NewEvent, append, load
from agentops.audit.verify import verify_stream, verify_tenant
from agentops.changes.outcomes import Proposed, Settled
from agentops.payloads.models import Payload, PayloadUse, RemovedText
from agentops.payloads.services import PayloadRemoved, read
from agentops.retention import classes, refusals
from agentops.retention.models import Hold, Pass
from agentops.retention.services import Wanted, change_periods, decide_periods, place_hold
from agentops.runs.models import Run
from agentops.runs.recording import stream_of
from agentops.tenancy.access import SYSTEM, Actor
from agentops.tenancy.models import ServiceToken, Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.wire.ids import uuid7
from tests.audit.conftest import unguarded
from tests.retention.conftest import old_run, remove_all, written

pytestmark = pytest.mark.not_replayed("what its runs did is written by hand")
SHORTEST = {"record": 184, "bodies": 184, "trials": 7, "imports": 7, "exports": 1}
NOTE = "A reason that is long enough."


def shorten(admin: Actor, second: Actor) -> None:
    """Let everything be kept as short as it may be."""
    proposed = change_periods(days=SHORTEST, note=NOTE, actor=admin)
    decided = decide_periods(change_id=proposed.change_id, verdict="approve", note="", actor=second)  # type: ignore[union-attr]
    assert isinstance(decided, Settled)


@pytest.fixture
def short(scoped: Tenant, admin: Actor, second: Actor) -> Tenant:
    """Return acme, in its scope, with the shortest periods there can be."""
    shorten(admin, second)
    return scoped


def streams_left() -> set[str]:
    return set(Event.objects.values_list("stream__name", flat=True))


# --- what goes -------------------------------------------------------------------------------------------------------


def test_an_old_run_goes_as_a_whole_and_the_chain_says_so(short: Tenant) -> None:
    old, young = old_run(200), old_run(10)
    head = bytes(Stream.objects.get(name=stream_of(old.pk)).head)
    remove_all()
    assert stream_of(old.pk) not in streams_left()
    assert stream_of(young.pk) in streams_left()
    segment = RemovedSegment.objects.get(stream__name=stream_of(old.pk))
    assert (segment.upto, segment.events, bytes(segment.hash)) == (2, 2, head)
    [told] = [one for one in load(STREAM) if one.data["class"] == "record"]
    assert told.data["segments"][0]["hash"] == head.hex()
    report = verify_tenant()
    assert report.findings == ()
    assert report.removed == 2
    assert verify_stream(stream_of(old.pk)).removed == segment


def test_a_text_goes_with_its_period_and_its_hash_stays(short: Tenant) -> None:
    old = old_run(190, text="a")
    [sha256] = PayloadUse.objects.filter(run_id=old.pk).values_list("sha256", flat=True)
    Run.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=190))
    services_long_record(short)
    remove_all()
    assert not Payload.objects.exists()
    with pytest.raises(PayloadRemoved, match="retention period had ended"):
        read(sha256)
    assert RemovedText.objects.get().sha256 == sha256
    assert stream_of(old.pk) in streams_left()
    assert verify_tenant().findings == ()


def services_long_record(tenant: Tenant) -> None:
    """Keep the record for long, so that only texts go."""
    admin = Actor.user(User.objects.get(username="alice"), ["admin"])
    change_periods(days={**SHORTEST, "record": 2_557}, note=NOTE, actor=admin)


def test_a_text_that_a_young_run_names_stays_and_one_that_comes_again_is_stored_again(short: Tenant) -> None:
    old, young = old_run(300, text="same"), old_run(1, text="same")
    gone = old_run(300, text="gone")
    [removed] = PayloadUse.objects.filter(run_id=gone.pk).values_list("sha256", flat=True)
    remove_all()
    assert list(Payload.objects.values_list("sha256", flat=True)) == [
        PayloadUse.objects.filter(run_id=young.pk).values_list("sha256", flat=True)[0]
    ]
    assert PayloadUse.objects.filter(run_id=old.pk).exists()
    assert written(young.pk, timezone.now(), text="gone") == [removed]
    assert "gone" in read(removed)
    assert verify_tenant().findings == ()


def test_the_beginning_of_the_tenants_own_stream_goes_and_the_rest_still_follows(short: Tenant) -> None:
    long_ago = timezone.now() - timedelta(days=400)
    with guards.lifted(connection):  # acme was made today: begin its stream anew, long ago
        Event.objects.filter(stream__name=TENANT_STREAM).delete()
        Stream.objects.filter(name=TENANT_STREAM).delete()
    with transaction.atomic():
        append(TENANT_STREAM, [NewEvent("admin.changed", {"n": n}) for n in range(5)], actor=SYSTEM, at=long_ago)
        append(TENANT_STREAM, [NewEvent("admin.changed", {"n": n}) for n in range(5, 8)], actor=SYSTEM)
    remove_all()
    assert [one.data["n"] for one in load(TENANT_STREAM)] == [5, 6, 7]
    assert verify_tenant().findings == ()
    with transaction.atomic():
        append(TENANT_STREAM, [NewEvent("admin.changed", {"n": 8})], actor=SYSTEM)
    assert verify_stream(TENANT_STREAM).events == 4
    assert verify_stream(TENANT_STREAM, start=2, stop=3).events == 0
    assert verify_stream(TENANT_STREAM, start=7, stop=8).events == 2


def test_a_pass_is_resumed_where_it_was_and_begins_again_a_day_later(short: Tenant, monkeypatch: Any) -> None:
    monkeypatch.setattr("agentops.retention.removal.STREAMS", 2)
    monkeypatch.setattr("agentops.retention.removal.TEXTS", 2)
    monkeypatch.setattr("agentops.retention.removal.EVENTS", 4)
    for number in range(7):
        old_run(200 + number, text=f"text {number}")
    now = timezone.now()
    remove_all(now)
    assert not Payload.objects.exists()
    assert [name for name in streams_left() if name.startswith("run:")] == []
    record = Pass.objects.get(record_class="record")
    assert (record.ended_at, record.held) == (now, 0)
    later = old_run(250)
    assert remove_all(now + timedelta(hours=23)) == 0
    remove_all(now + timedelta(hours=25))
    assert stream_of(later.pk) not in streams_left()
    assert verify_tenant().findings == ()


def test_what_a_removed_event_was_found_by_goes_with_it(short: Tenant) -> None:
    with tenant_scope(short):
        run = old_run(200)
        with transaction.atomic():
            append(
                stream_of(run.pk),
                [NewEvent("call.failed", {"code": "unavailable", "call_id": "c"})],
                actor=SYSTEM,
                run_id=run.pk,
                at=timezone.now() - timedelta(days=200),
            )
        while index_new():
            pass
        assert EventTerm.objects.filter(term="outcome:unavailable").exists()
        remove_all()
        assert not EventTerm.objects.filter(term="outcome:unavailable").exists()


# --- what stays ------------------------------------------------------------------------------------------------------


def hold(admin: Actor, **wanted: Any) -> Hold:
    placed = place_hold(wanted=Wanted(**wanted), matter="M-1", reason=NOTE, actor=admin)
    assert isinstance(placed, Hold), placed
    return placed


def test_a_run_that_has_not_ended_stays_with_its_texts(short: Tenant) -> None:
    old_run(400, text="open", ended=False)
    assert remove_all() == 0
    assert Payload.objects.count() == 1


@pytest.mark.parametrize("kind", ["run", "person asked", "person decided", "period", "tenant"])
def test_a_hold_keeps_record_and_texts(short: Tenant, admin: Actor, bob: User, kind: str) -> None:
    held = old_run(
        300,
        text="held",
        by=bob if kind == "person asked" else None,
        decided_by=bob if kind == "person decided" else None,
    )
    free = old_run(500, text="free")
    match kind:
        case "run":
            hold(admin, kind="run", run_id=held.pk)
        case "period":
            now = timezone.now()
            hold(admin, kind="period", since=now - timedelta(days=310), until=now - timedelta(days=290))
        case "tenant":
            hold(admin, kind="tenant")
        case _:
            hold(admin, kind="person", person="bob")
    remove_all()
    assert stream_of(held.pk) in streams_left()
    assert (stream_of(free.pk) in streams_left()) is (kind == "tenant")
    assert Payload.objects.count() == (2 if kind == "tenant" else 1)
    passes = {one.record_class: one.held for one in Pass.objects.all()}
    assert passes["record"] >= 1
    assert passes["bodies"] >= 1
    assert verify_tenant().findings == ()


def test_a_hold_on_a_person_covers_what_their_tokens_did(short: Tenant, admin: Actor, alice: User, bob: User) -> None:
    def token_of(user: User) -> ServiceToken:
        end = timezone.now() + timedelta(days=1)
        return ServiceToken.objects.create(name="t", prefix=f"p{user.pk}", created_by=user, expires_at=end)

    mine, other = token_of(bob), token_of(alice)
    asked, acted, free = old_run(300, token=str(mine.pk)), old_run(301), old_run(302, token=str(other.pk))
    by = Actor.token(mine.pk, "t", ["run.cancel"])
    moment = timezone.now() - timedelta(days=301)
    with transaction.atomic():
        append(stream_of(acted.pk), [NewEvent("run.cancelled", {})], actor=by, run_id=acted.pk, at=moment)
    opened(acted)
    hold(admin, kind="person", person="bob")
    refused(rows_of(acted), "a hold covers it")
    remove_all()
    assert {stream_of(asked.pk), stream_of(acted.pk)} <= streams_left()
    assert stream_of(free.pk) not in streams_left()


def test_what_the_database_refuses_is_told_and_everything_else_goes(short: Tenant, admin: Actor, alice: User) -> None:
    held = old_run(50)
    runs = [old_run(300 + number, text=str(number)) for number in range(5)]
    moment = timezone.now() - timedelta(days=302)
    with transaction.atomic():
        # A row of one run in the stream of another: what the program looks for does not find it.
        append(stream_of(runs[2].pk), [NewEvent("run.step", {})], actor=SYSTEM, run_id=held.pk, at=moment)
    text = Payload.objects.get(sha256=PayloadUse.objects.get(run_id=runs[3].pk).sha256)
    hold(admin, kind="run", run_id=held.pk)
    gone = uuid7()
    PayloadUse.objects.create(sha256=text.sha256, run_id=gone)
    Hold.objects.create(kind="run", run_id=gone, matter="M", reason=NOTE, placed_by=alice, placed_at=timezone.now())
    remove_all()
    assert {stream_of(one.pk) for one in runs} & streams_left() == {stream_of(runs[2].pk)}
    assert [one.sha256 for one in Payload.objects.all()] == [text.sha256]
    told = {one.data["class"]: one.data["records"] for one in load(STREAM) if one.type == "retention.refused"}
    [run], [kept] = told["record"], told["bodies"]
    assert (run["record"], "a hold covers it" in run["reason"]) == (stream_of(runs[2].pk), True)
    assert (kept["record"], "a hold covers it" in kept["reason"]) == (f"sha256:{text.sha256}", True)
    assert {one.record_class: (one.removed, one.refused) for one in Pass.objects.all()}["record"] == (4, 1)
    assert not Pass.objects.filter(ended_at=None).exists()
    assert verify_tenant().findings == ()


@given(st.integers(0, 9), st.sets(st.integers(0, 8)), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
def test_everything_goes_but_what_is_refused(scoped: Tenant, count: int, bad: set[int], beginning: bool) -> None:
    gone: list[int] = []

    def remove(some: Sequence[int]) -> None:
        if found := bad & set(some):
            raise DatabaseError(f"delete on x refused: {min(found)}")
        gone.extend(some)

    records = list(range(count))
    left = (refusals.remove_beginning if beginning else refusals.remove_each)(records, remove)
    first = min(bad & set(records), default=count)
    expected = records[:first] if beginning else [one for one in records if one not in bad]
    assert gone == expected
    assert [one for one, _ in left] == (records[first : first + 1] if beginning else sorted(bad & set(records)))


def test_another_error_is_no_refusal(scoped: Tenant) -> None:
    def remove(some: Sequence[int]) -> None:
        raise DatabaseError("disk full")

    for each in (refusals.remove_each, refusals.remove_beginning):
        with pytest.raises(DatabaseError, match="disk full"):
            each([1, 2], remove)


def test_a_text_that_a_held_run_shares_stays(short: Tenant, admin: Actor) -> None:
    held = old_run(300, text="shared")
    old_run(301, text="shared")
    hold(admin, kind="run", run_id=held.pk)
    remove_all()
    assert Payload.objects.count() == 1


class Kept(Exception):
    """Undoes one example."""


@contextmanager
def undone() -> Iterator[None]:
    try:
        with transaction.atomic():
            yield
            raise Kept
    except Kept:
        pass


periods = st.integers(184, 500)
ages = st.lists(st.tuples(st.floats(1, 700), st.booleans()), min_size=1, max_size=6)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(runs=ages, record=periods, bodies=periods, window=st.tuples(*[st.integers(0, 700)] * 2))
def test_nothing_held_or_young_ever_goes_and_the_record_verifies(
    short: Tenant,
    admin: Actor,
    second: Actor,
    bob: User,
    runs: list[tuple[float, bool]],
    record: int,
    bodies: int,
    window: tuple[int, int],
) -> None:
    with undone():
        proposed = change_periods(days={**SHORTEST, "record": record, "bodies": bodies}, note=NOTE, actor=admin)
        if isinstance(proposed, Proposed):
            decide_periods(change_id=proposed.change_id, verdict="approve", note="", actor=second)
        now = timezone.now()
        since, until = (now - timedelta(days=one) for one in (max(window), min(window)))
        if since < until:
            hold(admin, kind="period", since=since, until=until)
        hold(admin, kind="person", person="bob")
        made = []
        for number, (age, his) in enumerate(runs):
            run = old_run(age, text=f"text {number}", by=bob if his else None)
            made.append((run, age, his or since <= run.created_at < until))
        remove_all(now)
        left = streams_left()
        for run, age, held in made:
            there = stream_of(run.pk) in left
            text = Payload.objects.filter(sha256__in=PayloadUse.objects.filter(run_id=run.pk).values("sha256")).exists()
            if held or age < classes.FLOOR:
                assert there
                assert text
            assert there is (held or age <= record)
            assert text is (held or age <= bodies)
        assert verify_tenant().findings == ()


# --- the narrow door -------------------------------------------------------------------------------------------------


def refused(rows: Any, why: str) -> None:
    with pytest.raises(DatabaseError, match=why), transaction.atomic():
        rows._raw_delete("default")


def opened(run: Run, *, told: bool = True) -> None:
    """Write what opens the door for a run, as the removal does."""
    stream = Stream.objects.get(name=stream_of(run.pk))
    with transaction.atomic():
        name, kind = (STREAM, "retention.removed") if told else (TENANT_STREAM, "admin.changed")
        append(name, [NewEvent(kind, {})], actor=SYSTEM)
        event = Event.objects.filter(stream__name=name).order_by("-seq")[0]
        RemovedSegment.objects.create(
            stream=stream,
            upto=stream.seq,
            events=stream.seq,
            hash=bytes(stream.head),
            newest_at=run.created_at,
            removed_at=timezone.now(),
            event_id=event.pk,
        )
        for text in Payload.objects.all():
            RemovedText.objects.create(
                sha256=text.sha256,
                payload_id=text.pk,
                size=text.size,
                stored_at=text.created_at,
                removed_at=timezone.now(),
                event_id=event.pk,
            )


def rows_of(run: Run) -> Any:
    return Event.objects.filter(stream_id=Stream.objects.get(name=stream_of(run.pk)).pk)


def test_nothing_is_deleted_without_a_row_that_names_it(scoped: Tenant) -> None:
    run = old_run(300, text="a")
    refused(rows_of(run), "append-only")
    refused(Payload.objects.all(), "texts stay")
    other = old_run(300, text="b")
    opened(other)
    refused(rows_of(run), "append-only")


def test_the_row_has_to_name_an_event_of_the_retention_stream(scoped: Tenant) -> None:
    run = old_run(300, text="a")
    opened(run, told=False)
    refused(rows_of(run), "append-only")
    refused(Payload.objects.all(), "texts stay")


def test_the_database_itself_keeps_what_is_younger_than_the_floor(scoped: Tenant) -> None:
    run = old_run(183, text="a")
    opened(run)
    refused(rows_of(run), "younger than 184 days")
    refused(Payload.objects.all(), "younger than 184 days")


def test_the_database_itself_keeps_what_is_held(scoped: Tenant, admin: Actor) -> None:
    run = old_run(300, text="a")
    opened(run)
    hold(admin, kind="run", run_id=run.pk)
    refused(rows_of(run), "a hold covers it")
    refused(Payload.objects.all(), "a hold covers it")


def test_the_stream_that_tells_of_removals_is_never_removed(scoped: Tenant) -> None:
    with transaction.atomic():
        append(STREAM, [NewEvent("retention.removed", {})], actor=SYSTEM, at=timezone.now() - timedelta(days=400))
    stream = Stream.objects.get(name=STREAM)
    RemovedSegment.objects.create(
        stream=stream,
        upto=1,
        events=1,
        hash=bytes(stream.head),
        newest_at=timezone.now(),
        removed_at=timezone.now(),
        event_id=Event.objects.get(stream=stream).pk,
    )
    refused(Event.objects.filter(stream_id=stream.pk), "append-only")


@pytest.mark.parametrize("change", ["delete", "update"])
def test_what_is_left_and_holds_are_never_changed_or_deleted(scoped: Tenant, admin: Actor, change: str) -> None:
    run = old_run(300, text="a")
    opened(run)
    held = hold(admin, kind="tenant")
    for rows, column in (
        (RemovedSegment.objects.all(), "upto"),
        (RemovedText.objects.all(), "size"),
        (Hold.objects.all(), "matter"),
    ):
        if change == "delete":
            refused(rows, "refused")
        else:
            with pytest.raises(DatabaseError, match="refused"), transaction.atomic():
                rows.update(**{column: "1"})
    assert Hold.objects.get().pk == held.pk


def test_a_removal_that_no_event_tells_of_is_tampering(short: Tenant) -> None:
    run, other = old_run(300), old_run(301)
    remove_all()
    with unguarded():
        RemovedSegment.objects.filter(stream__name=stream_of(run.pk)).update(hash=b"x" * 32)
        RemovedSegment.objects.filter(stream__name=stream_of(other.pk)).delete()
    reasons = {one.stream: one.reason for one in verify_tenant().findings}
    assert reasons == {stream_of(run.pk): "missing", stream_of(other.pk): "missing"}


def test_the_walk_in_pieces_counts_what_was_removed(short: Tenant, capsys: Any) -> None:
    old_run(300)
    remove_all()
    now = timezone.now()
    verification.begin(now=now)
    for _ in range(5):
        verification.go_on(now)
    walk = Verification.objects.get(ended_at__isnull=False)
    assert (walk.removed, walk.broken) == (2, 0)
    call_command("audit_verify", tenant="acme", processes=1)
    assert "2 removed by retention, intact" in capsys.readouterr().out


# --- who looks afterwards --------------------------------------------------------------------------------------------


def test_pages_and_replay_say_what_is_not_there_any_more(
    short: Tenant, alice: User, client: Client, capsys: Any
) -> None:
    run = old_run(300)
    remove_all()
    client.force_login(alice, backend="allauth.account.auth_backends.AuthenticationBackend")
    page = client.get(f"/t/acme/runs/{run.pk}")
    assert page.status_code == 200
    assert "The record of this run is not there any more" in page.content.decode()
    steps = client.get(f"/t/acme/runs/{run.pk}/steps")
    assert steps.status_code == 410
    assert "nothing can be replayed" in steps.content.decode()
    assert client.post(f"/t/acme/runs/{run.pk}/export", {"mask": "none"}).status_code == 410
    assert client.post(f"/t/acme/runs/{run.pk}/case").status_code == 409
    call_command("replay", str(run.pk))
    assert "removed: 2 events" in capsys.readouterr().out


def test_the_step_view_says_that_a_text_was_removed(short: Tenant, alice: User, client: Client) -> None:
    run = old_run(300, text="a")
    services_long_record(short)
    remove_all()
    client.force_login(alice, backend="allauth.account.auth_backends.AuthenticationBackend")
    page = client.get(f"/t/acme/runs/{run.pk}/steps?at=1").content.decode()
    assert "because its retention period had ended" in page
