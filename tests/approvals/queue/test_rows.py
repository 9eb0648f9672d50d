"""A row of the queue is remembered by all that it was made of: it is never old, never another's, never raw."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import set_urlconf
from django.utils import timezone

from agentops.halts import covering
from agentops.tenancy.links import tenant_urlconf
from agentops.tenancy.models import Tenant
from approvals.assessing import ladder
from approvals.models import Proposal
from approvals.queue import figures, selectors
from approvals.queue.filters import Filters, parse
from approvals.queue.rows import rows
from approvals.templatetags.rows import LONGEST
from approvals.templatetags.rows import rows as print_rows
from tests.approvals.pages.test_queue_views import another, crowd
from tests.conftest import person
from tests.shop import drive, only_proposal, open_shop, start

SESSION = "set_config"
HOSTILE = '<script>alert("x")</script> & \u202egnp.exe\u200b \' onload='


@pytest.fixture
def proposal(scoped: Tenant) -> Proposal:
    open_shop(scoped)
    drive(start("goodwill-refund", {"order_ref": "A-1002", "amount_minor": 1100, "reason": "late"}).id)
    return only_proposal()


@pytest.fixture(autouse=True)
def _addresses_of_a_tenant() -> Iterator[None]:
    """As the middleware does it for a request."""
    set_urlconf(tenant_urlconf())
    yield
    set_urlconf(None)


def printed(me: int | None = None, now: datetime | None = None) -> str:
    moment = now or timezone.now()
    found = selectors.queue_page(Filters(), now=moment).rows
    return print_rows(rows(found, me=me, now=moment))


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"sentence": [{"t": "Do something "}, {"arg": "/x", "text": "else"}]}, "Do something <b><bdi>else</bdi></b>"),
        ({"consequence": {"money": {"minor": 99, "currency": "EUR"}}}, "0.99"),
        ({"consequence": {"blast": [{"kind": "orders", "count": 3}]}}, "3 orders"),
        ({"risk_score": 77}, "77</span>"),
        ({"risk_band": "critical", "band_rank": 3}, "band-critical"),
        ({"tainted": True}, "untrusted"),
        ({"needs_role": "senior"}, "for seniors"),
        ({"created_at": datetime.fromisoformat("2020-01-02T03:04:05+00:00")}, "2020-01-02T03:04:05"),
        ({"decide_by": datetime.fromisoformat("2020-01-02T03:04:05+00:00")}, "days late"),
    ],
)
def test_what_changes_shows_at_once(proposal: Proposal, changes: dict[str, Any], shown: str) -> None:
    Proposal.objects.update(tainted=False)
    assert shown not in printed()
    Proposal.objects.filter(pk=proposal.pk).update(**changes)
    assert shown in printed()


def test_words_about_time_are_those_of_the_moment(proposal: Proposal) -> None:
    at = proposal.created_at
    Proposal.objects.update(decide_by=at + timedelta(hours=2))
    assert "30 s ago" in printed(now=at + timedelta(seconds=30))
    later = printed(now=at + timedelta(minutes=70))
    assert "1 h ago" in later
    assert "50 min left" in later
    assert "10 min late" in printed(now=at + timedelta(minutes=130))


def test_whose_it_is_depends_on_who_looks(proposal: Proposal, bob: User, sam: User) -> None:
    Proposal.objects.update(leased_by=bob, leased_until=timezone.now() + timedelta(minutes=2))
    assert "yours" in printed(bob.pk)
    assert "<bdi>Bob</bdi> has it" in printed(sam.pk)
    Proposal.objects.update(leased_by=None, leased_until=None, assigned_to=sam)
    assert "for <bdi>Sam</bdi>" in printed(bob.pk)
    assert "yours" in printed(sam.pk)
    Proposal.objects.update(assigned_to=None)
    assert "holder" not in printed(sam.pk)


def test_a_row_leads_into_the_tenant_that_is_looked_at(proposal: Proposal) -> None:
    now = timezone.now()
    [item] = rows(selectors.queue_page(Filters(), now=now).rows, me=None, now=now)
    assert 'href="/t/one/x/' in print_rows([item | {"address": "/t/one/x/"}])
    assert 'href="/t/two/x/' in print_rows([item | {"address": "/t/two/x/"}])


@pytest.mark.parametrize("length", [1, LONGEST])
def test_hostile_words_are_drawn_whether_they_are_remembered_or_not(proposal: Proposal, length: int) -> None:
    said = [{"t": "Tell "}, {"arg": "/to", "text": HOSTILE + "y" * length}]
    consequence = {"blast": [{"kind": "<script>alert(2)</script>", "count": 2}]}
    Proposal.objects.update(sentence=said, consequence=consequence)
    proposal.task_type.name = "<script>alert(3)</script>"
    proposal.task_type.save()
    for _ in range(2):
        html = printed()
        assert "<script" not in html
        assert "\u202e" not in html
        assert "&lt;script&gt;" in html
        assert "U+202E" in html


def test_prepared_and_ordinary_statements_list_the_same(proposal: Proposal, monkeypatch: pytest.MonkeyPatch) -> None:
    crowd(proposal, 130)
    Proposal.objects.filter(band_rank=2).update(tainted=True)
    another(proposal, due=timedelta(hours=3), age=timedelta(0), held_until=None)
    lines = [
        "",
        "band:high",
        "band:low,critical",
        "taint:yes",
        "taint:no band:medium",
        "held:yes",
        "tool:shop.issue_refund",
        "tool:mail.send",
    ]
    lines += ["task:goodwill-refund", "assigned:nobody", "assigned:nobody-of-that-name"]
    now = timezone.now()

    def listed() -> list[list[Any]]:
        found = []
        for line in lines:
            page = selectors.queue_page(parse(line), now=now)
            found.append([one.pk for one in page.rows])
            while page.next is not None:
                page = selectors.queue_page(parse(line), now=now, after=page.next)
                found[-1] += [one.pk for one in page.rows]
        return found

    prepared = listed()
    assert len(prepared[0]) > 100
    figures = selectors.overview([parse(line) for line in lines], now=now)
    monkeypatch.setattr(selectors, "_is_common", lambda filters: False)
    assert listed() == prepared
    assert selectors.overview([parse(line) for line in lines], now=now) == figures


def test_a_page_of_the_queue_costs_at_most_twelve_statements_and_four_of_the_session(
    proposal: Proposal, bob: User, signed_in: Callable[[User], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Stops and the ladder are asked for once, however slow the machine is.
    for remembered in (covering, ladder, figures):
        monkeypatch.setattr(remembered, "FRESH_S", 3600.0)
    crowd(proposal, 120)
    desk = signed_in(bob)
    heard: list[str] = []

    def hear(execute: Any, sql: str, *more: Any) -> Any:
        heard.append(str(sql))
        return execute(sql, *more)

    desk.get("/t/acme/queue")
    for headers, most in (({}, 12), ({"HX-Request": "true", "HX-Target": "list"}, 9)):
        heard.clear()
        with connection.execute_wrapper(hear):
            assert desk.get("/t/acme/queue", headers=headers).status_code == 200
        own = [sql for sql in heard if SESSION not in sql]
        assert 4 <= len(own) <= most, own
        assert len(heard) - len(own) <= 4


def test_figures_are_shared_among_people_except_what_is_their_own(
    proposal: Proposal, acme: Tenant, bob: User, signed_in: Callable[[User], Client]
) -> None:
    another(proposal, due=timedelta(hours=3), age=timedelta(0), assigned_to=bob)
    ben = person("ben", acme, "operator")
    for _ in range(2):
        for who, mine in ((bob, "1"), (ben, "0")):
            views = {one["name"]: one["count"] for one in signed_in(who).get("/t/acme/queue").context["views"]}
            assert (views["All"], views["Mine"]) == ("2", mine)


def test_figures_and_rows_of_one_tenant_are_not_those_of_another(
    acme: Tenant, globex: Tenant, in_tenant: Callable[[Tenant], AbstractContextManager[None]]
) -> None:
    now = timezone.now()
    with in_tenant(acme):
        open_shop(acme)
        drive(start("goodwill-refund", {"order_ref": "A-1002", "amount_minor": 1100, "reason": "late"}).id)
    for _ in range(2):
        for tenant, waiting in ((acme, 1), (globex, 0)):
            with in_tenant(tenant):
                assert figures.recent_overview([Filters()], now=now).of[0].pending == waiting
                assert len(selectors.queue_page(Filters(), now=now).rows) == waiting


def test_a_filter_knows_whether_it_is_personal() -> None:
    assert parse("mine:yes").personal
    assert not parse("assigned:ana band:high").personal
    assert replace(parse("mine:yes", 7), me=None).personal
