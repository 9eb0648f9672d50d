"""Admins set up work in the browser; what could only fail at run time is refused at save time."""

import html
import json
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from agentops.runs.models import Playbook, TaskType
from agentops.runs.services import task_type_issues
from agentops.tenancy.models import Tenant
from agentops.wire.parse import JSONObject
from tests.shop import task_type
from tools.allowlist import AllowlistState
from tools.models import AllowlistEntry

SignedIn = Callable[[User], Client]


@pytest.fixture
def kind(scoped: Tenant) -> TaskType:
    return task_type(
        [{"id": "a", "tool": "create_ticket", "arguments": {"title": "x", "priority": "low"}}],
        {"create_ticket": AllowlistState.AUTO},
    )


def form_of(kind: TaskType, **changes: object) -> dict[str, str]:
    values: JSONObject = {
        "name": kind.name,
        "slug": kind.slug,
        "description": "",
        "enabled": "on",
        "priority": 0,
        "planner": kind.planner,
        "planning": kind.planning,
        "playbook": kind.playbook_id,
        "instructions": "",
        "input_schema": json.dumps(kind.input_schema),
        "stop_when": "",
        "success_when": "",
        "limits": json.dumps(kind.limits),
        "decide_within_s": 3600,
        "execute_within_s": 600,
    }
    return {name: str(value) for name, value in (values | changes).items()}


def save(client: Client, kind: TaskType, **changes: object) -> str:
    response = client.post(f"/t/acme/admin/runs/tasktype/{kind.pk}/change/", form_of(kind, **changes))
    return "saved" if response.status_code == 302 else response.content.decode()


def test_the_page_leads_to_the_allowlist_and_does_not_change_it(
    kind: TaskType, alice: User, signed_in: SignedIn
) -> None:
    client = signed_in(alice)
    page = client.get(f"/t/acme/admin/runs/tasktype/{kind.pk}/change/").content.decode()
    assert '/admin/tools/allowlistentry/?task_type=job">1 tool on its allowlist</a>' in page
    assert save(client, kind, **{"allowlist-0-state": "gated"}) == "saved"
    assert AllowlistEntry.objects.get(task_type=kind).state == "auto"


def test_what_a_field_is_for_is_printed_as_it_is_written(kind: TaskType, alice: User, signed_in: SignedIn) -> None:
    page = signed_in(alice).get(f"/t/acme/admin/runs/tasktype/{kind.pk}/change/").content.decode()
    assert "One model a line, &lt;provider&gt;:&lt;model&gt;, in the order" in page


def test_a_new_task_type_may_use_nothing(scoped: Tenant, kind: TaskType, alice: User, signed_in: SignedIn) -> None:
    new = form_of(kind, slug="copy", name="Copy")
    assert signed_in(alice).post("/t/acme/admin/runs/tasktype/add/", new).status_code == 302
    assert not AllowlistEntry.objects.filter(task_type__slug="copy").exists()


def test_an_operator_does_not_get_in(kind: TaskType, bob: User, signed_in: SignedIn) -> None:
    assert signed_in(bob).get(f"/t/acme/admin/runs/tasktype/{kind.pk}/change/", follow=True).status_code == 403


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("limits", '{"steps": 0}', "between 1 and"),
        ("limits", '{"stepz": 3}', "unknown limit"),
        ("stop_when", "steps.a.outcome ==", "Failed to parse"),
        ("success_when", "secret.key == 1", "unknown name"),
        ("playbook", "", "Choose the playbook"),
        ("planner", "model", "AGENTOPS_MODEL"),
        ("input_schema", '{"type": "object"}', "input_schema"),
    ],
)
def test_what_could_only_fail_later_is_refused_now(
    kind: TaskType, alice: User, signed_in: SignedIn, field: str, value: str, said: str
) -> None:
    page = save(signed_in(alice), kind, **{field: value})
    assert said in page
    kind.refresh_from_db()
    assert (kind.stop_when, kind.limits["steps"]) == ("", 8)


