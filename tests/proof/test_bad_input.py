"""Bad input at every door: a clear error with a stable code when it is saved or submitted, never at run time.

Doors are the browser form, the admin forms, the REST API and the services behind them. Nothing is written, and what a
person typed comes back with the error.
"""

import html
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from agentops.runs.models import Playbook, Run, TaskType
from agentops.runs.services import InvalidTask, playbook_issues, save_playbook, submit, task_type_issues
from agentops.tenancy.access import SYSTEM, Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.wire.canonical import canonical
from agentops.wire.parse import JSONObject
from tests.gateway.conftest import Program, program
from tests.runs.test_admin import form_of
from tests.shop import AGENT, task_type
from tools.allowlist import AllowlistState
from tools.models import AllowlistEntry

SignedIn = Callable[[User], Client]
TICKET: JSONObject = {"id": "a", "tool": "create_ticket", "arguments": {"title": "x", "priority": "low"}}
DEEP = "[" * 100_000


def playbook(*steps: dict[str, Any], **more: Any) -> str:
    return json.dumps({"steps": list(steps), **more})


def ref(path: str) -> dict[str, Any]:
    return {"id": "b", "tool": "create_ticket", "arguments": {"title": {"$ref": path}, "priority": "low"}}


def schema(**properties: Any) -> str:
    return json.dumps(
        {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}
    )


@pytest.fixture
def kind(scoped: Tenant) -> TaskType:
    found = task_type([TICKET], {"create_ticket": AllowlistState.AUTO})
    found.input_schema = json.loads(schema(text={"type": "string", "minLength": 1, "maxLength": 100_000}))
    found.save()
    return found


@pytest.fixture
def admin(alice: User, signed_in: SignedIn) -> Client:
    return signed_in(alice)


@pytest.fixture
def agent(acme: Tenant) -> Program:
    with tenant_scope(acme):
        return program(acme)


def errors_of(page: str) -> str:
    """Return the text of every error list of a page."""
    found = re.findall(r'<ul class="errorlist[^"]*"[^>]*>(.*?)</ul>', page, re.DOTALL)
    return html.unescape(" ".join(found))


# --- what a playbook can be ------------------------------------------------------------------------------------------

BAD_PLAYBOOKS = [
    ("no JSON", "{steps:", "invalid_json"),
    ("not an object", "[]", "invalid_plan"),
    ("nothing in it", "{}", "invalid_plan"),
    ("a key twice", '{"steps": [], "steps": []}', "duplicate_key"),
    ("nested without end", DEEP, "too_deep"),
    ("too large", json.dumps({"steps": [], "answers": [{"text": "x" * 300_000}]}), "too_large"),
    ("a NUL", '{"answers": [{"text": "\\u0000"}]}', "bad_character"),
    ("half a character", '{"answers": [{"text": "\\ud800"}]}', "bad_character"),
    ("not finite", '{"answers": [{"text": 1e999}]}', "not_finite"),
    ("a tool that is not there", playbook({"id": "a", "tool": "no.such", "arguments": {}}), "unknown_tool"),
    ("the same step twice", playbook(TICKET, TICKET), "duplicate_step"),
    ("a reference to a later step", playbook(ref("steps.later.output.x"), {**TICKET, "id": "later"}), "unknown_step"),
    ("a reference to itself", playbook(ref("steps.b.output.x")), "unknown_step"),
    ("a reference to nothing", playbook(ref("secrets.key")), "invalid_reference"),
    ("a condition that does not parse", playbook({**TICKET, "when": "steps.a ="}), "invalid_condition"),
    ("a condition about a later step", playbook({**TICKET, "when": "steps.z.outcome == 'x'"}), "unknown_step"),
    ("a condition about something else", playbook({**TICKET, "when": "secret == 1"}), "unknown_name"),
    ("a function that is not there", playbook({**TICKET, "when": "launch(input)"}), "unknown_name"),
    (
        "loops in loops",
        playbook({**TICKET, "when": "input.a.all(x, x.exists(y, y.all(z, z > 1)))"}),
        "condition_too_costly",
    ),
    ("a condition without end", playbook({**TICKET, "when": "true || " * 1_000 + "true"}), "condition_too_costly"),
    ("a reason without end", playbook({**TICKET, "why": "x" * 3_000}), "invalid_text"),
    ("a bad name of a step", playbook({**TICKET, "id": "A b"}), "invalid_step"),
    ("too many calls in a step", playbook({"id": "a", "calls": [TICKET] * 20}), "limit_calls"),
    ("too many steps", playbook(*({**TICKET, "id": f"s{n}"} for n in range(1_001))), "limit_steps"),
    ("another form of value", playbook({**TICKET, "arguments": {"title": {"$env": "HOME"}}}), "unknown_form"),
]
PLAYBOOKS = pytest.mark.parametrize(
    ("body", "code"), [(body, code) for _, body, code in BAD_PLAYBOOKS], ids=[name for name, *_ in BAD_PLAYBOOKS]
)


