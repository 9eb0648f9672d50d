"""Following runs: lists by position, events by number, cancelling."""

from collections.abc import Callable
from time import monotonic
from typing import Any
from uuid import UUID

import pytest
from django.db.models import F

from agentops.audit.services import load
from agentops.runs.models import Run, TaskType
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from tests.gateway.conftest import JOB, MAIL, Program
from tests.shop import drive

Problem = Callable[..., dict[str, Any]]


def listed(agent: Program, query: str) -> list[list[str]]:
    """Follow a list to its end; return the ids of each page."""
    pages, after = [], ""
    while True:
        page = agent.get(f"/api/v1/runs?{query}&after={after}" if after else f"/api/v1/runs?{query}").json()
        pages.append([run["run_id"] for run in page["runs"]])
        if page["next"] is None:
            return pages
        after = page["next"]


def test_pages_show_every_run_once_newest_first_even_of_one_moment(shop: Tenant, agent: Program) -> None:
    made = [agent.submit(JOB).json()["run_id"] for _ in range(5)]
    with tenant_scope(shop):
        same = Run.objects.get(pk=made[0]).created_at
        Run.objects.filter(pk__in=made[1:3]).update(created_at=same)
    pages = listed(agent, "limit=2")
    assert [len(page) for page in pages] == [2, 2, 1]
    assert [one for page in pages for one in page] == made[::-1]


def test_a_run_that_comes_meanwhile_does_not_shift_the_pages(agent: Program) -> None:
    made = [agent.submit(JOB).json()["run_id"] for _ in range(3)]
    first = agent.get("/api/v1/runs?limit=2").json()
    agent.submit(JOB)
    second = agent.get(f"/api/v1/runs?limit=2&after={first['next']}").json()
    assert [run["run_id"] for run in second["runs"]] == [made[0]]


def test_lists_are_filtered_by_state_and_task_type(shop: Tenant, agent: Program) -> None:
    job, mail = (agent.submit(body).json()["run_id"] for body in (JOB, MAIL))
    with tenant_scope(shop):
        drive(UUID(job))
    assert listed(agent, "state=succeeded") == [[job]]
    assert listed(agent, "task_type=support-email") == [[mail]]
    assert listed(agent, "task_type=job&state=queued") == [[]]
    [shown] = agent.get("/api/v1/runs?state=succeeded").json()["runs"]
    assert (shown["status"], shown["task_type"], shown["error"]) == ("succeeded", "job", None)
    assert shown["ended_at"] is not None


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("state=asleep", "state"),
        ("task_type=%00", "task_type"),
        ("after=x", "after"),
        ("after=%C3%A4", "after"),
        ("after=" + "A" * 201, "after"),
        ("after=MjAyNi0xMS0yMlQxMDowMDowMH5ub3RhLXV1aWQ", "after"),
        ("after=MDAwMS0wMS0wMVQwMDowMDowMCsyMzo1OX4xZDEzZTQ1NC0wODNkLTRjYzAtYmJkMS0yYzU3MThlMDM5ZGQ", "after"),
        ("order=random", "order"),
    ],
)
def test_a_bad_parameter_is_named(agent: Program, problem: Problem, query: str, parameter: str) -> None:
    document = problem(agent.get(f"/api/v1/runs?{query}"), 400, "invalid_parameter")
    assert [fault["parameter"] for fault in document["errors"]] == [parameter]


def test_events_come_in_order_page_by_page(shop: Tenant, agent: Program) -> None:
    run_id = agent.submit(JOB).json()["run_id"]
    with tenant_scope(shop):
        drive(UUID(run_id))
        recorded = load(f"run:{run_id}")
    seen: list[dict[str, Any]] = []
    after: int | None = 0
    while after is not None:
        page = agent.get(f"/api/v1/runs/{run_id}/events?limit=2&after={after}").json()
        assert len(page["events"]) <= 2
        seen += page["events"]
        after = page["next"]
    assert [(one["seq"], one["type"], one["hash"]) for one in seen] == [
        (one.seq, one.type, one.hash.hex()) for one in recorded
    ]
    assert [one["data"] for one in seen] == [one.data for one in recorded]
    assert seen == agent.get(f"/api/v1/runs/{run_id}").json()["audit_trail"]


def test_cancelling_ends_the_run_and_its_proposals_and_says_who(shop: Tenant, agent: Program) -> None:
    run_id = agent.submit().json()["run_id"]
    with tenant_scope(shop):
        drive(UUID(run_id))
    result = agent.post(f"/api/v1/runs/{run_id}/cancel", {"reason": "Duplicate."}).json()
    assert (result["status"], result["error"]) == ("cancelled", {"code": "cancelled", "message": "Duplicate."})
    assert [proposal["status"] for proposal in result["proposals"]] == ["withdrawn"]
    last = result["audit_trail"][-1]
    assert (last["type"], last["actor"]["kind"], last["actor"]["id"]) == ("run.cancelled", "token", str(agent.row.pk))


def test_cancelling_again_changes_nothing(agent: Program) -> None:
    run_id = agent.submit(JOB).json()["run_id"]
    first, second = (agent.post(f"/api/v1/runs/{run_id}/cancel", raw=b"") for _ in range(2))
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json() == second.json()


def test_a_run_that_ended_otherwise_cannot_be_cancelled(shop: Tenant, agent: Program, problem: Problem) -> None:
    run_id = agent.submit(JOB).json()["run_id"]
    with tenant_scope(shop):
        drive(UUID(run_id))
    document = problem(agent.post(f"/api/v1/runs/{run_id}/cancel"), 409, "run_ended")
    assert document["run_status"] == "succeeded"


def test_task_types_tell_what_can_be_submitted(shop: Tenant, agent: Program) -> None:
    with tenant_scope(shop):
        TaskType.objects.filter(slug="access-request").update(enabled=False)
        expected = list(TaskType.objects.filter(enabled=True).order_by("slug").annotate(s=F("input_schema")))
    shown = agent.get("/api/v1/task-types").json()["task_types"]
    assert [one["slug"] for one in shown] == [one.slug for one in expected]
    assert [one["input_schema"] for one in shown] == [one.input_schema for one in expected]


def test_the_answer_about_a_run_waits_for_its_end(shop: Tenant, agent: Program, settings: Any) -> None:
    run = agent.submit(JOB)["Location"]
    went_on = agent.get(f"{run}?wait=1")
    assert (went_on.status_code, went_on.json()["status"], went_on["Retry-After"]) == (200, "queued", "1")
    assert "Retry-After" not in agent.get(run)
    settings.API_MAX_WAITERS = 0
    began = monotonic()
    assert agent.get(f"{run}?wait=30")["Retry-After"] == "1"
    with tenant_scope(shop):
        drive(UUID(run.rpartition("/")[2]))
    settings.API_MAX_WAITERS = 1
    ended = agent.get(f"{run}?wait=30")
    assert (ended.json()["status"], "Retry-After" in ended) == ("succeeded", False)
    assert monotonic() - began < 20, "neither without a seat nor after the end is anything waited for"


@pytest.mark.parametrize("query", ["wait=31", "wait=-1", "wait=soon", "wait=1&wait=2", "later=1"])
def test_a_wait_for_a_run_has_bounds(agent: Program, problem: Any, query: str) -> None:
    run = agent.submit(JOB)["Location"]
    problem(agent.get(f"{run}?{query}"), 400, "invalid_parameter")


def test_nobody_waits_for_a_run_of_somebody_else(agent: Program, stranger: Program, problem: Any) -> None:
    problem(stranger.get(f"{agent.submit(JOB)['Location']}?wait=30"), 404, "not_found")
