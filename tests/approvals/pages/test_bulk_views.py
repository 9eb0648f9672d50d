"""Rejecting several at once: what is offered, what was ticked, and what each is told to have become."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError
from django.test import Client

from agentops import clock
from agentops.audit.models import Event
from agentops.tenancy.access import Actor
from agentops.wire.ids import uuid7
from approvals.assessing.risk import Band
from approvals.decisions import bulk, deciding
from approvals.models import Decision, Proposal
from approvals.queue import claims
from approvals.services import reject
from tests.approvals.conftest import Desk, later
from tests.approvals.contracts import NOTE
from tests.deciding import approve

PAGE = "/t/acme/queue/reject"


@pytest.fixture
def proposal(desk: Desk) -> Proposal:
    return later(desk.propose())


@pytest.fixture
def client(bob: User, signed_in: Callable[[User], Client]) -> Client:
    return signed_in(bob)


@pytest.fixture
def senior(sam: User, actors: Callable[[User], Actor]) -> Actor:
    return actors(sam)


def row(proposal: Proposal) -> str:
    return f"{proposal.pk}:{proposal.version}:{proposal.digest}"


def offered(page: str) -> list[str]:
    return re.findall(r'name="chosen" value="([0-9a-f-]{36})', page)


def ticked(page: str) -> int:
    return len(re.findall(r'name="chosen" value="[^"]+" checked', page))


def fates(page: str) -> list[str]:
    return re.findall(r"<li><b>([^<]+)\.</b>", page)


# --- what is offered --------------------------------------------------------------------------------------------------


def test_the_list_is_narrowed_like_the_queue_and_what_the_filter_leaves_out_is_not_offered(
    proposal: Proposal, desk: Desk, client: Client
) -> None:
    note = later(desk.propose())
    high = {"risk_band": "high", "band_rank": Band.HIGH.rank}
    Proposal.objects.filter(pk=note.pk).update(tool=NOTE.name, tainted=True, **high)
    both = client.get(PAGE).content.decode()
    assert set(offered(both)) == {str(proposal.pk), str(note.pk)}
    assert f"?q=tool%3A{NOTE.name}" in both, "what would narrow it is a link"
    for line, left in ((f"tool:{NOTE.name}", note), ("band:high", note), ("taint:yes", note), ("taint:no", proposal)):
        page = client.get(PAGE, {"q": line}).content.decode()
        assert offered(page) == [str(left.pk)], line
        assert "1 of 1 shown" in page
    wrong = client.get(PAGE, {"q": "bnd:high"})
    assert wrong.status_code == 400
    assert "Did you mean band?" in wrong.content.decode()
    assert offered(wrong.content.decode()) == []
    closed = client.get(PAGE, {"q": "status:rejected"})
    assert closed.status_code == 400
    assert "Only what waits can be rejected" in closed.content.decode()


def test_each_row_has_what_is_needed_to_judge_it(proposal: Proposal, client: Client, senior: Actor) -> None:
    Proposal.objects.filter(pk=proposal.pk).update(
        tainted=True, needs_role="senior", consequence={"money": {"minor": 124000, "currency": "EUR"}}
    )
    claims.claim(proposal_id=proposal.pk, actor=senior)
    page = client.get(PAGE).content.decode()
    for shown in (
        "untrusted",
        "EUR 1,240.00",
        proposal.tool,
        " left</time>",
        " ago</time>",
        "for seniors",
        "Sam</bdi> has it",
    ):
        assert shown in page, shown
    assert f'href="/t/acme/proposals/{proposal.pk}"' in page


def test_a_link_ticks_all_that_is_shown_and_nothing_else(proposal: Proposal, desk: Desk, client: Client) -> None:
    Proposal.objects.filter(pk=later(desk.propose()).pk).update(tool=NOTE.name)
    assert ticked(client.get(PAGE).content.decode()) == 0
    assert ticked(client.get(PAGE, {"tick": "all"}).content.decode()) == 2
    page = client.get(PAGE, {"tick": "all", "q": f"tool:{NOTE.name}"}).content.decode()
    assert len(offered(page)) == ticked(page) == 1


def test_a_flood_is_worked_off_a_hundred_at_a_time(
    proposal: Proposal, desk: Desk, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("approvals.queue.selectors.PAGE", 2)
    monkeypatch.setattr(bulk, "MOST", 4)
    for _ in range(6):
        later(desk.propose())
    page = client.get(PAGE, {"q": "tool:lab.refund", "tick": "all"}).content.decode()
    assert "4 of 7 shown" in page
    assert ticked(page) == 4
    following = re.search(r'href="([^"]+)">Next page', page)
    assert following is not None
    rest = client.get(following[1].replace("&amp;", "&")).content.decode()
    assert len(offered(rest)) == 3
    assert not set(offered(rest)) & set(offered(page))
    chosen = re.findall(r'name="chosen" value="([^"]+)"', page)
    fields = {"chosen": chosen, "reason_code": "duplicate", "note": "A loop.", "q": "tool:lab.refund"}
    told = client.post(PAGE, fields).content.decode()
    assert "4 of 4 rejected." in told
    assert set(offered(told)) == set(offered(rest)), "the next ones stand below"
    assert ticked(told) == 0
    assert "A loop.</textarea>" in told
    assert 'value="tool:lab.refund"' in told
    again = client.post(PAGE, fields).content.decode()
    assert "0 of 4 rejected." in again
    assert fates(again) == ["Rejected by you before"] * 4
    assert Decision.objects.count() == 4


# --- what was ticked --------------------------------------------------------------------------------------------------


def test_what_is_ticked_is_rejected_with_one_reason_and_each_says_what_became_of_it(
    desk: Desk, client: Client, sam: User, actors: Callable[[User], Actor]
) -> None:
    three = [later(desk.propose()) for _ in range(3)]
    lost = three[2]
    approve(proposal_id=lost.pk, actor=actors(sam), version=1, digest=lost.digest)
    page = client.get(PAGE).content.decode()
    assert page.count('name="chosen"') == 2
    chosen = [row(one) for one in three] + [f"{uuid7()}:1:{'0' * 64}"]
    answer = client.post(PAGE, {"chosen": chosen, "reason_code": "duplicate", "note": "Twice."})
    assert answer.status_code == 200
    told = answer.content.decode()
    assert "2 of 4 rejected." in told
    assert "Sam approved this already" in told
    assert "There is no such proposal." in told
    assert Decision.objects.filter(verdict="reject", note="Twice.").count() == 2
    assert Event.objects.filter(type="proposal.decided").count() == 3


@pytest.mark.parametrize(
    "broken", [{"chosen": []}, {"reason_code": ""}, {"reason_code": "bored"}, {"chosen": ["x"]}, {"chosen": ["a:b:c"]}]
)
def test_what_cannot_be_read_rejects_nothing_and_keeps_the_form(
    proposal: Proposal, client: Client, broken: dict[str, object]
) -> None:
    fields = {"chosen": [row(proposal)], "reason_code": "duplicate", "note": "My own words"} | broken
    answer = client.post(PAGE, fields)
    assert answer.status_code == 422
    assert "My own words</textarea>" in answer.content.decode()
    assert Proposal.objects.get().status == "pending"


def test_a_note_that_is_missing_is_asked_for_before_anything_is_rejected(
    proposal: Proposal, desk: Desk, client: Client
) -> None:
    high = later(desk.propose())
    Proposal.objects.filter(pk=high.pk).update(risk_band="high", band_rank=Band.HIGH.rank)
    fields = {"chosen": [row(proposal), row(high)], "reason_code": "duplicate", "note": " "}
    answer = client.post(PAGE, fields)
    assert answer.status_code == 422
    page = answer.content.decode()
    assert "Say in a note why" in page
    assert page.count(" checked>") == 2, "what was ticked stays ticked"
    assert set(Proposal.objects.values_list("status", flat=True)) == {"pending"}


def test_a_row_that_has_changed_since_is_left_alone(proposal: Proposal, client: Client) -> None:
    stale = f"{proposal.pk}:{proposal.version + 1}:{proposal.digest}"
    answer = client.post(PAGE, {"chosen": [stale], "reason_code": "duplicate", "note": "x"})
    assert "0 of 1 rejected." in answer.content.decode()
    assert Proposal.objects.get().status == "pending"


def test_each_says_what_became_of_it_and_what_was_not_rejected_comes_first(
    proposal: Proposal, desk: Desk, client: Client, bob: User, senior: Actor, actors: Callable[[User], Actor]
) -> None:
    names = ("changed", "taken", "lost", "mine", "late")
    found = {name: later(desk.propose()) for name in names}
    chosen = [row(proposal), *(row(one) for one in found.values()), f"{uuid7()}:1:{'0' * 64}"]
    Proposal.objects.filter(pk=found["changed"].pk).update(version=2)
    claims.claim(proposal_id=found["taken"].pk, actor=senior)
    seen: dict[str, Any] = {
        name: {"proposal_id": one.pk, "version": 1, "digest": one.digest} for name, one in found.items()
    }
    reject(actor=senior, reason_code="duplicate", note="x", **seen["lost"])
    reject(actor=actors(bob), reason_code="duplicate", note="x", **seen["mine"])
    Proposal.objects.filter(pk=found["late"].pk).update(decide_by=clock.now() - timedelta(seconds=1))
    answer = client.post(PAGE, {"chosen": chosen * 2, "reason_code": "duplicate", "note": "Twice."})
    page = answer.content.decode()
    assert "1 of 7 rejected." in page
    assert fates(page)[-1] == "Rejected"
    assert sorted(fates(page)[:-1]) == [
        "Changed since it was shown",
        "Decided meanwhile",
        "No such proposal",
        "Rejected by you before",
        "Somebody else has it",
        "Too late",
    ]
    assert "Decided meanwhile: 1." in page
    assert set(offered(page)) == {str(found["changed"].pk), str(found["taken"].pk)}


def test_what_was_ticked_and_changed_is_shown_as_it_is_now_and_is_not_ticked_any_more(
    proposal: Proposal, desk: Desk, client: Client, senior: Actor
) -> None:
    gone, kept = later(desk.propose()), later(desk.propose())
    chosen = [row(proposal), row(gone), row(kept)]
    Proposal.objects.filter(pk=proposal.pk).update(version=2)
    reject(proposal_id=gone.pk, actor=senior, version=1, digest=gone.digest, reason_code="duplicate", note="x")
    answer = client.post(PAGE, {"chosen": chosen, "reason_code": ""})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "1 of what you ticked does not wait any more." in page
    assert "changed since you ticked it" in page
    assert ticked(page) == 1
    assert f'value="{row(kept)}" checked' in page


def test_what_the_record_does_not_take_is_told_and_does_not_keep_the_others(
    proposal: Proposal, desk: Desk, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = later(desk.propose())
    write = deciding.write_rejection

    def fails_once(found: Proposal, *args: Any, **kwargs: Any) -> Any:
        if found.pk == proposal.pk:
            raise DatabaseError("the disk is full")
        return write(found, *args, **kwargs)

    monkeypatch.setattr(deciding, "write_rejection", fails_once)
    answer = client.post(PAGE, {"chosen": [row(proposal), row(other)], "reason_code": "duplicate", "note": "x"})
    assert fates(answer.content.decode()) == ["Not recorded", "Rejected"]
    assert dict(Proposal.objects.values_list("pk", "status")) == {proposal.pk: "pending", other.pk: "rejected"}


def test_the_queue_leads_there_with_its_filter_and_only_who_may_decide(
    proposal: Proposal, client: Client, alice: User, signed_in: Callable[[User], Client]
) -> None:
    assert (
        'href="/t/acme/queue/reject?q=band%3Alow">Reject several'
        in client.get("/t/acme/queue", {"q": "band:low"}).content.decode()
    )
    assert (
        'href="/t/acme/queue/reject">Reject several'
        in client.get("/t/acme/queue", {"q": "status:rejected"}).content.decode()
    )
    admin = signed_in(alice)
    assert "Reject several" not in admin.get("/t/acme/queue").content.decode()
    assert admin.get(PAGE).status_code == 403
