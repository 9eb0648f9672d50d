"""The list of hosts changes in one way only: narrowing counts at once, widening needs another admin."""

import ast
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from agentops.audit.services import load
from agentops.changes import outcomes
from agentops.tenancy.access import SYSTEM, TOKEN_SCOPES, WORKER, Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.services import issue_token
from tests.conftest import person
from tools.network import hosts
from tools.network.hosts import HostRule, Narrowed, Unchanged, change, decide, remove, seed, widenings
from tools.network.models import AllowedHost, HostAccess, HostChange

WRITE = HostAccess.WRITE
WHY = "The parcels are there."
ROOT = Path(__file__).parents[3]


@pytest.fixture
def ada(alice: User, acme: Tenant, actor_of: Callable[[User, Tenant], Actor]) -> Actor:
    return actor_of(alice, acme)


@pytest.fixture
def adam(acme: Tenant, actor_of: Callable[[User, Tenant], Actor]) -> Actor:
    return actor_of(person("adam", acme, "admin"), acme)


def rule(host: str = "api.example.com", **more: Any) -> HostRule:
    return HostRule(host, **{"note": WHY, **more})


def proposed(actor: Actor, wanted: HostRule, secret: str | None = None) -> HostChange:
    outcome = change(wanted, actor=actor, secret=secret)
    assert isinstance(outcome, outcomes.Proposed), outcome
    return HostChange.objects.get(pk=outcome.change_id)


def listed() -> dict[str, HostRule]:
    return {row.host: hosts.rule_of(row) for row in AllowedHost.objects.all()}


# --- nobody alone, by any way ---------------------------------------------------------------------------------------


def test_by_a_service_call_nobody_widens_it_alone_and_the_database_refuses_it_too(
    scoped: Tenant, ada: Actor, bob: User, actor_of: Callable[[User, Tenant], Actor]
) -> None:
    row = proposed(ada, rule())
    assert decide(change_id=row.pk, verdict="approve", note="", actor=ada) == outcomes.Forbidden("own")
    token = Actor.token(1, "ci", TOKEN_SCOPES)
    for actor in (actor_of(bob, scoped), SYSTEM, WORKER, token):
        assert change(rule("other.example.com"), actor=actor) == outcomes.Forbidden("role")
        assert remove("other.example.com", actor=actor) == outcomes.Forbidden("role")
        assert decide(change_id=row.pk, verdict="approve", note="", actor=actor) == outcomes.Forbidden("role")
    for decided_by in (None, ada.user_id):
        with pytest.raises(IntegrityError), transaction.atomic():
            HostChange.objects.filter(pk=row.pk).update(
                status="active", decided_by=decided_by, decided_at=timezone.now()
            )
    with pytest.raises(PermissionError):
        seed(rule(), actor=ada)
    assert listed() == {}


def test_by_the_pages_of_the_site_nobody_widens_it_alone(
    scoped: Tenant, alice: User, ada: Actor, signed_in: Callable[[User], Client]
) -> None:
    hers = signed_in(alice)
    row = proposed(ada, rule())
    address = f"/t/acme/admin/tools/allowedhost/changes/{row.pk}/"
    assert b'value="approve"' not in hers.get(address).content
    for verdict in ("approve", "active", "force"):
        assert hers.post(f"{address}decide/", {"verdict": verdict}).status_code == 403
    assert hers.get(f"{address}decide/").status_code == 405
    assert listed() == {}
    assert hers.post(f"{address}decide/", {"verdict": "withdraw"}).status_code == 302
    assert hers.post(f"{address}decide/", {"verdict": "approve"}).status_code == 409


def test_by_the_forms_of_the_admin_nobody_widens_it_alone(
    scoped: Tenant, alice: User, signed_in: Callable[[User], Client]
) -> None:
    hers = signed_in(alice)
    own = seed(rule("own.example.com"))
    wide = {"host": "own.example.com", "access": "write", "subdomains": "on", "plain_http": "on", "note": WHY}
    for address in ("add/", f"{own.pk}/change/"):
        for more in ({}, {"_continue": "1"}, {"_addanother": "1"}, {"_saveasnew": "1"}):
            host = "own.example.com" if "change" in address else "new.example.com"
            answer = hers.post(f"/t/acme/admin/tools/allowedhost/{address}", wide | {"host": host} | more)
            assert answer.status_code in (200, 302)
    assert listed() == {"own.example.com": rule("own.example.com")}
    assert HostChange.objects.filter(status="proposed").count() == 7, "saving as a new row meets the one there is"


def test_by_the_api_nobody_widens_it_at_all(scoped: Tenant, ada: Actor, client: Client) -> None:
    row = proposed(ada, rule())
    _, secret = issue_token(tenant=scoped, name="ci", scopes=sorted(TOKEN_SCOPES), actor=SYSTEM)
    bearer = {"Authorization": f"Bearer {secret}"}
    admin = "/t/acme/admin/tools/allowedhost/"
    for address in (f"{admin}add/", f"{admin}changes/{row.pk}/decide/"):
        answer = client.post(
            address, {"host": "x.example.com", "access": "write", "verdict": "approve"}, headers=bearer
        )
        assert "sign-in" in answer["Location"], "a token is no person, and pages take only people"
    for method in ("get", "post", "put", "patch", "delete"):
        asked = getattr(client, method)("/api/v1/hosts", headers=bearer)
        assert asked.status_code == 404
    assert listed() == {}


