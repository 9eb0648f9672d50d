"""While nobody decides: people are reminded, then seniors decide, and silence denies. E-mails carry a link alone."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core import mail

from agentops.audit.models import Event
from agentops.engine.events import RunPaused
from agentops.tenancy.access import SYSTEM, Actor
from agentops.tenancy.models import Tenant
from approvals.decisions.handling import Closed, Handled, MayNot, Refused, escalate, extend
from approvals.decisions.notices import send_due
from approvals.decisions.reminders import remind_due, told_about
from approvals.models import Absence, Handling, Notification, Preference, Proposal, Shift
from approvals.proposals.deadlines import expire_due
from approvals.proposals.outcomes import Decided, Forbidden
from approvals.services import reject
from tests.approvals.conftest import NOW, Desk, seen
from tests.conftest import person
from tests.deciding import approve

HALF = NOW + timedelta(minutes=30)
MOST = NOW + timedelta(minutes=48)
DAY = timedelta(days=1)


@pytest.fixture
def dana(acme: Tenant) -> User:
    return person("dana", acme, "operator")


def told(proposal: Proposal) -> set[str]:
    rows = Notification.objects.filter(proposal=proposal).select_related("user")
    return {row.user.get_username() for row in rows}


def test_after_half_of_the_time_everybody_who_may_decide_is_reminded_once(
    desk: Desk, bob: User, sam: User, alice: User
) -> None:
    proposal = desk.propose()
    assert remind_due(HALF - timedelta(seconds=1), 10) == 0
    assert remind_due(HALF, 10) == 1
    assert remind_due(HALF, 10) == 0
    assert told(proposal) == {"bob", "sam"}
    assert Event.objects.filter(type="proposal.reminded").count() == 1


def test_the_e_mail_has_band_tool_and_link_and_neither_arguments_nor_a_way_to_decide(
    desk: Desk, bob: User, settings: object
) -> None:
    settings.SITE_URL = "https://desk.example.com"  # type: ignore[attr-defined]
    proposal = desk.propose(reason="Mallory wants this badly")
    remind_due(HALF, 10)
    assert send_due(HALF, 10) == 1
    assert send_due(HALF, 10) == 0
    (letter,) = mail.outbox
    whole = f"{letter.subject}\n{letter.body}"
    assert f"https://desk.example.com/t/acme/proposals/{proposal.pk}" in letter.body
    assert "lab.refund" in letter.subject
    for value in ("A-1093", "4990", "49.90", "EUR", "Mallory", "approve", "reject"):
        assert value not in whole
    assert letter.to == ["bob@acme.example"]


def test_what_is_decided_meanwhile_is_not_written_about(desk: Desk, bob: User, actors: Callable[[User], Actor]) -> None:
    proposal = desk.propose()
    remind_due(HALF, 10)
    approve(**seen(proposal, actors(bob), HALF))
    assert send_due(HALF, 10) == 0
    assert mail.outbox == []


def test_a_mail_server_that_is_away_is_asked_again_later(desk: Desk, bob: User, settings: object) -> None:
    desk.propose()
    remind_due(HALF, 10)
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"  # type: ignore[attr-defined]
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9  # type: ignore[attr-defined]
    assert send_due(HALF, 10) == 0
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"  # type: ignore[attr-defined]
    assert send_due(HALF + timedelta(seconds=30), 10) == 0
    assert send_due(HALF + timedelta(seconds=61), 10) == 1


def test_who_is_on_call_is_told_first_and_who_is_away_is_replaced(
    desk: Desk, bob: User, sam: User, dana: User, alice: User
) -> None:
    proposal = desk.propose()
    Shift.objects.create(user=bob, starts_at=NOW, ends_at=NOW + DAY)
    assert told_about(proposal, HALF) == [bob.pk]
    Absence.objects.create(user=bob, delegate=dana, starts_at=NOW, ends_at=NOW + DAY)
    assert told_about(proposal, HALF) == [dana.pk]
    Absence.objects.create(user=dana, delegate=sam, starts_at=NOW, ends_at=NOW + DAY)
    assert told_about(proposal, HALF) == [sam.pk]
    Preference.objects.create(user=sam, reminders=False)
    assert told_about(proposal, HALF) == []
    # A delegate who may not decide gets no say by it, and two who replace each other end nowhere.
    Absence.objects.filter(user=dana).update(delegate=alice)
    assert told_about(proposal, HALF) == []
    Absence.objects.filter(user=dana).update(delegate=bob)
    assert set(told_about(proposal, HALF)) <= {bob.pk, dana.pk}


def test_after_four_fifths_only_seniors_decide_it_and_are_told(
    desk: Desk, bob: User, sam: User, actors: Callable[[User], Actor]
) -> None:
    proposal = desk.propose()
    remind_due(HALF, 10)
    assert remind_due(MOST, 10) == 1
    proposal.refresh_from_db()
    assert (proposal.needs_role, proposal.remind_at) == ("senior", None)
    assert set(Notification.objects.filter(rung=2).values_list("user__username", flat=True)) == {"sam"}
    assert approve(**seen(proposal, actors(bob), MOST)) == Forbidden("needs_role")
    assert reject(reason_code="duplicate", note="No.", **seen(proposal, actors(bob), MOST)) == Forbidden("needs_role")
    assert isinstance(approve(**seen(proposal, actors(sam), MOST)), Decided)


def test_silence_denies_after_every_reminder(desk: Desk, bob: User, sam: User) -> None:
    proposal = desk.propose()
    remind_due(HALF, 10)
    remind_due(MOST, 10)
    expire_due(proposal.decide_by, 10)
    proposal.refresh_from_db()
    assert proposal.status == "expired"


def test_nobody_is_reminded_while_the_clock_stands_still(desk: Desk, bob: User) -> None:
    proposal = desk.propose()
    run = proposal.run
    desk.record(run, RunPaused("user:1", "Wait"), actor=SYSTEM, now=NOW + timedelta(minutes=1))
    assert remind_due(HALF, 10) == 0
    assert Notification.objects.count() == 0
    assert Proposal.objects.get().remind_at == HALF


# --- escalating and extending ----------------------------------------------------------------------------------------


def test_an_escalation_names_who_and_why_and_is_done_once(
    desk: Desk, bob: User, sam: User, alice: User, actors: Callable[[User], Actor]
) -> None:
    proposal = desk.propose()
    assert escalate(proposal_id=proposal.pk, actor=actors(alice), reason="Too big") == MayNot("role")
    assert escalate(proposal_id=proposal.pk, actor=Actor.token(1, "a", []), reason="Too big") == MayNot("people_only")
    short = escalate(proposal_id=proposal.pk, actor=actors(bob), reason="hm")
    assert isinstance(short, Refused)
    done = escalate(proposal_id=proposal.pk, actor=actors(bob), reason="Beyond what I may judge", now=NOW)
    assert done == Handled(proposal.pk, proposal.decide_by)
    assert isinstance(escalate(proposal_id=proposal.pk, actor=actors(sam), reason="Once more", now=NOW), Refused)
    row = Handling.objects.get()
    assert (row.kind, row.user, row.reason) == ("escalate", bob, "Beyond what I may judge")
    assert Event.objects.filter(type="proposal.escalated", actor_id=str(bob.pk)).count() == 1


def test_more_time_moves_both_deadlines_at_most_twice(desk: Desk, bob: User, actors: Callable[[User], Actor]) -> None:
    proposal = desk.propose()
    before = proposal.decide_by, proposal.execute_by

    def ask(minutes: int) -> object:
        return extend(
            proposal_id=proposal.pk, actor=actors(bob), minutes=minutes, reason="The shop opens at nine", now=NOW
        )

    hour = timedelta(hours=1)
    assert ask(60) == Handled(proposal.pk, before[0] + hour)
    proposal.refresh_from_db()
    assert (proposal.decide_by, proposal.execute_by) == (before[0] + hour, before[1] + hour)
    assert isinstance(ask(7), Refused)
    assert isinstance(ask(240), Handled)
    assert isinstance(ask(60), Refused)


def test_what_is_decided_or_over_is_neither_escalated_nor_extended(
    desk: Desk, bob: User, actors: Callable[[User], Actor]
) -> None:
    proposal = desk.propose()
    late = extend(
        proposal_id=proposal.pk, actor=actors(bob), minutes=60, reason="A little more", now=proposal.decide_by
    )
    assert late == Closed("expired")
    approve(**seen(proposal, actors(bob), HALF))
    assert escalate(proposal_id=proposal.pk, actor=actors(bob), reason="Too late", now=HALF) == Closed("approved")
