"""Run pages: the list, the story of one run, starting one, and stepping into one."""

from collections.abc import Callable
from datetime import datetime, timedelta
from html import unescape
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from agentops.audit.services import NewEvent, append
from agentops.engine.events import CallStarted, CallUnknown, Event, RunClaimed, RunWaiting
from agentops.runs import selectors
from agentops.runs.models import Run, TaskType
from agentops.runs.recording import record_outside, state_of, stream_of
from agentops.tenancy.access import SYSTEM, WORKER, Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.services import issue_token
from agentops.wire.ids import uuid7
from agentops.wire.parse import JSONObject
from approvals.models import Proposal
from approvals.services import reject
from tests.conftest import person
from tests.deciding import approve
from tests.shop import drive, only_proposal, open_shop, start, task_type
from tools.allowlist import AllowlistState
from tools.models import AllowlistEntry

STATEMENTS = 12 if connection.vendor == "sqlite" else 16
HTMX = {"HX-Request": "true"}


@pytest.fixture
def shop(scoped: Tenant) -> Tenant:
    open_shop(scoped)
    return scoped


@pytest.fixture
def desk(bob: User, signed_in: Callable[[User], Client]) -> Client:
    return signed_in(bob)


@pytest.fixture
def reviewer(bob: User, shop: Tenant, actor_of: Callable[[User, Tenant], Actor]) -> Actor:
    return actor_of(bob, shop)


@pytest.fixture
def waiting(shop: Tenant) -> Run:
    """Return a run that waits for somebody to decide about a refund."""
    return drive(start("support-email", {"message_id": "M-0001"}).id)


@pytest.fixture
def unknown(waiting: Run, reviewer: Actor) -> Run:
    """Return a run whose refund may or may not have happened, and whose tool could not tell."""
    proposal = only_proposal()
    approve(proposal_id=proposal.pk, actor=reviewer, version=1, digest=proposal.digest)
    call = state_of(waiting.pk).calls[proposal.call_id]
    lost: list[Event] = [
        RunClaimed("w1", 1),
        CallStarted(call.call_id, call.grant_id, 1),
        CallUnknown(call.call_id, "the connection broke", asked=True),
        RunWaiting("awaiting_reconciliation"),
    ]
    with transaction.atomic():
        record_outside(waiting.pk, lost, actor=WORKER, now=timezone.now())
    return Run.objects.get(pk=waiting.pk)


def page_of(desk: Client, run: Run) -> str:
    return unescape(desk.get(f"/t/acme/runs/{run.pk}").content.decode())


def lines(desk: Client, run: Run) -> list[str]:
    return [line.text for group in desk.get(f"/t/acme/runs/{run.pk}").context["timeline"] for line in group.events]


# --- the list -------------------------------------------------------------------------------------------------------


