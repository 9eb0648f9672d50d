"""The queue: what is shown in which order, to whom, at what cost, as a page and as a fragment."""

import gzip
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.contrib.staticfiles import finders
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from agentops.halts import covering
from agentops.static_files import BUNDLES, spare
from agentops.tenancy import people
from agentops.tenancy.models import Tenant
from agentops.wire.ids import uuid7
from approvals.assessing import ladder
from approvals.models import Proposal
from approvals.queue import selectors
from approvals.queue.filters import Filters, parse
from tests.conftest import person
from tests.shop import drive, only_proposal, open_shop, start


def know_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have it remembered which names several members bear, as any page of the last ten seconds has."""
    monkeypatch.setattr(people, "FRESH_S", 3600.0)
    people.called(User(first_name="Any", last_name="Body"))


STATEMENTS = 12 if connection.vendor == "sqlite" else 16
"""Twelve for a whole page; on PostgreSQL four more name person and tenant to the session and take it back."""

RANKS = {"low": 0, "medium": 1, "high": 2, "critical": 3}


@pytest.fixture
def proposal(scoped: Tenant) -> Proposal:
    """Return what an e-mail that asks for a refund leads to."""
    open_shop(scoped)
    drive(start("support-email", {"message_id": "M-0001"}).id)
    return only_proposal()


@pytest.fixture
def desk(bob: User, signed_in: Callable[[User], Client]) -> Client:
    return signed_in(bob)


def another(proposal: Proposal, *, band: str = "high", due: timedelta, age: timedelta, **changes: object) -> Proposal:
    """Return a waiting proposal like this one."""
    now = timezone.now()
    copy = Proposal.objects.get(pk=proposal.pk)
    copy.pk, copy.call_id = uuid7(), uuid4().hex
    copy.risk_band, copy.band_rank = band, RANKS[band]
    copy.decide_by, copy.created_at = now + due, now - age
    for name, value in changes.items():
        setattr(copy, name, value)
    copy.save(force_insert=True)
    return copy


def crowd(proposal: Proposal, size: int) -> list[Proposal]:
    """Return many waiting proposals with all sorts of deadlines and risks."""
    now = timezone.now()
    bands = list(RANKS)
    copies = []
    for i in range(size):
        copy = Proposal.objects.get(pk=proposal.pk) if i < 1 else Proposal(**_columns(proposal))
        copy.pk, copy.call_id = uuid7(), uuid4().hex
        copy.risk_band, copy.band_rank = bands[i % 4], i % 4
        copy.decide_by = now + timedelta(minutes=(i * 37) % 1_440)
        copy.created_at = now - timedelta(seconds=i % 5)
        copies.append(copy)
    return Proposal.objects.bulk_create(copies, batch_size=100)


def _columns(proposal: Proposal) -> dict[str, object]:
    return {field.attname: getattr(proposal, field.attname) for field in Proposal._meta.concrete_fields}


def walk(filters: Filters, now: datetime) -> list[list[selectors.QueueRow]]:
    """Return the pages of the queue as a person leafs through them."""
    page = selectors.queue_page(filters, now=now)
    pages = [list(page.rows)]
    while page.next is not None:
        page = selectors.queue_page(filters, now=now, after=page.next)
        pages.append(list(page.rows))
    return pages


def test_what_is_due_first_comes_first_then_the_riskier_then_the_older(proposal: Proposal) -> None:
    Proposal.objects.filter(pk=proposal.pk).update(
        decide_by=timezone.now() + timedelta(days=3), band_rank=0, risk_band="low"
    )
    hour, day = timedelta(minutes=50), timedelta(hours=20)
    old, young = timedelta(minutes=9), timedelta(minutes=1)
    expected = [
        another(proposal, band="high", due=hour, age=young),
        another(proposal, band="low", due=timedelta(minutes=-5), age=old),
        another(proposal, band="medium", due=timedelta(hours=6), age=young),
        another(proposal, band="critical", due=day, age=old),
        another(proposal, band="critical", due=day, age=young),
        another(proposal, band="medium", due=timedelta(days=9), age=old),
    ]
    rows = selectors.queue_page(Filters(), now=timezone.now()).rows
    assert [row.pk for row in rows] == [*(one.pk for one in expected), proposal.pk]


def test_leafing_through_shows_every_proposal_once_in_the_order_of_the_first_page(proposal: Proposal) -> None:
    everything = {proposal.pk, *(one.pk for one in crowd(proposal, 130))}
    now = timezone.now()
    pages = walk(Filters(), now)
    rows = [row for page in pages for row in page]
    assert [len(page) for page in pages] == [50, 50, 31]
    assert {row.pk for row in rows} == everything
    assert len(rows) == len(everything)
    bucket = [
        0 if r.decide_by < now + selectors.SOON else 1 if r.decide_by < now + selectors.TODAY else 2 for r in rows
    ]
    assert [(b, -r.band_rank, r.created_at, r.pk) for b, r in zip(bucket, rows, strict=True)] == sorted(
        (b, -r.band_rank, r.created_at, r.pk) for b, r in zip(bucket, rows, strict=True)
    )


def test_the_next_page_is_a_link_that_keeps_the_filters(proposal: Proposal, desk: Client) -> None:
    crowd(proposal, 240)
    first = desk.get("/t/acme/queue?q=band:high")
    assert len(first.context["items"]) == 50
    second = desk.get(first.context["next_url"])
    assert {item["band"] for item in second.context["items"]} == {"high"}
    assert not {i["id"] for i in first.context["items"]} & {i["id"] for i in second.context["items"]}


def test_what_has_been_decided_is_listed_by_status_and_pages_too(proposal: Proposal, bob: User, desk: Client) -> None:
    crowd(proposal, 60)
    Proposal.objects.exclude(pk=proposal.pk).update(status="rejected", decided_at=timezone.now(), decided_by=bob)
    assert [len(page) for page in walk(parse("status:rejected"), timezone.now())] == [50, 10]
    page = desk.get("/t/acme/queue?q=status:rejected")
    assert (len(page.context["items"]), page.context["counts"]["pending"]) == (50, 1)


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("band:critical", 1),
        ("band:low", 0),
        ("tool:shop.issue_refund", 2),
        ("tool:mail.send", 0),
        ("task:support-email", 2),
        ("task:unknown", 0),
        ("taint:yes", 1),
        ("taint:no", 1),
        ("taint:yes band:critical", 0),
    ],
)
def test_filters_narrow_the_list(proposal: Proposal, desk: Client, query: str, shown: int) -> None:
    another(proposal, band="critical", due=timedelta(hours=2), age=timedelta(0), tainted=False)
    page = desk.get("/t/acme/queue", {"q": query})
    assert len(page.context["items"]) == shown
    assert page.context["counts"]["pending"] == 2


@pytest.mark.parametrize(
    "query",
    ["q=band:purple", "after=yesterday", "after=2026-01-01~x", "q=status:held", "open=1", "q=tool:%00", "q=bnd:low"],
)
def test_a_filter_that_means_nothing_is_a_bad_request_not_an_empty_queue(
    proposal: Proposal, desk: Client, query: str
) -> None:
    assert desk.get(f"/t/acme/queue?{query}").status_code == 400


def test_a_long_queue_is_counted_up_to_a_thousand_and_costs_no_more_than_a_short_one(
    proposal: Proposal,
    desk: Client,
    django_assert_max_num_queries: DjangoAssertNumQueries,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Stops and the ladder are asked for once, however slow the machine is.
    monkeypatch.setattr(covering, "FRESH_S", 3600.0)
    monkeypatch.setattr(ladder, "FRESH_S", 3600.0)
    know_names(monkeypatch)
    ladder.rung_of("high")
    crowd(proposal, 1_001)
    with django_assert_max_num_queries(STATEMENTS) as statements:
        page = desk.get("/t/acme/queue")
    assert "1,000+" in page.content.decode()
    assert page.context["selected"] is not None
    assert not [one["sql"] for one in statements.captured_queries if "OFFSET" in one["sql"].upper()]


def test_the_first_load_of_a_full_page_stays_light(proposal: Proposal, desk: Client, settings: Any) -> None:
    """Every answer as it is served: the page as the middleware compresses it, bundles and files as WhiteNoise does."""
    settings.STATIC_ROOT = "/collected"
    crowd(proposal, 60)
    page = desk.get("/t/acme/queue", headers={"Accept-Encoding": "gzip"})
    assert page.headers["Content-Encoding"] == "gzip"
    html = gzip.decompress(page.content).decode()
    assert html.count('class="row') == selectors.PAGE
    scripts = re.findall(r'<script src="/static/([^"]+)"', html)
    others = re.findall(r'<link [^>]*href="/static/([^"]+)"', html)
    assert "js/pages.js" in scripts
    assert "css/desk.css" in others
    fonts = {
        f"fonts/{found.decode()}"
        for name in others
        if name.endswith(".css")
        for found in re.findall(rb'url\("\.\./fonts/([^"]+)"\)', served(name))
    }
    assert fonts
    script = sum(map(weight, scripts))
    assert script <= 28 * 1024
    assert len(page.content) + script + sum(map(weight, [*others, *fonts])) <= 60_000


def served(name: str) -> bytes:
    """Return a static file, or a bundle of them as it is collected."""
    if name in BUNDLES:
        return b"\n".join(spare(served(part)) for part in BUNDLES[name])
    return Path(str(finders.find(name))).read_bytes()


def weight(name: str) -> int:
    body = served(name)
    return len(body) if name.endswith(".woff2") else len(gzip.compress(body))


def test_a_card_costs_at_most_twelve_statements(
    proposal: Proposal,
    desk: Client,
    django_assert_max_num_queries: DjangoAssertNumQueries,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # On a slow machine what is remembered for half a second would be read twice.
    monkeypatch.setattr(covering, "FRESH_S", 3600.0)
    know_names(monkeypatch)
    with django_assert_max_num_queries(STATEMENTS):
        assert desk.get(f"/t/acme/proposals/{proposal.pk}").status_code == 200


def test_the_first_proposal_is_open_beside_the_list_and_open_chooses_another(proposal: Proposal, desk: Client) -> None:
    other = another(proposal, band="low", due=timedelta(days=5), age=timedelta(0))
    page = desk.get("/t/acme/queue")
    assert page.context["selected"]["p"]["id"] == proposal.pk
    chosen = desk.get(f"/t/acme/queue?open={other.pk}")
    assert chosen.context["selected"]["p"]["id"] == other.pk
    assert [item["id"] for item in chosen.context["items"] if item["selected"]] == [other.pk]
    assert desk.get(f"/t/acme/queue?open={uuid7()}").status_code == 404


def test_htmx_gets_the_list_or_the_card_from_the_same_address(proposal: Proposal, desk: Client) -> None:
    listed = desk.get("/t/acme/queue", headers={"HX-Request": "true", "HX-Target": "list"})
    card = desk.get(f"/t/acme/proposals/{proposal.pk}", headers={"HX-Request": "true", "HX-Target": "card"})
    beside = desk.get(f"/t/acme/queue?open={proposal.pk}", headers={"HX-Request": "true", "HX-Target": "card"})
    restored = desk.get("/t/acme/queue", headers={"HX-Request": "true", "HX-History-Restore-Request": "true"})
    assert listed.content.strip().startswith(b'<div id="list"')
    for fragment in (card, beside):
        assert b'<article id="card"' in fragment.content
    for fragment in (listed, card, beside):
        assert b"<html" not in fragment.content
        assert fragment["Cache-Control"] == "no-store"
        assert {"HX-Request", "Cookie"} <= {name.strip() for name in fragment["Vary"].split(",")}
    assert b"<html" in restored.content


def test_an_empty_queue_says_so_and_who_decided_last(scoped: Tenant, desk: Client) -> None:
    assert "Nothing is waiting." in desk.get("/t/acme/queue").content.decode()


def test_the_start_of_a_tenant_is_its_queue(scoped: Tenant, desk: Client) -> None:
    assert desk.get("/t/acme/")["Location"] == "/t/acme/queue"


def test_roles_without_the_right_to_decide_see_the_queue_and_no_buttons(
    proposal: Proposal, acme: Tenant, signed_in: Callable[[User], Client]
) -> None:
    page = signed_in(person("vera", acme, "viewer")).get("/t/acme/queue")
    assert page.status_code == 200
    assert b"data-approve" not in page.content
    assert "operators and seniors do" in page.content.decode()


def test_the_next_proposal_follows_in_order_and_starts_over_at_the_end(proposal: Proposal) -> None:
    second = another(proposal, band="low", due=timedelta(days=5), age=timedelta(0))
    now = timezone.now()
    first = selectors.next_after(second, Filters(), now=now)
    assert first is not None
    assert first.pk == proposal.pk
    following = selectors.next_after(first, Filters(), now=now)
    assert following is not None
    assert following.pk == second.pk
    assert selectors.next_after(first, parse("band:critical"), now=now) is None


def test_what_follows_in_the_whole_queue_is_what_follows_where_it_is_narrowed_to_everything(
    proposal: Proposal, bob: User, acme: Tenant
) -> None:
    now, ed = timezone.now(), person("ed", acme, "operator")
    rows = crowd(proposal, 60)
    for number, row in enumerate(rows):
        mine = {"leased_by": (bob, ed)[number % 2], "leased_until": now + timedelta(minutes=number % 3 - 1)}
        held = {"held_by": ed, "held_until": now + timedelta(minutes=number % 4 - 1), "held_note": "Later."}
        change = mine if number % 5 == 0 else held if number % 7 == 0 else {"decided_at": None}
        Proposal.objects.filter(pk=row.pk).update(**change)
    whole, narrowed = Filters(me=bob.pk), parse("band:low,medium,high,critical", bob.pk)
    for anchor in Proposal.objects.all():
        expected = selectors.next_after(anchor, narrowed, now=now)
        assert expected is not None
        assert selectors.next_after(anchor, whole, now=now) == expected, anchor
    Proposal.objects.exclude(pk=proposal.pk).update(leased_by=ed, leased_until=now + timedelta(hours=1))
    assert selectors.next_after(proposal, whole, now=now) is None


def test_a_page_without_an_event_stream_can_ask_what_is_new(proposal: Proposal, desk: Client) -> None:
    newest = desk.get("/t/acme/queue/newer").json()["newest"]
    assert desk.get(f"/t/acme/queue/newer?since={newest}").json() == {"newest": newest, "events": [], "more": False}
    told = desk.get("/t/acme/queue/newer?since=0").json()
    assert {"event": "proposal", "id": str(proposal.pk)}.items() <= told["events"][-1].items()
    assert desk.get("/t/acme/queue/newer?since=-1").status_code == 400
    fragment = desk.get("/t/acme/queue/newer?since=0", headers={"HX-Request": "true"})
    assert fragment.content.strip().startswith(b'<div id="list"')


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59%2B00:00", "0001-01-01T00:00:00%2B23:59"])
def test_a_place_outside_of_the_calendar_is_a_bad_request(proposal: Proposal, desk: Client, at: str) -> None:
    assert desk.get(f"/t/acme/queue?after={at}~{proposal.pk}").status_code == 400
