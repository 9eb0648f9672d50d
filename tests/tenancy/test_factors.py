"""Second factors: who has one proves by it who they are, and a password alone opens and loosens nothing any more."""

import json
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import (
    TOTP,
    format_hotp_value,
    generate_totp_secret,
    hotp_value,
    yield_hotp_counters_from_time,
)
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client

from agentops.audit.models import Event
from agentops.audit.selectors import recorded
from agentops.tenancy.access import SYSTEM
from agentops.tenancy.models import Tenant
from agentops.tenancy.services import add_member
from approvals.models import PolicyVersion
from approvals.permits import policies
from tests.conftest import PASSWORD, person

TEXT = "policy: 1\nrules: [{id: night, when: time.hour < 6, effect: deny}]\n"


def code_of(secret: str) -> str:
    return str(format_hotp_value(hotp_value(secret, next(yield_hotp_counters_from_time()))))


@pytest.fixture
def secret() -> str:
    return str(generate_totp_secret())


@pytest.fixture
def adam(acme: Tenant, secret: str) -> User:
    """Return an admin with an authenticator app and recovery codes."""
    user = person("adam", acme, "admin")
    TOTP.activate(user, secret)
    RecoveryCodes.activate(user)
    return user


@pytest.fixture
def policy(scoped: Tenant, alice: User, actor_of: Callable[[User, Tenant], Any]) -> PolicyVersion:
    policies.propose(text=TEXT, effective_at=None, note="The board says so.", actor=actor_of(alice, scoped))
    return PolicyVersion.objects.get()


def decide(client: Client, row: PolicyVersion, **more: str) -> Any:
    return client.post(f"/t/acme/policy/{row.pk}/decide", {"verdict": "approve", "note": "I have read it."} | more)


def proof(client: Client, row: PolicyVersion, kept: str, **posted: str) -> Any:
    return client.post(f"/t/acme/policy/{row.pk}/decide", {"step_up": kept, **posted})


def forget_sign_in(client: Client) -> None:
    session = client.session
    session["account_authentication_methods"] = []
    session.save()


# --- signing in -------------------------------------------------------------------------------------------------------


def test_a_password_alone_does_not_sign_in_who_has_a_second_factor(client: Client, adam: User, secret: str) -> None:
    answer = client.post("/sign-in", {"login": adam.email, "password": PASSWORD})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/account/factors/authenticate/")
    assert client.get("/t/acme/queue").headers["Location"].startswith("/sign-in")
    assert b"Incorrect code" in client.post("/account/factors/authenticate/", {"code": "000000"}).content
    assert client.get("/t/acme/queue").status_code == 302
    assert client.post("/account/factors/authenticate/", {"code": code_of(secret)}).status_code == 302
    assert client.get("/t/acme/queue").status_code == 200


def test_a_recovery_code_opens_the_account_once(client: Client, adam: User) -> None:
    row = Authenticator.objects.get(user=adam, type=Authenticator.Type.RECOVERY_CODES)
    code = row.wrap().get_unused_codes()[0]
    for expected in (200, 302):
        client.logout()
        client.post("/sign-in", {"login": adam.email, "password": PASSWORD})
        client.post("/account/factors/authenticate/", {"code": code})
        assert client.get("/t/acme/queue").status_code == expected


def test_many_wrong_codes_are_too_many_even_if_the_next_is_right(client: Client, adam: User, secret: str) -> None:
    client.post("/sign-in", {"login": adam.email, "password": PASSWORD})
    for _ in range(5):
        client.post("/account/factors/authenticate/", {"code": "000000"})
    client.post("/account/factors/authenticate/", {"code": code_of(secret)})
    assert client.get("/t/acme/queue").status_code == 302


# --- saying who one is ------------------------------------------------------------------------------------------------


def test_who_has_a_factor_is_asked_for_it_and_the_password_is_not_looked_at(
    adam: User, policy: PolicyVersion, signed_in: Callable[[User], Client], secret: str
) -> None:
    client = signed_in(adam)
    forget_sign_in(client)
    asked = decide(client, policy)
    assert asked.status_code == 428
    page = asked.content.decode()
    assert 'name="code"' in page
    assert not [name for name in ('name="password"', "data-passkey") if name in page]
    kept = asked.context["kept"]
    for posted in ({"password": PASSWORD}, {"code": "000000"}, {"credential": "{}"}, {"credential": "no json"}, {}):
        assert proof(client, policy, kept, **posted).status_code == 428
        policy.refresh_from_db()
        assert policy.status == "proposed"


def test_a_code_proves_it_once(
    adam: User, policy: PolicyVersion, signed_in: Callable[[User], Client], secret: str
) -> None:
    client = signed_in(adam)
    forget_sign_in(client)
    kept, code = decide(client, policy).context["kept"], code_of(secret)
    assert proof(client, policy, kept, code=code).status_code == 302
    policy.refresh_from_db()
    assert policy.status == "active"
    said = [recorded(row).data for row in Event.objects.filter(type="auth.step_up")]
    assert said == [{"by": "code"}]
    forget_sign_in(client)
    assert proof(client, policy, kept, code=code).status_code == 428


