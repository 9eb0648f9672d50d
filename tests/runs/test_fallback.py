"""A critical task type cannot be saved unless its fallback is there, is valid, and may do what it does."""

import json
from collections.abc import Callable

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.test import Client

from agentops.audit.models import Event
from agentops.runs.models import Playbook, TaskType
from agentops.runs.recording import load
from agentops.runs.services import InvalidTask, submit, task_type_issues
from agentops.tenancy.models import Tenant
from agentops.wire.canonical import canonical
from agentops.wire.parse import JSONObject
from tests.runs.test_admin import form_of
from tests.shop import AGENT, drive, start, task_type
from tools.allowing import seed_rules
from tools.allowlist import AllowlistState
from tools.models import AllowlistEntry

SignedIn = Callable[[User], Client]
TICKET: JSONObject = {"id": "a", "tool": "create_ticket", "arguments": {"title": "x", "priority": "low"}}


@pytest.fixture
def kind(scoped: Tenant) -> TaskType:
    return task_type([TICKET], {"create_ticket": AllowlistState.AUTO})


def playbook(*steps: JSONObject, slug: str = "spare", version: int = 1) -> Playbook:
    return Playbook.objects.create(slug=slug, version=version, body=canonical({"steps": list(steps), "answers": []}))


def codes(kind: TaskType) -> list[tuple[str, str]]:
    return [(issue.path, issue.code) for issue in task_type_issues(kind)]


def save(client: Client, kind: TaskType, **changes: object) -> str:
    response = client.post(f"/t/acme/admin/runs/tasktype/{kind.pk}/change/", form_of(kind, **changes))
    return "saved" if response.status_code == 302 else response.content.decode()


def test_an_admin_makes_a_task_type_critical_and_that_is_an_event(
    kind: TaskType, alice: User, signed_in: SignedIn
) -> None:
    spare = playbook(TICKET)
    assert save(signed_in(alice), kind, critical="on", fallback=spare.pk) == "saved"
    kind.refresh_from_db()
    assert (kind.critical, kind.fallback) == (True, spare)
    event = Event.objects.filter(type="admin.changed", subject_kind="tasktype").latest("id")
    after = json.loads(event.body)["data"]["after"]
    assert (after["critical"], str(after["fallback"])) == (True, str(spare.pk))
    [first] = load(start("job", {}).id)
    assert first.event.fallback == "playbook:spare@1"  # type: ignore[union-attr]


def test_critical_without_a_fallback_is_refused_on_the_page_and_when_a_task_is_submitted(
    kind: TaskType, alice: User, signed_in: SignedIn
) -> None:
    page = save(signed_in(alice), kind, critical="on")
    assert "needs the playbook that takes over" in page
    kind.refresh_from_db()
    assert not kind.critical
    kind.critical = True
    kind.save()
    refused = submit(task_type=kind, input={}, actor=AGENT)
    assert isinstance(refused, InvalidTask)
    assert [(issue.path, issue.code) for issue in refused.issues] == [("fallback", "fallback_missing")]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("{", "invalid_json"),
        ('{"steps": [{"id": "a", "tool": "no.such"}]}', "unknown_tool"),
        ('{"steps": [{"id": "a", "tool": "create_ticket", "when": "1 +"}]}', "invalid_condition"),
        ('{"steps": [{"id": "a", "tool": "create_ticket", "when": "steps.order.outcome == \'x\'"}]}', "unknown_step"),
    ],
)
def test_a_fallback_that_is_no_playbook_is_named(kind: TaskType, body: str, code: str) -> None:
    kind.critical, kind.fallback = True, Playbook.objects.create(slug="spare", version=1, body=body)
    assert ("fallback", code) in codes(kind)


def test_a_playbook_does_not_take_over_from_itself(kind: TaskType, settings: LazySettings) -> None:
    kind.critical, kind.fallback = True, kind.playbook
    assert codes(kind) == [("fallback", "fallback_is_planner")]
    settings.AGENTOPS_MODEL = "m"
    settings.AGENTOPS_MODEL_BASE_URL = "http://127.0.0.1:9/v1"
    kind.planner = "model"
    assert codes(kind) == []


def test_a_success_criterion_the_fallback_could_never_meet_is_named(kind: TaskType) -> None:
    kind.critical, kind.fallback = True, playbook(TICKET | {"id": "b"})
    kind.success_when = "steps.a.outcome == 'succeeded'"
    assert codes(kind) == [("fallback", "unknown_step")]
    kind.success_when = "steps.b.outcome == 'succeeded' || 'create_ticket' in done"
    assert codes(kind) == []


