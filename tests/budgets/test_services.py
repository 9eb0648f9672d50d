"""Reserve, settle, release: over all budgets that apply or none, each purpose once, and nothing is lost."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from agentops.audit.services import load
from agentops.budgets import services, snapshot
from agentops.budgets.measures import Measure
from agentops.budgets.models import Account, Budget, Reservation
from agentops.budgets.services import MAX_AMOUNT, Refused, announce, charge, release, settle, would_refuse
from agentops.runs.models import Run, TaskType
from agentops.tenancy.access import SYSTEM
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from tests.budgets.lab import NOW, account, books, budget, held, hold, reservations, run_row


@pytest.fixture
def kind(scoped: Tenant) -> TaskType:
    return TaskType.objects.create(slug="job", name="Job", input_schema={})


@pytest.fixture
def run(kind: TaskType) -> Run:
    return run_row(kind)


def events(type_: str) -> list[dict[str, object]]:
    return [event.data for event in load("tenant") if event.type == type_]


# --- without budgets -------------------------------------------------------------------------------------------------


def test_a_tenant_without_budgets_pays_nothing(run: Run) -> None:
    assert hold(run, "a", tokens=1) is None  # the first look of this second
    with CaptureQueriesContext(
        connection,
    ) as queries:
        for number in range(50):
            assert hold(run, f"call:{number}", tokens=10**12, cost_micros=10**12) is None
            assert would_refuse(task_type_id=run.task_type_id, amounts={Measure.TOKENS: 10**12}, now=NOW) is None
    assert len(queries) == 0
    assert not Reservation.objects.exists()


@pytest.fixture
def theirs(globex: Tenant) -> None:
    with tenant_scope(globex):
        budget(Measure.TOKENS, 1)


def test_budgets_of_other_measures_task_types_and_tenants_do_not_matter(theirs: None, run: Run) -> None:
    other = TaskType.objects.create(slug="other", name="Other", input_schema={})
    budget(Measure.TOKENS, 1, task_type=other)
    budget(Measure.TOOL_CALLS, 1)
    budget(Measure.TOKENS, 1, period="week", enabled=False)
    assert hold(run, "a", tokens=5) is None
    assert not Account.objects.exists()


# --- reserving -------------------------------------------------------------------------------------------------------


def test_what_is_set_aside_is_settled_with_what_was_spent(run: Run) -> None:
    tokens = budget(Measure.TOKENS, 100)
    one = held(run, "plan:1", tokens=60)
    assert books(tokens) == (60, 0)
    assert settle(one, {Measure.TOKENS: 45}, now=NOW)
    assert books(tokens) == (0, 45)
    assert reservations(run.pk) == [("plan:1", "settled")]


def test_what_does_not_fit_is_refused_and_says_what_is_left_and_until_when(run: Run) -> None:
    made = budget(Measure.COST, 5_000_000)
    held(run, "a", cost_micros=4_000_000)
    refused = hold(run, "b", cost_micros=1_000_001)
    assert isinstance(refused, Refused)
    assert (refused.budget_id, refused.measure, refused.asked, refused.left) == (
        *(made.pk, "cost_micros", 1_000_001, 1_000_000),
    )
    assert refused.message == (
        "The budget “All runs: USD 5.00 a day” does not cover it: USD 1.00 left, USD 1.000001 needed. "
        "It renews at 2026-11-26 00:00 UTC."
    )
    assert hold(run, "c", cost_micros=1_000_000) is not None
    assert books(made) == (5_000_000, 0)
    assert reservations(run.pk) == [("a", "open"), ("c", "open")]


def test_of_several_budgets_all_are_charged_or_none(run: Run, kind: TaskType) -> None:
    wide = budget(Measure.TOKENS, 1000)
    narrow = budget(Measure.TOKENS, 50, task_type=kind, period="total")
    calls = budget(Measure.MODEL_CALLS, 10)
    assert isinstance(hold(run, "a", tokens=51, model_calls=1), Refused)
    assert [books(one) for one in (wide, narrow, calls)] == [(0, 0)] * 3
    assert not Reservation.objects.exists()
    held(run, "b", tokens=50, model_calls=1)
    assert [books(one) for one in (wide, narrow, calls)] == [(50, 0), (50, 0), (1, 0)]


def test_the_same_purpose_gets_the_same_reservation_also_after_it_was_settled(run: Run) -> None:
    made = budget(Measure.TOOL_CALLS, 3)
    first = held(run, "call:1.a.0#1", tool_calls=1)
    assert held(run, "call:1.a.0#1", tool_calls=1) == first
    settle(first, {Measure.TOOL_CALLS: 1}, now=NOW)
    assert held(run, "call:1.a.0#1", tool_calls=1) == first
    assert books(made) == (0, 1)
    assert Reservation.objects.count() == 1


def test_a_released_purpose_is_set_aside_again_if_it_still_fits(run: Run) -> None:
    made = budget(Measure.TOOL_CALLS, 1)
    first = held(run, "call:1.a.0#1", tool_calls=1)
    assert release(first, now=NOW)
    assert books(made) == (0, 0)
    assert held(run, "call:1.a.0#1", tool_calls=1) == first
    assert books(made) == (1, 0)
    assert release(first, now=NOW)
    held(run, "other", tool_calls=1)
    assert isinstance(hold(run, "call:1.a.0#1", tool_calls=1), Refused)
    assert dict(reservations(run.pk)) == {"call:1.a.0#1": "released", "other": "open"}


def test_two_runs_do_not_share_a_purpose(run: Run, kind: TaskType) -> None:
    made = budget(Measure.TOOL_CALLS, 5)
    assert held(run, "call:1.a.0#1", tool_calls=1) != held(run_row(kind), "call:1.a.0#1", tool_calls=1)
    assert books(made) == (2, 0)


def test_amounts_beyond_all_measure_are_counted_as_much_as_fits_into_a_row(run: Run) -> None:
    made = budget(Measure.TOKENS, 100)
    assert isinstance(hold(run, "a", tokens=10**40), Refused)
    settle(held(run, "b", tokens=10), {Measure.TOKENS: 10**40}, now=NOW)
    assert books(made) == (0, MAX_AMOUNT)


# --- settling --------------------------------------------------------------------------------------------------------


def test_more_than_was_set_aside_counts_in_full(run: Run) -> None:
    made = budget(Measure.TOKENS, 100)
    settle(held(run, "a", tokens=10), {Measure.TOKENS: 170}, now=NOW)
    assert books(made) == (0, 170)
    assert isinstance(hold(run, "b", tokens=1), Refused)


def test_settling_and_releasing_twice_changes_nothing(run: Run) -> None:
    made = budget(Measure.TOKENS, 100)
    one = held(run, "a", tokens=10)
    assert settle(one, {Measure.TOKENS: 7}, now=NOW)
    assert not settle(one, {Measure.TOKENS: 9}, now=NOW)
    assert not release(one, now=NOW)
    assert books(made) == (0, 7)


def test_what_nobody_knows_counts_in_full_until_somebody_does(run: Run) -> None:
    made = budget(Measure.TOKENS, 100)
    one = held(run, "a", tokens=10)
    assert settle(one, {}, now=NOW, assumed=True)
    assert books(made) == (0, 10)
    assert not settle(one, {}, now=NOW, assumed=True)
    assert settle(one, {Measure.TOKENS: 4}, now=NOW), "the worker was only slow"
    assert books(made) == (0, 4)
    assert not settle(one, {Measure.TOKENS: 8}, now=NOW)


def test_what_was_spent_after_all_is_never_lost(run: Run) -> None:
    made = budget(Measure.TOKENS, 100)
    one = held(run, "a", tokens=10)
    release(one, now=NOW)
    assert settle(one, {Measure.TOKENS: 4}, now=NOW)
    assert books(made) == (0, 4)


def test_what_was_reserved_before_midnight_is_settled_where_it_was_reserved(run: Run) -> None:
    made = budget(Measure.TOKENS, 100)
    one = held(run, "a", tokens=80)
    tomorrow = NOW + timedelta(days=1)
    two = held(run, "b", tomorrow, tokens=90)
    settle(one, {Measure.TOKENS: 70}, now=tomorrow)
    settle(two, {Measure.TOKENS: 20}, now=tomorrow)
    spent = list(Account.objects.filter(budget=made).order_by("period_start").values_list("reserved", "spent"))
    assert spent == [(0, 70), (0, 20)]


def test_a_budget_renews_with_its_period_and_a_total_never(run: Run) -> None:
    budget(Measure.TOKENS, 100)
    budget(Measure.MODEL_CALLS, 1, period="total")
    held(run, "a", tokens=100, model_calls=1)
    assert isinstance(hold(run, "b", tokens=1), Refused)
    assert hold(run, "c", NOW + timedelta(days=1), tokens=100) is not None
    refused = hold(run, "d", NOW + timedelta(days=4000), model_calls=1)
    assert isinstance(refused, Refused)
    assert refused.message.endswith("It does not renew.")


# --- changing a budget -----------------------------------------------------------------------------------------------


def test_a_raised_limit_counts_at_once_also_for_processes_that_have_not_heard(run: Run) -> None:
    made = budget(Measure.TOKENS, 10)
    held(run, "a", tokens=10)
    assert isinstance(hold(run, "b", tokens=5), Refused)
    Budget.objects.filter(pk=made.pk).update(hard=15)
    held(run, "b", tokens=5)
    Budget.objects.filter(pk=made.pk).update(hard=3)
    assert isinstance(hold(run, "c", tokens=1), Refused)


def test_a_switched_off_budget_refuses_nothing_also_where_it_is_still_remembered(run: Run) -> None:
    made = budget(Measure.TOKENS, 10)
    held(run, "a", tokens=10)
    Budget.objects.filter(pk=made.pk).update(enabled=False)
    assert would_refuse(task_type_id=run.task_type_id, amounts={Measure.TOKENS: 5}, now=NOW) is None
    assert not isinstance(hold(run, "b", tokens=5), Refused)
    snapshot.forget()
    assert hold(run, "c", tokens=5) is None


def test_a_new_budget_is_noticed_within_a_second(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    assert hold(run, "a", tokens=5) is None
    Budget.objects.create(measure="tokens", period="day", hard=1)
    assert hold(run, "b", tokens=5) is None
    clock[0] += snapshot.KEEP_S + 0.01
    assert isinstance(hold(run, "c", tokens=5), Refused)


# --- saying so -------------------------------------------------------------------------------------------------------


def test_the_soft_limit_is_said_once_a_period_and_again_when_it_has_changed(run: Run) -> None:
    made = budget(Measure.TOKENS, 100, soft=50)
    held(run, "a", tokens=49)
    assert events("budget.warned") == []
    for purpose in "bcd":
        held(run, purpose, tokens=1)
    [said] = events("budget.warned")
    assert (said["soft"], said["hard"], said["measure"], said["period"]) == (50, 100, "tokens", "day")
    Budget.objects.filter(pk=made.pk).update(soft=52)
    held(run, "e", tokens=1)
    assert len(events("budget.warned")) == 2
    held(run, "f", NOW + timedelta(days=1), tokens=60)
    assert len(events("budget.warned")) == 3


def test_the_hard_limit_is_said_once_a_period(run: Run) -> None:
    made = budget(Measure.TOKENS, 10)
    held(run, "a", tokens=10)
    assert events("budget.exhausted") == []
    for purpose in "bcd":
        assert isinstance(hold(run, purpose, tokens=1), Refused)
    [said] = events("budget.exhausted")
    assert said["spent"] == 0
    assert said["reserved"] == 10
    assert account(made).exhausted == 10


def test_a_warning_that_a_dead_process_did_not_say_is_said_by_the_next_sweep(run: Run) -> None:
    made = budget(Measure.TOKENS, 100, soft=50)
    held(run, "a", tokens=10)
    Account.objects.filter(budget=made).update(spent=60)
    assert announce(NOW) == 1
    assert announce(NOW) == 0
    assert len(events("budget.warned")) == 1


def test_nothing_is_said_about_periods_that_are_over(run: Run) -> None:
    made = budget(Measure.TOKENS, 100, soft=50)
    held(run, "a", tokens=10)
    Account.objects.filter(budget=made).update(spent=60)
    assert announce(NOW + timedelta(days=2)) == 0


# --- certain spending ------------------------------------------------------------------------------------------------


def test_what_is_certain_is_spent_at_once(run: Run) -> None:
    made = budget(Measure.RUNS, 1)

    def start(which: Run) -> Refused | None:
        return charge(
            run_id=which.pk,
            task_type_id=which.task_type_id,
            kind="run",
            purpose="run",
            amounts={Measure.RUNS: 1},
            now=NOW,
            actor=SYSTEM,
        )

    assert start(run) is None
    assert start(run) is None, "the same run is not counted twice"
    assert isinstance(start(run_row(run.task_type)), Refused)
    assert books(made) == (0, 1)


def test_a_negative_amount_is_a_mistake_of_the_caller(run: Run) -> None:
    budget(Measure.TOKENS, 10)
    with pytest.raises(ValueError, match="not negative"):
        hold(run, "a", tokens=-1)


def test_the_database_itself_refuses_limits_that_make_no_sense(scoped: Tenant) -> None:
    for values in ({"hard": 0}, {"hard": 5, "soft": 6}, {"hard": 5, "soft": 0}, {"hard": 5, "measure": "luck"}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Budget.objects.create(**({"measure": "tokens", "period": "day"} | values))
    budget(Measure.TOKENS, 5)
    with pytest.raises(IntegrityError), transaction.atomic():
        budget(Measure.TOKENS, 9)
    assert services.counted(1, [Measure.TOKENS])
