"""The stop page, the banner, and holding a run from its page: plain forms, reasons kept, races told."""

from collections.abc import Callable
from html import unescape

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from agentops.engine.events import RunFailed
from agentops.halts import covering
from agentops.halts.models import Halt
from agentops.runs.models import Run, TaskType
from agentops.runs.recording import record_outside
from agentops.tenancy.access import WORKER
from agentops.tenancy.models import Tenant
from approvals.models import Proposal
from approvals.queue import live
from approvals.stopping.halting import settle_lifted
from tests.conftest import person
from tests.shop import drive, only_proposal, open_shop, start
from tests.shop import task_type as job

PAGE = "/t/acme/stop"


@pytest.fixture
def shop(scoped: Tenant) -> Tenant:
    open_shop(scoped)
    return scoped


@pytest.fixture
def senior(sam: User, shop: Tenant, signed_in: Callable[[User], Client]) -> Client:
    return signed_in(sam)


@pytest.fixture
def desk(bob: User, shop: Tenant, signed_in: Callable[[User], Client]) -> Client:
    return signed_in(bob)


@pytest.fixture
def engineer(shop: Tenant, signed_in: Callable[[User], Client]) -> Client:
    return signed_in(person("enzo", shop, "engineer"))


@pytest.fixture
def waiting(shop: Tenant) -> Run:
    return drive(start("support-email", {"message_id": "M-0001"}).id)


def text_of(client: Client, path: str) -> str:
    return unescape(client.get(path).content.decode())


# --- the page -------------------------------------------------------------------------------------------------------


def test_one_looks_first_and_then_stops(waiting: Run, senior: Client, desk: Client) -> None:
    assert "Nothing is stopped" in text_of(senior, PAGE)
    fields = {"what": "tool:shop.issue_refund", "reason": "double payments", "csrfmiddlewaretoken": "x" * 64}
    shown = senior.post(PAGE, fields | {"show": "yes"})
    assert shown["Location"] == f"{PAGE}?what=tool%3Ashop.issue_refund&reason=double+payments", "and no token"
    looked = senior.get(shown["Location"])
    assert str(looked.context["preview"]["proposals"]) == "1"
    assert [(words, str(count)) for words, count in looked.context["preview"]["runs"]] == [("waits for a person", "1")]
    assert looked.context["reason"] == "double payments"
    assert not Halt.objects.exists(), "looking stops nothing"
    answer = senior.post(PAGE, {"what": "tool:shop.issue_refund", "reason": "double payments"})
    assert (answer.status_code, answer["Location"]) == (302, PAGE)
    (row,) = senior.get(PAGE).context["open"]
    assert (row["label"], row["reason"], row["by"]) == ("shop.issue_refund", "double payments", "Sam")
    for path in ("/t/acme/queue", "/t/acme/runs", f"/t/acme/runs/{waiting.pk}", "/t/acme/memory"):
        assert "Stopped: shop.issue_refund" in text_of(desk, path).replace("<bdi>", "").replace("</bdi>", ""), path


def test_the_banner_is_on_admin_pages_too_and_gone_after_the_lift(
    senior: Client, alice: User, signed_in: Callable[[User], Client]
) -> None:
    senior.post(PAGE, {"what": "tenant:", "reason": "fire"})
    admin = signed_in(alice)
    assert "stopline" in text_of(admin, "/t/acme/admin/")
    (row,) = senior.get(PAGE).context["open"]
    assert senior.post(row["lift_url"], {"reason": "out"}).status_code == 302
    assert "stopline" not in text_of(admin, "/t/acme/admin/")
    settle_lifted(timezone.now())
    (past,) = senior.get(PAGE).context["closed"]
    assert (past["lifted_by"], past["lift_reason"], past["settled"]) == ("Sam", "out", True)


