"""Whatever a forger with full access changes in a stream, the first bad event is named."""

import json
import os
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any
from uuid import UUID, uuid4

import pytest
import rfc8785
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from agentops.audit import rows
from agentops.audit import verify as walking
from agentops.audit.glance import proven
from agentops.audit.models import Event, Stream, link
from agentops.audit.packing import pack
from agentops.audit.services import NewEvent, Packed, append, columns
from agentops.audit.verify import Finding, verify_stream, verify_tenant, verify_tenants
from agentops.tenancy.access import SYSTEM, Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from tests.audit.conftest import append_some, unguarded


def row(stream: str, seq: int) -> Event:
    return Event.objects.get(stream__name=stream, seq=seq)


def finding(stream: str) -> Finding:
    found = verify_stream(stream).finding
    assert found is not None
    return found


def flip(event: Event) -> str:
    """Change one byte of the text so that it stays canonical JSON."""
    changed = event.body.replace('"number":', '"nvmber":')
    assert len(changed) == len(event.body)
    assert changed != event.body
    return changed


def test_an_untouched_stream_is_intact(five: str) -> None:
    report = verify_stream(five)
    assert (report.intact, report.events, report.finding) == (True, 5, None)


def test_an_altered_byte_in_a_text_is_named(five: str) -> None:
    event = row(five, 3)
    with unguarded() as forge:
        forge("update audit_event set body = %s where id = %s", flip(event).encode(), event.pk)
    found = finding(five)
    assert (found.stream, found.seq, found.event_id, found.reason) == (five, 3, event.pk, "altered")
    assert verify_stream(five).events == 2


def test_any_changed_byte_of_what_is_stored_is_named(scoped: Tenant) -> None:
    append_some("run:1", 1)
    event = row("run:1", 1)
    stored = pack(event.body)
    assert stored[0] != ord("{"), "it is stored packed"
    for place in range(len(stored)):
        changed = bytearray(stored)
        changed[place] ^= 1 << place % 8
        with unguarded() as forge:
            forge("update audit_event set body = %s where id = %s", bytes(changed), event.pk)
        assert finding("run:1").event_id == event.pk


def test_an_altered_hash_is_named(five: str) -> None:
    event = row(five, 2)
    with unguarded() as forge:
        forge("update audit_event set hash = %s where id = %s", b"\x00" * 32, event.pk)
    assert (finding(five).seq, finding(five).reason) == (2, "altered")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("type", "run.forged"),
        ("actor_kind", "user"),
        ("actor_id", "7"),
        ("tool", "mail.send"),
        ("subject_kind", "proposal"),
        ("subject_id", "9"),
        ("run_id", "01920000-0000-7000-8000-000000000001"),
        ("at", "2020-01-01 00:00:00+00:00"),
    ],
)
def test_an_altered_column_is_named(five: str, column: str, value: str) -> None:
    event = row(five, 4)
    with unguarded() as forge:
        forge(
            f"update audit_event set {column} = %s where id = %s",
            value.replace("-", "") if column == "run_id" else value,
            event.pk,
        )
    found = finding(five)
    assert (found.seq, found.event_id, found.reason) == (4, event.pk, "column")
    assert column in found.detail


@pytest.mark.skipif(connection.vendor != "postgresql", reason="only PostgreSQL knows these")
@pytest.mark.parametrize("moment", ["infinity", "-infinity", "0044-03-15 BC", "20000-01-01"])
def test_a_moment_that_cannot_be_read_is_named_and_hides_nothing(five: str, moment: str) -> None:
    append_some("run:2", 2)
    event = row(five, 4)
    with unguarded() as forge:
        forge("update audit_event set tool = 'mail.send' where id = %s", row("run:2", 2).pk)
        forge("update audit_event set at = %s where id = %s", moment, event.pk)
    found = finding(five)
    assert (found.seq, found.event_id, found.reason) == (4, event.pk, "column")
    assert verify_stream(five, start=5).intact
    assert {one.stream for one in verify_tenant().findings} == {five, "run:2"}


