"""Filters with a name: one's own, the tenant's, and how many rows each finds."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from agentops.audit.services import load
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from approvals.models import SavedView
from approvals.queue import saved_views, selectors
from approvals.queue.saved_views import Refused, Saved
from tests.approvals.conftest import NOW, Desk


@pytest.fixture
def who(bob: User, sam: User, actors: Callable[[User], Actor]) -> dict[str, Actor]:
    return {"bob": actors(bob), "sam": actors(sam)}


def names(actor: Actor) -> list[str]:
    return [view.name for view in saved_views.views_of(actor) if view.id is not None]


def test_ones_own_views_are_ones_own_and_shared_ones_everybodys(scoped: Tenant, who: dict[str, Actor]) -> None:
    bob, sam = who["bob"], who["sam"]
    assert isinstance(saved_views.save(actor=bob, name=" My  refunds ", query="tool:x  band:low", shared=False), Saved)
    assert isinstance(saved_views.save(actor=sam, name="Big", query="amount>1000", shared=True), Saved)
    assert (names(bob), names(sam)) == (["Big", "My refunds"], ["Big"])
    assert SavedView.objects.get(name="My refunds").query == "tool:x band:low"
    assert [one.type for one in load("tenant")][-2:] == ["queue_view.saved", "queue_view.saved"]


def test_the_same_name_is_replaced(scoped: Tenant, who: dict[str, Actor]) -> None:
    for query in ("band:low", "band:high"):
        saved_views.save(actor=who["bob"], name="v", query=query, shared=False)
        saved_views.save(actor=who["sam"], name="v", query=query, shared=True)
    assert sorted(SavedView.objects.values_list("query", flat=True)) == ["band:high", "band:high"]


@pytest.mark.parametrize(
    ("name", "query", "shared", "field"),
    [
        ("", "band:low", False, "name"),
        ("x" * 41, "band:low", False, "name"),
        ("v", "", False, "query"),
        ("v", "bnd:low", False, "query"),
        ("v", "band:low", True, "shared"),
    ],
)
def test_what_makes_no_sense_is_not_saved(
    scoped: Tenant, who: dict[str, Actor], name: str, query: str, shared: bool, field: str
) -> None:
    outcome = saved_views.save(actor=who["bob"], name=name, query=query, shared=shared)
    assert isinstance(outcome, Refused)
    assert outcome.field == field
    assert not SavedView.objects.exists()


def test_there_are_at_most_twelve(scoped: Tenant, who: dict[str, Actor]) -> None:
    outcomes = [saved_views.save(actor=who["bob"], name=str(i), query="band:low", shared=False) for i in range(13)]
    assert [isinstance(one, Saved) for one in outcomes] == [True] * 12 + [False]
    assert isinstance(saved_views.save(actor=who["bob"], name="3", query="band:high", shared=False), Saved)


def test_removing(scoped: Tenant, who: dict[str, Actor]) -> None:
    saved_views.save(actor=who["sam"], name="shared", query="band:low", shared=True)
    saved_views.save(actor=who["sam"], name="own", query="band:low", shared=False)
    for row in SavedView.objects.all():
        assert not saved_views.remove(view_id=row.pk, actor=who["bob"])
    for row in list(SavedView.objects.all()):
        assert saved_views.remove(view_id=row.pk, actor=who["sam"])
    assert not SavedView.objects.exists()
    assert not saved_views.remove(view_id=2**40, actor=who["sam"])


def test_a_view_that_the_grammar_no_longer_knows_is_left_out(scoped: Tenant, who: dict[str, Actor]) -> None:
    saved_views.save(actor=who["bob"], name="v", query="band:low", shared=False)
    SavedView.objects.update(query="colour:red")
    assert names(who["bob"]) == []


def test_each_view_is_counted_in_one_statement(
    desk: Desk, who: dict[str, Actor], django_assert_num_queries: Callable[..., object]
) -> None:
    desk.propose()
    saved_views.save(actor=who["bob"], name="v", query="tool:lab.refund", shared=False)
    views = saved_views.views_of(who["bob"])
    with django_assert_num_queries(1):  # type: ignore[attr-defined]
        counts = selectors.overview([view.filters for view in views], now=NOW)
    assert (counts.waiting.pending, str(counts.of[0]), str(counts.of[-1])) == (1, "1", "1")
    assert counts.of[1].pending == 0


def test_views_are_saved_and_removed_with_plain_forms(
    scoped: Tenant, bob: User, sam: User, signed_in: Callable[[User], Client]
) -> None:
    bobs, sams = signed_in(bob), signed_in(sam)
    saved = bobs.post("/t/acme/queue/views", {"name": "<b>v", "q": "band:low"}, follow=True)
    assert "The view is saved." in saved.content.decode()
    assert "&lt;b&gt;v" in saved.content.decode()
    assert "Seniors and admins" in (
        bobs.post("/t/acme/queue/views", {"name": "w", "q": "band:low", "shared": "on"}, follow=True).content.decode()
    )
    pk = SavedView.objects.get().pk
    assert sams.post(f"/t/acme/queue/views/{pk}/remove").status_code == 404
    assert bobs.post(f"/t/acme/queue/views/{pk}/remove").status_code == 302
    assert bobs.post(f"/t/acme/queue/views/{pk}/remove").status_code == 404


def test_views_of_another_tenant_are_not_there(
    acme: Tenant, globex: Tenant, charlie: User, actor_of: Callable[[User, Tenant], Actor]
) -> None:
    stranger = actor_of(charlie, globex)
    with tenant_scope(globex):
        saved_views.save(actor=stranger, name="v", query="band:low", shared=False)
        pk = SavedView.objects.get().pk
    with tenant_scope(acme):
        assert names(stranger) == []
        assert not saved_views.remove(view_id=pk, actor=stranger)