def test_the_credential_of_somebody_elses_passkey_proves_nothing(
    adam: User, alice: User, policy: PolicyVersion, signed_in: Callable[[User], Client]
) -> None:
    Authenticator.objects.create(user=alice, type=Authenticator.Type.WEBAUTHN, data={"name": "Hers", "credential": {}})
    client = signed_in(adam)
    forget_sign_in(client)
    kept = decide(client, policy).context["kept"]
    made: Any = {"id": "AAAA", "rawId": "AAAA", "type": "public-key", "clientExtensionResults": {}, "response": {}}
    tried: list[Any] = [made, [], 7, None, {"id": 3}, made | {"response": {"clientDataJSON": "é"}}]
    for credential in tried:
        assert proof(client, policy, kept, credential=json.dumps(credential)).status_code == 428


def test_how_an_account_is_opened_is_changed_with_the_factor_where_there_is_one(
    adam: User, alice: User, signed_in: Callable[[User], Client]
) -> None:
    for user, where in ((adam, "/account/factors/reauthenticate/"), (alice, "/account/confirm")):
        client = signed_in(user)
        forget_sign_in(client)
        first = client.get("/account/factors/webauthn/add/", follow=True)
        assert first.redirect_chain[-1][0].split("?")[0] == where
    answer = signed_in(adam).post("/account/confirm", {"password": PASSWORD})
    assert answer.headers["Location"].split("?")[0] == "/account/factors/reauthenticate/"


# --- what is kept and told --------------------------------------------------------------------------------------------


def test_secrets_are_sealed_and_a_lost_key_opens_nothing(
    adam: User, secret: str, settings: Any, client: Client
) -> None:
    stored = json.dumps([row.data for row in Authenticator.objects.filter(user=adam)])
    codes = Authenticator.objects.get(user=adam, type=Authenticator.Type.RECOVERY_CODES).wrap().get_unused_codes()
    assert not [one for one in (secret, *codes) if one in stored]
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "n" * 60, [settings.SECRET_KEY]
    assert Authenticator.objects.get(user=adam, type=Authenticator.Type.TOTP).wrap().validate_code(code_of(secret))
    settings.SECRET_KEY_FALLBACKS = []
    rows = [row.wrap() for row in Authenticator.objects.filter(user=adam)]
    assert not any(row.validate_code(tried) for row in rows for tried in ("", "000000", *codes))


@pytest.mark.django_db(transaction=True)
def test_every_tenant_of_a_person_is_told(
    alice: User,
    acme: Tenant,
    globex: Tenant,
    signed_in: Callable[[User], Client],
    in_tenant: Any,
) -> None:
    add_member(tenant=globex, user=alice, role="operator", actor=SYSTEM)
    client = signed_in(alice)
    client.post("/account/confirm", {"password": PASSWORD})
    page = client.get("/account/factors/totp/activate/")
    assert "img-src 'self' data:" in page.headers["Content-Security-Policy"]
    secret = page.context["form"].secret
    assert client.post("/account/factors/totp/activate/", {"code": code_of(secret)}).status_code == 302
    for tenant in (acme, globex):
        with in_tenant(tenant):
            told = [recorded(row) for row in Event.objects.filter(type="auth.factor_added").order_by("pk")]
            assert sorted(one.data["kind"] for one in told) == ["app", "recovery codes"]
            assert {one.actor["id"] for one in told} == {str(alice.pk)}
    client.post("/account/factors/totp/deactivate/")
    with in_tenant(globex):
        assert Event.objects.filter(type="auth.factor_removed").count() == 2


def test_the_factors_of_somebody_who_lost_them_are_taken_by_a_command(
    adam: User, client: Client, scoped: Tenant
) -> None:
    out = StringIO()
    call_command("factor_reset", "ADAM@acme.example", stdout=out)
    assert out.getvalue() == "2 removed.\n"
    event = recorded(Event.objects.get(type="auth.factor_removed"))
    assert (event.data, event.actor["kind"], event.subject) == ({"kind": "all"}, "system", ("user", str(adam.pk)))
    assert client.post("/sign-in", {"login": adam.email, "password": PASSWORD}).headers["Location"] == "/"
    call_command("factor_reset", adam.email, stdout=out)
    assert out.getvalue().endswith("There were none.\n")
    with pytest.raises(CommandError, match="Nobody"):
        call_command("factor_reset", "nobody@acme.example")


# --- an installation that insists -------------------------------------------------------------------------------------


def test_an_installation_can_insist_on_second_factors(
    alice: User, adam: User, secret: str, signed_in: Callable[[User], Client], client: Client, settings: Any
) -> None:
    settings.REQUIRE_SECOND_FACTOR = True
    without = signed_in(alice)
    for address in ("/t/acme/queue", "/t/acme/admin/"):
        answer = without.get(address)
        assert (answer.status_code, answer.headers["Location"]) == (302, "/account/factors/")
    assert b"Set one up" in without.get("/account/factors/").content
    assert without.get("/").status_code == 200
    TOTP.activate(alice, secret)
    assert without.get("/t/acme/queue").status_code == 200, "set up in this session"
    client.post("/sign-in", {"login": adam.email, "password": PASSWORD})
    client.post("/account/factors/authenticate/", {"code": code_of(secret)})
    assert client.get("/t/acme/queue").status_code == 200