@PLAYBOOKS
def test_a_bad_playbook_is_not_saved_by_the_service(scoped: Tenant, body: str, code: str) -> None:
    saved = save_playbook(slug="p", body=body, actor=SYSTEM)
    assert isinstance(saved, InvalidTask)
    assert code in {issue.code for issue in saved.issues}
    assert all(len(issue.message) < 500 for issue in saved.issues)
    assert not Playbook.objects.exists()


@PLAYBOOKS
def test_a_bad_playbook_comes_back_from_the_admin_form_as_it_was_typed(
    scoped: Tenant, admin: Client, body: str, code: str
) -> None:
    answer = admin.post("/t/acme/admin/runs/playbook/add/", {"slug": "p", "body": body, "use_now": "on"})
    assert answer.status_code == 200
    assert errors_of(answer.content.decode())
    assert code in {error.code for error in answer.context["adminform"].form.errors.as_data()["body"]}
    assert answer.context["adminform"].form["body"].value() == body
    assert not Playbook.objects.exists()


@pytest.mark.parametrize("slug", ["", "x" * 65, "a b", "a/b", "\0", "\ud800"])
def test_a_bad_name_of_a_playbook_is_refused_by_the_service(scoped: Tenant, slug: str) -> None:
    saved = save_playbook(slug=slug, body=playbook(TICKET), actor=SYSTEM)
    assert isinstance(saved, InvalidTask)
    assert [issue.code for issue in saved.issues] == ["invalid_slug"]


# --- what a task type can be -----------------------------------------------------------------------------------------

BAD_TASK_TYPES = [
    ("no steps", "limits", '{"steps": 0}', "invalid_limits"),
    ("too many steps", "limits", '{"steps": 1001}', "invalid_limits"),
    ("half a step", "limits", '{"steps": 1.5}', "invalid_limits"),
    ("steps as text", "limits", '{"steps": "8"}', "invalid_limits"),
    ("an unknown limit", "limits", '{"stepz": 8}', "invalid_limits"),
    ("limits as a list", "limits", "[8]", "invalid_limits"),
    ("an open schema", "input_schema", '{"type": "object"}', "invalid_schema"),
    ("a schema as a list", "input_schema", "[1]", "invalid_schema"),
    ("a schema as text", "input_schema", '"object"', "invalid_schema"),
    ("a schema of nonsense", "input_schema", '{"type": "object", "properties": 5, "required": 5}', "invalid_schema"),
    ("types as an object", "input_schema", schema(a={"type": {}}), "invalid_schema"),
    ("text without end", "input_schema", schema(a={"type": "string"}), "invalid_schema"),
    ("a schema elsewhere", "input_schema", schema(a={"$ref": "https://evil.example/s.json"}), "invalid_schema"),
    ("a schema in a file", "input_schema", schema(a={"$ref": "file:///etc/passwd"}), "invalid_schema"),
    ("a bad pattern", "input_schema", schema(a={"type": "string", "maxLength": 9, "pattern": "("}), "invalid_schema"),
    ("a stop that does not parse", "stop_when", "steps.a.outcome ==", "invalid_condition"),
    ("a stop about something else", "stop_when", "secret.key == 1", "unknown_name"),
    ("a stop with an unknown function", "stop_when", "launch(input)", "unknown_name"),
    ("a stop about a step that is not there", "stop_when", "steps.nope.outcome == 'succeeded'", "unknown_step"),
    ("loops in loops", "success_when", "input.a.all(x, x.exists(y, y))", "condition_too_costly"),
    ("no playbook", "playbook", "", "playbook_missing"),
    ("no model", "planner", "model", "model_not_configured"),
    ("no time to decide", "decide_within_s", "0", "invalid_deadline"),
    ("a century to execute", "execute_within_s", "2147483647", "invalid_deadline"),
]
TASK_TYPES = pytest.mark.parametrize(
    ("field", "typed", "code"), [row[1:] for row in BAD_TASK_TYPES], ids=[row[0] for row in BAD_TASK_TYPES]
)