@pytest.mark.parametrize(
    ("posted", "field"),
    [
        ({"what": "", "reason": "x"}, "what"),
        ({"what": "tool:none", "reason": "x"}, "what"),
        ({"what": "x" * 200, "reason": "x"}, "what"),
        ({"what": "tenant:", "reason": ""}, "reason"),
        ({"what": "tenant:", "reason": "x" * 501}, "reason"),
    ],
)
def test_what_is_missing_is_said_and_nothing_is_lost(senior: Client, posted: dict[str, str], field: str) -> None:
    answer = senior.post(PAGE, posted)
    assert answer.status_code == 422
    assert field in answer.context["errors"]
    assert answer.context["reason"] == posted["reason"] or field == "what"
    assert not Halt.objects.exists()


def test_stopping_or_lifting_second_says_who_was_first(
    senior: Client, alice: User, signed_in: Callable[[User], Client]
) -> None:
    senior.post(PAGE, {"what": "tenant:", "reason": "fire"})
    admin = signed_in(alice)
    again = admin.post(PAGE, {"what": "tenant:", "reason": "fire!"})
    assert again.status_code == 409
    assert "by Sam" in again.context["notice"]["title"]
    (row,) = admin.get(PAGE).context["open"]
    empty = admin.post(row["lift_url"], {"reason": " "})
    assert (empty.status_code, empty.context["lifting"]["id"]) == (422, row["id"])
    senior.post(row["lift_url"], {"reason": "out"})
    lost = admin.post(row["lift_url"], {"reason": "out too"})
    assert lost.status_code == 409
    assert "Sam lifted this already" in lost.context["notice"]["title"]
    assert admin.post(f"{PAGE}/999999/lift", {"reason": "x"}).status_code == 404
    assert admin.post(f"{PAGE}/999999/lift", {"reason": ""}).status_code == 404


def test_others_have_neither_the_page_nor_the_link(desk: Client, engineer: Client) -> None:
    for client in (desk, engineer):
        assert client.get(PAGE).status_code == 403
        assert client.post(PAGE, {"what": "tenant:", "reason": "x"}).status_code == 403
        assert f'href="{PAGE}"' not in text_of(client, "/t/acme/queue")


def test_open_pages_hear_of_a_stop(senior: Client) -> None:
    before = live.newest()
    senior.post(PAGE, {"what": "tenant:", "reason": "fire"})
    assert [(one.name, one.type) for one in live.signals_after(before)] == [("halt", "halt.started")]


def test_hostile_words_stay_words(senior: Client) -> None:
    senior.post(PAGE, {"what": "tenant:", "reason": "<script>alert(1)</script>\u202e"})
    page = senior.get(PAGE).content.decode()
    assert "<script>alert" not in page
    assert "\u202e" not in page


# --- the card and the queue while it is stopped -----------------------------------------------------------------------


def test_the_card_and_the_row_say_that_the_clock_stands_still(waiting: Run, senior: Client, desk: Client) -> None:
    proposal = only_proposal()
    assert desk.get(f"/t/acme/proposals/{proposal.pk}").context["card"]["still_since"] is None
    senior.post(PAGE, {"what": "tenant:", "reason": "fire"})
    covering.forget()
    card = desk.get(f"/t/acme/proposals/{proposal.pk}")
    assert card.context["card"]["still_since"] is not None
    assert "clock frozen" in card.content.decode()
    (row,) = desk.get("/t/acme/queue").context["items"]
    assert row["still_since"] is not None
    assert "clock stopped" in text_of(desk, "/t/acme/queue")


# --- one run --------------------------------------------------------------------------------------------------------


def test_a_run_is_paused_and_resumed_from_its_page(waiting: Run, desk: Client) -> None:
    address = f"/t/acme/runs/{waiting.pk}"
    assert desk.post(f"{address}/pause", {"reason": "Look at this first"}).status_code == 302
    page = desk.get(address)
    assert page.context["paused"]["causes"] == ("Paused by Bob: Look at this first",)
    assert page.context["verdict"].startswith("Paused, at step")
    assert [one["what"] for one in page.context["holds"]] == ["resume"]
    (row,) = desk.get("/t/acme/runs?only=paused").context["runs"]
    assert row["paused"]
    assert desk.post(f"{address}/pause", {"reason": "me too"}).status_code == 409
    assert desk.post(f"{address}/resume", {"reason": "Looks fine"}).status_code == 302
    assert desk.get(address).context["paused"] is None
    assert desk.post(f"{address}/resume", {"reason": "again"}).status_code == 409
    assert "Resumed by Bob: Looks fine" in text_of(desk, address)