def many(count: int) -> list[Run]:
    """Return finished runs, several of which began at the same moment."""
    kind = task_type([], {})
    began = timezone.now()
    return Run.objects.bulk_create(
        Run(
            task_type=kind,
            input="{}",
            state="failed" if i % 3 else "succeeded",
            created_at=began - timedelta(seconds=i // 4),
            ended_at=began,
        )
        for i in range(count)
    )


@pytest.mark.not_replayed("rows without a record fill the list")
def test_leafing_through_shows_every_run_once_newest_first(scoped: Tenant) -> None:
    everything = {run.pk for run in many(120)}
    page = selectors.run_page()
    rows = list(page.runs)
    while page.next:
        at, _, run_id = page.next.partition("~")
        page = selectors.run_page(before=(datetime.fromisoformat(at), UUID(run_id)))
        rows.extend(page.runs)
    assert len(rows) == len(everything)
    assert {row.pk for row in rows} == everything
    assert [(r.created_at, r.pk) for r in rows] == sorted(((r.created_at, r.pk) for r in rows), reverse=True)


@pytest.mark.not_replayed("rows without a record fill the list")
def test_the_list_filters_and_keeps_the_filter_on_the_next_page(
    scoped: Tenant, desk: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    many(120)
    with django_assert_max_num_queries(STATEMENTS):
        first = desk.get("/t/acme/runs?state=failed&task_type=job")
    assert len(first.context["runs"]) == 50
    second = desk.get(first.context["next_url"])
    assert {run["state"] for run in second.context["runs"]} == {"failed"}
    assert len(second.context["runs"]) == 30
    assert desk.get("/t/acme/runs?task_type=other").context["runs"] == []


@pytest.mark.parametrize(
    "query",
    [
        *("state=odd", "before=x", "before=2026-11-22T10:00:00~y", "task_type=a b"),
        "before=0001-01-01T00:00:00%2B23:59~0192d3a4-0000-7000-8000-000000000000",
    ],
)
def test_a_filter_that_means_nothing_is_a_bad_request(scoped: Tenant, desk: Client, query: str) -> None:
    assert desk.get(f"/t/acme/runs?{query}").status_code == 400


def test_the_list_names_the_person_or_the_token_that_asked(
    shop: Tenant, alice: User, desk: Client, reviewer: Actor, actor_of: Callable[[User, Tenant], Actor]
) -> None:
    token, _ = issue_token(tenant=shop, name="helpdesk", scopes=["run.submit"], actor=actor_of(alice, shop))
    start("support-email", {"message_id": "M-0001"}, actor=Actor.token(token.pk, token.name, token.scopes))
    start("support-email", {"message_id": "M-0001"}, actor=reviewer)
    assert [run["requested_by"] for run in desk.get("/t/acme/runs").context["runs"]] == ["Bob", "token helpdesk"]


def test_htmx_gets_the_rows_and_the_run_without_the_frame(waiting: Run, desk: Client) -> None:
    for path in ("runs", f"runs/{waiting.pk}"):
        fragment = desk.get(f"/t/acme/{path}", headers=HTMX)
        assert b"<html" not in fragment.content
        assert fragment["Cache-Control"] == "no-store"
        assert {"HX-Request", "Cookie"} <= {name.strip() for name in fragment["Vary"].split(",")}


# --- one run --------------------------------------------------------------------------------------------------------


def test_a_run_tells_its_story_step_by_step(
    waiting: Run, desk: Client, reviewer: Actor, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    refund = only_proposal()
    with django_assert_max_num_queries(STATEMENTS):
        page = desk.get(f"/t/acme/runs/{waiting.pk}")
    assert page.context["verdict"] == "Waits for a person to decide about shop.issue_refund."
    assert [row["id"] for row in page.context["proposals"]] == [refund.pk]
    approve(proposal_id=refund.pk, actor=reviewer, version=1, digest=refund.digest)
    drive(waiting.pk)
    reply = only_proposal()
    reject(
        proposal_id=reply.pk,
        actor=reviewer,
        version=1,
        digest=reply.digest,
        reason_code="wrong_time",
        note="Call first.",
    )
    run = drive(waiting.pk)
    page = desk.get(f"/t/acme/runs/{run.pk}")
    assert page.context["verdict"].startswith("Succeeded with ")
    groups = {group.id: group for group in page.context["timeline"]}
    assert list(groups)[:3] == ["start", "plan:1", "step:read"]
    assert (groups["step:refund"].state, groups["step:reply"].state, groups["end"].state) == (
        *("succeeded", "rejected", "succeeded"),
    )
    told = [line.text for line in groups["step:reply"].events]
    assert any("rejected by Bob, wrong time: Call first." in line for line in told)
    linked = [line.url for line in groups["step:refund"].events if line.url]
    assert f"/t/acme/proposals/{refund.pk}" in linked
    assert run.answer in unescape(page.content.decode())
    limits = {limit["name"]: (limit["used"], limit["limit"]) for limit in page.context["limits"]}
    assert limits["Steps"] == (run.steps_used, 8)


def test_the_plan_is_readable_with_its_references_and_conditions(waiting: Run, desk: Client) -> None:
    steps = {step.id: step for step in desk.get(f"/t/acme/runs/{waiting.pk}").context["plan_steps"]}
    tool, members = steps["refund"].calls[0]
    assert tool == "shop.issue_refund"
    assert dict(members)["amount_minor"] == "{steps.order.output.refundable_minor}"
    assert dict(members)["reason"] == "Asked for by the customer in message {input.message_id}"
    assert "steps.order.output.found" in steps["refund"].when


def test_a_denied_call_stands_out_with_its_code(scoped: Tenant, desk: Client) -> None:
    allow = {"mail.read": AllowlistState.AUTO}
    kind = task_type([{"id": "one", "tool": "mail.read", "arguments": {"message_id": "M-0001"}}], allow)
    run = start("job", {})
    AllowlistEntry.objects.filter(task_type=kind).delete()
    drive(run.id)
    page = desk.get(f"/t/acme/runs/{run.pk}")
    assert [(call["tool"], call["code"]) for call in page.context["denied"]] == [("mail.read", "not_allowed")]
    assert "denied, not_allowed" in "\n".join(lines(desk, run))
    assert page.context["verdict"].startswith("Failed, ")


def test_a_failed_run_says_where_and_why(scoped: Tenant, desk: Client) -> None:
    allow = {"shop.find_order": AllowlistState.AUTO}
    asks: JSONObject = {"order_ref": "A-9999"}
    task_type([{"id": "one", "tool": "shop.find_order", "arguments": asks, "expect": "output.found"}], allow)
    run = drive(start("job", {}).id)
    assert run.state == "failed"
    assert "verification_failed" in "\n".join(lines(desk, run))


@pytest.mark.not_replayed("an event of an unknown type is the point")
def test_an_unreadable_event_is_a_gap_and_the_rest_is_still_told(waiting: Run, desk: Client) -> None:
    with transaction.atomic():
        append(stream_of(waiting.pk), [NewEvent("run.teleported", {"to": "Mars"})], actor=SYSTEM, run_id=waiting.pk)
    page = desk.get(f"/t/acme/runs/{waiting.pk}")
    assert "run.teleported" in page.context["broken"]
    assert page.context["verdict"] == "Waits for a person to decide about shop.issue_refund."
    assert any("cannot be read" in line for line in lines(desk, waiting))


def test_what_an_event_recorded_is_listed_by_path_and_cannot_pose_as_another_line(shop: Tenant, desk: Client) -> None:
    run = start("support-email", {"message_id": "M-0001"})
    (submitted,) = desk.get(f"/t/acme/runs/{run.pk}").context["timeline"][0].events
    assert 'input.message_id: "M-0001"' in submitted.data.split("\n")


def test_the_audit_trail_is_linked_for_those_who_may_read_it(
    waiting: Run, shop: Tenant, desk: Client, signed_in: Callable[[User], Client]
) -> None:
    link = f"/t/acme/audit?run={waiting.pk}"
    assert desk.get(f"/t/acme/runs/{waiting.pk}").context["audit_url"] == link
    assert desk.get(link).status_code == 200
    viewer = signed_in(person("vera", shop, "viewer"))
    assert viewer.get(f"/t/acme/runs/{waiting.pk}").context["audit_url"] == ""


# --- stepping in ----------------------------------------------------------------------------------------------------


def test_cancelling_ends_the_run_and_withdraws_what_was_waiting(waiting: Run, desk: Client) -> None:
    answer = desk.post(f"/t/acme/runs/{waiting.pk}/cancel", {"reason": "Sent twice."})
    assert (answer.status_code, answer["Location"]) == (302, f"/t/acme/runs/{waiting.pk}")
    assert Run.objects.get(pk=waiting.pk).state == "cancelled"
    assert Proposal.objects.get().status == "withdrawn"
    page = page_of(desk, waiting)
    assert "Cancelled by Bob: Sent twice." in page
    assert f"/t/acme/runs/{waiting.pk}/cancel" not in page


def test_cancelling_a_run_that_has_ended_changes_nothing_and_says_how_it_ended(waiting: Run, desk: Client) -> None:
    desk.post(f"/t/acme/runs/{waiting.pk}/cancel")
    again = desk.post(f"/t/acme/runs/{waiting.pk}/cancel")
    assert again.status_code == 409
    assert "had ended already: cancelled" in again.content.decode()


def test_a_reason_too_long_comes_back_in_the_form(waiting: Run, desk: Client) -> None:
    answer = desk.post(f"/t/acme/runs/{waiting.pk}/cancel", {"reason": "x" * 501})
    assert answer.status_code == 422
    assert "x" * 501 in answer.content.decode()
    assert Run.objects.get(pk=waiting.pk).state == "awaiting_approval"


def test_viewers_cannot_cancel(waiting: Run, shop: Tenant, signed_in: Callable[[User], Client]) -> None:
    viewer = signed_in(person("vera", shop, "viewer"))
    assert not viewer.get(f"/t/acme/runs/{waiting.pk}").context["can_cancel"]
    assert viewer.post(f"/t/acme/runs/{waiting.pk}/cancel").status_code == 403


def test_an_unknown_effect_leads_to_where_it_is_answered(
    unknown: Run, sam: User, desk: Client, signed_in: Callable[[User], Client]
) -> None:
    page = signed_in(sam).get(f"/t/acme/runs/{unknown.pk}")
    assert page.context["verdict"].startswith("Nobody knows whether shop.issue_refund had its effect.")
    (call,) = page.context["unknown"]
    assert (call["tool"], call["asked"]) == ("shop.issue_refund", True)
    assert "Say what you found" in page.content.decode()
    assert signed_in(sam).get(call["url"]).status_code == 200
    assert "A senior or an admin can answer this." in page_of(desk, unknown)


# --- submitting -----------------------------------------------------------------------------------------------------


def kind_with(properties: JSONObject) -> TaskType:
    """Return a task type that takes these members and does nothing."""
    kind = task_type([], {})
    kind.input_schema = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    kind.save()
    return kind


def test_a_task_is_chosen_filled_in_and_submitted(shop: Tenant, desk: Client) -> None:
    choices = desk.get("/t/acme/submit").context["task_types"]
    chosen = next(one for one in choices if one["slug"] == "goodwill-refund")
    page = desk.get(chosen["url"])
    assert list(page.context["form"].fields) == [
        *("task:order_ref", "task:amount_minor", "task:reason", "title", "once"),
    ]
    typed = {"task:order_ref": "A-1002", "task:amount_minor": "100", "task:reason": "Late", "title": "Late parcel"}
    answer = desk.post(chosen["url"], typed)
    run = Run.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, f"/t/acme/runs/{run.pk}")
    assert (run.title, run.origin, run.requested_by and run.requested_by.username) == (
        "Late parcel",
        "submitted",
        "bob",
    )
    assert run.input == '{"amount_minor":100,"order_ref":"A-1002","reason":"Late"}'


def test_what_the_schema_refuses_stands_beside_its_field_and_nothing_is_lost(shop: Tenant, desk: Client) -> None:
    typed = {"task:order_ref": "", "task:amount_minor": "many", "task:reason": "x" * 5_000, "title": "My title"}
    answer = desk.post("/t/acme/submit?task_type=goodwill-refund", typed)
    assert answer.status_code == 422
    assert set(answer.context["form"].errors) == {"task:order_ref", "task:amount_minor", "task:reason"}
    page = answer.content.decode()
    assert 'value="many"' in page
    assert 'value="My title"' in page
    assert "x" * 5_000 in page
    assert not Run.objects.exists()


def test_money_in_a_task_is_typed_as_an_amount(scoped: Tenant, desk: Client) -> None:
    kind_with(
        {
            "amount_minor": {"type": "integer", "minimum": 1, "maximum": 10_000},
            "currency": {"enum": ["EUR", "JPY"]},
        }
    )
    refused = desk.post("/t/acme/submit?task_type=job", {"task:amount_minor": "0.00", "task:currency": "EUR"})
    assert set(refused.context["form"].errors) == {"task:amount_minor"}
    desk.post("/t/acme/submit?task_type=job", {"task:amount_minor": "12.50", "task:currency": "EUR"})
    assert Run.objects.get().input == '{"amount_minor":1250,"currency":"EUR"}'


def test_members_of_every_type_are_typed_and_a_member_called_title_is_the_tasks_own(
    scoped: Tenant, desk: Client
) -> None:
    kind_with(
        {
            "title": {"type": "string", "maxLength": 50},
            "urgent": {"type": "boolean"},
            "due": {"type": ["string", "null"], "format": "date", "maxLength": 10},
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 9}, "maxItems": 3},
        }
    )
    typed = {"task:title": "Inner", "task:urgent": "true", "task:due": "", "task:tags": '["a"]', "title": "Outer"}
    assert desk.post("/t/acme/submit?task_type=job", typed).status_code == 302
    run = Run.objects.get()
    assert run.title == "Outer"
    assert run.input == '{"due":null,"tags":["a"],"title":"Inner","urgent":true}'


