"""What is dressed up as removal is found, and what removal must not take stays: clocks, late events, who has left."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from agentops.audit.models import Event, RemovedSegment, Stream
from agentops.audit.removals import STREAM, TYPE, described, newest_removals
from agentops.audit.services import NewEvent, append
from agentops.audit.verify import verify_stream, verify_tenant
from agentops.payloads.models import Payload, RemovedText
from agentops.retention.models import Pass
from agentops.retention.services import change_periods
from agentops.runs.models import Run
from agentops.runs.recording import stream_of
from agentops.tenancy.access import SYSTEM, WORKER, Actor
from agentops.tenancy.models import Membership, Tenant
from tests.audit.conftest import unguarded
from tests.retention.conftest import old_run, remove_all, written
from tests.retention.test_removal import NOTE, SHORTEST, hold, short, streams_left

__all__ = ["short"]
pytestmark = pytest.mark.not_replayed("what its runs did is written by hand")


def findings() -> dict[str, str]:
    return {one.stream: one.reason for one in verify_tenant().findings}


# --- tampering dressed up as removal ----------------------------------------------------------------------------------


def test_a_text_that_is_gone_without_an_event_that_tells_of_it_is_damage(scoped: Tenant) -> None:
    run = old_run(300, text="a")
    [text] = Payload.objects.all()
    with unguarded():
        RemovedText.objects.create(
            sha256=text.sha256,
            payload_id=text.pk,
            size=text.size,
            stored_at=text.created_at,
            removed_at=timezone.now(),
            event_id=Event.objects.order_by("-pk")[0].pk,
        )
        text.delete()
    assert findings() == {stream_of(run.pk): "payload"}


def test_a_text_that_came_again_after_its_removal_is_missed_when_it_is_gone(short: Tenant, admin: Actor) -> None:
    change_periods(days={**SHORTEST, "record": 2_557}, note=NOTE, actor=admin)
    old, young = old_run(300, text="a"), old_run(1)
    remove_all()
    assert verify_tenant().findings == ()
    written(young.pk, timezone.now() + timedelta(minutes=1), text="a")
    assert verify_tenant().findings == ()
    with unguarded():
        Payload.objects.all().delete()
    assert findings() == {stream_of(young.pk): "payload"}
    assert stream_of(old.pk) in streams_left()


def test_the_stream_that_tells_of_removals_cannot_be_said_to_be_removed(scoped: Tenant) -> None:
    old = timezone.now() - timedelta(days=400)
    with transaction.atomic():
        append(STREAM, [NewEvent(TYPE, {"class": "record", "segments": []})], actor=SYSTEM, at=old)
    stream = Stream.objects.get(name=STREAM)
    [first] = Event.objects.filter(stream=stream)
    segment = RemovedSegment(
        stream=stream,
        upto=1,
        events=1,
        hash=bytes(stream.head),
        newest_at=first.at,
        removed_at=timezone.now(),
    )
    with unguarded():
        with transaction.atomic():
            data: Any = {"class": "record", "segments": [described(segment)]}
            append(STREAM, [NewEvent(TYPE, data)], actor=SYSTEM)
        segment.event_id = Event.objects.get(stream=stream, seq=2).pk
        segment.save()
        first.delete()
    assert findings() == {STREAM: "missing"}


@pytest.mark.parametrize("stop", [None, 1, 2])
def test_a_row_in_the_place_of_a_removed_one_is_found(short: Tenant, stop: int | None) -> None:
    run = old_run(300)
    rows = list(Event.objects.filter(stream__name=stream_of(run.pk)).order_by("seq"))
    remove_all()
    Event.objects.bulk_create([rows[0]])
    finding = verify_stream(stream_of(run.pk), stop=stop).finding
    assert finding is not None
    assert (finding.seq, finding.event_id, finding.reason) == (1, rows[0].pk, "unlisted")


@pytest.mark.parametrize("whole", [True, False])
def test_a_removal_while_the_record_is_walked_is_no_tampering(
    short: Tenant, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    run, other = old_run(300), old_run(10)
    monkeypatch.setattr("agentops.audit.verify.newest_removals", Once(newest_removals, before=whole))
    if whole:
        report = verify_tenant()
        assert (report.findings, report.removed) == ((), 2)
    else:
        assert verify_stream(stream_of(run.pk)).finding is None
    assert streams_left() & {stream_of(run.pk), stream_of(other.pk)} == {stream_of(other.pk)}


class Once:
    """Has retention come by when something is called for the first time, right before or right after it."""

    def __init__(self, real: Any, *, before: bool) -> None:
        self.real = real
        self.before = before
        self.came = False

    def __call__(self, *args: Any) -> Any:
        if self.came:
            return self.real(*args)
        self.came = True
        if self.before:
            remove_all()
            return self.real(*args)
        found = self.real(*args)
        remove_all()
        return found


# --- what must not go -------------------------------------------------------------------------------------------------


def test_a_clock_that_runs_ahead_removes_nothing_early(scoped: Tenant, admin: Actor) -> None:
    """The usual periods, and a worker whose clock is six years ahead."""
    run = old_run(400, text="a")
    change = {"record": 2_557, "bodies": 2_557, "trials": 365, "imports": 365, "exports": 7}
    change_periods(days=change, note=NOTE, actor=admin)
    remove_all(timezone.now() + timedelta(days=2_300))
    assert stream_of(run.pk) in streams_left()
    assert Payload.objects.count() == 1


def test_a_late_event_in_a_held_time_keeps_its_run_and_holds_nothing_else_up(short: Tenant, admin: Actor) -> None:
    late, free = old_run(400), old_run(399)
    moment = timezone.now() - timedelta(days=250)
    with transaction.atomic():
        append(stream_of(late.pk), [NewEvent("plan.failed", {})], actor=WORKER, run_id=late.pk, at=moment)
    hold(admin, kind="period", since=moment - timedelta(days=1), until=moment + timedelta(days=1))
    remove_all()
    assert stream_of(late.pk) in streams_left()
    assert stream_of(free.pk) not in streams_left()
    assert Pass.objects.get(record_class="record").held == 1


def test_a_text_from_before_its_uses_were_noted_stays_as_long_as_a_run_that_names_it(short: Tenant) -> None:
    old_run(300, text="a")
    young = old_run(100, text="a")
    with unguarded():
        Payload.objects.update(used_at=None)
    remove_all()
    assert Payload.objects.count() == 1
    Run.objects.filter(pk=young.pk).update(ended_at=timezone.now() - timedelta(days=290))
    Pass.objects.all().delete()
    remove_all()
    assert not Payload.objects.exists()


def test_somebody_who_has_left_can_be_held(short: Tenant, admin: Actor, bob: User) -> None:
    decided, free = old_run(300, decided_by=bob), old_run(301)
    Membership.objects.filter(user=bob).delete()
    hold(admin, kind="person", person="bob")
    remove_all()
    assert stream_of(decided.pk) in streams_left()
    assert stream_of(free.pk) not in streams_left()