@pytest.mark.parametrize(
    ("criterion", "found"),
    [
        ("steps.a.outcome == 'succeeded' || steps.b.outcome == 'succeeded'", []),
        ("has(steps.a) ? steps.a.outcome == 'succeeded' : steps.b.outcome == 'succeeded'", []),
        ("steps.a.outcome == 'succeeded' || 'create_ticket' in done", []),
        ("input.note == 'x || y'", []),
        ("steps.b.outcome == 'succeeded'", [("success_when", "unknown_step")]),
        ("steps.a.outcome == 'a || b'", [("fallback", "unknown_step")]),
        (
            "steps.a.outcome == 'succeeded' && steps.b.outcome == 'succeeded'",
            [("fallback", "unknown_step"), ("success_when", "unknown_step")],
        ),
        ("steps.a.outcome == 'succeeded' || 1 == 1 || steps.typo.code == ''", [("success_when", "unknown_step")]),
    ],
)
def test_a_success_criterion_has_to_be_within_reach_of_both_playbooks(
    kind: TaskType, criterion: str, found: list[tuple[str, str]]
) -> None:
    kind.critical, kind.fallback, kind.success_when = True, playbook(TICKET | {"id": "b"}), criterion
    assert codes(kind) == found


def test_a_run_may_stop_early_of_a_step_that_only_one_of_the_playbooks_has(kind: TaskType) -> None:
    kind.critical, kind.fallback = True, playbook(TICKET | {"id": "b"})
    for step, found in (("a", []), ("b", []), ("c", [("stop_when", "unknown_step")])):
        kind.stop_when = f"steps.{step}.outcome == 'succeeded'"
        assert codes(kind) == found
    kind.fallback = Playbook.objects.create(slug="broken", version=1, body="{")
    kind.stop_when = "steps.b.outcome == 'succeeded'"
    assert codes(kind) == [("fallback", "invalid_json")]


def test_a_criterion_that_one_alternative_can_meet_is_met(scoped: Tenant) -> None:
    """What is accepted when it is saved, the engine takes as well: a step that is missing spoils its own part alone."""
    task_type(
        [TICKET],
        {"create_ticket": AllowlistState.AUTO},
        success_when="steps.b.outcome == 'succeeded' || steps.a.outcome == 'succeeded'",
    )
    TaskType.objects.update(critical=True, fallback=playbook(TICKET | {"id": "b"}))
    assert drive(start("job", {}).id).state == "succeeded"


def test_a_critical_task_type_may_name_a_model_that_is_not_there_because_its_fallback_is(kind: TaskType) -> None:
    kind.planner = "model"
    assert codes(kind) == [("planner", "model_not_configured")]
    kind.critical, kind.fallback = True, playbook(TICKET)
    assert codes(kind) == []


def test_the_allowlist_has_to_let_the_fallback_do_what_it_does(
    kind: TaskType, alice: User, signed_in: SignedIn
) -> None:
    spare = playbook({"id": "look", "tool": "shop.find_order", "arguments": {"order_ref": "A-1001"}}, TICKET)
    page = save(signed_in(alice), kind, critical="on", fallback=spare.pk)
    assert "The fallback uses shop.find_order, which the allowlist denies." in page
    assert "create_ticket, which" not in page
    seed_rules(kind.pk, {"shop.find_order": AllowlistState.AUTO})
    assert save(signed_in(alice), kind, critical="on", fallback=spare.pk) == "saved"
    cell = f"/t/acme/admin/tools/allowlistentry/cell/{kind.pk}/shop.find_order/"
    answer = signed_in(alice).post(cell, {"state": "denied"}, follow=True)
    assert "The fallback uses shop.find_order, which the allowlist denies." in answer.content.decode()
    assert AllowlistEntry.objects.get(task_type=kind, tool="shop.find_order").state == "denied", (
        "narrowing always counts"
    )


def test_a_new_version_of_a_fallback_is_used_at_once_and_checked_against_who_would_use_it(
    kind: TaskType, alice: User, signed_in: SignedIn
) -> None:
    spare = playbook(TICKET)
    TaskType.objects.filter(pk=kind.pk).update(critical=True, fallback=spare)
    url = f"/t/acme/admin/runs/playbook/{spare.pk}/change/"
    look: JSONObject = {"id": "look", "tool": "shop.find_order", "arguments": {"order_ref": "A-1001"}}
    page = signed_in(alice).post(url, {"body": json.dumps({"steps": [look]}), "use_now": "on"})
    assert page.status_code == 200
    assert "Job: The fallback uses shop.find_order" in page.content.decode()
    assert Playbook.objects.filter(slug="spare").count() == 1

    better = {"steps": [TICKET, TICKET | {"id": "b"}]}
    assert signed_in(alice).post(url, {"body": json.dumps(better), "use_now": "on"}).status_code == 302
    kind.refresh_from_db()
    assert kind.fallback is not None
    assert kind.playbook is not None
    assert (kind.fallback.version, kind.playbook.slug) == (2, "job")
