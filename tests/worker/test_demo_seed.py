"""What somebody finds who starts the demonstration: work for every role, and something to agree on for two admins."""

import pytest
from django.contrib.auth import authenticate
from django.test import Client

from agentops.audit.models import Event
from agentops.budgets.models import Account, Budget
from agentops.changes.models import ChangeStatus
from agentops.memory.models import Fact, FactStatus
from agentops.prompts.models import Prompt
from agentops.retention.models import Hold, Periods
from agentops.runs.models import Run
from agentops.tenancy.models import Membership, Role, Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.worker import demo
from agentops.worker.demo import facts
from approvals.models import PolicyVersion, RiskWeights
from tools.models import AllowlistChange, HostChange

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop() -> Tenant:
    demo.seed()
    return Tenant.objects.get(slug="harbor-shop")


def test_two_admins_have_something_to_agree_on(shop: Tenant) -> None:
    with tenant_scope(shop):
        admins = set(Membership.objects.filter(role=Role.ADMIN).values_list("user__first_name", flat=True))
        assert admins == {"Ada", "Astrid"}
        waiting = {
            kind.__name__: set(
                kind.objects.filter(status=ChangeStatus.PROPOSED).values_list("proposed_by__first_name", flat=True)
            )
            for kind in (PolicyVersion, AllowlistChange, HostChange, RiskWeights, Periods)
        }
        refused = PolicyVersion.objects.get(status=ChangeStatus.REFUSED)
    assert waiting == {
        "PolicyVersion": {"Ada"},
        "AllowlistChange": {"Ada"},
        "HostChange": {"Ada"},
        "RiskWeights": {"Astrid"},
        "Periods": {"Astrid"},
    }
    assert refused.decision_note


def test_some_facts_are_known_and_some_wait_for_a_curator(shop: Tenant) -> None:
    with tenant_scope(shop):
        found = Fact.objects.order_by("pk")
        assert [one.status for one in found] == [
            *(FactStatus.APPROVED, FactStatus.APPROVED, FactStatus.REJECTED),
            *[FactStatus.PROPOSED] * 3,
        ]
        assert [one.untrusted for one in found] == [False] * 5 + [True]
        assert [one.task_type is None for one in found] == [True] + [False] * 5
        assert set(Run.objects.filter(task_type__slug=facts.NOTE).values_list("state", flat=True)) == {"succeeded"}


def test_budgets_count_from_the_first_task_on_and_stop_nobody(shop: Tenant) -> None:
    with tenant_scope(shop):
        spent = Account.objects.get(budget__measure="runs", budget__task_type=None).spent
        assert spent == Run.objects.count() > 20
        assert all(one.budget.hard > 5 * one.balance.used for one in Account.objects.all())
        added = Event.objects.filter(type="admin.changed", subject_kind="budget")
        assert added.count() == Budget.objects.count()


def test_a_prompt_has_a_history_and_a_record_is_held(shop: Tenant) -> None:
    with tenant_scope(shop):
        versions = Prompt.objects.filter(slug="support-desk").order_by("version")
        assert [one.created_by and one.created_by.first_name for one in versions] == ["Ada", "Astrid"]
        assert Hold.objects.get().placed_by.first_name == "Ada"


def test_a_second_start_adds_nothing(shop: Tenant) -> None:
    with tenant_scope(shop):
        before = Event.objects.count(), Run.objects.count(), Fact.objects.count()
    demo.seed()
    with tenant_scope(shop):
        assert (Event.objects.count(), Run.objects.count(), Fact.objects.count()) == before


def test_everybody_can_sign_in_and_each_admin_sees_what_waits(shop: Tenant) -> None:
    for person in demo.PEOPLE:
        assert authenticate(username=person.email, password=demo.PASSWORD) is not None
    client = Client()
    assert client.login(username="astrid@harbor.example", password=demo.PASSWORD)
    page = client.get("/t/harbor-shop/policy").content.decode()
    assert "Publish" in page
    assert "large-refunds" in page
