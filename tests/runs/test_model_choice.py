"""What plans a run is settled when it is submitted, and what cannot work is refused before that."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from agentops.engine.codec import decode, encode
from agentops.engine.events import RunSubmitted
from agentops.prompts.models import Prompt
from agentops.prompts.services import save_prompt
from agentops.providers.models import ModelPrice
from agentops.runs.model_choice import model_issues
from agentops.runs.models import Run, TaskType
from agentops.runs.recording import load
from agentops.runs.services import InvalidTask, submit, task_type_issues
from agentops.tenancy.access import SYSTEM
from agentops.tenancy.models import Tenant
from tests.runs.test_admin import form_of
from tests.shop import AGENT, task_type
from tools.allowlist import AllowlistState

TEXT = "Plan. {{data_rules}} {{instructions}} {{tools}}"


@pytest.fixture
def kind(scoped: Tenant) -> TaskType:
    """Return a task type that a model plans, with a local model that needs no key."""
    found = task_type(
        [{"id": "a", "tool": "create_ticket", "arguments": {"title": "x", "priority": "low"}}],
        {"create_ticket": AllowlistState.AUTO},
        planner="model",
    )
    found.model_names = "ollama:llama3\nollama:qwen3"
    found.save()
    return found


def submitted(kind: TaskType) -> RunSubmitted:
    run = submit(task_type=kind, input={}, actor=AGENT)
    assert isinstance(run, Run), run
    event = load(run.id)[0].event
    assert isinstance(event, RunSubmitted)
    return event


def codes(kind: TaskType) -> list[tuple[str, str]]:
    return [(path, code) for path, code, _ in model_issues(kind)]


def test_a_run_keeps_models_parameters_and_the_built_in_prompt(kind: TaskType) -> None:
    kind.model_parameters = {"temperature": 0.5}
    event = submitted(kind)
    prompt = Prompt.objects.get(slug="built-in-plan-first")
    assert event.planner == "model:ollama:llama3"
    assert event.models == ["ollama:llama3", "ollama:qwen3"]
    assert event.model_parameters == {"temperature": 0.5, "max_tokens": 8192, "deadline_s": 60}
    assert (event.prompt, event.prompt_digest) == ("built-in-plan-first@1", prompt.digest)


def test_a_chosen_prompt_is_the_one_that_is_kept(kind: TaskType) -> None:
    prompt = save_prompt(slug="mine", planning="plan_first", template=TEXT, actor=SYSTEM)
    assert isinstance(prompt, Prompt)
    kind.prompt = prompt
    assert submitted(kind).prompt == "mine@1"


def test_a_run_that_a_playbook_plans_records_no_model(kind: TaskType) -> None:
    kind.planner = "playbook"
    event = submitted(kind)
    assert (event.prompt, event.models, event.model_parameters) == ("", [], {})
    assert not {"prompt", "prompt_digest", "models", "model_parameters"} & encode(event).keys()


def test_events_that_earlier_programs_recorded_still_decode() -> None:
    event = decode(
        "run.submitted",
        {
            "task_type": "job",
            "input": {},
            "requested_by": "user:1",
            "planner": "model:gpt",
            "planning": "plan_first",
            "limits": {},
            "tools": {},
        },
    )
    assert isinstance(event, RunSubmitted)
    assert (event.prompt, event.models) == ("", [])
    usage = {"requests": 1, "input_tokens": 2, "output_tokens": 3, "cost_micros": 4, "duration_ms": 5}
    made = decode("plan.failed", {"planner": "p", "code": "c", "message": "m", "usage": dict(usage)})
    assert getattr(made, "usage").unpriced == 0  # noqa: B009


@pytest.mark.parametrize(
    ("change", "issue"),
    [
        ({"model_names": "", "planner": "model"}, ("planner", "model_not_configured")),
        ({"model_names": "openai:gpt-5"}, ("model_names", "model_key_missing")),
        ({"model_names": "nobody:gpt-5"}, ("model_names", "model_unknown_provider")),
        ({"model_names": "gpt 5"}, ("model_names", "model_name_invalid")),
        ({"model_parameters": {"temperature": 9}}, ("model_parameters", "invalid_model_parameters")),
        ({"model_parameters": [], "planner": "playbook"}, ("model_parameters", "invalid_model_parameters")),
        ({"limits": {"cost_micros": 1}}, ("model_names", "model_price_unknown")),
    ],
)
def test_what_cannot_work_has_a_code_and_nothing_is_submitted(
    kind: TaskType, change: dict[str, Any], issue: tuple[str, str]
) -> None:
    for name, value in change.items():
        setattr(kind, name, value)
    assert issue in codes(kind)
    refused = submit(task_type=kind, input={}, actor=AGENT)
    assert isinstance(refused, InvalidTask)
    assert issue in [(one.path, one.code) for one in refused.issues]
    assert not Run.objects.exists()


def test_a_prompt_for_another_way_of_planning_is_refused(kind: TaskType) -> None:
    prompt = save_prompt(slug="mine", planning="reactive", template=TEXT, actor=SYSTEM)
    assert isinstance(prompt, Prompt)
    kind.prompt = prompt
    assert codes(kind) == [("prompt", "prompt_other_planning")]


def test_an_own_price_lets_money_be_limited(kind: TaskType) -> None:
    kind.limits = {"cost_micros": 1}
    assert {code for _, code in codes(kind)} == {"model_price_unknown"}
    ModelPrice.objects.create(pattern="ollama:*", input_micros=0, output_micros=0, valid_from="2026-01-01T00:00:00Z")
    assert codes(kind) == []


def test_models_of_its_own_make_an_automatic_task_type_use_them(kind: TaskType) -> None:
    kind.planner = "auto"
    assert submitted(kind).models == ["ollama:llama3", "ollama:qwen3"]
    kind.model_names = ""
    assert submitted(kind).planner.startswith("playbook:")
    assert task_type_issues(kind) == []


def test_an_admin_is_told_beside_the_field_and_the_built_in_prompts_are_there_afterwards(
    kind: TaskType, alice: User, client: Client
) -> None:
    client.force_login(alice, backend="allauth.account.auth_backends.AuthenticationBackend")
    address = f"/t/acme/admin/runs/tasktype/{kind.pk}/change/"
    form = form_of(kind, model_names="openai:gpt-5", model_parameters="{}")
    page = client.post(address, form)
    assert page.status_code == 200
    assert "AGENTOPS_PROVIDER_OPENAI_API_KEY" in page.content.decode()
    form = form_of(kind, model_names="ollama:llama3", model_parameters='{"seed": 1}')
    assert client.post(address, form).status_code == 302
    kind.refresh_from_db()
    assert (kind.model_names, kind.model_parameters) == ("ollama:llama3", {"seed": 1})
    assert set(Prompt.objects.values_list("slug", flat=True)) == {"built-in-plan-first", "built-in-reactive"}
