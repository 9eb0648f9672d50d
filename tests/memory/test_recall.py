"""What is recalled, on either database: approved, alive, of this tenant and this kind of task, the best first."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from agentops.memory import index, services
from agentops.memory.models import Fact
from agentops.memory.recall import MOST, recall
from agentops.runs.models import Run, TaskType
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from tests.conftest import person
from tests.memory.conftest import NOW, Propose, make_run, proposer

SOON = NOW + timedelta(hours=1)


def said(query: str, task_type: TaskType | None) -> list[str]:
    return [one.statement for one in recall(query, task_type, SOON)]


def test_only_approved_facts_are_recalled(propose: Propose, approved: Propose, job: TaskType, curator: Actor) -> None:
    known = approved("Tents ship on Tuesdays")
    propose("Tents ship on Fridays")
    services.reject(fact_id=propose("Tents never ship").pk, actor=curator, now=NOW)
    assert said("when do tents ship?", job) == [known.statement]


def test_a_revoked_fact_is_gone_at_once(approved: Propose, job: TaskType, curator: Actor) -> None:
    fact = approved("Tents ship on Tuesdays")
    services.revoke(fact_id=fact.pk, actor=curator, note="They do not.", now=NOW)
    assert said("tents", job) == []


def test_an_expired_fact_is_not_recalled_even_before_anybody_closed_it(approved: Propose, job: TaskType) -> None:
    fact = approved("Tents ship on Tuesdays", days=2)
    assert recall("tents", job, fact.expires_at - timedelta(seconds=1)) != []
    assert recall("tents", job, fact.expires_at) == []
    fact.refresh_from_db()
    assert fact.status == "approved"


def test_a_fact_is_recalled_by_its_kind_of_task_only_unless_it_is_for_every_kind(
    propose: Propose, approved: Propose, job: TaskType, curator: Actor
) -> None:
    approved("Tents ship on Tuesdays")
    everywhere = propose("Tents are green")
    services.edit_and_approve(
        fact_id=everywhere.pk,
        actor=curator,
        statement=everywhere.statement,
        task_type=None,
        expires_at=everywhere.expires_at,
        now=NOW,
    )
    other = TaskType.objects.create(slug="other", name="Other", input_schema={})
    assert set(said("tents", job)) == {"Tents ship on Tuesdays", "Tents are green"}
    assert said("tents", other) == ["Tents are green"]
    assert said("tents", None) == ["Tents are green"]


def test_another_tenant_recalls_nothing_of_it(
    acme: Tenant,
    globex: Tenant,
    in_tenant: Callable[[Tenant], AbstractContextManager[None]],
    actor_of: Callable[[User, Tenant], Actor],
) -> None:
    for tenant, statement in ((acme, "Acme tents are green"), (globex, "Globex tents are red")):
        curator = actor_of(person(f"cora-{tenant.slug}", tenant, "senior"), tenant)
        with in_tenant(tenant):
            fact = proposer(make_run())(statement)
            services.approve(fact_id=fact.pk, actor=curator, now=NOW)
    for tenant, expected in ((acme, "Acme tents are green"), (globex, "Globex tents are red")):
        with in_tenant(tenant):
            assert said("tents", TaskType.objects.get()) == [expected]


def test_the_best_come_first_and_no_more_than_five(approved: Propose, job: TaskType) -> None:
    for number in range(MOST + 2):
        approved(f"Tents have the number {number} in a long list of other words about nothing at all")
    best = approved("Torn tents are refunded")
    found = recall("refund for torn tents refunded", job, SOON)
    assert len(found) == MOST
    assert found[0].fact_id == best.pk
    scores = [one.score for one in found]
    assert scores == sorted(scores, reverse=True)


def test_a_marked_fact_says_so(approved: Propose, job: TaskType) -> None:
    approved("Tents ship on Tuesdays", untrusted=True)
    [found] = recall("tents", job, SOON)
    assert found.untrusted


def test_an_edit_is_found_by_its_new_words_only(propose: Propose, job: TaskType, curator: Actor) -> None:
    fact = propose("Tents ship on Tuesdays")
    services.edit_and_approve(
        fact_id=fact.pk, actor=curator, statement="Boots ship late", task_type=job, expires_at=fact.expires_at, now=NOW
    )
    assert said("boots", job) == ["Boots ship late"]
    assert said("tents tuesdays", job) == []


@pytest.mark.parametrize(
    "query",
    [
        "",
        "   ",
        "'\"*()|&!:<->",
        "NEAR(",
        "tents' | 'x",
        'tents" OR "x',
        "tents:*",
        "a" * 500,
        "\u0301\u200b\U000e0041",
    ],
)
def test_a_strange_question_is_a_question_of_words(approved: Propose, job: TaskType, query: str) -> None:
    approved("Tents ship on Tuesdays")
    assert said(query, job) == (["Tents ship on Tuesdays"] if "tents" in query else [])


@pytest.mark.django_db
@given(st.text(max_size=200))
def test_no_question_is_an_error(query: str) -> None:
    from agentops.tenancy.scope import tenant_scope

    with tenant_scope(1):
        assert recall(query, None, SOON) == []


@pytest.mark.parametrize("statement", ["Zelte für Zoë: 12,5 m²", "Палатки зелёные", "Ναι, σκηνές", "I\u0307stanbul"])
def test_every_alphabet_is_found(approved: Propose, job: TaskType, statement: str) -> None:
    approved(statement)
    for word in statement.replace(",", " ").replace(":", " ").split():
        assert said(word.upper(), job) == [statement], word


def test_one_question_is_one_query(
    approved: Propose, job: TaskType, django_assert_num_queries: Callable[[int], AbstractContextManager[object]]
) -> None:
    approved("Tents ship on Tuesdays")
    with django_assert_num_queries(1):
        recall("tents", job, SOON)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL keeps its own index in step")
def test_the_fts_table_agrees_with_the_rows_after_every_kind_of_change(
    run: Run, propose: Propose, approved: Propose, job: TaskType, curator: Actor
) -> None:
    approved("Tents ship on Tuesdays")
    Fact.objects.filter(pk=propose("Boots are brown").pk).delete()
    Fact.objects.update(words="lamps")
    with connection.cursor() as cursor:
        cursor.execute("insert into memory_fact_words (memory_fact_words, rank) values ('integrity-check', 1)")
    assert said("lamps", job) == ["Tents ship on Tuesdays"]
    assert said("tents", job) == []


def test_the_index_can_be_taken_away_and_made_again(approved: Propose, job: TaskType) -> None:
    approved("Tents ship on Tuesdays")
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("set constraints all immediate")
        index.remove(cursor, connection.vendor)
        index.install(cursor, connection.vendor)
    assert said("tents", job) == ["Tents ship on Tuesdays"]