def set_on(kind: TaskType, field: str, typed: str) -> None:
    if field == "playbook":
        kind.playbook = None
    elif field in ("limits", "input_schema"):
        setattr(kind, field, json.loads(typed))
    else:
        setattr(kind, field, int(typed) if typed.isdecimal() else typed)


@TASK_TYPES
def test_what_is_wrong_with_a_task_type_has_a_code(kind: TaskType, field: str, typed: str, code: str) -> None:
    assert list(task_type_issues(kind)) == []
    set_on(kind, field, typed)
    assert code in {issue.code for issue in task_type_issues(kind)}


@TASK_TYPES
def test_a_bad_task_type_comes_back_from_the_admin_form_as_it_was_typed(
    kind: TaskType, admin: Client, field: str, typed: str, code: str
) -> None:
    before = TaskType.objects.values().get(pk=kind.pk)
    address = f"/t/acme/admin/runs/tasktype/{kind.pk}/change/"
    answer = admin.post(address, form_of(kind, **{field: typed, "name": "Renamed"}))
    assert answer.status_code == 200
    form = answer.context["adminform"].form
    assert code in {error.code for found in form.errors.as_data().values() for error in found}
    assert field in form.errors
    assert form["name"].value() == "Renamed"
    assert TaskType.objects.values().get(pk=kind.pk) == before


@pytest.mark.parametrize(
    ("field", "typed", "code"),
    [
        ("limits", '{"steps": 3, "steps": 900}', "duplicate_key"),
        ("limits", DEEP, "too_deep"),
        ("limits", '{"a":' * 50_000, "too_deep"),
        ("limits", "{'steps': 3}", "invalid_json"),
        ("limits", '{"steps": 1e999}', "not_finite"),
        ("input_schema", '{"title": "\\u0000"}', "bad_character"),
        ("input_schema", '{"title": "\\ud800"}', "bad_character"),
        ("input_schema", f'{{"title": "{"x" * 270_000}"}}', "too_large"),
        ("name", "x" * 121, "max_length"),
        ("name", "a\0b", "null_characters_not_allowed"),
        ("stop_when", "a\0b", "null_characters_not_allowed"),
        ("stop_when", "true || " * 300 + "true", "max_length"),
        ("slug", "not a slug", "invalid"),
        ("decide_within_s", "-1", "min_value"),
        ("decide_within_s", "9" * 40, "max_value"),
        ("decide_within_s", "soon", "invalid"),
        ("planner", "oracle", "invalid_choice"),
        ("playbook", "999999999999999999999999", "invalid_choice"),
        ("playbook", "abc", "invalid_choice"),
    ],
    ids=lambda value: ascii(value[:24]),
)
def test_what_no_column_can_hold_comes_back_as_it_was_typed(
    kind: TaskType, admin: Client, field: str, typed: str, code: str
) -> None:
    address = f"/t/acme/admin/runs/tasktype/{kind.pk}/change/"
    answer = admin.post(address, form_of(kind, **{field: typed}))
    assert answer.status_code == 200
    form = answer.context["adminform"].form
    assert code in {error.code for error in form.errors.as_data()[field]}
    assert str(form[field].value()) == typed
    kind.refresh_from_db()
    assert kind.limits["steps"] == 8


def test_bytes_that_are_no_text_are_replaced_visibly(kind: TaskType, admin: Client) -> None:
    body = b"name=caf%ff%c3%28&slug=job"
    address = f"/t/acme/admin/runs/tasktype/{kind.pk}/change/"
    answer = admin.generic("POST", address, body, content_type="application/x-www-form-urlencoded")
    assert answer.status_code in (200, 400)


def test_saving_says_which_tools_the_allowlist_leaves_out(kind: TaskType, admin: Client) -> None:
    address = f"/t/acme/admin/runs/tasktype/{kind.pk}/change/"
    AllowlistEntry.objects.update(state="denied")
    answer = admin.post(address, form_of(kind), follow=True)
    assert "calls create_ticket, which is not on the allowlist" in html.unescape(answer.content.decode())


# --- a model that cannot be asked ------------------------------------------------------------------------------------


BAD_MODELS = [
    ("openai:gpt-5", "model_key_missing", "AGENTOPS_PROVIDER_OPENAI_API_KEY, or AGENTOPS_MODEL_API_KEY"),
    ("openai:", "model_name_invalid", "after the colon"),
    ("x", "model_unknown_provider", "AGENTOPS_MODEL_BASE_URL"),
]


