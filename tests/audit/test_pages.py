"""The audit list and the page of one event."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.test import Client

from agentops.audit import selectors, views
from agentops.audit.models import Event
from agentops.audit.services import NewEvent, append
from agentops.tenancy.access import SYSTEM, WORKER, Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.tenancy.services import create_tenant
from agentops.wire import JSONObject
from tests.audit.conftest import append_some, unguarded

SignedIn = Callable[[User], Client]
RUN = UUID("01920000-0000-7000-8000-000000000001")
PROPOSAL = UUID("01920000-0000-7000-8000-000000000002")
START = datetime(2026, 11, 22, 10, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _probe_urls(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.tenancy.urls"
    settings.TENANT_URLCONF = "tests.tenancy.tenant_urls"


@pytest.fixture
def log(acme: Tenant, bob: User) -> None:
    """Write a short story into acme's log."""
    bobs = Actor.user(bob, ["operator"])
    with tenant_scope(acme), transaction.atomic():
        for minute, (kind, actor, subject, tool) in enumerate(
            [
                ("run.started", WORKER, None, ""),
                ("run.tool_called", WORKER, None, "mail.read"),
                ("proposal.created", WORKER, ("proposal", str(PROPOSAL)), "shop.issue_refund"),
                ("proposal.decided", bobs, ("proposal", str(PROPOSAL)), "shop.issue_refund"),
                ("runner.note", bobs, None, ""),
            ]
        ):
            event = NewEvent(kind, {"note": "<b>bold</b>", "nested": {"a": 1}}, subject, tool)
            append(f"run:{RUN}", [event], actor=actor, run_id=RUN, at=START + timedelta(minutes=minute))


def types(client: Client, **filters: Any) -> list[str]:
    response = client.get("/t/acme/audit", filters)
    assert response.status_code == 200
    return [row.type for row in response.context["events"]]


STORY = ["runner.note", "proposal.decided", "proposal.created", "run.tool_called", "run.started"]


def test_the_list_shows_the_newest_first(signed_in: SignedIn, bob: User, log: None) -> None:
    assert types(signed_in(bob))[:5] == STORY


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"type": "proposal.decided"}, STORY[1:2]),
        ({"type": "proposal."}, STORY[1:3]),
        ({"type": "run*"}, [STORY[0], *STORY[3:]]),
        ({"actor": "worker"}, STORY[2:]),
        ({"actor": "BOB"}, STORY[:2]),
        ({"actor": "bob@acme.example"}, STORY[:2]),
        ({"actor": "nobody"}, []),
        ({"tool": "mail.read"}, STORY[3:4]),
        ({"run": str(RUN)}, STORY),
        ({"run": f"run:{RUN}"}, STORY),
        ({"run": RUN.hex, "actor": "bob"}, STORY[:2]),
        ({"proposal": str(PROPOSAL)}, STORY[1:3]),
        ({"subject": f"proposal:{PROPOSAL}"}, STORY[1:3]),
        ({"run": str(RUN), "since": "2026-11-22T10:03"}, STORY[:2]),
        ({"run": str(RUN), "until": "2026-11-22T10:01"}, STORY[4:]),
    ],
)
def test_filters_narrow_the_list(
    signed_in: SignedIn, bob: User, log: None, filters: dict[str, str], expected: list[str]
) -> None:
    assert types(signed_in(bob), **filters) == expected


@pytest.mark.parametrize(
    "filters",
    [
        {"run": "not-an-id"},
        {"proposal": "1"},
        {"since": "yesterday"},
        {"since": "2026-01-02", "until": "2026-01-01"},
        {"since": "0001-01-01T00:00:00+23:59"},
        {"until": "9999-12-31T23:59:59-23:59"},
        {"before": "0"},
        {"after": "99999999999999999999"},
        {"type": "x" * 1000},
        {"tool": "a\x00b"},
    ],
)
def test_a_bad_filter_is_explained_and_shows_nothing(
    signed_in: SignedIn, bob: User, log: None, filters: dict[str, str]
) -> None:
    response = signed_in(bob).get("/t/acme/audit", filters)
    assert response.status_code == 400
    assert response.context["filter"].errors
    assert list(response.context["events"]) == []


