"""Suites that people run from the site: asked for, taken up, bounded, stopped, and decided by their rules."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.test import Client
from django.utils import timezone

from agentops import clock
from agentops.audit.services import TENANT_STREAM, load, record_in_tenant_stream
from agentops.changes.outcomes import Proposed
from agentops.regression import rehearsing, runner
from agentops.regression.models import Case, CaseResult, Rehearsal, Rules, SuiteRun
from agentops.regression.rehearsing import Asked, ask, stop, work_off
from agentops.regression.services import pin_rules, promote_run
from agentops.runs.models import TaskType
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.worker import sweeper
from approvals.permits import policies
from tests.approvals.threads import at_once
from tests.conftest import person
from tests.regression.conftest import Shop
from tests.shop import open_shop
from tools.allowing import Wish, change
from tools.allowlist import AllowlistRule, AllowlistState
from tools.backoffice.models import Refund

SUITE = "goodwill-refund"
NOTE = "A reason that is long enough."
DENY = """
policy: 1
rules:
  - {id: no-refunds, when: call.tool == 'shop.issue_refund', effect: deny, because: None of them any more.}
"""


@pytest.fixture
def enzo(acme: Tenant) -> Actor:
    """Return an engineer."""
    return Actor.user(person("enzo", acme, "engineer"), ["engineer"])


@pytest.fixture
def case(acme: Tenant, bob: User, enzo: Actor, actor_of: Any) -> Case:
    """Return a case that passes."""
    with tenant_scope(acme):
        open_shop(acme)
        run = Shop(acme, actor_of(bob, acme)).run()
        return promote_run(run=run, actor=enzo).case


def asked(tenant: Tenant, actor: Actor, **fields: Any) -> Any:
    with tenant_scope(tenant):
        return ask(**{"suite": SUITE, "release": "1.1", "repeat": 1, "actor": actor, **fields})


def told(tenant: Tenant, prefix: str) -> list[str]:
    with tenant_scope(tenant):
        return [one.type for one in load(TENANT_STREAM) if one.type.startswith(prefix)]


def shown(tenant: Tenant) -> list[str]:
    with tenant_scope(tenant):
        return list(SuiteRun.objects.order_by("started_at").values_list("verdict", flat=True))


# --- from a request to a result ---------------------------------------------------------------------------------------


def test_a_worker_runs_what_was_asked_for_and_keeps_what_it_shows(acme: Tenant, case: Case, enzo: Actor) -> None:
    assert isinstance(asked(acme, enzo, repeat=3), Asked)
    assert work_off(acme) == 1
    assert work_off(acme) == 0
    with tenant_scope(acme):
        row = Rehearsal.objects.get()
        kept = SuiteRun.objects.get()
        assert (row.state, row.done, row.trials, row.suite_run_id) == ("done", 3, 3, kept.pk)
        assert (kept.verdict, kept.repeat, kept.release, kept.started_by_id) == ("passed", 3, "1.1", enzo.user_id)
        assert CaseResult.objects.get().passes == 3
        assert Refund.objects.count() == 1  # the recorded run's own
    assert told(acme, "suite.") == ["suite.asked", "suite.run"]


def test_the_next_release_is_compared_with_the_one_before(acme: Tenant, case: Case, enzo: Actor) -> None:
    for release in ("1.0", "1.1"):
        asked(acme, enzo, release=release)
        work_off(acme)
    with tenant_scope(acme):
        newest = SuiteRun.objects.order_by("-started_at")[0]
        assert newest.baseline is not None
        assert newest.baseline.release == "1.0"
        assert newest.summary["comparison"]["verdict"] == "no clear difference"


def test_the_sweep_has_it_run_in_a_thread_of_its_own(
    acme: Tenant, case: Case, enzo: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []

    def begin(tenant_id: int) -> bool:
        begun.append(tenant_id)
        return True

    monkeypatch.setattr(rehearsing._thread, "begin", begin)
    with tenant_scope(acme):
        assert not rehearsing.take_up(timezone.now())
    asked(acme, enzo)
    sweeper.sweep_tenant(acme, timezone.now())
    assert begun == [acme.pk]


# --- bounds -----------------------------------------------------------------------------------------------------------


def test_a_suite_is_under_way_once_and_the_day_has_an_end(
    acme: Tenant, case: Case, enzo: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert asked(acme, enzo, suite="nothing").code == "no_suite"
    monkeypatch.setattr(rehearsing, "TRIALS", 2)
    assert asked(acme, enzo, repeat=3).code == "trials"
    monkeypatch.setattr(rehearsing, "TRIALS_A_DAY", 3)
    assert isinstance(asked(acme, enzo, repeat=2), Asked)
    assert asked(acme, enzo).code == "under_way"
    work_off(acme)
    assert asked(acme, enzo, repeat=2).code == "day"
    later = timezone.now() + timedelta(days=1, minutes=1)
    assert isinstance(asked(acme, enzo, repeat=2, now=later), Asked)
    monkeypatch.setattr(rehearsing, "AT_ONCE", 1)
    with tenant_scope(acme):
        Case.objects.create(
            suite="other",
            slug="o",
            task_type=case.task_type,
            title="o",
            body=case.body,
            source="file",
            created_at=later,
        )
    assert asked(acme, enzo, suite="other", now=later + timedelta(days=2)).code == "at_once"
    with pytest.raises(ValueError, match="1 to 10"):
        asked(acme, enzo, repeat=11)


def test_only_engineers_and_admins_ask_and_stop(
    acme: Tenant, case: Case, enzo: Actor, bob: User, actor_of: Any
) -> None:
    operator = actor_of(bob, acme)
    with pytest.raises(PermissionDenied):
        asked(acme, operator)
    row = asked(acme, enzo).rehearsal
    with tenant_scope(acme), pytest.raises(PermissionDenied):
        stop(rehearsal_id=row.pk, actor=operator)


def test_another_tenants_suite_is_not_there(acme: Tenant, globex: Tenant, case: Case, enzo: Actor) -> None:
    other = Actor.user(person("gina", globex, "engineer"), ["engineer"])
    assert asked(globex, other).code == "no_suite"
    row = asked(acme, enzo).rehearsal
    with tenant_scope(globex):
        assert not stop(rehearsal_id=row.pk, actor=other)
    assert work_off(globex) == 0


def test_stopped_before_or_while_it_runs_nothing_is_kept(
    acme: Tenant, case: Case, enzo: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = asked(acme, enzo).rehearsal
    with tenant_scope(acme):
        assert stop(rehearsal_id=row.pk, actor=enzo)
        assert not stop(rehearsal_id=row.pk, actor=enzo)
    assert work_off(acme) == 0
    second = asked(acme, enzo, repeat=3).rehearsal
    run = runner.Runner.run

    def stopping(self: Any, *args: Any, **kwargs: Any) -> Any:
        found = run(self, *args, **kwargs)
        with tenant_scope(acme):
            stop(rehearsal_id=second.pk, actor=enzo)
        return found

    monkeypatch.setattr(runner.Runner, "run", stopping)
    assert work_off(acme) == 1
    assert shown(acme) == []
    with tenant_scope(acme):
        assert Rehearsal.objects.get(pk=second.pk).state == "cancelled"


def test_a_worker_that_died_is_followed_by_another_and_three_are_enough(acme: Tenant, case: Case, enzo: Actor) -> None:
    row = asked(acme, enzo).rehearsal
    now = timezone.now()
    for number in range(3):
        moment = now + number * timedelta(minutes=3)
        claimed = rehearsing._claim(acme, moment)
        assert claimed is not None
        assert rehearsing._claim(acme, moment) is None
        if number == 0:
            rehearsing._run(acme, claimed)  # it was only slow: what it shows is kept
            break
    assert shown(acme) == ["passed"]
    again = asked(acme, enzo).rehearsal
    with tenant_scope(acme):
        Rehearsal.objects.filter(pk=again.pk).update(state="running", attempts=3, lease_until=now - timedelta(hours=1))
    assert work_off(acme) == 0
    with tenant_scope(acme):
        again.refresh_from_db()
        assert again.state == "failed"
        assert "none came back" in again.problem
    assert row.pk != again.pk


def test_a_slow_worker_that_was_replaced_keeps_nothing(acme: Tenant, case: Case, enzo: Actor) -> None:
    asked(acme, enzo)
    now = timezone.now()
    slow = rehearsing._claim(acme, now)
    other = rehearsing._claim(acme, now + timedelta(minutes=3))
    assert slow is not None
    assert other is not None
    rehearsing._run(acme, slow)
    assert shown(acme) == []
    rehearsing._run(acme, other)
    assert shown(acme) == ["passed"]


def test_a_suite_that_cannot_be_run_says_why(acme: Tenant, case: Case, enzo: Actor) -> None:
    row = asked(acme, enzo).rehearsal
    with tenant_scope(acme):
        Case.objects.filter(pk=case.pk).update(task_type="gone")
    work_off(acme)
    with tenant_scope(acme):
        row.refresh_from_db()
        assert (row.state, "no task type gone" in row.problem) == ("failed", True)
    assert told(acme, "suite.") == ["suite.asked", "suite.not_run"]


# --- the rules a case is decided by -----------------------------------------------------------------------------------


def deny_refunds(tenant: Tenant) -> None:
    """Publish a policy that denies them."""
    first, second = (Actor.user(person(name, tenant, "admin"), ["admin"], clock.now()) for name in ("ada", "adam"))
    with tenant_scope(tenant):
        proposed = policies.propose(text=DENY, effective_at=None, note=NOTE, actor=first)
        assert isinstance(proposed, Proposed), proposed
        policies.decide(version_id=proposed.change_id, verdict="approve", note="", actor=second)


def test_a_case_is_decided_by_the_policy_it_was_promoted_under(acme: Tenant, case: Case, enzo: Actor) -> None:
    deny_refunds(acme)
    asked(acme, enzo, release="1.0")
    work_off(acme)
    assert shown(acme) == ["passed"]
    with tenant_scope(acme):
        assert case.rules is not None
        assert case.rules.policy_version == 0
        assert pin_rules(suite=SUITE, actor=enzo) == 1
        assert pin_rules(suite=SUITE, actor=enzo) == 0
        case.refresh_from_db()
        assert case.rules.policy_version == 1
    asked(acme, enzo, release="1.1")
    work_off(acme)
    assert shown(acme) == ["passed", "failed"]
    assert "suite.rules_pinned" in told(acme, "suite.")


def test_a_case_is_decided_by_the_allowlist_it_was_promoted_under(acme: Tenant, case: Case, enzo: Actor) -> None:
    admin = Actor.user(person("ada", acme, "admin"), ["admin"])
    with tenant_scope(acme):
        kind = TaskType.objects.get(slug=SUITE)
        denied = AllowlistRule("shop.issue_refund", AllowlistState.DENIED)
        change(wishes=[Wish(kind.pk, denied)], note=NOTE, actor=admin)
    asked(acme, enzo, release="1.0")
    work_off(acme)
    with tenant_scope(acme):
        pin_rules(suite=SUITE, actor=enzo)
        assert Rules.objects.count() == 2
    asked(acme, enzo, release="1.1")
    work_off(acme)
    assert shown(acme) == ["passed", "failed"]


def test_a_case_without_rules_of_its_own_is_decided_by_those_of_the_day(acme: Tenant, case: Case, enzo: Actor) -> None:
    with tenant_scope(acme):
        Case.objects.update(rules=None)
    deny_refunds(acme)
    asked(acme, enzo)
    work_off(acme)
    assert shown(acme) == ["failed"]


# --- the pages --------------------------------------------------------------------------------------------------------


def test_a_suite_is_run_stopped_and_compared_from_the_site(
    acme: Tenant, case: Case, enzo: Actor, bob: User, signed_in: Callable[[User], Client]
) -> None:
    engineer = signed_in(User.objects.get(username="enzo"))
    operator = signed_in(bob)
    home = "/t/acme/regression"
    page = engineer.get(home).content.decode()
    assert "Run it now" in page
    assert "Decided by: policy none" in page
    assert "Run it now" not in operator.get(home).content.decode()
    assert operator.post(f"{home}/rehearse", {"suite": SUITE, "repeat": 1}).status_code == 403
    assert engineer.post(f"{home}/rehearse", {"suite": SUITE, "repeat": 99}).status_code == 422
    assert engineer.post(f"{home}/rehearse", {"suite": "nothing", "repeat": 1}).status_code == 404
    assert engineer.get(f"{home}/compare").status_code == 200
    for release in ("1.0", "1.1"):
        answer = engineer.post(f"{home}/rehearse", {"suite": SUITE, "repeat": 2, "release": release})
        assert answer.status_code == 302
        assert "It waits for a worker." in engineer.get(answer["Location"]).content.decode()
        assert engineer.post(f"{home}/rehearse", {"suite": SUITE, "repeat": 1}).status_code == 409
        if release == "1.1":
            with tenant_scope(acme):
                Case.objects.update(body=case.body.replace('"succeeded"', '"cancelled"'))
        work_off(acme)
        assert "All 2 trials have been run" in engineer.get(answer["Location"]).content.decode()
    compared = engineer.get(f"{home}/compare").content.decode()
    assert "Too few cases differ" in compared
    assert "worse" in compared
    assert "0 of 2" in compared
    stopping = engineer.post(f"{home}/rehearse", {"suite": SUITE, "repeat": 1})
    assert engineer.post(f"{stopping['Location']}/stop").status_code == 302
    assert "It was stopped after 0 of 1 trials." in engineer.get(stopping["Location"]).content.decode()
    assert "was stopped after 0 of 1 trials" in engineer.get(home).content.decode()


def test_quarantine_is_seen_and_ended_on_the_page_of_suites(
    acme: Tenant, case: Case, enzo: Actor, signed_in: Callable[[User], Client]
) -> None:
    engineer = signed_in(User.objects.get(username="enzo"))
    day = (timezone.now() + timedelta(days=3)).date().isoformat()
    engineer.post(f"/t/acme/regression/cases/{case.pk}/quarantine", {"until": day, "reason": "flaky since 1.1"})
    page = engineer.get("/t/acme/regression").content.decode()
    assert "flaky since 1.1" in page
    assert "End the quarantine of" in page
    engineer.post(f"/t/acme/regression/cases/{case.pk}/quarantine", {"until": ""})
    assert "flaky since 1.1" not in engineer.get("/t/acme/regression").content.decode()


# --- two at once ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
def test_two_workers_and_two_people_at_once(acme: Tenant, case: Case, enzo: Actor) -> None:
    for number in range(5):
        answers = at_once([partial(asked, acme, enzo, release=str(number))] * 2)
        assert sorted(type(one).__name__ for one in answers) == ["Asked", "NotAsked"]
        now = timezone.now()
        claims = at_once([partial(rehearsing._claim, acme, now)] * 2)
        [claimed] = [one for one in claims if one is not None]
        rehearsing._run(acme, claimed)
    assert shown(acme) == ["passed"] * 5


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
def test_many_who_ask_at_once_stay_within_the_limits(
    acme: Tenant, case: Case, enzo: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"suite-{number}" for number in range(6)]
    with tenant_scope(acme):
        Case.objects.bulk_create(
            Case(
                suite=name,
                slug="c",
                task_type=case.task_type,
                title="c",
                body=case.body,
                source="file",
                created_at=timezone.now(),
            )
            for name in names
        )
    answers = at_once([partial(asked, acme, enzo, suite=name) for name in names])
    assert sum(isinstance(one, Asked) for one in answers) == rehearsing.AT_ONCE
    assert {one.code for one in answers if not isinstance(one, Asked)} == {"at_once"}
    with tenant_scope(acme):
        Rehearsal.objects.all().delete()
    monkeypatch.setattr(rehearsing, "TRIALS_A_DAY", 2)
    answers = at_once([partial(asked, acme, enzo, suite=name) for name in names])
    assert sum(isinstance(one, Asked) for one in answers) == 2


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
def test_who_asks_does_not_wait_for_who_stops(
    acme: Tenant, case: Case, enzo: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = asked(acme, enzo).rehearsal
    answers: list[Any] = []

    def ask_again() -> Any:
        with connection.cursor() as cursor:
            cursor.execute("set lock_timeout = '10s'")
        return asked(acme, enzo)

    def meanwhile(kind: str, *args: Any, **named: Any) -> Any:
        if kind == "suite.stopped":
            # The row is stopped, and nothing of that is committed.
            answers.extend(at_once([ask_again]))
        return record_in_tenant_stream(kind, *args, **named)

    monkeypatch.setattr(rehearsing, "record_in_tenant_stream", meanwhile)
    with tenant_scope(acme):
        assert stop(rehearsal_id=first.pk, actor=enzo)
    assert [one.code for one in answers] == ["under_way"]
    assert isinstance(asked(acme, enzo), Asked)