@pytest.mark.parametrize(
    ("planner", "model", "code", "said"),
    [
        ("model", "", "model_not_configured", "set AGENTOPS_MODELS or AGENTOPS_MODEL"),
        *((planner, *row) for planner in ("model", "auto") for row in BAD_MODELS),
    ],
)
def test_a_model_that_cannot_be_asked_is_said_at_every_door(
    kind: TaskType,
    admin: Client,
    bob: User,
    signed_in: SignedIn,
    agent: Program,
    settings: Any,
    planner: str,
    model: str,
    code: str,
    said: str,
) -> None:
    settings.AGENTOPS_MODEL, settings.AGENTOPS_MODEL_API_KEY, settings.AGENTOPS_MODEL_BASE_URL = model, "", ""
    saved = admin.post(f"/t/acme/admin/runs/tasktype/{kind.pk}/change/", form_of(kind, planner=planner))
    assert said in errors_of(saved.content.decode())
    TaskType.objects.filter(pk=kind.pk).update(planner=planner)
    kind.refresh_from_db()
    refused = submit(task_type=kind, input={"text": "x"}, actor=AGENT)
    assert isinstance(refused, InvalidTask)
    assert {issue.code for issue in refused.issues} == {code}
    sent = signed_in(bob).post("/t/acme/submit?task_type=job", {"task:text": "kept", "title": ""})
    assert sent.status_code == 422
    assert said in html.unescape(sent.content.decode())
    assert "kept" in sent.content.decode()
    answer = agent.submit({"task_type": "job", "input": {"text": "x"}})
    assert (answer.status_code, answer.json()["code"]) == (422, "task_type_unusable")
    assert {fault["code"] for fault in answer.json()["errors"]} == {code}
    assert not Run.objects.exists()


# --- what can be wrong with a task -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bad:
    """A task that is refused: its input and title, and the code it is refused with at each door that it gets to."""

    name: str
    input: Any
    service: str
    api: str
    title: str = ""
    browser: str | None = None


BAD_TASKS = [
    Bad("a member too few", {}, "required", "invalid_task", browser=""),
    Bad("a member too many", {"text": "x", "more": 1}, "additionalProperties", "invalid_task"),
    Bad("another type", {"text": 5}, "type", "invalid_task"),
    Bad("no object", ["x"], "type", "invalid_request"),
    Bad("too long a text", {"text": "x" * 100_001}, "too_large", "invalid_task", browser="x" * 100_001),
    Bad("too large a task", {"text": "x" * 70_000}, "too_large", "invalid_task", browser="x" * 70_000),
    Bad("larger than any body", {"text": "x" * 300_000}, "too_large", "too_large", browser="x" * 300_000),
    Bad("a NUL", {"text": "a\0b"}, "bad_character", "bad_character", browser="a\0b"),
    Bad("half a character", {"text": "\ud800"}, "bad_character", "bad_character"),
    Bad("no number", {"text": float("nan")}, "not_finite", "not_finite"),
    Bad("a number too large", {"text": 2**60}, "not_json", "not_json"),
    Bad("nested without end", {"text": json.loads("[" * 200 + "]" * 200)}, "too_deep", "too_deep"),
    Bad("too long a title", {"text": "x"}, "too_long", "invalid_request", title="t" * 201, browser="x"),
    Bad("a NUL in the title", {"text": "x"}, "bad_character", "bad_character", title="a\0", browser="x"),
]
TASKS = pytest.mark.parametrize("bad", BAD_TASKS, ids=lambda bad: bad.name)


@TASKS
def test_a_bad_task_is_refused_by_the_service(kind: TaskType, bad: Bad) -> None:
    refused = submit(task_type=kind, input=bad.input, actor=AGENT, title=bad.title)
    assert isinstance(refused, InvalidTask)
    assert bad.service in {issue.code for issue in refused.issues}
    assert not Run.objects.exists()


@TASKS
def test_a_bad_task_is_refused_by_the_api(kind: TaskType, agent: Program, bad: Bad) -> None:
    body = {"task_type": "job", "input": bad.input, "title": bad.title}
    answer = agent.post("/api/v1/agent/run", raw=json.dumps(body).encode())
    assert answer.json()["code"] == bad.api
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.status_code in (400, 413, 422)
    assert len(answer.content) < 4_000
    assert not Run.objects.exists()


@pytest.mark.parametrize("bad", [one for one in BAD_TASKS if one.browser is not None], ids=lambda bad: bad.name)
def test_a_bad_task_comes_back_from_the_browser_form_as_it_was_typed(
    kind: TaskType, bob: User, signed_in: SignedIn, bad: Bad
) -> None:
    typed = {"task:text": bad.browser or "", "title": bad.title or "My title"}
    answer = signed_in(bob).post("/t/acme/submit?task_type=job", typed)
    assert answer.status_code == 422
    form = answer.context["form"]
    assert form.errors
    assert (form["task:text"].value(), form["title"].value()) == (bad.browser, typed["title"])
    assert errors_of(answer.content.decode())
    assert not Run.objects.exists()


