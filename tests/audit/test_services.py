"""Appending: gapless, chained, in the transaction of the change, and deaf to hostile text."""

import hashlib
import json
import threading
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.db.transaction import TransactionManagementError
from django.db.utils import DatabaseError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentops.audit.models import Event, Stream
from agentops.audit.services import NewEvent, StreamConflict, append, load
from agentops.audit.verify import verify_stream, verify_tenant
from agentops.tenancy.access import SYSTEM, WORKER, Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import NoTenantScope, tenant_scope
from agentops.wire.canonical import canonical
from tests.audit.conftest import append_some

RUN = UUID("01920000-0000-7000-8000-000000000001")
BOB = Actor("user", "7", "bob", frozenset({"operator"}), 7)


def test_what_is_appended_is_what_is_loaded(scoped: Tenant) -> None:
    at = datetime(2026, 11, 22, 10, 2, 11, 408123, tzinfo=UTC)
    event = NewEvent("proposal.decided", {"verdict": "approve", "amount": 100.0}, ("proposal", "p-1"), "shop.refund")
    with transaction.atomic():
        written = append("run:1", [event], actor=BOB, run_id=RUN, at=at)
    assert load("run:1") == written
    [recorded] = written
    assert (recorded.seq, recorded.type, recorded.at) == (1, "proposal.decided", at)
    assert recorded.actor == {"kind": "user", "id": "7", "name": "bob", "roles": ["operator"]}
    assert recorded.data == {"verdict": "approve", "amount": 100}
    assert (recorded.subject, recorded.tool, recorded.run_id) == (("proposal", "p-1"), "shop.refund", RUN)


def test_the_text_is_canonical_and_the_columns_are_copies_of_it(scoped: Tenant) -> None:
    at = datetime(2026, 11, 22, 10, 2, 11, 408123, tzinfo=UTC)
    with transaction.atomic():
        append("run:1", [NewEvent("run.started", {"b": 1, "a": 2})], actor=WORKER, run_id=RUN, at=at)
    row = Event.objects.get(stream__name="run:1")
    assert row.body == canonical(json.loads(row.body))
    assert json.loads(row.body) == {
        "v": 1,
        "tenant": "acme",
        "stream": "run:1",
        "seq": 1,
        "ts": "2026-11-22T10:02:11.408123Z",
        "type": "run.started",
        "actor": {"kind": "worker", "id": "worker", "name": "Worker", "roles": []},
        "subject": None,
        "run": str(RUN),
        "tool": "",
        "data": {"a": 2, "b": 1},
    }
    assert (row.seq, row.type, row.at, row.run_id) == (1, "run.started", at, RUN)
    assert (row.actor_kind, row.actor_id, row.subject_kind, row.tool) == ("worker", "worker", "", "")


def test_each_hash_covers_the_text_and_the_hash_before(scoped: Tenant) -> None:
    first, second = append_some("run:1", 2)
    bodies = list(Event.objects.filter(stream__name="run:1").order_by("seq").values_list("body", flat=True))
    beginning = hashlib.sha256(b"agentops\nacme\nrun:1").digest()
    assert first.hash == hashlib.sha256(beginning + bodies[0].encode()).digest()
    assert second.hash == hashlib.sha256(first.hash + bodies[1].encode()).digest()
    stream = Stream.objects.get(name="run:1")
    assert (stream.seq, bytes(stream.head)) == (2, second.hash)


def test_streams_count_for_themselves_and_tenants_too(acme: Tenant, globex: Tenant) -> None:
    for tenant in (acme, globex):
        with tenant_scope(tenant):
            append_some("run:1", 2)
            append_some("run:2", 1)
            append_some("run:1", 1)
            assert [event.seq for event in load("run:1")] == [1, 2, 3]
            assert [event.seq for event in load("run:2")] == [1]
            assert [event.seq for event in load("run:1", after=2)] == [3]
            assert load("run:3") == []


def test_appending_needs_a_transaction_and_a_tenant(acme: Tenant) -> None:
    with pytest.raises(NoTenantScope), transaction.atomic():
        append("run:1", [NewEvent("run.started", {})], actor=SYSTEM)


@pytest.mark.django_db(transaction=True)
def test_appending_outside_of_a_transaction_is_an_error(scoped: Tenant) -> None:
    with pytest.raises(TransactionManagementError):
        append("run:1", [NewEvent("run.started", {})], actor=SYSTEM)
    assert load("run:1") == []


@pytest.mark.django_db(transaction=True)
def test_no_change_no_event(scoped: Tenant) -> None:
    append_some("run:1")
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        _ = append("run:1", [NewEvent("run.step", {})], actor=SYSTEM)[0].seq / 0
    append_some("run:1")
    assert [event.seq for event in load("run:1")] == [1, 2]
    assert verify_stream("run:1").intact


def test_no_events_write_nothing(scoped: Tenant) -> None:
    with transaction.atomic():
        assert append("run:1", [], actor=SYSTEM, expected_seq=5) == []
    assert not Stream.objects.filter(name="run:1").exists()


