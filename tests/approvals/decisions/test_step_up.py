"""What loosens rules asks for the password again, and goes on with the form as it was sent."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.test import Client

from agentops.audit.models import Event
from agentops.changes.models import Change
from agentops.runs.models import TaskType
from agentops.tenancy import step_up
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Membership, Tenant
from approvals.assessing import weighing
from approvals.assessing.weights import START
from approvals.models import PolicyVersion, Proposal, RiskWeights, ScopedTrust
from approvals.permits import policies
from tests.approvals.conftest import NOW, make_desk
from tests.approvals.contracts import NOTE
from tests.conftest import PASSWORD, person
from tools import allowing
from tools.allowing import Wish
from tools.allowlist import AllowlistRule, AllowlistState
from tools.models import AllowlistChange, HostChange
from tools.network import hosts

WHY = "The team has asked for it."
ACTS = ("policy", "weights", "allowlist", "hosts", "trust")


@dataclass
class Act:
    """One act that loosens rules: where it is posted, with what, and whether it counts."""

    address: str
    fields: dict[str, str]
    done: Callable[[], bool]
    note: Callable[[], str] = lambda: ""


def in_force(model: type[Change], pk: UUID) -> bool:
    return model._default_manager.get(pk=pk).status == "active"


def change(model: type[Change], address: str, outcome: Any) -> Act:
    pk = getattr(outcome, "change_id", None) or outcome.proposed.change_id
    fields = {"verdict": "approve", "note": "I have read it: <b>all</b> of it."}
    return Act(
        address.format(pk),
        fields,
        lambda: in_force(model, pk),
        lambda: model._default_manager.get(pk=pk).decision_note,
    )


@pytest.fixture
def adam(acme: Tenant) -> User:
    return person("adam", acme, "admin", "senior")


@pytest.fixture
def act(request: pytest.FixtureRequest, scoped: Tenant, tools: None, alice: User, adam: User, actor_of: Any) -> Act:
    ada: Actor = actor_of(alice, scoped)
    match request.param:
        case "policy":
            text = "policy: 1\nrules: [{id: night, when: time.hour < 6, effect: deny}]\n"
            outcome = policies.propose(text=text, effective_at=None, note=WHY, actor=ada)
            return change(PolicyVersion, "/t/acme/policy/{}/decide", outcome)
        case "weights":
            raw: Any = START.to_json()
            raw["weights"]["untrusted_authority"] = 50
            return change(RiskWeights, "/t/acme/risk/{}/decide", weighing.propose(raw=raw, note=WHY, actor=ada))
        case "allowlist":
            kind = TaskType.objects.create(slug="support", name="Support", input_schema={})
            wish = Wish(kind.pk, AllowlistRule("mail.read", AllowlistState.GATED))
            told = allowing.change(wishes=[wish], note=WHY, actor=ada)
            return change(AllowlistChange, "/t/acme/admin/tools/allowlistentry/changes/{}/decide/", told)
        case "hosts":
            found = hosts.change(hosts.HostRule("api.example.com", note=WHY), actor=ada)
            return change(HostChange, "/t/acme/admin/tools/allowedhost/changes/{}/decide/", found)
    desk = make_desk(scoped)
    desk.allow(NOTE.name, AllowlistState.GATED)
    proposal = desk.propose(contract=NOTE)
    Proposal.objects.update(status="approved", decided_by=adam, decided_at=NOW)
    return Act(f"/t/acme/proposals/{proposal.pk}/trust", {"scope": "4"}, ScopedTrust.objects.exists)


@pytest.fixture
def his(adam: User, signed_in: Callable[[User], Client]) -> Client:
    """Adam, who signed in six minutes ago."""
    client = signed_in(adam)
    session = client.session
    session["account_authentication_methods"] = [{"method": "password", "at": time.time() - 360}]
    session.save()
    return client


def told(kind: str) -> int:
    return Event.objects.filter(type=kind).count()


@pytest.mark.parametrize("act", ACTS, indirect=True)
def test_the_password_is_asked_for_and_the_form_goes_on_as_it_was_sent(act: Act, his: Client, adam: User) -> None:
    asked = his.post(act.address, act.fields)
    assert asked.status_code == 428
    assert "no-store" in asked["Cache-Control"]
    assert not act.done()
    wrong = his.post(act.address, {"step_up": asked.context["kept"], "password": "guess"})
    assert wrong.status_code == 428
    assert "That is not your password." in wrong.content.decode()
    assert not act.done()
    right = his.post(act.address, {"step_up": wrong.context["kept"], "password": PASSWORD})
    assert right.status_code == 302
    assert act.done()
    assert act.note() == act.fields.get("note", "")
    assert (told("auth.step_up_failed"), told("auth.step_up")) == (1, 1)
    assert set(Event.objects.filter(type="auth.step_up").values_list("subject_kind", "subject_id")) == {
        ("user", str(adam.pk))
    }


@pytest.mark.parametrize("act", ACTS, indirect=True)
def test_whoever_has_just_signed_in_is_not_asked(act: Act, adam: User, signed_in: Callable[[User], Client]) -> None:
    assert signed_in(adam).post(act.address, act.fields).status_code == 302
    assert act.done()


@pytest.mark.parametrize("act", ["policy", "trust"], indirect=True)
def test_a_kept_form_is_its_persons_and_for_its_address(
    act: Act, his: Client, acme: Tenant, signed_in: Callable[[User], Client]
) -> None:
    kept = his.post(act.address, act.fields).context["kept"]
    other = signed_in(person("ava", acme, "admin", "senior"))
    forged = kept[:-2] + ("AA" if kept[-2:] != "AA" else "BB")
    for client, address, text in (
        (other, act.address, kept),
        (his, "/t/acme/risk/01a215c3-8f27-7d3a-8fba-ac8ccc699e37/decide", kept),
        (his, act.address, forged),
        (his, act.address, ""),
    ):
        assert client.post(address, {"step_up": text, "password": PASSWORD}).status_code == 422
    assert not act.done()
    assert told("auth.step_up") == 0


@pytest.mark.parametrize("act", ["hosts"], indirect=True)
def test_a_form_that_was_kept_too_long_is_kept_once_more(
    act: Act, his: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = his.post(act.address, act.fields).context["kept"]
    monkeypatch.setattr(step_up, "KEPT", timedelta(seconds=-1))
    late = his.post(act.address, {"step_up": kept, "password": PASSWORD})
    assert (late.status_code, act.done()) == (428, False)
    assert "That took too long." in late.content.decode()
    monkeypatch.undo()
    assert his.post(act.address, {"step_up": late.context["kept"], "password": PASSWORD}).status_code == 302
    assert act.done()


@pytest.mark.parametrize("act", ["weights"], indirect=True)
def test_who_guesses_has_to_wait_and_keeps_the_form(act: Act, his: Client) -> None:
    kept = his.post(act.address, act.fields).context["kept"]
    answers = [his.post(act.address, {"step_up": kept, "password": f"guess {n}"}) for n in range(12)]
    assert {one.status_code for one in answers} == {428, 429}
    assert his.post(act.address, {"step_up": kept, "password": PASSWORD}).status_code == 429
    assert answers[-1].context["kept"]
    assert not act.done()


@pytest.mark.parametrize("act", ["allowlist"], indirect=True)
def test_nobody_without_a_password_or_without_the_right_goes_on(act: Act, his: Client, adam: User) -> None:
    kept = his.post(act.address, act.fields).context["kept"]
    Membership.objects.filter(user=adam, role="admin").delete()
    answer = his.post(act.address, {"step_up": kept, "password": PASSWORD})
    assert answer.status_code in (302, 403)
    assert not act.done()


@pytest.mark.parametrize("act", ["policy"], indirect=True)
def test_an_account_without_a_password_is_told_so(act: Act, his: Client, adam: User) -> None:
    kept = his.post(act.address, act.fields).context["kept"]
    session = dict(his.session.items())
    adam.set_unusable_password()
    adam.save()
    his.force_login(adam, backend="allauth.account.auth_backends.AuthenticationBackend")
    stale = his.session
    stale["account_authentication_methods"] = session["account_authentication_methods"]
    stale.save()
    assert his.post(act.address, {"step_up": kept, "password": PASSWORD}).status_code == 403
    assert not act.done()