@pytest.mark.skipif(connection.vendor == "postgresql", reason="PostgreSQL lets nothing but bytes stand there")
@pytest.mark.parametrize("value", ["'text'", "17", "1e300"])
def test_a_hash_that_is_no_hash_is_named_and_hides_nothing(five: str, value: str) -> None:
    append_some("run:2", 2)
    event = row(five, 4)
    with unguarded() as forge:
        forge("update audit_event set tool = 'mail.send' where id = %s", row("run:2", 2).pk)
        forge(f"update audit_event set hash = {value} where id = %s", event.pk)
    found = finding(five)
    assert (found.seq, found.event_id, found.reason) == (4, event.pk, "altered")
    assert {one.stream for one in verify_tenant().findings} == {five, "run:2"}


def test_a_deleted_event_in_the_middle_is_named(five: str) -> None:
    with unguarded() as forge:
        forge("delete from audit_event where id = %s", row(five, 3).pk)
    found = finding(five)
    assert (found.seq, found.event_id, found.reason) == (3, None, "missing")


@pytest.mark.parametrize("first_gone", [1, 4, 5])
def test_a_deleted_tail_is_named(five: str, first_gone: int) -> None:
    with unguarded() as forge:
        forge(
            "delete from audit_event where seq >= %s and stream_id = %s", first_gone, Stream.objects.get(name=five).pk
        )
    found = finding(five)
    assert (found.seq, found.reason) == (first_gone, "missing")


def test_a_deleted_tail_with_the_count_set_back_is_named(five: str) -> None:
    with unguarded() as forge:
        forge("delete from audit_event where id = %s", row(five, 5).pk)
        forge("update audit_stream set seq = 4 where name = %s", five)
    assert (finding(five).seq, finding(five).reason) == (4, "head")


def test_a_swapped_pair_is_named(five: str) -> None:
    second, third = row(five, 2), row(five, 3)
    with unguarded() as forge:
        forge("update audit_event set seq = 99 where id = %s", second.pk)
        forge("update audit_event set seq = 2 where id = %s", third.pk)
        forge("update audit_event set seq = 3 where id = %s", second.pk)
    found = finding(five)
    assert (found.seq, found.event_id, found.reason) == (2, third.pk, "reordered")
    assert "event 3" in found.detail


def test_an_event_that_the_stream_does_not_list_is_named(five: str) -> None:
    last = row(five, 5)
    body = last.body.replace('"seq":5', '"seq":6')
    with unguarded() as forge:
        forge(
            "insert into audit_event (tenant_id, stream_id, seq, type, at, actor_kind, actor_id, run_id, subject_kind, "
            "subject_id, tool, body, hash) select tenant_id, stream_id, 6, type, at, actor_kind, actor_id, run_id, "
            "subject_kind, subject_id, tool, %s, %s from audit_event where id = %s",
            body.encode(),
            link(bytes(last.hash), body),
            last.pk,
        )
    assert (finding(five).seq, finding(five).reason) == (6, "unlisted")


def test_an_event_moved_from_another_tenants_stream_is_named(acme: Tenant, globex: Tenant) -> None:
    for tenant in (acme, globex):
        with tenant_scope(tenant):
            append_some("run:1", 1)
    with tenant_scope(globex):
        foreign = row("run:1", 1)
    with tenant_scope(acme):
        with unguarded() as forge:
            forge(
                "update audit_event set body = %s, hash = %s where id = %s",
                foreign.body.encode(),
                foreign.hash,
                row("run:1", 1).pk,
            )
        assert finding("run:1").reason == "altered"


@pytest.mark.parametrize("body", ["", "null", "[1]", "{", "{}", '{"v":1}', "[" * 100_000])
def test_a_text_that_is_not_an_event_any_more_is_named_with_a_matching_hash_too(five: str, body: str) -> None:
    before, event = row(five, 2), row(five, 3)
    with unguarded() as forge:
        forge(
            "update audit_event set body = %s, hash = %s where id = %s",
            body.encode(),
            link(bytes(before.hash), body),
            event.pk,
        )
    found = finding(five)
    assert (found.seq, found.event_id, found.reason, "body" in found.detail) == (3, event.pk, "column", True)


def test_the_same_meaning_in_another_spelling_is_named(five: str) -> None:
    before, last = row(five, 4), row(five, 5)
    body = last.body.replace(":", ": ", 1)
    digest = link(bytes(before.hash), body)
    with unguarded() as forge:
        forge("update audit_event set body = %s, hash = %s where id = %s", body.encode(), digest, last.pk)
        forge("update audit_stream set head = %s where name = %s", digest, five)
    assert (finding(five).seq, finding(five).reason) == (5, "column")


