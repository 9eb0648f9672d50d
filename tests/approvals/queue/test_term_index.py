"""The index of what proposals are found by, when the database has lost it: the same is found, and it is made again."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone

from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.worker.sweeper import sweep
from approvals.models import Proposal, ProposalTerm, TermIndex
from approvals.queue import selectors, term_index
from approvals.queue.filters import parse
from approvals.services import reject
from tests.approvals.conftest import Desk, seen
from tests.approvals.threads import at_once

pytestmark = pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite keeps a log of every table")

TABLES = ("approvals_proposalterm", "approvals_termindex")


def crash() -> None:
    """Leave the tables as PostgreSQL does after it has crashed."""
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"delete from {table}")


def found(line: str) -> int:
    return len(selectors.queue_page(parse(line), now=timezone.now()).rows)


@pytest.fixture
def waiting(desk: Desk) -> list[Proposal]:
    """Return three proposals that wait, with the deadlines of today."""
    made = [desk.propose() for _ in range(3)]
    Proposal.objects.update(decide_by=timezone.now() + timedelta(hours=3))
    return made


TRUE = (
    *("refund", "refu*", 'text:"order A-1093"', "args.order_ref:A-1093", "args.order_ref:A-10*"),
    *("args.order_ref:*-1093", 'args.reason:"arrived broken"'),
)
FALSE = (
    "zebra",
    "refund zebra",
    "args.order_ref:A-10",
    "args.order_ref:*-10",
    'args.reason:"$ \\ %"',
    "args.reason:%*",
)


def indexed() -> int:
    return ProposalTerm.objects.values("proposal").distinct().count()


def test_what_is_found_does_not_depend_on_the_index(waiting: list[Proposal]) -> None:
    term_index.mend()
    assert term_index.whole()
    expected = dict.fromkeys(TRUE, len(waiting)) | dict.fromkeys(FALSE, 0)
    assert {line: found(line) for line in expected} == expected
    crash()
    assert not term_index.whole()
    assert {line: found(line) for line in expected} == expected


def test_the_sweeper_makes_the_index_again(waiting: list[Proposal]) -> None:
    crash()
    sweep(timezone.now())
    assert term_index.whole()
    for one in waiting:
        mine = ProposalTerm.objects.filter(proposal=one).values_list("term", flat=True)
        assert sorted(mine) == sorted(Proposal.objects.get(pk=one.pk).terms)


def test_it_is_made_in_pieces_and_goes_on_where_it_was(waiting: list[Proposal]) -> None:
    crash()
    assert (term_index.mend(pieces=1, size=2), indexed(), term_index.whole()) == (2, 2, False)
    assert (term_index.mend(pieces=1, size=2), indexed(), term_index.whole()) == (1, 3, False)
    assert (term_index.mend(pieces=1, size=2), term_index.whole()) == (0, True)


def test_a_crash_while_it_is_made_begins_anew(waiting: list[Proposal]) -> None:
    crash()
    term_index.mend(pieces=1, size=2)
    crash()
    assert (term_index.mend(), indexed(), term_index.whole()) == (3, 3, True)


def test_what_was_closed_meanwhile_is_not_put_back(
    waiting: list[Proposal], bob: User, actors: Callable[[User], Actor]
) -> None:
    crash()
    reject(**seen(waiting[0], actors(bob), timezone.now()), reason_code="duplicate", note="seen twice")
    assert (term_index.mend(), indexed()) == (2, 2)


@pytest.mark.django_db
def test_each_tenant_has_its_own(acme: Tenant, globex: Tenant) -> None:
    with tenant_scope(acme):
        term_index.mend()
        assert term_index.whole()
    with tenant_scope(globex):
        assert not term_index.whole()
        assert not TermIndex.objects.exists()


def test_what_can_be_made_again_is_not_logged(scoped: Tenant) -> None:
    unlogged = [*TABLES, "approvals_viewing"]
    with connection.cursor() as cursor:
        cursor.execute("select relname, relpersistence from pg_class where relname = any(%s)", [unlogged])
        assert dict(cursor.fetchall()) == dict.fromkeys(unlogged, "u")


@pytest.mark.django_db(transaction=True)
def test_one_that_somebody_is_changing_is_not_left_out(waiting: list[Proposal], acme: Tenant) -> None:
    crash()

    def mend() -> tuple[int, bool]:
        with tenant_scope(acme):
            return term_index.mend(), term_index.whole()

    with transaction.atomic():
        Proposal.objects.filter(pk=waiting[1].pk).update(held_note="", leased_until=None)
        assert at_once([mend])[0] == (2, False)
    assert at_once([mend])[0] == (2, True)
    assert indexed() == 3


@pytest.mark.django_db(transaction=True)
def test_several_workers_make_one_index(waiting: list[Proposal], acme: Tenant) -> None:
    crash()

    def mend() -> None:
        with tenant_scope(acme):
            for _ in range(50):
                term_index.mend(pieces=1, size=1)

    at_once([mend, mend, mend])
    assert (indexed(), term_index.whole()) == (3, True)


@pytest.mark.django_db(transaction=True)
def test_an_edit_during_the_making_leaves_no_old_terms(waiting: list[Proposal], acme: Tenant) -> None:
    for turn in range(10):
        crash()
        word = f"w:turn{turn}"

        def mend() -> None:
            with tenant_scope(acme):
                while not term_index.whole():
                    term_index.mend(pieces=1, size=1)

        def edit(word: str = word) -> None:
            with tenant_scope(acme):
                for one in waiting:
                    Proposal.objects.filter(pk=one.pk).update(terms=[word])

        at_once([mend, edit])
        assert set(ProposalTerm.objects.values_list("term", flat=True)) == {word}
        assert (indexed(), term_index.whole()) == (3, True)
