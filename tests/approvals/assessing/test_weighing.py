"""Two admins change what a tenant weighs: nobody alone, nothing half, every step on record, no tenant for another."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone

from agentops.audit.models import Event
from agentops.changes import outcomes
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.wire.ids import uuid7
from approvals.assessing import weighing
from approvals.assessing.weights import START, WEIGHTS, BadWeights, parse_weights
from approvals.models import Proposal, RiskWeights
from tests.approvals.conftest import Desk
from tests.approvals.contracts import MAIL, origin
from tests.conftest import person

WHY = "Everything here is irreversible, so it says little."


@pytest.fixture
def ada(alice: User, actors: Callable[[User], Actor]) -> Actor:
    return actors(alice)


@pytest.fixture
def adam(acme: Tenant, actors: Callable[[User], Actor]) -> Actor:
    return actors(person("adam", acme, "admin"))


def others(**changes: int) -> dict[str, Any]:
    return {"weights": dict(WEIGHTS) | changes}


def proposed(actor: Actor, **changes: int) -> RiskWeights:
    outcome = weighing.propose(raw=others(**(changes or {"irreversible": 5})), note=WHY, actor=actor)
    assert isinstance(outcome, outcomes.Proposed), outcome
    return RiskWeights.objects.get(pk=outcome.change_id)


def decide(row: RiskWeights, verdict: str, actor: Actor, note: str = "") -> outcomes.Outcome:
    return weighing.decide(weights_id=row.pk, verdict=verdict, note=note, actor=actor)


def events() -> list[str]:
    return list(Event.objects.filter(type__startswith="risk.").order_by("pk").values_list("type", flat=True))


def test_nothing_changes_until_another_admin_has_put_it_in_force(scoped: Tenant, ada: Actor, adam: Actor) -> None:
    row = proposed(ada)
    assert weighing.weights_in_force() == START
    assert decide(row, "approve", adam) == outcomes.Settled(row.pk, 1, "active")
    assert weighing.weights_in_force().values["irreversible"] == 5
    assert weighing.weights_in_force().version == 1
    assert events() == ["risk.weights_proposed", "risk.weights_approved"]
    said = Event.objects.get(type="risk.weights_approved")
    assert said.subject_id == str(row.pk)


def test_nobody_decides_on_the_own_set_and_the_database_refuses_it_too(scoped: Tenant, ada: Actor) -> None:
    row = proposed(ada)
    assert decide(row, "approve", ada) == outcomes.Forbidden("own")
    assert decide(row, "refuse", ada, "no") == outcomes.Forbidden("own")
    with pytest.raises(IntegrityError), transaction.atomic():
        RiskWeights.objects.filter(pk=row.pk).update(status="active", decided_by=ada.user_id, decided_at=timezone.now())
    assert decide(row, "withdraw", ada) == outcomes.Settled(row.pk, 1, "withdrawn")


def test_only_one_set_waits_and_the_next_one_replaces_the_last(scoped: Tenant, ada: Actor, adam: Actor) -> None:
    first = proposed(ada)
    assert weighing.propose(raw=others(padding=3), note=WHY, actor=adam) == outcomes.Waiting("Alice", 1)
    decide(first, "approve", adam)
    second = proposed(adam, padding=3)
    assert decide(second, "withdraw", ada) == outcomes.Forbidden("not_own")
    decide(second, "approve", ada)
    assert list(RiskWeights.objects.order_by("version").values_list("status", flat=True)) == ["retired", "active"]
    assert decide(first, "approve", adam) == outcomes.TooLate("Adam", "retired")


def test_a_refusal_says_why(scoped: Tenant, ada: Actor, adam: Actor) -> None:
    row = proposed(ada)
    assert isinstance(decide(row, "refuse", adam), outcomes.Invalid)
    assert decide(row, "refuse", adam, "Too little.") == outcomes.Settled(row.pk, 1, "refused")
    assert weighing.weights_in_force() == START


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ({"weights": {"irreversible": 96}}, "irreversible"),
        ({"weights": {"irreversible": -1}}, "irreversible"),
        ({"weights": {"irreversible": "20"}}, "irreversible"),
        ({"weights": {"irreversible": True}}, "irreversible"),
        ({"weights": {"made_up": 3}}, "made_up"),
        ({"thresholds": {"critical_money": 10}}, "critical_money"),
        ({"thresholds": {"high_money": 0}}, "high_money"),
        ({"hours": {"start": 9, "end": 9}}, "hours"),
        ({"hours": {"start": 9, "end": 17, "days": []}}, "days"),
        ({"hours": {"start": 9, "end": 17, "days": [7]}}, "days"),
    ],
)
def test_a_set_that_makes_no_sense_is_refused_by_field(raw: dict[str, Any], field: str) -> None:
    with pytest.raises(BadWeights) as refused:
        parse_weights(raw)
    assert field in refused.value.problems


def test_people_without_the_right_change_nothing(
    scoped: Tenant, bob: User, sam: User, ada: Actor, actors: Callable[[User], Actor]
) -> None:
    row = proposed(ada)
    for one in (bob, sam):
        assert weighing.propose(raw=others(padding=3), note=WHY, actor=actors(one)) == outcomes.Forbidden("role")
        assert decide(row, "approve", actors(one)) == outcomes.Forbidden("role")


def test_another_tenants_set_does_not_exist(
    acme: Tenant, globex: Tenant, ada: Actor, in_tenant: Callable[[Tenant], Any], actor_of: Any
) -> None:
    with in_tenant(acme):
        row = proposed(ada)
    gina = actor_of(person("gina", globex, "admin"), globex)
    with in_tenant(globex):
        assert decide(row, "approve", gina) == outcomes.NotFound()
        assert weighing.weights_in_force() == START


def test_a_proposal_names_the_weights_it_was_assessed_with(desk: Desk, ada: Actor, adam: Actor) -> None:
    before = desk.propose(provenance=origin(reason=MAIL))
    decide(proposed(ada, untrusted_content=60), "approve", adam)
    after = desk.propose(provenance=origin(reason=MAIL))
    assert (before.risk["weights"], after.risk["weights"]) == (0, 1)
    assert after.risk_score > before.risk_score
    assert Proposal.objects.get(pk=before.pk).risk_score == before.risk_score, "what waits keeps its risk"


# --- the page -------------------------------------------------------------------------------------------------------


def form(**changes: str) -> dict[str, Any]:
    typed: dict[str, Any] = {f"weight:{code}": str(value) for code, value in WEIGHTS.items()}
    typed |= {f"threshold:{code}": str(value) for code, value in START.thresholds.items()}
    return typed | {"start": "0", "end": "24", "days": ["0", "1", "2", "3", "4", "5", "6"], "note": WHY} | changes


def test_the_page_proposes_simulates_and_puts_in_force(
    desk: Desk, alice: User, ada: Actor, adam: Actor, signed_in: Callable[[User], Client]
) -> None:
    desk.propose(provenance=origin(reason=MAIL))
    hers, his = signed_in(alice), signed_in(User.objects.get(username="adam"))
    answer = hers.post("/t/acme/risk/propose", form(**{"weight:untrusted_content": "90"}))
    assert (answer.status_code, answer["Location"]) == (302, "/t/acme/risk")
    page = his.get("/t/acme/risk")
    waiting = page.context["waiting"]
    assert [(one["before"], one["after"]) for one in waiting["changes"]] == [("8 %", "90 %")]
    assert (waiting["simulation"].n, waiting["simulation"].raised) == (1, 1)
    row = RiskWeights.objects.get()
    assert hers.post(f"/t/acme/risk/{row.pk}/decide", {"verdict": "approve"}).status_code == 403
    assert his.post(f"/t/acme/risk/{row.pk}/decide", {"verdict": "approve"}).status_code == 302
    assert his.post(f"/t/acme/risk/{row.pk}/decide", {"verdict": "approve"}).status_code == 409
    assert hers.post(f"/t/acme/risk/{uuid7()}/decide", {"verdict": "approve"}).status_code == 404


def test_what_cannot_be_taken_comes_back_as_it_was_typed(
    scoped: Tenant, alice: User, signed_in: Callable[[User], Client]
) -> None:
    client = signed_in(alice)
    answer = client.post("/t/acme/risk/propose", form(**{"weight:padding": "many", "note": "x"}))
    assert answer.status_code == 422
    assert b'value="many"' in answer.content
    assert client.post("/t/acme/risk/propose", form(**{"weight:padding": "99"})).status_code == 422
    assert client.post("/t/acme/risk/propose", form()).status_code == 422, "nothing would change"
    assert not RiskWeights.objects.exists()


def test_operators_read_the_page_and_change_nothing(
    scoped: Tenant, bob: User, signed_in: Callable[[User], Client]
) -> None:
    client = signed_in(bob)
    assert b"Propose other weights" not in client.get("/t/acme/risk").content
    assert client.post("/t/acme/risk/propose", form()).status_code == 403
