"""Who gets into a tenant's administration, and where its doors to accounts lead."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils.formats import date_format

from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from approvals.permits import policies
from tests.conftest import person

SignedIn = Callable[[User], Client]


def test_an_admin_of_the_tenant_gets_in(alice: User, signed_in: SignedIn) -> None:
    response = signed_in(alice).get("/t/acme/admin/")
    assert response.status_code == 200
    assert b"What two admins agree on" in response.content
    assert response.content.index(b"Task types") < response.content.index(b"Tickets")
    assert b"Recent actions" not in response.content


def test_the_overview_says_what_each_thing_is_and_lists_it_once(alice: User, signed_in: SignedIn) -> None:
    page = signed_in(alice).get("/t/acme/admin/").content.decode()
    assert "A kind of work a tenant allows: planner, limits, stop criteria, deadlines." in page
    assert "`" not in page
    assert page.count("/admin/tools/allowedhost/") == 1
    assert page.count("/admin/tools/allowlistentry/") == 1
    assert "/admin/tools/allowedhost/" in signed_in(alice).get("/t/acme/admin/tools/").content.decode()


@pytest.mark.parametrize("path", ["", "runs/tasktype/", "tools/allowlistentry/"])
def test_the_way_to_other_pages_is_there_and_says_where_one_is(alice: User, signed_in: SignedIn, path: str) -> None:
    page = signed_in(alice).get(f"/t/acme/admin/{path}").content.decode()
    rail = page.partition('<nav class="rail"')[2].partition("</nav>")[0]
    assert 'href="/t/acme/queue"' in rail
    assert rail.count("aria-current") == 1
    assert '<a href="/t/acme/admin/" aria-current="page">' in rail


def test_moments_are_written_as_on_every_other_page(alice: User, signed_in: SignedIn) -> None:
    assert date_format(datetime(2026, 11, 5, 14, 3, 9, tzinfo=UTC), "DATETIME_FORMAT") == "2026-11-05 14:03:09"
    page = signed_in(alice).get("/t/acme/admin/tenancy/servicetoken/").content.decode()
    assert "a.m." not in page
    assert "p.m." not in page


@pytest.mark.parametrize("path", ["/t/acme/admin/", "/t/acme/admin/login/"])
def test_other_members_are_refused_and_never_offered_a_second_sign_in(
    bob: User, signed_in: SignedIn, path: str
) -> None:
    client = signed_in(bob)
    response = client.get(path, follow=True)
    assert response.status_code == 403
    assert client.post("/t/acme/admin/login/", {"username": "alice", "password": "guess"}).status_code == 403


def test_people_of_other_tenants_do_not_learn_that_it_exists(
    alice: User, charlie: User, client: Client, signed_in: SignedIn
) -> None:
    assert signed_in(charlie).get("/t/acme/admin/").status_code == 404
    assert client.get("/t/acme/admin/").headers["Location"] == "/sign-in?next=/t/acme/admin/"


def test_signing_out_needs_a_form(alice: User, signed_in: SignedIn) -> None:
    client = signed_in(alice)
    client.get("/t/acme/admin/logout/")
    assert client.get("/t/acme/admin/").status_code == 200
    assert client.post("/t/acme/admin/logout/").headers["Location"] == "/sign-in"
    assert client.get("/t/acme/admin/").status_code == 302


def test_passwords_are_changed_outside_of_the_tenant(alice: User, signed_in: SignedIn) -> None:
    assert signed_in(alice).get("/t/acme/admin/password_change/").headers["Location"] == "/account/password"


def test_the_overview_says_what_waits_for_whom(
    alice: User, acme: Tenant, signed_in: SignedIn, scoped: Tenant, actor_of: Callable[[User, Tenant], Actor]
) -> None:
    adam = person("adam", acme, "admin")
    rules = "policy: 1\nrules:\n  - {id: a, when: call.tool == 'mail.send', effect: deny}\n"
    policies.propose(text=rules, effective_at=None, note="Nobody writes letters.", actor=actor_of(alice, acme))
    assert "1 of yours waits for another admin" in signed_in(alice).get("/t/acme/admin/").content.decode()
    hers, his = (signed_in(one).get("/t/acme/admin/").content.decode() for one in (alice, adam))
    assert "for you" not in hers
    assert '<a href="/t/acme/policy"><strong>1 waits for you</strong></a>' in his
    assert his.count('class="waits"') == 1


@pytest.mark.parametrize(
    ("path", "title"),
    [
        ("budgets/budget/", "Budgets"),
        ("tenancy/membership/", "Memberships"),
        ("tools/toolhealth/", "Tool health records"),
    ],
)
def test_a_list_is_called_what_it_lists(alice: User, signed_in: SignedIn, path: str, title: str) -> None:
    page = signed_in(alice).get(f"/t/acme/admin/{path}").content.decode()
    assert f"<h1>{title}</h1>" in page
    assert "to change" not in page.partition("<h1>")[2].partition("</h1>")[0]