def test_nothing_else_writes_to_the_list() -> None:
    """Writers of the table are found in the source: there is one module."""
    writers = set()
    for path in [
        *(ROOT / "tools").rglob("*.py"),
        *(ROOT / "agentops").rglob("*.py"),
        *(ROOT / "approvals").rglob("*.py"),
    ]:
        if "migrations" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            made = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "AllowedHost"
            written = (
                isinstance(node, ast.Attribute)
                and node.attr in {"create", "update", "bulk_create", "bulk_update", "get_or_create", "update_or_create"}
                and "AllowedHost" in ast.unparse(node)
            )
            if made or written:
                writers.add(path.relative_to(ROOT).as_posix())
    assert writers == {"tools/network/hosts.py"}


def test_whoever_puts_a_widening_in_force_has_just_proved_who_they_are(
    scoped: Tenant, ada: Actor, adam: Actor, acme: Tenant
) -> None:
    row = proposed(ada, rule())
    for proved_at in (None, timezone.now() - timedelta(minutes=6)):
        stale = replace(adam, proved_at=proved_at)
        assert decide(change_id=row.pk, verdict="approve", note="", actor=stale) == outcomes.StepUpNeeded()
        assert listed() == {}
    old = replace(adam, proved_at=None)
    assert isinstance(decide(change_id=row.pk, verdict="refuse", note="No.", actor=old), outcomes.Settled)


# --- what happens -----------------------------------------------------------------------------------------------------


def test_another_admin_lists_it_and_every_step_is_on_record(scoped: Tenant, ada: Actor, adam: Actor) -> None:
    row = proposed(ada, rule(credential_header="X-Key"), "s3cret")
    assert isinstance(decide(change_id=row.pk, verdict="approve", note="", actor=adam), outcomes.Settled)
    assert listed() == {"api.example.com": rule(credential_header="X-Key")}
    told = [(one.type, one.actor["name"]) for one in load("tenant") if one.type.startswith("host")]
    assert told == [("host.proposed", "alice"), ("host.allowed", "adam"), ("host.approved", "adam")]
    assert "s3cret" not in str([one.data for one in load("tenant")])


def test_narrowing_counts_at_once(scoped: Tenant, ada: Actor) -> None:
    seed(rule(subdomains=True, access=WRITE, plain_http=True, credential_header="X-Key"), secret="s3cret")
    assert change(rule(), actor=ada) == Narrowed("api.example.com", 1)
    assert listed() == {"api.example.com": rule()}
    assert AllowedHost.objects.get().credential == ""
    assert change(rule(), actor=ada) == Unchanged("api.example.com")
    assert remove("api.example.com", actor=ada) == Narrowed("api.example.com", 2)
    assert remove("api.example.com", actor=ada) is None
    assert listed() == {}


def test_what_narrows_and_widens_waits_as_a_whole(scoped: Tenant, ada: Actor) -> None:
    seed(rule(access=WRITE))
    proposed(ada, rule(subdomains=True))
    assert listed() == {"api.example.com": rule(access=WRITE)}


def test_another_credential_waits_and_the_refused_one_is_not_kept(scoped: Tenant, ada: Actor, adam: Actor) -> None:
    row = seed(rule(credential_header="X-Key"), secret="old")
    assert change(rule(credential_header="X-Key"), actor=ada, secret="old") == Unchanged("api.example.com")
    waiting = proposed(ada, rule(credential_header="X-Key"), "new")
    assert waiting.body["wider"] == ["api.example.com gets another credential."]
    assert waiting.credential
    assert isinstance(decide(change_id=waiting.pk, verdict="refuse", note="No.", actor=adam), outcomes.Settled)
    waiting.refresh_from_db()
    assert waiting.credential == ""
    before = row.credential
    row.refresh_from_db()
    assert row.credential == before


def test_what_was_narrowed_meanwhile_is_not_widened_by_an_older_proposal(
    scoped: Tenant, ada: Actor, adam: Actor
) -> None:
    seed(rule())
    row = proposed(ada, rule(access=WRITE))
    remove("api.example.com", actor=adam)
    assert decide(change_id=row.pk, verdict="approve", note="", actor=adam) == outcomes.Stale("api.example.com")
    assert listed() == {}
    assert isinstance(decide(change_id=row.pk, verdict="withdraw", note="", actor=ada), outcomes.Settled)