def test_pages_lead_to_the_end_and_back_without_loss(
    signed_in: SignedIn, bob: User, acme: Tenant, django_assert_max_num_queries: Any
) -> None:
    with tenant_scope(acme):
        append_some("run:many", 2 * selectors.PAGE + 7)
    client = signed_in(bob)

    def walk(url: str, onward: str) -> tuple[list[list[int]], list[str]]:
        pages, urls = [], []
        while url:
            urls.append(url)
            context = client.get(url).context
            pages.append([row.id for row in context["events"]])
            url = context[onward]
        return pages, urls

    pages, urls = walk("/t/acme/audit?type=run.step", "next_url")
    assert [len(page) for page in pages] == [50, 50, 7]
    flat = [event_id for page in pages for event_id in page]
    assert flat == sorted(set(flat), reverse=True)
    assert walk(urls[-1], "previous_url")[0] == [pages[2], pages[1], pages[0]]
    with django_assert_max_num_queries(17) as queries:
        client.get(urls[1])
    counted = [query["sql"].lower() for query in queries if "count(" in query["sql"].lower()]
    assert all("limit" in sql for sql in counted), "nothing is counted to its end"


def test_exactly_one_page_has_no_next(signed_in: SignedIn, bob: User, acme: Tenant) -> None:
    with tenant_scope(acme):
        append_some("run:many", selectors.PAGE)
    context = signed_in(bob).get("/t/acme/audit?type=run.step").context
    assert len(context["events"]) == selectors.PAGE
    assert context["next_url"] == context["previous_url"] == ""


def test_a_fragment_has_the_rows_without_the_page(signed_in: SignedIn, bob: User, log: None) -> None:
    response = signed_in(bob).get("/t/acme/audit", headers={"HX-Request": "true"})
    assert b"<html" not in response.content
    assert b"proposal.decided" in response.content
    assert "HX-Request" in response["Vary"]


def test_how_the_record_stands_can_be_read_again_by_itself(signed_in: SignedIn, bob: User, log: None) -> None:
    client = signed_in(bob)
    assert b"data-refresh" not in client.get("/t/acme/audit").content
    assert client.post("/t/acme/audit/verify").status_code == 302
    assert b'id="standing" data-refresh' in client.get("/t/acme/audit").content
    again = client.get("/t/acme/audit", headers={"HX-Request": "true", "HX-Target": "standing"})
    assert b'id="standing"' in again.content


def test_filters_that_cannot_be_read_are_not_said_to_match_nothing(signed_in: SignedIn, bob: User, log: None) -> None:
    page = signed_in(bob).get("/t/acme/audit", {"terms": "decsion:approve"}).content
    assert b"These filters cannot be read" in page
    assert b"No event matches" not in page


def test_a_row_names_its_tool_and_says_times_with_their_unit(signed_in: SignedIn, bob: User, acme: Tenant) -> None:
    took: JSONObject = {
        "tool": "mail.read",
        "call_id": "1.read.0",
        "attempt": 1,
        "duration_ms": 29,
        "verdict": "ok",
        "waits_s": "x",
    }
    with tenant_scope(acme), transaction.atomic():
        append(f"run:{RUN}", [NewEvent("call.succeeded", took, None, "mail.read")], actor=WORKER, run_id=RUN, at=START)
    answer = signed_in(bob).get("/t/acme/audit", {"type": "call.succeeded"})
    (row,) = answer.context["events"]
    assert row.fact == "verdict ok · attempt 1 · duration 29 ms · waits s x · call id 1.read.0"
    assert "<code>mail.read</code>" in answer.content.decode()


def event_id(tenant: Tenant, kind: str) -> int:
    with tenant_scope(tenant):
        return Event.objects.get(type=kind).pk


