"""Copies and by-products have periods, too: imported records, failed trials, exported files."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from agentops.audit.models import Export
from agentops.audit.removals import STREAM
from agentops.audit.services import load
from agentops.regression.models import Case, CaseResult, ImportedRun, SuiteRun
from agentops.retention import removal
from agentops.retention.models import Hold, Pass
from agentops.retention.services import Wanted, place_hold
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.wire.ids import uuid7
from tests.retention.conftest import old_run, remove_all
from tests.retention.test_removal import NOTE


def imported(days: int, by: User | None = None) -> ImportedRun:
    moment = timezone.now() - timedelta(days=days)
    return ImportedRun.objects.create(digest=f"{days}", body="{}", imported_at=moment, imported_by=by)


def failed_trial(days: int) -> CaseResult:
    moment = timezone.now() - timedelta(days=days)
    run = SuiteRun.objects.create(
        suite="s", release="r", repeat=1, verdict="failed", summary={}, started_at=moment, ended_at=moment
    )
    return CaseResult.objects.create(suite_run=run, slug=f"c{days}", title="c", passes=0, trials=1, record="{}")


def test_imports_and_trials_go_after_a_year_and_verdicts_stay(scoped: Tenant) -> None:
    for days in (364, 366):
        imported(days)
        failed_trial(days)
    remove_all()
    assert [row.digest for row in ImportedRun.objects.all()] == ["364"]
    assert dict(CaseResult.objects.values_list("slug", "record")) == {"c364": "{}", "c366": ""}
    told = {one.data["class"]: one.data["records"] for one in load(STREAM)}
    assert told["imports"] == ["366"]
    assert [one.rpartition("/")[2] for one in told["trials"]] == ["c366"]


def test_what_is_held_stays(scoped: Tenant, admin: Actor, bob: User) -> None:
    imported(400, bob)
    imported(401)
    failed_trial(500)
    now = timezone.now()
    wanted = Wanted("period", since=now - timedelta(days=501), until=now - timedelta(days=499))
    assert isinstance(place_hold(wanted=wanted, matter="M", reason=NOTE, actor=admin), Hold)
    assert isinstance(place_hold(wanted=Wanted("person", person="bob"), matter="M", reason=NOTE, actor=admin), Hold)
    remove_all()
    assert [row.digest for row in ImportedRun.objects.all()] == ["400"]
    assert CaseResult.objects.get().record == "{}"
    assert {one.record_class: one.held for one in Pass.objects.all()}["imports"] == 1


@pytest.mark.not_replayed("what its run did is written by hand")
def test_holds_on_runs_proposals_and_people_keep_copies_and_trials_too(scoped: Tenant, admin: Actor, bob: User) -> None:
    held, proposal = old_run(1), uuid7()
    place_hold(wanted=Wanted("run", run_id=held.pk), matter="M", reason=NOTE, actor=admin)
    place_hold(wanted=Wanted("person", person="bob"), matter="M", reason=NOTE, actor=admin)
    Hold.objects.create(
        kind="proposal",
        run_id=uuid7(),
        proposal_id=proposal,
        matter="M",
        reason=NOTE,
        placed_by=bob,
        placed_at=timezone.now(),
    )
    told: list[dict[str, str]] = [{"source": f"acme {held.pk}"}, {"body": f'{{"proposal":"{proposal}"}}'}, {}]
    for number, about in enumerate(told):
        ImportedRun.objects.filter(pk=imported(400 + number).pk).update(**about)
    trials = [failed_trial(500 + number) for number in range(6)]
    SuiteRun.objects.filter(pk=trials[0].suite_run_id).update(started_by=bob)
    CaseResult.objects.filter(pk=trials[1].pk).update(record=f'{{"run":"{held.pk}"}}')
    froms: tuple[dict[str, Any], ...] = ({"source_run": held.pk}, {"source_proposal": proposal}, {"created_by": bob})
    for one, source in zip(trials[2:5], froms, strict=True):
        now = timezone.now()
        Case.objects.create(suite="s", slug=one.slug, task_type="t", title="t", source="run", created_at=now, **source)
    remove_all()
    assert {row.digest for row in ImportedRun.objects.all()} == {"400", "401"}
    assert [bool(one.record) for one in CaseResult.objects.order_by("pk")] == [True] * 5 + [False]
    found = {one.record_class: one.held for one in Pass.objects.all()}
    assert (found["imports"], found["trials"]) == (2, 5)


def test_exported_files_go_after_a_week(scoped: Tenant, bob: User) -> None:
    for days in (6, 8):
        moment = timezone.now() - timedelta(days=days)
        Export.objects.create(
            format="csv", requested_by=bob, requested_at=moment, upto=0, expires_at=moment + timedelta(days=30)
        )
    remove_all()
    assert Export.objects.count() == 1


def test_a_class_that_breaks_does_not_hold_up_the_others(scoped: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> removal.Piece:
        raise RuntimeError

    monkeypatch.setitem(removal._WORK, "bodies", broken)
    imported(400)
    remove_all()
    assert not ImportedRun.objects.exists()


def test_at_rest_a_sweep_asks_one_question(scoped: Tenant, django_assert_num_queries: object) -> None:
    now = timezone.now()
    remove_all(now)
    with django_assert_num_queries(1):  # type: ignore[operator]
        removal.go_on(now + timedelta(hours=1))