def test_a_rule_above_that_makes_a_change_allow_more_than_was_read_voids_it(
    scoped: Tenant, ada: Actor, adam: Actor
) -> None:
    seed(rule(subdomains=True))
    row = proposed(ada, rule(plain_http=True))
    assert row.body["wider"] == ["api.example.com may be asked without encryption."]
    seed(rule("example.com", subdomains=True, access=WRITE))
    before = listed()
    assert decide(change_id=row.pk, verdict="approve", note="", actor=adam) == outcomes.Stale("api.example.com")
    assert listed() == before
    again = proposed(ada, rule(plain_http=True))
    assert "Hosts below api.example.com may be written to." in again.body["wider"]
    assert isinstance(decide(change_id=again.pk, verdict="approve", note="", actor=adam), outcomes.Settled)


def test_two_proposals_for_one_new_host_do_not_both_list_it(scoped: Tenant, ada: Actor, adam: Actor) -> None:
    one, two = proposed(ada, rule()), proposed(ada, rule(access=WRITE))
    assert isinstance(decide(change_id=one.pk, verdict="approve", note="", actor=adam), outcomes.Settled)
    assert decide(change_id=two.pk, verdict="approve", note="", actor=adam) == outcomes.Stale("api.example.com")
    assert listed() == {"api.example.com": rule()}


def test_a_rule_that_is_none_is_refused_by_field(scoped: Tenant, ada: Actor) -> None:
    def wrong(wanted: HostRule, secret: str | None = None) -> set[str]:
        outcome = change(wanted, actor=ada, secret=secret)
        assert isinstance(outcome, outcomes.Invalid), outcome
        return set(outcome.problems)

    assert wrong(rule("127.0.0.1")) == {"host"}
    assert wrong(rule(note="so")) == {"note"}
    assert wrong(rule(note=f"{WHY}\x00")) == {"note"}
    assert wrong(rule(credential_header="X-Key")) == {"secret"}
    assert wrong(rule(), "x") == {"credential_header"}
    assert wrong(rule(credential_header="Host"), "x") == {"credential_header"}
    assert wrong(rule(credential_header="X-Key"), "a\nb") == {"secret"}
    with pytest.raises(ValidationError):
        seed(rule("127.0.0.1"))
    assert not HostChange.objects.exists()


def test_other_tenants_changes_are_not_found(
    acme: Tenant, globex: Tenant, in_tenant: Any, actor_of: Callable[[User, Tenant], Actor]
) -> None:
    hers = person("gina", globex, "admin")
    with in_tenant(globex):
        row = proposed(actor_of(hers, globex), rule())
    adam = person("adam", acme, "admin")
    with in_tenant(acme):
        found = decide(change_id=row.pk, verdict="approve", note="", actor=actor_of(adam, acme))
        assert found == outcomes.NotFound()


# --- what is wider --------------------------------------------------------------------------------------------------


def test_a_rule_of_its_own_that_goes_away_leaves_the_one_above_to_count(scoped: Tenant, ada: Actor) -> None:
    seed(rule("example.com", subdomains=True, access=WRITE))
    seed(rule("api.example.com", subdomains=True))
    outcome = remove("api.example.com", actor=ada)
    assert isinstance(outcome, outcomes.Invalid)
    assert "Hosts below api.example.com may be written to." in outcome.problems["host"]
    # Hosts below it would be covered by the one above as well.
    row = proposed(ada, rule("api.example.com"))
    assert row.body["wider"] == ["Hosts below api.example.com may be written to."]
    assert isinstance(change(rule("example.com", subdomains=True), actor=ada), Narrowed)
    assert isinstance(remove("api.example.com", actor=ada), Narrowed)


_RULES = st.builds(
    HostRule,
    st.just("a.example.com"),
    st.booleans(),
    st.sampled_from(HostAccess),
    st.booleans(),
    st.sampled_from(["", "X-Key"]),
)
_ABOVE = st.none() | st.builds(
    HostRule, st.just("example.com"), st.just(True), st.sampled_from(HostAccess), st.booleans()
)


def powers(own: HostRule | None, above: HostRule | None) -> set[tuple[str, str]]:
    """Say, one by one, what may be asked: of the host, and of a host below it."""
    found = set()
    for name, counts in (("at", own or above), ("below", own if own is not None and own.subdomains else above)):
        if counts is not None:
            found |= {(name, "read")}
            found |= {(name, "write")} if counts.access is WRITE else set()
            found |= {(name, "plain")} if counts.plain_http else set()
    if own is not None and own.credential_header:
        found |= {("at", "credential")}
    return found


@given(_RULES, st.none() | _RULES, _ABOVE)
def test_whatever_is_possible_afterwards_and_was_not_before_is_wider(
    before: HostRule, after: HostRule | None, above: HostRule | None
) -> None:
    more = powers(after, above) - powers(before, above)
    assert bool(widenings(before, after, above)) == bool(more)


def test_every_way_of_widening_is_said() -> None:
    wide = HostRule("a.example.com", True, WRITE, True, "X-Key")
    assert widenings(wide, HostRule("a.example.com")) == ()
    assert widenings(wide, None) == ()
    assert len(widenings(HostRule("a.example.com"), wide)) == 4
    assert widenings(None, HostRule("a.example.com"), HostRule("example.com", True, WRITE, True)) == (
        "a.example.com may be asked.",
    )
