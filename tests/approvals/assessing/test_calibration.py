"""Rates with their intervals, no figure from too few, and a simulation that says exactly what would have been."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from hypothesis import given
from hypothesis import strategies as st

from agentops.tenancy.access import Actor
from approvals import services
from approvals.assessing.bands import Band
from approvals.assessing.calibration import Outcome, calibrate, rate, simulate, subject_of, summary
from approvals.assessing.risk import band_of
from approvals.assessing.weights import START, THRESHOLDS, WEIGHTS
from approvals.models import Proposal
from tests import deciding
from tests.approvals.conftest import NOW, Desk, seen
from tests.approvals.contracts import MAIL, origin


def test_the_interval_is_that_of_wilson() -> None:
    found = rate("x", [True] * 5 + [False] * 15)
    assert (found.n, found.changed, found.share) == (20, 5, 25.0)
    assert found.low == pytest.approx(11.19, abs=0.01)
    assert found.high == pytest.approx(46.87, abs=0.01)


def test_below_twenty_there_is_no_figure() -> None:
    assert rate("x", [True] * 19).share is None


@given(st.lists(st.booleans(), min_size=20, max_size=200))
def test_the_share_lies_in_its_interval(changed: list[bool]) -> None:
    found = rate("x", changed)
    assert found.share is not None
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.share + 1e-9
    assert found.share <= found.high + 1e-9 <= 100 + 1e-6


def test_it_says_whether_the_share_rises_with_the_band() -> None:
    def outcomes(low: int, high: int) -> list[Outcome]:
        return [Outcome(10, "low", i < low, ()) for i in range(20)] + [
            Outcome(60, "high", i < high, ("padding",)) for i in range(20)
        ]

    assert summary(outcomes(1, 9), since=NOW, cut=False).rising is True
    assert summary(outcomes(9, 1), since=NOW, cut=False).rising is False
    assert summary(outcomes(9, 1)[:20], since=NOW, cut=False).rising is None
    found = summary(outcomes(1, 9), since=NOW, cut=False)
    assert [one.n for one in found.scores if one.n] == [20, 20]
    assert {one.name: one.n for one in found.reasons}["padding"] == 20


def test_what_people_did_is_read_from_the_tenants_decisions(
    desk: Desk, bob: User, actors: Callable[[User], Actor]
) -> None:
    kept, edited, refused = (desk.propose(amount_minor=minor) for minor in (100, 200, 300))
    desk.propose(amount_minor=400)
    deciding.approve(**seen(kept, actors(bob)))
    deciding.edit_and_approve(arguments=edited.argument_values | {"amount_minor": 150}, **seen(edited, actors(bob)))
    services.reject(reason_code="wrong_amount", note="no", **seen(refused, actors(bob)))
    found = calibrate(NOW + timedelta(days=1))
    assert (found.n, sum(one.changed for one in found.bands)) == (3, 2)


def test_with_the_same_weights_nothing_moves(desk: Desk) -> None:
    for changes in ({}, {"amount_minor": 60_000}, {"reason": "a\u202eb"}):
        desk.propose(**changes)
    found = simulate(START)
    assert (found.n, found.raised, found.eased, found.missing) == (3, 0, 0, 0)
    for one in Proposal.objects.all():
        subject = subject_of(one, START)
        assert subject is not None
        assert band_of(subject) is Band(one.risk_band)


def test_a_rejection_that_would_look_safer_is_named(desk: Desk, bob: User, actors: Callable[[User], Actor]) -> None:
    dear = desk.propose(amount_minor=60_000)
    services.reject(reason_code="wrong_amount", note="no", **seen(dear, actors(bob)))
    eased = replace(START, thresholds=dict(THRESHOLDS) | {"high_money": 5_000})
    found = simulate(eased)
    assert (found.moves, found.eased_rejections) == ((("high", "medium", 1),), 1)


def test_weights_alone_move_the_score(desk: Desk) -> None:
    desk.propose(provenance=origin(reason=MAIL))
    heavy = replace(START, values=dict(WEIGHTS) | {"untrusted_content": 90})
    assert simulate(heavy).raised == 1
