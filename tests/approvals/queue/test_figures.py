"""What is remembered for the queue: figures until something happens, names for a moment."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from agentops.audit.services import record_in_tenant_stream
from agentops.runs.models import TaskType
from agentops.tenancy.access import SYSTEM
from agentops.tenancy.models import Tenant
from approvals.models import Proposal
from approvals.proposals import names
from approvals.queue import figures, selectors
from approvals.queue.filters import Filters, parse
from tests.shop import drive, only_proposal, open_shop, start


@pytest.fixture
def proposal(scoped: Tenant) -> Proposal:
    open_shop(scoped)
    drive(start("goodwill-refund", {"order_ref": "A-1002", "amount_minor": 1100, "reason": "late"}).id)
    return only_proposal()


def test_figures_are_counted_again_when_something_has_happened(
    proposal: Proposal, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    monkeypatch.setattr(figures, "FRESH_S", 3600.0)
    views, now = [Filters(), parse("band:critical")], timezone.now()
    before = figures.recent_overview(views, now=now)
    assert [one.pending for one in before.of] == [1, 0]
    with django_assert_num_queries(1):  # for the newest event
        assert figures.recent_overview(views, now=now) == before
    drive(start("goodwill-refund", {"order_ref": "A-1002", "amount_minor": 1200, "reason": "late"}).id)
    assert [one.pending for one in figures.recent_overview(views, now=now).of] == [2, 0]
    assert figures.recent_overview([Filters()], now=now).waiting.pending == 2


def test_figures_are_counted_again_after_half_a_second(proposal: Proposal, monkeypatch: pytest.MonkeyPatch) -> None:
    now = timezone.now()
    assert figures.recent_overview([Filters()], now=now).of[0].pending == 1
    monkeypatch.setattr(figures, "FRESH_S", 0.0)
    Proposal.objects.update(held_until=now + timedelta(hours=1), held_by=User.objects.create(username="otto"))
    assert figures.recent_overview([Filters()], now=now).of[0].pending == 0


def test_the_newest_event_is_part_of_the_figures(proposal: Proposal) -> None:
    before = selectors.overview([], now=timezone.now()).newest
    record_in_tenant_stream("proposal.claimed", {}, subject=("proposal", str(proposal.pk)), actor=SYSTEM)
    assert selectors.overview([], now=timezone.now()).newest > before


def test_names_cost_a_query_once(
    proposal: Proposal, bob: User, django_assert_num_queries: DjangoAssertNumQueries, monkeypatch: pytest.MonkeyPatch
) -> None:
    proposal.assigned_to = bob
    assert names.people_of([proposal])[bob.pk].get_username() == bob.username
    kinds = names.task_types()
    with django_assert_num_queries(0):
        assert names.people_of([proposal])[bob.pk].get_username() == bob.username
        assert names.task_types() == kinds
        assert names.introduce(proposal).assigned_to == bob
    TaskType.objects.filter(pk=proposal.task_type_id).update(name="Other")
    monkeypatch.setattr(names, "FRESH_S", 0.0)
    assert names.task_types()[proposal.task_type_id].name == "Other"