def test_an_event_shows_its_data_its_neighbours_and_its_chain(
    signed_in: SignedIn, bob: User, acme: Tenant, log: None
) -> None:
    response = signed_in(bob).get(f"/t/acme/audit/events/{event_id(acme, 'proposal.created')}")
    assert response.status_code == 200
    context = response.context
    assert [row.type for row in context["earlier"]] == ["run.started", "run.tool_called"]
    assert [row.type for row in context["later"]] == ["proposal.decided", "runner.note"]
    assert (context["chain"].intact, context["chain"].events, context["whole"]) == (True, 5, True)
    assert context["hash"] == context["event"].hash.hex()
    with tenant_scope(acme):
        assert context["previous"] == bytes(Event.objects.get(type="run.tool_called").hash).hex()
    assert b"<b>bold" not in response.content
    assert b"&lt;b&gt;bold" in response.content


def test_a_broken_chain_is_said_on_the_page(signed_in: SignedIn, bob: User, acme: Tenant, log: None) -> None:
    pk = event_id(acme, "run.tool_called")
    with tenant_scope(acme), unguarded() as forge:
        forge("update audit_event set body = %s where id = %s", b"{broken", pk)
    client = signed_in(bob)
    for shown in (pk, event_id(acme, "run.started")):
        response = client.get(f"/t/acme/audit/events/{shown}")
        assert response.status_code == 200
        assert response.context["chain"].finding.event_id == pk
    assert client.get("/t/acme/audit").status_code == 200


def test_a_long_stream_is_checked_around_the_event(signed_in: SignedIn, bob: User, acme: Tenant) -> None:
    with tenant_scope(acme):
        append_some("run:long", views.WHOLE_CHAIN + 1)
        pk = Event.objects.get(stream__name="run:long", seq=500).pk
    context = signed_in(bob).get(f"/t/acme/audit/events/{pk}").context
    assert not context["whole"]
    assert context["chain"].intact
    assert context["chain"].events == 2 * views.AROUND + 1


def test_another_tenants_event_does_not_exist(
    signed_in: SignedIn, charlie: User, bob: User, acme: Tenant, log: None
) -> None:
    pk = event_id(acme, "run.started")
    assert signed_in(charlie).get(f"/t/globex/audit/events/{pk}").status_code == 404
    assert signed_in(bob).get("/t/acme/audit/events/999999999").status_code == 404
    assert not types(signed_in(bob), run=str(UUID(int=1)))


def test_auditors_read_and_viewers_do_not(signed_in: SignedIn, ann: User, acme: Tenant) -> None:
    from tests.conftest import person

    assert signed_in(ann).get("/t/acme/audit").status_code == 200
    viewer = signed_in(person("vera", acme, "viewer"))
    assert viewer.get("/t/acme/audit").status_code == 403
    assert viewer.get(f"/t/acme/audit/events/{event_id(acme, 'tenant.created')}").status_code == 403
    assert signed_in(ann).post("/t/acme/audit").status_code == 405


def test_emptying_the_database_is_refused_outside_of_tests(acme: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "TEST", {"NAME": "another"})
    with pytest.raises(CommandError, match="append-only"):
        call_command("flush", interactive=False)
    with tenant_scope(acme):
        assert Event.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_emptying_a_test_database_leaves_what_migrations_leave_and_the_guards(acme: Tenant, bob: User) -> None:
    assert "audit_event" in written()
    call_command("flush", interactive=False)
    assert written() == {"auth_permission", "django_content_type", "tools_publishedcontract"}
    tenant = create_tenant(slug="again", name="Again", environment="test", actor=SYSTEM)
    with pytest.raises(DatabaseError, match="refused"), tenant_scope(tenant):
        Event.objects.all().delete()


def written() -> set[str]:
    """Return the names of the tables that have rows."""
    with connection.cursor() as cursor:
        tables = connection.introspection.django_table_names(True)
        cursor.execute(" union all ".join(f"select '{name}' where exists (select 1 from {name})" for name in tables))
        return {name for (name,) in cursor.fetchall()}