def test_a_task_type_that_cannot_run_says_so_instead_of_failing_later(scoped: Tenant, desk: Client) -> None:
    kind = kind_with({"note": {"type": "string", "maxLength": 50}})
    TaskType.objects.filter(pk=kind.pk).update(playbook=None)
    answer = desk.post("/t/acme/submit?task_type=job", {"task:note": "Hello"})
    assert answer.status_code == 422
    assert "Choose the playbook" in answer.content.decode()
    assert "Hello" in answer.content.decode()


def test_only_enabled_task_types_are_offered(shop: Tenant, desk: Client) -> None:
    TaskType.objects.filter(slug="support-email").update(enabled=False)
    assert "support-email" not in {one["slug"] for one in desk.get("/t/acme/submit").context["task_types"]}
    assert desk.get("/t/acme/submit?task_type=support-email").status_code == 404
    late = desk.post("/t/acme/submit?task_type=support-email", {"task:message_id": "M-0042"})
    assert late.status_code == 422
    assert "switched off" in late.content.decode()
    assert "M-0042" in late.content.decode(), "what was typed before it was switched off is kept"


def test_a_submission_without_a_kind_of_task_is_told_to_choose_one(shop: Tenant, desk: Client) -> None:
    answer = desk.post("/t/acme/submit", {"task:message_id": "M-0001"})
    assert answer.status_code == 422
    assert "Choose a kind of task first." in answer.content.decode()


def test_viewers_do_not_submit_and_an_unknown_run_is_not_found(
    shop: Tenant, desk: Client, signed_in: Callable[[User], Client]
) -> None:
    assert signed_in(person("vera", shop, "viewer")).get("/t/acme/submit").status_code == 403
    assert desk.get(f"/t/acme/runs/{uuid7()}").status_code == 404


@pytest.mark.parametrize("slug", ["nobody", "%00"])
def test_a_task_type_that_is_not_there_is_not_found(scoped: Tenant, desk: Client, slug: str) -> None:
    assert desk.get(f"/t/acme/submit?task_type={slug}").status_code == 404
