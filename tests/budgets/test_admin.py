"""Admins set budgets in the browser; what makes no sense is refused when it is saved, and every change is on record."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from agentops.audit.models import Event
from agentops.audit.services import load
from agentops.budgets.measures import HARD_MAXIMA, Measure
from agentops.budgets.models import Account, Budget
from agentops.runs.models import TaskType
from agentops.tenancy.models import Tenant
from tests.budgets.lab import NOW, budget, hold, run_row
from tests.runs.test_admin import save
from tests.shop import task_type
from tools.allowlist import AllowlistState

SignedIn = Callable[[User], Client]
LIST = "/t/acme/admin/budgets/budget/"
ADD = f"{LIST}add/"
ACCOUNTS = "/t/acme/admin/budgets/account/"


def form(**changes: object) -> dict[str, str]:
    values: dict[str, object] = {
        "task_type": "",
        "measure": "cost_micros",
        "period": "day",
        "soft": "",
        "hard": 5_000_000,
        "enabled": "on",
        "note": "",
    }
    return {name: str(value) for name, value in (values | changes).items()}


@pytest.fixture
def desk(signed_in: SignedIn, alice: User, scoped: Tenant) -> Client:
    return signed_in(alice)


def changes() -> list[dict[str, object]]:
    return [event.data for event in load("tenant") if event.type == "admin.changed"]


def test_a_budget_is_made_changed_and_switched_off_and_each_change_is_on_record(desk: Client, alice: User) -> None:
    assert desk.post(ADD, form(soft=4_000_000, note="Pilot")).status_code == 302
    made = Budget.objects.get()
    assert (made.soft, made.hard, made.updated_by_id) == (4_000_000, 5_000_000, alice.pk)
    page = f"{LIST}{made.pk}/change/"
    assert desk.post(page, form(soft=4_000_000, hard=8_000_000, note="Pilot")).status_code == 302
    assert desk.post(page, {"soft": "4000000", "hard": "8000000", "note": "Pilot"}).status_code == 302
    made.refresh_from_db()
    assert (made.hard, made.enabled) == (8_000_000, False)
    added, raised, off = changes()
    assert added["change"] == "added"
    assert (raised["before"], raised["after"]) == ({"hard": 5_000_000}, {"hard": 8_000_000})
    assert (off["before"], off["after"]) == ({"enabled": True}, {"enabled": False})
    assert Event.objects.filter(subject_kind="budget", subject_id=str(made.pk)).count() == 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"hard": 0}, "greater than or equal to 1"),
        ({"hard": -5}, "greater than or equal to"),
        ({"hard": ""}, "required"),
        ({"hard": "five"}, "whole number"),
        ({"hard": "1.5"}, "whole number"),
        ({"hard": HARD_MAXIMA[Measure.COST] + 1}, "At most USD"),
        ({"hard": 10**30}, "less than or equal to"),
        ({"soft": 0}, "greater than or equal to 1"),
        ({"soft": 5_000_001}, "soft limit is above the hard one"),
        ({"measure": "luck"}, "Select a valid choice"),
        ({"period": "year"}, "Select a valid choice"),
        ({"task_type": 10**6}, "Select a valid choice"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused_and_nothing_is_lost(
    desk: Client, wrong: dict[str, object], message: str
) -> None:
    answer = desk.post(ADD, form(note="keep me", **wrong) if "note" not in wrong else form(**wrong))
    assert answer.status_code == 200
    assert message in answer.content.decode()
    assert "keep me" in answer.content.decode()
    assert not Budget.objects.exists()


def test_there_is_one_budget_of_a_kind(desk: Client, scoped: Tenant) -> None:
    kind = TaskType.objects.create(slug="job", name="Job", input_schema={})
    for whose in ("", kind.pk):
        assert desk.post(ADD, form(task_type=whose)).status_code == 302
        again = desk.post(ADD, form(task_type=whose, hard=1))
        assert again.status_code == 200
        assert "There is such a budget" in again.content.decode()
    assert desk.post(ADD, form(period="week")).status_code == 302
    assert Budget.objects.count() == 3


def test_what_a_budget_counts_never_changes(desk: Client) -> None:
    made = budget(Measure.TOKENS, 100)
    desk.post(f"{LIST}{made.pk}/change/", form(measure="runs", period="month", hard=200))
    made.refresh_from_db()
    assert (made.measure, made.period, made.hard) == ("tokens", "day", 200)


def test_the_list_says_what_is_used(desk: Client) -> None:
    kind = TaskType.objects.create(slug="job", name="Job", input_schema={})
    budget(Measure.COST, 2_000_000, soft=1_000_000)
    budget(Measure.REVIEWER, 3600)
    assert "nothing yet" in desk.get(LIST).content.decode()
    hold(run_row(kind), "a", cost_micros=1_500_000)
    text = desk.get(LIST).content.decode()
    assert "USD 1.50, 75 % since 2026-11-25, near its limit" in text
    assert "60 min" in text


def test_accounts_can_be_read_and_not_written(desk: Client) -> None:
    kind = TaskType.objects.create(slug="job", name="Job", input_schema={})
    made = budget(Measure.COST, 2_000_000)
    hold(run_row(kind), "a", cost_micros=1_500_000)
    text = desk.get(ACCOUNTS).content.decode()
    assert "USD 1.50" in text
    assert "USD 0.50" in text
    assert "75 %" in text
    account = Account.objects.get(budget=made)
    page = f"{ACCOUNTS}{account.pk}/change/"
    assert desk.get(page).status_code == 200
    assert desk.post(page, {"spent": "0", "reserved": "0"}).status_code == 403
    assert desk.get(f"{ACCOUNTS}add/").status_code == 403
    assert desk.post(f"{ACCOUNTS}{account.pk}/delete/", {"post": "yes"}).status_code == 403
    assert desk.post(f"{LIST}{made.pk}/delete/", {"post": "yes"}).status_code == 403
    account.refresh_from_db()
    assert account.reserved == 1_500_000


def test_only_admins_see_budgets(signed_in: SignedIn, bob: User, scoped: Tenant) -> None:
    for page in (LIST, ADD, ACCOUNTS):
        assert signed_in(bob).get(page).status_code in (302, 403)
    assert signed_in(bob).post(ADD, form()).status_code in (302, 403)
    assert not Budget.objects.exists()


def test_a_new_budget_counts_in_this_process_at_once(desk: Client) -> None:
    kind = TaskType.objects.create(slug="job", name="Job", input_schema={})
    run = run_row(kind)
    assert hold(run, "a", cost_micros=1) is None
    desk.post(ADD, form())
    assert hold(run, "b", NOW, cost_micros=1) is not None


def test_limits_of_a_task_type_are_checked_when_it_is_saved(desk: Client, scoped: Tenant) -> None:
    kind = task_type(
        [{"id": "a", "tool": "create_ticket", "arguments": {"title": "x", "priority": "low"}}],
        {"create_ticket": AllowlistState.AUTO},
    )
    for limits, message in (
        ('{"tokens": -1}', "tokens: must be between 0 (no limit) and"),
        ('{"cost_micros": 1.5}', "cost_micros: must be a whole number"),
        ('{"reviewer_s": "long"}', "reviewer_s: must be a whole number"),
        ('{"soft_percent": 0}', "soft_percent: must be between 1 and 100"),
        ('{"money": 5}', "money: unknown limit"),
    ):
        assert message in save(desk, kind, limits=limits)
    assert save(desk, kind, limits='{"tokens": 5000, "cost_micros": 100000, "reviewer_s": 600}') == "saved"