def test_an_unknown_kind_of_task_is_refused_at_every_door(
    kind: TaskType, bob: User, signed_in: SignedIn, agent: Program
) -> None:
    for slug in ("no-such", "x" * 64, "a b"):
        answer = agent.submit({"task_type": slug, "input": {}})
        assert (answer.status_code, answer.json()["code"]) == (422, "unknown_task_type")
        assert answer.json()["errors"][0]["pointer"] == "/task_type"
    desk = signed_in(bob)
    assert desk.get("/t/acme/submit?task_type=no-such").status_code == 404
    sent = desk.post("/t/acme/submit?task_type=no-such", {"task:text": "x"})
    assert sent.status_code == 422
    assert "There is no such kind of task here." in sent.content.decode()


BROKEN_LATER = [
    ("its limits", {"limits": {"steps": 0}}, "invalid_limits"),
    ("its schema", {"input_schema": {"type": "object"}}, "invalid_schema"),
    ("its condition", {"stop_when": "steps.a.outcome =="}, "invalid_condition"),
    ("its playbook", {"playbook": '{"steps": [{"id": "a", "tool": "no.such", "arguments": {}}]}'}, "unknown_tool"),
    ("its switch", {"enabled": False}, "task_type_disabled"),
    ("its allowlist", {"allow": AllowlistState.DENIED}, "tool_not_allowed"),
    ("its version range", {"min_version": "9.0.0"}, "tool_not_allowed"),
]


@pytest.mark.parametrize(("change", "code"), [row[1:] for row in BROKEN_LATER], ids=[row[0] for row in BROKEN_LATER])
def test_a_task_type_that_broke_after_it_was_saved_refuses_tasks_at_every_door(
    kind: TaskType, bob: User, signed_in: SignedIn, agent: Program, change: dict[str, Any], code: str
) -> None:
    """A tool was taken out, a rule narrowed, a row changed by hand: no run starts that could only fail."""
    if "playbook" in change:
        Playbook.objects.update(body=change["playbook"])
    elif "allow" in change:
        AllowlistEntry.objects.update(state=change["allow"])
    elif "min_version" in change:
        AllowlistEntry.objects.update(**change)
    else:
        TaskType.objects.filter(pk=kind.pk).update(**change)
    kind = TaskType.objects.select_related("playbook").get(pk=kind.pk)
    refused = submit(task_type=kind, input={"text": "x"}, actor=AGENT)
    assert isinstance(refused, InvalidTask)
    assert code in {issue.code for issue in refused.issues}
    answer = agent.submit({"task_type": "job", "input": {"text": "x"}})
    assert (answer.status_code, answer.json()["code"]) == (422, "task_type_unusable")
    assert code in {fault["code"] for fault in answer.json()["errors"]}
    assert {fault["pointer"] for fault in answer.json()["errors"]} == {"/task_type"}
    sent = signed_in(bob).post("/t/acme/submit?task_type=job", {"task:text": "kept", "title": "My title"})
    assert sent.status_code == 422
    assert errors_of(sent.content.decode())
    assert sent.context["form"]["title"].value() == "My title"
    assert not Run.objects.exists()


def test_a_good_one_passes_every_door(
    kind: TaskType, admin: Client, bob: User, signed_in: SignedIn, agent: Program, acme: Tenant
) -> None:
    """The matrix would pass on a site that refuses everything."""
    assert list(playbook_issues(playbook(TICKET))) == []
    assert isinstance(save_playbook(slug="p", body=playbook(TICKET), actor=SYSTEM), Playbook)
    added = admin.post("/t/acme/admin/runs/playbook/add/", {"slug": "q", "body": playbook(TICKET)})
    changed = admin.post(f"/t/acme/admin/runs/tasktype/{kind.pk}/change/", form_of(kind, name="Renamed"))
    assert (added.status_code, changed.status_code) == (302, 302)
    assert isinstance(submit(task_type=kind, input={"text": "x"}, actor=Actor("token", "7", "a")), Run)
    assert agent.submit({"task_type": "job", "input": {"text": "x"}}).status_code == 202
    sent = signed_in(bob).post("/t/acme/submit?task_type=job", {"task:text": "x", "title": "t"})
    assert sent.status_code == 302
    assert canonical({"text": "x"}) in {run.input for run in Run.objects.all()}