def test_a_range_is_walked_from_the_hash_before_it(five: str) -> None:
    assert verify_stream(five, start=3, stop=4).events == 2
    with unguarded() as forge:
        forge("update audit_event set body = %s where id = %s", flip(row(five, 2)).encode(), row(five, 2).pk)
    assert verify_stream(five, start=3).intact
    assert not verify_stream(five, start=2, stop=2).intact


def test_every_broken_stream_of_a_tenant_is_reported_once(scoped: Tenant) -> None:
    for name in ("run:1", "run:2", "run:3"):
        append_some(name, 3)
    with unguarded() as forge:
        for name in ("run:1", "run:3"):
            forge("update audit_event set body = %s where id = %s", flip(row(name, 2)).encode(), row(name, 2).pk)
    report = verify_tenant()
    assert [(found.stream, found.seq) for found in report.findings] == [("run:1", 2), ("run:3", 2)]
    assert report.streams == 4  # the tenant's own stream is one of them


@pytest.fixture
def verify() -> Callable[..., str]:
    def run(*args: str) -> str:
        out = StringIO()
        call_command("audit_verify", *args, stdout=out)
        return out.getvalue()

    return run


def test_the_command_says_what_is_proven(acme: Tenant, globex: Tenant, verify: Callable[..., str]) -> None:
    assert verify() == ("acme: 1 events proven in 1 streams, intact\nglobex: 1 events proven in 1 streams, intact\n")


def test_the_command_fails_and_names_the_event(acme: Tenant, globex: Tenant, verify: Callable[..., str]) -> None:
    with tenant_scope(acme):
        append_some("run:1", 3)
        event = row("run:1", 2)
        with unguarded() as forge:
            forge("update audit_event set body = %s where id = %s", flip(event).encode(), event.pk)
    out = StringIO()
    with pytest.raises(CommandError) as caught:
        call_command("audit_verify", stdout=out)
    assert caught.value.returncode == 1
    assert f"acme: run:1 event 2 (id {event.pk}): altered." in out.getvalue()
    assert "globex: 1 events proven in 1 streams, intact" in out.getvalue()
    assert "intact" in verify("--tenant", "globex")
    with pytest.raises(CommandError, match="no tenant nowhere"):
        verify("--tenant", "nowhere")


@given(st.binary(max_size=40), st.text(st.characters(exclude_categories=["Cs"]), max_size=40), st.integers(0, 300))
def test_one_changed_bit_of_a_text_changes_its_hash(previous: bytes, body: str, position: int) -> None:
    raw = body.encode() or b"x"
    changed = bytearray(raw)
    changed[position % len(raw)] ^= 1 << position % 7
    if bytes(changed).decode("utf-8", "replace").encode() == bytes(changed):
        assert link(previous, bytes(changed).decode()) != link(previous, raw.decode())


