"""The border between tenants, as requests meet it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.test import AsyncClient, Client
from django.urls import get_script_prefix

from agentops.tenancy.access import SYSTEM
from agentops.tenancy.links import global_url, tenant_url
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import open_tenant_id
from agentops.tenancy.services import remove_member

BACKEND = "allauth.account.auth_backends.AuthenticationBackend"
SignedIn = Callable[[User], Client]


@pytest.fixture(autouse=True)
def _probe_urls(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.tenancy.urls"
    settings.TENANT_URLCONF = "tests.tenancy.tenant_urls"


@pytest.mark.parametrize("slug", ["acme", "nowhere"])
def test_anonymous_people_are_sent_to_sign_in_whatever_the_slug(client: Client, acme: Tenant, slug: str) -> None:
    response = client.get(f"/t/{slug}/probe?a=b")
    assert response.status_code == 302
    assert response["Location"] == f"/sign-in?next=/t/{slug}/probe%3Fa%3Db"


@pytest.mark.parametrize(
    ("sent_from", "back"),
    [
        ("http://testserver/t/acme/queue?q=band:low", "/t/acme/queue%3Fq%3Dband%3Alow"),
        ("http://elsewhere.example/t/acme/queue", "/t/acme/"),
        ("http://testserver/admin", "/t/acme/"),
        ("//testserver@evil.example/t/acme/x", "/t/acme/"),
        ("", "/t/acme/"),
    ],
)
def test_a_form_of_a_session_that_ran_out_leads_back_to_its_page_and_says_that_it_is_lost(
    client: Client, acme: Tenant, sent_from: str, back: str
) -> None:
    answer = client.post("/t/acme/probe", {"note": "x"}, headers={"Referer": sent_from})
    assert answer.headers["Location"] == f"/sign-in?next={back}"
    [told] = get_messages(answer.wsgi_request)
    assert "Nothing of it was recorded." in str(told)
    quiet = Client().post("/t/acme/probe", {"note": "x"}, headers={"HX-Request": "true"})
    assert quiet.headers["Location"] == "/sign-in?next=/t/acme/"
    assert "messages" not in quiet.cookies


def test_a_foreign_tenant_and_an_unknown_one_answer_alike(
    signed_in: SignedIn, bob: User, globex: Tenant, django_assert_num_queries: Any
) -> None:
    client = signed_in(bob)
    foreign, unknown = client.get("/t/globex/probe"), client.get("/t/nowhere/probe")
    assert foreign.status_code == unknown.status_code == 404
    assert foreign.content == unknown.content
    assert dict(foreign.items()) == dict(unknown.items())


@pytest.mark.parametrize("slug", ["ACME", "acme%00", "acme'", "%ff", "..", "a" * 5000])
def test_odd_slugs_are_unknown_tenants(signed_in: SignedIn, bob: User, slug: str) -> None:
    assert signed_in(bob).get(f"/t/{slug}/probe").status_code == 404


def test_superusers_are_members_of_nothing(signed_in: SignedIn, acme: Tenant) -> None:
    root = User.objects.create_superuser("root", "root@example.com", "only for this test")
    assert signed_in(root).get("/t/acme/probe").status_code == 404


def test_losing_the_last_role_closes_the_tenant_at_once(signed_in: SignedIn, acme: Tenant, bob: User) -> None:
    client = signed_in(bob)
    assert client.get("/t/acme/probe").status_code == 200
    remove_member(tenant=acme, user=bob, role="operator", actor=SYSTEM)
    assert client.get("/t/acme/probe").status_code == 404


def expected(tenant: Tenant, person: str, view: str, *, session: str) -> dict[str, Any]:
    return {
        "slug": tenant.slug,
        "scope": tenant.pk,
        "session": session,
        "people": [person],
        "actor": person,
        "roles": ["operator"],
        "url": f"/t/{tenant.slug}/{view}",
        "path": f"/t/{tenant.slug}/{view}",
        "path_info": f"/{view}",
    }


def session_of(tenant: Tenant) -> str:
    from django.db import connection

    return str(tenant.pk) if connection.vendor == "postgresql" else ""


@pytest.mark.parametrize("view", ["probe", "async-probe"])
def test_a_member_is_inside_and_nothing_stays_open(
    signed_in: SignedIn, acme: Tenant, bob: User, globex: Tenant, charlie: User, view: str
) -> None:
    prefix = get_script_prefix()
    inside = {"acme": signed_in(bob).get(f"/t/acme/{view}"), "globex": signed_in(charlie).get(f"/t/globex/{view}")}
    assert inside["acme"].json() == expected(acme, "bob", view, session=session_of(acme))
    assert inside["globex"].json() == expected(globex, "charlie", view, session=session_of(globex))
    assert inside["acme"]["Cache-Control"] == "private, no-store"
    assert open_tenant_id() is None
    assert get_script_prefix() == prefix


def test_a_failing_view_leaves_nothing_open(signed_in: SignedIn, bob: User) -> None:
    client = signed_in(bob)
    client.raise_request_exception = False
    prefix = get_script_prefix()
    assert client.get("/t/acme/fails").status_code == 500
    assert open_tenant_id() is None
    assert get_script_prefix() == prefix


def test_an_unknown_page_inside_a_tenant_is_404(signed_in: SignedIn, bob: User) -> None:
    assert signed_in(bob).get("/t/acme/no-such-page").status_code == 404


def test_the_admin_makes_addresses_of_the_same_tenant(signed_in: SignedIn, alice: User, bob: User) -> None:
    response = signed_in(alice).get("/t/acme/admin/tenancy/membership/")
    assert response.status_code == 200
    assert b'href="/t/acme/admin/tenancy/membership/add/"' in response.content
    assert signed_in(bob).get("/t/acme/admin/tenancy/membership/")["Location"].startswith("/t/acme/admin/login/")


def test_links_cross_the_border_both_ways(rf: Any) -> None:
    from django.urls import set_script_prefix

    outer = get_script_prefix()
    try:
        for prefix in ("/", "/t/acme/"):
            set_script_prefix(prefix)
            assert global_url("tenants") == "/"
            assert tenant_url("globex") == "/t/globex/"
            assert tenant_url("globex", "audit_event", pk=7) == "/t/globex/audit/events/7"
            assert get_script_prefix() == prefix
        set_script_prefix("/behind/a/proxy/t/acme/")
        assert global_url("tenants") == "/behind/a/proxy/"
    finally:
        set_script_prefix(outer)


def test_people_see_their_own_tenants_only(signed_in: SignedIn, acme: Tenant, globex: Tenant, bob: User) -> None:
    response = signed_in(bob).get("/")
    assert response.status_code == 200
    [entry] = response.context["tenants"]
    assert entry["tenant"] == acme
    assert [role.label for role in entry["roles"]] == ["Operator"]
    assert entry["url"] == "/t/acme/"
    assert b"Globex" not in response.content


@pytest.mark.django_db(transaction=True)
def test_two_tenants_interleaved_under_asgi_see_only_their_own(
    acme: Tenant, globex: Tenant, bob: User, charlie: User
) -> None:
    async def visit(person: User, slug: str, view: str) -> Any:
        client = AsyncClient()
        await client.aforce_login(person, backend=BACKEND)
        return (await client.get(f"/t/{slug}/{view}")).json()

    async def visits() -> list[Any]:
        return await asyncio.gather(
            *(
                visit(person, slug, view)
                for _ in range(4)
                for view in ("async-probe", "probe")
                for person, slug in ((bob, "acme"), (charlie, "globex"))
            )
        )

    for index, answer in enumerate(asyncio.run(visits())):
        view = ("async-probe", "probe")[index // 2 % 2]
        tenant, person = ((acme, "bob"), (globex, "charlie"))[index % 2]
        assert answer == expected(tenant, person, view, session=session_of(tenant))
    assert open_tenant_id() is None


@pytest.mark.django_db(transaction=True)
def test_streams_open_the_scope_for_each_question(acme: Tenant, globex: Tenant, bob: User, charlie: User) -> None:
    async def listen(person: User, slug: str) -> bytes:
        client = AsyncClient()
        await client.aforce_login(person, backend=BACKEND)
        response = await client.get(f"/t/{slug}/stream")
        stream: Any = response
        return b"".join([part async for part in stream.streaming_content])

    async def both() -> list[bytes]:
        return list(await asyncio.gather(listen(bob, "acme"), listen(charlie, "globex")))

    assert asyncio.run(both()) == [b"bob\n" * 3, b"charlie\n" * 3]
