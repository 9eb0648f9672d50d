"""What a tenant's own decisions say about the next call, and what they do not."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User

from agentops.engine.events import CallDenied
from agentops.engine.transitions import CallState
from agentops.tenancy.access import Actor
from agentops.wire.ids import uuid7
from approvals import services
from approvals.assessing.history import ENOUGH, Past, decided_before, signals_of
from approvals.assessing.signals import Signals
from approvals.assessing.weights import START, Hours, Weights
from approvals.cards.afterwards import afterwards
from approvals.cards.similar import similar_to
from approvals.values.facets import Facets, distance, facets_of
from tests import deciding
from tests.approvals.conftest import NOW, Desk, seen
from tests.approvals.contracts import REFUND, arguments
from tests.approvals.lab import LETTER, letter
from tools.contracts import Blast, Consequence, Fact
from tools.registry import registry


def facets(domain: str = "bank.example", minor: int = 4_990) -> Facets:
    return Facets({"/to/0": domain}, {"/amount_minor": minor}, "EUR", ("amount_minor", "to"), 1)


def past(status: str = "approved", task_type_id: int = 1, **changes: Any) -> Past:
    return Past(uuid7(), status, NOW - timedelta(days=1), task_type_id, "1.0.0", "medium", facets(**changes))


def told(mine: Facets, record: list[Past], **changes: Any) -> Signals:
    known: dict[str, Any] = {"consequence": None, "task_type_id": 1, "weights": START, "now": NOW}
    return signals_of(facets=mine, past=record, **(known | changes))


def test_nothing_is_known_of_a_tenant_without_a_record() -> None:
    assert told(facets(), []) == Signals()


def test_a_name_one_letter_from_an_approved_one_is_a_look_alike_and_a_known_one_is_not() -> None:
    record = [past(domain="bank.example"), past(status="rejected", domain="evil.example")]
    assert told(facets("bamk.example"), record).look_alike == {"/to/0": "bank.example"}
    assert told(facets("bank.example"), record).look_alike == {}
    assert told(facets("evi1.example"), record).look_alike == {}, "what was rejected is not known"


def test_our_own_address_counts_as_known() -> None:
    ours = Consequence(
        "", facts=(Fact("From", "desk@harbor.example"), Fact("Recipient", "eve@harb0r.example (external)"))
    )
    assert told(facets("harb0r.example"), [], consequence=ours).look_alike == {"/to/0": "harbor.example"}


def test_an_amount_above_all_of_twenty_is_unusual_and_of_nineteen_is_not() -> None:
    record = [past(minor=1_000 + index) for index in range(ENOUGH)]
    assert told(facets(minor=9_000), record).unusual == {"/amount_minor": "EUR 10.19"}
    assert told(facets(minor=1_019), record).unusual == {}
    assert told(facets(minor=9_000), record[1:]).unusual == {}


def test_recent_rejections_of_the_same_kind_are_counted() -> None:
    record = [past(status="rejected") for _ in range(3)] + [past() for _ in range(7)] + [past(domain="far.example")]
    found = told(facets(), record)
    assert (found.rejected, found.similar) == (3, 10)


def test_a_kind_of_task_that_never_used_a_tool_others_use_daily_uses_it_for_the_first_time() -> None:
    record = [past(task_type_id=1) for _ in range(ENOUGH)]
    assert told(facets(), record, task_type_id=2).first_use
    assert not told(facets(), record, task_type_id=1).first_use
    assert not told(facets(), record[1:], task_type_id=2).first_use


@pytest.mark.parametrize(("hour", "outside"), [(8, True), (9, False), (16, False), (17, True)])
def test_working_hours_are_those_of_the_tenant(hour: int, outside: bool) -> None:
    office = Weights(hours=Hours(9, 17, (0, 1, 2, 3, 4)))
    monday = datetime(2026, 11, 23, hour, tzinfo=UTC)
    assert told(facets(), [], weights=office, now=monday).outside_hours is outside
    assert told(facets(), [], weights=office, now=monday - timedelta(days=1)).outside_hours


def test_signals_and_facets_are_read_back_as_they_were() -> None:
    found = Signals({"/to": "a.example"}, {"/amount_minor": "EUR 1.00"}, 1, 5, True, True, True, True)
    assert Signals.from_json(found.to_json()) == found
    assert Signals.from_json({}) == Signals()
    assert Facets.from_json(facets().to_json()) == facets()
    assert Facets.from_json({}) is None


def test_facets_are_where_it_points_and_how_much() -> None:
    found = facets_of(REFUND, arguments(), Consequence("", blast=(Blast("orders", 2), Blast("people", None))))
    assert (found.amounts, found.currency, found.touched) == ({"/amount_minor": 4990}, "EUR", 2)
    to = facets_of(LETTER, letter(to=["a@one.example", "b@two.example"]), None)
    assert set(to.domains.values()) == {"one.example", "two.example"}
    assert distance(found, found) == 0


def test_the_record_is_the_tenants_own_newest_first(desk: Desk, bob: User, actors: Callable[[User], Actor]) -> None:
    for minor in (100, 200):
        proposal = desk.propose(amount_minor=minor)
        deciding.approve(**seen(proposal, actors(bob), now=NOW + timedelta(seconds=minor)))
    desk.propose(amount_minor=300)
    assert [one.facets.amounts["/amount_minor"] for one in decided_before("lab.refund")] == [200, 100]
    assert decided_before("lab.other") == []


def test_similar_decisions_say_who_what_differs_and_what_happened(
    desk: Desk, bob: User, actors: Callable[[User], Actor]
) -> None:
    near, far = desk.propose(amount_minor=5_000), desk.propose(amount_minor=5_000_000)
    deciding.approve(**seen(near, actors(bob)))
    services.reject(reason_code="wrong_amount", note="Far too much.", **seen(far, actors(bob)))
    first, second = similar_to(desk.propose(amount_minor=4_990), registry.get("lab.refund", "1.0.0"))
    assert (first["verdict"], first["by"], first["afterwards"]) == ("Approved", "Bob", "not executed yet")
    assert first["differs"] == [{"name": "amount_minor", "then": "EUR 50.00"}]
    assert (second["rejected"], second["reason"], second["afterwards"]) == (True, "Wrong amount", "not executed")


def test_what_a_rule_stopped_after_the_approval_is_not_told_as_still_to_come(
    desk: Desk, bob: User, actors: Callable[[User], Actor]
) -> None:
    stopped = desk.propose(amount_minor=5_000)
    deciding.approve(**seen(stopped, actors(bob)))
    desk.record(stopped.run, CallDenied(stopped.call_id, "policy_denied", "The policy denies it by now."))
    [found] = similar_to(desk.propose(amount_minor=4_990), registry.get("lab.refund", "1.0.0"))
    assert found["afterwards"] == "not executed, denied by a rule"


@pytest.mark.parametrize("state", CallState)
def test_there_are_words_for_whatever_became_of_a_call(state: CallState) -> None:
    words = afterwards(state.value, "timeout")
    assert words
    assert words.endswith(": timeout") == (state is CallState.FAILED)