def test_who_expects_another_state_is_told_the_actual_one(scoped: Tenant) -> None:
    append_some("run:1", 2, expected_seq=0)
    append_some("run:1", 1, expected_seq=2)
    for expected in (0, 2, 4):
        with pytest.raises(StreamConflict) as caught:
            append_some("run:1", 1, expected_seq=expected)
        assert (caught.value.expected, caught.value.actual) == (expected, 3)
    with pytest.raises(StreamConflict) as caught:
        append_some("run:2", 1, expected_seq=1)
    assert (caught.value.expected, caught.value.actual) == (1, 0)
    assert len(load("run:1")) == 3
    assert not Stream.objects.filter(name="run:2").exists()


def test_appending_costs_a_few_queries_however_many_events(scoped: Tenant, django_assert_max_num_queries: Any) -> None:
    append_some("run:1")
    with django_assert_max_num_queries(8), transaction.atomic():
        append("run:1", [NewEvent("run.step", {"n": n}) for n in range(50)], actor=SYSTEM)


hostile_text = st.text(st.characters(), max_size=200)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=hostile_text, number=st.floats() | st.integers(), key=hostile_text)
def test_no_text_and_no_number_from_outside_loses_an_event(scoped: Tenant, text: str, number: float, key: str) -> None:
    actor = Actor("token", text, text, frozenset())
    event = NewEvent("run.step", {"said": text, key: [number, {key: text}]}, (text, text), text)
    with transaction.atomic():
        [written] = append("run:hostile", [event], actor=actor)
    assert load("run:hostile", after=written.seq - 1) == [written]


def test_hostile_text_stays_visible(scoped: Tenant) -> None:
    with transaction.atomic():
        append("run:1", [NewEvent("run.step", {"tool": "a\x00b\ud800"}, tool="x" * 10_000)], actor=SYSTEM)
    [event] = load("run:1")
    assert event.data == {"tool": "a\ufffdb\ufffd [replaced: U+0000, U+D800]"}
    assert event.tool == "x" * 127 + "…"
    assert verify_stream("run:1").intact


@pytest.mark.parametrize(
    "statement",
    [
        "update audit_event set type = 'forged'",
        "update audit_event set body = body",
        "delete from audit_event",
        "update audit_stream set seq = 1",
        "update audit_stream set seq = seq",
        "update audit_stream set seq = seq + 1, name = 'other'",
        "delete from audit_stream",
        "insert or replace into audit_event select * from audit_event",
        "insert or replace into audit_stream select id, name, 1, head, tenant_id from audit_stream",
        "truncate audit_event",
        "truncate audit_stream cascade",
    ],
)
def test_the_database_refuses_to_change_the_record(five: str, statement: str) -> None:
    dialect = "sqlite" if statement.startswith("insert or") else "postgresql" if "truncate" in statement else ""
    if dialect and dialect != connection.vendor:
        pytest.skip(f"{connection.vendor} has no such statement")
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("set constraints all immediate")
    refused = pytest.raises(DatabaseError, match="refused")
    with refused, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert verify_stream(five).intact
    assert verify_stream(five).events == 5


def test_the_orm_cannot_change_the_record_either(five: str) -> None:
    event = Event.objects.filter(stream__name=five).first()
    assert event is not None
    event.type = "forged"
    for change in (event.save, event.delete, lambda: Event.objects.update(type="forged"), Event.objects.all().delete):
        with pytest.raises(DatabaseError, match="refused"), transaction.atomic():
            change()
    assert verify_stream(five).events == 5


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite lets one writer in at a time")
def test_eight_threads_append_to_one_stream_without_gap_or_fork(acme: Tenant) -> None:
    start = threading.Barrier(8, timeout=30)
    failures: list[Exception] = []

    def work(number: int) -> None:
        try:
            start.wait()
            with tenant_scope(acme):
                for turn in range(25):
                    with transaction.atomic():
                        append("run:race", [NewEvent("run.step", {"thread": number, "turn": turn})], actor=WORKER)
        except Exception as error:  # noqa: BLE001  # the main thread reports it
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    with tenant_scope(acme):
        events = load("run:race")
        assert [event.seq for event in events] == list(range(1, 201))
        for number in range(8):
            assert [event.data["turn"] for event in events if event.data["thread"] == number] == list(range(25))
        report = verify_tenant()
    assert report.findings == ()


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite lets one writer in at a time")
def test_of_two_writers_with_the_same_expectation_one_loses(acme: Tenant) -> None:
    outcomes: list[str] = []
    start = threading.Barrier(2, timeout=30)

    def work() -> None:
        try:
            with tenant_scope(acme):
                for turn in range(20):
                    start.wait()
                    try:
                        append_some("run:duel", 1, expected_seq=turn)
                        outcomes.append("won")
                    except StreamConflict:
                        outcomes.append("lost")
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(outcomes) == ["lost"] * 20 + ["won"] * 20
    with tenant_scope(acme):
        assert len(load("run:duel")) == 20


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite's key is the row's number")
def test_a_row_has_one_index_by_its_id(scoped: Tenant) -> None:
    with connection.cursor() as cursor:
        cursor.execute("select pg_get_indexdef(indexrelid) from pg_index where indrelid = 'audit_event'::regclass")
        by_id = [row[0] for row in cursor.fetchall() if row[0].endswith(("(id)", "(tenant_id, id)"))]
    assert by_id == ["CREATE UNIQUE INDEX event_by_id ON public.audit_event USING btree (tenant_id, id)"]