@pytest.mark.parametrize("reason", ["", " ", "x" * 501])
def test_without_a_proper_reason_the_form_comes_back(waiting: Run, desk: Client, reason: str) -> None:
    answer = desk.post(f"/t/acme/runs/{waiting.pk}/pause", {"reason": reason})
    assert answer.status_code == 422
    (form,) = [one for one in answer.context["holds"] if one["what"] == "pause"]
    assert (form["open"], form["reason"]) == (True, reason)
    assert form["error"]
    assert Run.objects.get(pk=waiting.pk).paused_at is None


def test_what_the_line_holds_cannot_be_resumed_on_the_runs_page(shop: Tenant, senior: Client, desk: Client) -> None:
    senior.post(PAGE, {"what": "tenant:", "reason": "fire"})
    run = drive(start("support-email", {"message_id": "M-0001"}).id)
    page = desk.get(f"/t/acme/runs/{run.pk}")
    assert page.context["paused"]["stopped"]
    answer = desk.post(f"/t/acme/runs/{run.pk}/resume", {"reason": "please"})
    assert answer.status_code == 409
    assert "when the stop is lifted" in answer.context["notice"]["title"]


def test_an_engineer_finds_dead_letters_and_tries_them_again(
    shop: Tenant, engineer: Client, desk: Client, senior: Client
) -> None:
    run = start("support-email", {"message_id": "M-0001"})
    Run.objects.filter(pk=run.pk).update(attempts=5, last_error="RuntimeError in agentops/x.py:1 (f), on worker w1")
    run = drive(run.pk)
    assert run.failure_code == "dead_letter"
    job([], {})
    (row,) = engineer.get("/t/acme/runs?only=dead_letter").context["runs"]
    assert row["id"] == run.pk
    address = f"/t/acme/runs/{run.pk}"
    page = engineer.get(address)
    assert "The last error was RuntimeError in agentops/x.py:1 (f), on worker w1" in unescape(page.content.decode())
    assert [one["what"] for one in page.context["holds"]] == ["requeue"]
    for client in (desk, senior):
        assert [one["what"] for one in client.get(address).context["holds"]] == []
        assert client.post(f"{address}/requeue", {"reason": "x"}).status_code == 403
    assert engineer.post(f"{address}/requeue", {"reason": ""}).status_code == 422
    assert engineer.post(f"{address}/requeue", {"reason": "Fixed the bug"}).status_code == 302
    assert engineer.post(f"{address}/requeue", {"reason": "Fixed the bug"}).status_code == 409
    assert drive(run.pk).state == "awaiting_approval"
    groups = {group.id: group for group in engineer.get(address).context["timeline"]}
    assert groups["again:1"].title == "Tried again"
    assert any("Queued again by Enzo: Fixed the bug" in one.text for one in groups["again:1"].events)
    assert Proposal.objects.count() == 1


def test_a_run_that_failed_twice_has_two_ends(shop: Tenant, engineer: Client) -> None:
    from django.db import transaction

    run = start("support-email", {"message_id": "M-0001"})
    address = f"/t/acme/runs/{run.pk}"
    for _ in range(2):
        with transaction.atomic():
            record_outside(run.pk, [RunFailed("internal", "stuck")], actor=WORKER, now=timezone.now())
        engineer.post(f"{address}/requeue", {"reason": "again"})
    groups = [group.id for group in engineer.get(address).context["timeline"]]
    assert groups == ["start", "end", "again:1", "end:1", "again:2"]
    assert TaskType.objects.exists()
