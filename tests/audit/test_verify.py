"""Whatever a forger with full access changes in a stream, the first bad event is named."""

import os
import random
from collections.abc import Callable
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from agentops.audit import verify as walking
from agentops.audit.models import Event, Stream, link
from agentops.audit.packing import pack
from agentops.audit.services import NewEvent, Packed, append
from agentops.audit.verify import Finding, verify_stream, verify_tenant
from agentops.tenancy.access import SYSTEM
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
    assert stored[0] == 1, "it is stored packed"
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
def test_several_processes_find_what_one_finds(acme: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("the test database is in memory, where no other process sees it")
    monkeypatch.setattr(walking, "_TOGETHER", 2)
    with tenant_scope(acme):
        for number in range(7):
            append_some(f"run:{number}", 3)
        event = row("run:5", 2)
        with unguarded() as forge:
            forge("update audit_event set body = %s where id = %s", flip(event).encode(), event.pk)
        alone, together = verify_tenant(), verify_tenant(processes=3)
    assert together == alone
    assert [found.event_id for found in together.findings] == [event.pk]


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