def test_a_priority_that_is_not_sent_stays_and_one_that_is_cleared_is_the_usual_one(
    kind: TaskType, alice: User, signed_in: SignedIn
) -> None:
    admin, address = signed_in(alice), f"/t/acme/admin/runs/tasktype/{kind.pk}/change/"

    def priority() -> int:
        kind.refresh_from_db()
        return kind.priority

    assert save(admin, kind, priority="7") == "saved"
    assert priority() == 7
    without = form_of(kind, name="Renamed")
    del without["priority"]
    assert admin.post(address, without).status_code == 302
    assert (priority(), kind.name) == (7, "Renamed")
    assert "less than or equal to 100" in save(admin, kind, priority="101")
    assert priority() == 7
    assert save(admin, kind, priority="") == "saved"
    assert priority() == 0


def test_editing_a_playbook_makes_the_next_version_and_keeps_the_old_one(
    kind: TaskType, alice: User, signed_in: SignedIn
) -> None:
    playbook = kind.playbook
    assert playbook is not None
    new = {"steps": [], "answers": [{"text": "nothing to do"}]}
    url = f"/t/acme/admin/runs/playbook/{playbook.pk}/change/"
    assert signed_in(alice).post(url, {"body": json.dumps(new), "use_now": "on"}).status_code == 302
    assert [p.version for p in Playbook.objects.filter(slug="job")] == [2, 1]
    kind.refresh_from_db()
    assert kind.playbook is not None
    assert kind.playbook.version == 2
    playbook.refresh_from_db()
    assert "create_ticket" in playbook.body


def test_a_version_that_a_task_type_could_not_use_by_its_criteria_is_not_taken_into_use(
    kind: TaskType, alice: User, signed_in: SignedIn
) -> None:
    client, playbook = signed_in(alice), kind.playbook
    assert playbook is not None
    assert save(client, kind, success_when="steps.a.outcome == 'succeeded'") == "saved"
    step = {"id": "b", "tool": "create_ticket", "arguments": {"title": "x", "priority": "low"}}
    renamed = {"body": json.dumps({"steps": [step]})}
    url = f"/t/acme/admin/runs/playbook/{playbook.pk}/change/"

    response = client.post(url, renamed | {"use_now": "on"})
    assert response.status_code == 200
    assert f"{kind.name}: The playbook has no step a." in html.unescape(response.content.decode())
    assert Playbook.objects.filter(slug="job").count() == 1

    assert client.post(url, renamed).status_code == 302, "nobody uses it yet"
    both = {"steps": [step, step | {"id": "a"}]}
    assert client.post(url, {"body": json.dumps(both), "use_now": "on"}).status_code == 302
    kind.refresh_from_db()
    assert kind.playbook is not None
    assert kind.playbook.version == 3
    assert not task_type_issues(kind)


def test_a_playbook_is_not_refused_for_what_was_wrong_with_its_task_type_before(
    kind: TaskType, alice: User, signed_in: SignedIn
) -> None:
    TaskType.objects.update(decide_within_s=0)
    assert kind.playbook is not None
    url = f"/t/acme/admin/runs/playbook/{kind.playbook.pk}/change/"
    body = {"body": json.dumps({"steps": [], "answers": [{"text": "nothing to do"}]}), "use_now": "on"}
    assert signed_in(alice).post(url, body).status_code == 302


def test_a_playbook_with_mistakes_is_not_saved_and_every_mistake_is_named(
    kind: TaskType, alice: User, signed_in: SignedIn
) -> None:
    wrong = {"steps": [{"id": "a", "tool": "no.such", "when": "1 +"}, {"id": "a", "tool": "create_ticket"}]}
    response = signed_in(alice).post("/t/acme/admin/runs/playbook/add/", {"slug": "new", "body": json.dumps(wrong)})
    page = response.content.decode()
    assert response.status_code == 200
    for said in ("there is no tool", "a is used twice", "/steps/0/when"):
        assert said in page
    assert not Playbook.objects.filter(slug="new").exists()