@pytest.mark.django_db(transaction=True)
def test_several_processes_find_what_one_finds(acme: Tenant, globex: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("the test database is in memory, where no other process sees it")
    monkeypatch.setattr(walking, "_TOGETHER", 2)
    monkeypatch.setattr(walking, "_SPAN", 2)
    with tenant_scope(acme):
        for number in range(7):
            append_some(f"run:{number}", 3)
        event = row("run:5", 2)
        with unguarded() as forge:
            forge("update audit_event set body = %s where id = %s", flip(event).encode(), event.pk)
    alone = list(verify_tenants([acme, globex], processes=1))
    together = list(verify_tenants([acme, globex], processes=3))
    assert together == alone
    assert [found.event_id for found in together[0][1].findings] == [event.pk]
    assert [report.events for _, report in together] == [1 + 6 * 3 + 1, 1]


@pytest.mark.parametrize("streams", [1, 2, 7, 100])
def test_every_stream_is_in_one_span(streams: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walking, "_SPAN", 3)
    for ids in (range(10, 10 + streams), range(5, 5 + 40 * streams, 40)):
        spans = walking._spans(1, streams, ids[0], ids[-1])
        for pk in ids:
            assert sum(first <= pk and (end is None or pk < end) for _, first, end in spans) == 1


def test_a_long_stream_is_read_by_pages(scoped: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, count in (("run:1", 7), ("run:2", 2), ("run:3", 6)):
        append_some(name, count)
    monkeypatch.setattr(rows, "PAGE", 3)
    monkeypatch.setattr(walking, "_EVENTS", 5)
    monkeypatch.setattr(walking, "_MOST", 6)
    assert verify_tenant().events == 16
    with unguarded() as forge:
        for name, seq in (("run:1", 4), ("run:3", 6)):
            forge("update audit_event set body = %s where id = %s", flip(row(name, seq)).encode(), row(name, seq).pk)
    found = verify_tenant()
    assert [(one.stream, one.seq) for one in found.findings] == [("run:1", 4), ("run:3", 6)]
    assert found.events == 1 + 3 + 2 + 5


def test_more_rows_than_streams_list_are_read_by_pages_too(scoped: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    append_some("run:1", 9)
    append_some("run:2", 2)
    with unguarded() as forge:
        forge("update audit_stream set seq = 1 where name = %s", "run:1")
    monkeypatch.setattr(walking, "_MOST", 8)
    monkeypatch.setattr(rows, "PAGE", 2)
    found = verify_tenant()
    assert [(one.stream, one.reason) for one in found.findings] == [("run:1", "head")]
    assert found.events == 1 + 0 + 2


STORED = st.recursive(
    st.none() | st.booleans() | st.integers(1 - 2**53, 2**53 - 1) | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.data())
def test_what_is_proven_at_a_glance_is_what_the_long_look_finds_nothing_wrong_with(data: st.DataObject) -> None:
    """Change any part of a row and of its text, with a hash that matches; yes is said only where all is as written."""
    envelope: dict[str, Any] = {
        "v": data.draw(st.sampled_from([1, 2])),
        "tenant": "acme",
        "stream": "run:1",
        "seq": 4,
        "ts": "2026-11-26T06:00:00.000120Z",
        "type": "run.step",
        "actor": {
            "kind": "user",
            "id": "7",
            "name": data.draw(st.sampled_from(["\u00e9", "x},", 'x},"data":1', "\U0001f600"])),
            "roles": data.draw(st.sampled_from([[], ["operator"], [{"a": {}, "b": 1}]])),
        },
        "subject": data.draw(st.sampled_from([None, {"kind": "step", "id": "1"}])),
        "run": data.draw(st.sampled_from([None, "01920000-0000-7000-8000-000000000001"])),
        "tool": "",
    }
    if data.draw(st.booleans()):
        envelope |= {"data": data.draw(STORED)}
    if data.draw(st.booleans()):
        envelope |= {"events": data.draw(st.lists(st.just({"data": {}}), max_size=2) | STORED), "headline": 0}
    for name in data.draw(st.lists(st.sampled_from(["aa", "dat", "evil", "sea", "w"]), max_size=1)):
        envelope[name] = {}
    for name in data.draw(st.lists(st.sampled_from(sorted(envelope)), max_size=1)):
        envelope[name] = data.draw(STORED)
    spelled = data.draw(st.sampled_from(["sorted", "as it is", "spaced"]))
    text = json.dumps(
        envelope,
        ensure_ascii=False,
        sort_keys=spelled != "as it is",
        separators=(", ", ":") if spelled == "spaced" else (",", ":"),
    )
    try:
        head, plain = b"h" * 32, text.encode()
    except UnicodeEncodeError:
        return
    moment = datetime(2026, 11, 26, 6, 0, 0, data.draw(st.sampled_from([120, 121])), UTC)
    at = (moment - rows.EPOCH) // timedelta(microseconds=1)
    run = data.draw(st.sampled_from([None, "01920000-0000-7000-8000-000000000001"]))
    kind, about = data.draw(st.sampled_from([("", ""), ("step", "1"), ("step", "2")]))
    stored = data.draw(st.sampled_from([plain, pack(text)]))
    raw = (1, 1, 4, "run.step", at, "user", "7", run, kind, about, "", stored, link(head, text))
    seq = data.draw(st.sampled_from([1, 2, 3]))
    if proven(raw, "acme", "run:1", seq, head):
        parsed = walking._parse(text)
        assert parsed is not None
        assert seq == 4 - walking._held(parsed)
        assert text == rfc8785.dumps(json.loads(text)).decode()
        copies = columns(parsed)
        assert (copies["type"], copies["at"], parsed["seq"]) == ("run.step", moment, 4)
        assert (copies["actor_kind"], copies["actor_id"], copies["tool"]) == ("user", "7", "")
        assert (copies["subject_kind"], copies["subject_id"]) == (kind, about)
        assert copies["run_id"] == (UUID(run) if run else None)
        assert (parsed["tenant"], parsed["stream"]) == ("acme", "run:1")


def test_what_is_written_is_proven_at_a_glance(scoped: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    run, people = uuid4(), [SYSTEM, Actor.user(User(pk=7, username="zoë@acme.example"), ["admin", "operator"])]
    for actor in people:
        with transaction.atomic():
            told: list[NewEvent | Packed] = [
                NewEvent("run.noted", {"text": 'a "quoted"\n text},"data":', "count": -3, "none": None, "é": [True]}),
                NewEvent(
                    "call.failed", {}, ("call", '1."x".0'), tool="mail.send", at=datetime(1969, 12, 31, tzinfo=UTC)
                ),
                packed(1),
            ]
            append(f"run:{run}", told, actor=actor, run_id=run)
            append("tenant", told, actor=actor)
    monkeypatch.setattr(walking._Walk, "_thoroughly", lambda _, raw: pytest.fail(f"looked at again: {raw}"))
    report = verify_tenant()
    assert (report.findings, report.events) == ((), 1 + 2 * 2 * 5)


@pytest.mark.skipif(connection.vendor == "postgresql", reason="PostgreSQL lets nothing but texts stand there")
@pytest.mark.parametrize("column", ["type", "actor_kind", "actor_id", "subject_kind", "subject_id", "tool"])
def test_bytes_in_the_place_of_a_text_are_named(five: str, column: str) -> None:
    event = row(five, 4)
    with unguarded() as forge:
        forge(f"update audit_event set {column} = cast({column} as blob) where id = %s", event.pk)
    found = finding(five)
    assert (found.seq, found.event_id, found.reason) == (4, event.pk, "column")
    assert column in found.detail


TRIALS = int(os.environ.get("TAMPER_TRIALS", "30"))


def test_whatever_is_changed_removed_or_swapped_is_found_and_named(scoped: Tenant) -> None:
    """`TAMPER_TRIALS=1000` for the long form."""
    rng = random.Random("tampering")
    for number in range(12):
        with transaction.atomic():
            append(f"run:{number}", [packed(n) for n in range(rng.randint(2, 6))], actor=SYSTEM)
    rows = list(Event.objects.exclude(stream__name="tenant").select_related("stream").order_by("pk"))
    with unguarded() as forge:
        for _ in range(TRIALS):
            victim = rng.choice(rows)
            mine = sorted((one for one in rows if one.stream_id == victim.stream_id), key=lambda one: one.seq)
            place = mine.index(victim)
            with transaction.atomic():
                mark = transaction.savepoint()
                first = victim
                match rng.choice(["byte", "delete", "swap"]):
                    case "byte":
                        stored = bytearray(pack(victim.body))
                        stored[rng.randrange(len(stored))] ^= 1 << rng.randrange(8)
                        forge("update audit_event set body = %s where id = %s", bytes(stored), victim.pk)
                    case "delete":
                        forge("delete from audit_event where id = %s", victim.pk)
                    case "swap":
                        other = mine[place - 1] if place else mine[1]
                        first = min(victim, other, key=lambda one: one.seq)
                        for pk, seq in ((victim.pk, 10_000), (other.pk, victim.seq), (victim.pk, other.seq)):
                            forge("update audit_event set seq = %s where id = %s", seq, pk)
                [found] = verify_tenant().findings
                before = mine[mine.index(first) - 1].seq if mine.index(first) else 0
                assert found.stream == first.stream.name
                assert before < found.seq <= first.seq
                transaction.savepoint_rollback(mark)
    assert not verify_tenant().findings


def packed(number: int) -> Packed:
    members = [NewEvent("call.selected", {"number": number, "member": n}, ("call", f"1.{number}")) for n in range(3)]
    return Packed(tuple(members), headline=1)
