"""The published schema is valid and complete."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import URLPattern
from drf_spectacular.generators import SchemaGenerator

from agentops.audit.services import Recorded
from agentops.gateway.problems import CATALOG
from agentops.gateway.urls import urlpatterns
from agentops.tenancy.access import TOKEN_SCOPES
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.webhooks.models import Kind
from agentops.webhooks.noting import notice
from agentops.wire.ids import uuid7
from agentops.wire.parse import MAX_BYTES, MAX_DEPTH
from tests.gateway.conftest import JOB, MAIL, Program

NOW = datetime(2026, 11, 26, 9, tzinfo=UTC)
METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    generator: Any = SchemaGenerator
    parsed: dict[str, Any] = json.loads(json.dumps(generator().get_schema(request=None, public=True)))
    return parsed


def operations(schema: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_the_schema_is_valid_and_made_without_a_warning(tmp_path: Path) -> None:
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "schema.yaml"))


def test_every_route_and_method_is_in_it(schema: dict[str, Any]) -> None:
    expected = set()
    for pattern in urlpatterns:
        assert isinstance(pattern, URLPattern)
        view = pattern.callback.cls  # type: ignore[attr-defined]
        if pattern.name != "api-unknown":
            path = "/api/v1/" + str(pattern.pattern).replace("<uuid:run_id>", "{run_id}").replace("<int:seq>", "{seq}")
            expected |= {(path, method) for method in METHODS if hasattr(view, method)}
    assert {(path, method) for path, method, _ in operations(schema)} == expected


def test_every_operation_needs_the_token_and_documents_its_problems(schema: dict[str, Any]) -> None:
    assert schema["components"]["securitySchemes"]["serviceToken"]["scheme"] == "bearer"
    for path, _, operation in operations(schema):
        scopes = {scope for alternative in operation["security"] for scope in alternative["serviceToken"]}
        assert scopes
        assert scopes <= TOKEN_SCOPES
        assert {"401", "403", "429", "500", "503"} <= set(operation["responses"])
        assert ("404" in operation["responses"]) == ("{run_id}" in path)
        for status, response in operation["responses"].items():
            if status >= "4":
                [(kind, content)] = response["content"].items()
                assert kind == "application/problem+json"
                assert content["schema"] == {"$ref": "#/components/schemas/ProblemDocument"}
                assert {example["value"]["status"] for example in content["examples"].values()} == {int(status)}


def test_every_code_is_documented_where_it_can_occur(schema: dict[str, Any]) -> None:
    documented = {
        code
        for _, _, operation in operations(schema)
        for response in operation["responses"].values()
        for code in response.get("content", {}).get("application/problem+json", {}).get("examples", {})
    }
    # Not tied to an operation: wrong methods, representations nobody offers, refusals of the framework.
    assert {str(code) for code in CATALOG} - documented == {"method_not_allowed", "not_acceptable", "forbidden"}


def test_the_limits_it_names_are_those_that_hold(schema: dict[str, Any]) -> None:
    assert f"{MAX_BYTES // 1024} KiB and {MAX_DEPTH} levels at most" in schema["info"]["description"]


def test_every_reference_leads_somewhere(schema: dict[str, Any]) -> None:
    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                yield value["$ref"]
            for member in value.values():
                yield from references(member)
        elif isinstance(value, list):
            for member in value:
                yield from references(member)

    names = {reference.removeprefix("#/components/schemas/") for reference in references(schema)}
    assert names <= set(schema["components"]["schemas"])


def test_every_message_to_webhooks_is_described_as_it_is_sent(schema: dict[str, Any], acme: Tenant) -> None:
    assert set(schema["webhooks"]) == set(Kind.values)
    for kind in Kind:
        operation = schema["webhooks"][kind.value]["post"]
        assert {one["name"] for one in operation["parameters"]} == {
            *("webhook-id", "webhook-timestamp", "webhook-signature")
        }
        form = operation["requestBody"]["content"]["application/json"]["schema"]
        if kind == Kind.ALARM:
            continue
        failed = Recorded(
            seq=3, type="run.failed", at=NOW, actor={}, data={"code": "internal"}, subject=None, hash=b"", tool=""
        )
        with tenant_scope(acme):
            said = notice(uuid7(), "support", failed, kind, event_id=1)
        assert set(said.data) == set(form["properties"]["data"]["properties"])
        assert said.data["state"] == form["properties"]["data"]["properties"]["state"]["const"]


def test_the_schema_is_served_to_everybody(db: None) -> None:
    response = Client().get("/api/schema/", headers={"accept": "application/json"})
    assert response.status_code == 200
    assert response.json()["info"]["title"] == "AgentOps API"


def test_answers_have_the_documented_form(schema: dict[str, Any], agent: Program) -> None:
    import jsonschema_rs

    def fits(response: Any, path: str, method: str) -> None:
        described = schema["paths"][path][method]["responses"][str(response.status_code)]["content"]
        kind = response["Content-Type"]
        form = {**described[kind]["schema"], "components": schema["components"]}
        errors = [error.message for error in jsonschema_rs.validator_for(form).iter_errors(response.json())]
        assert errors == []

    accepted = agent.submit(MAIL)
    fits(accepted, "/api/v1/agent/run", "post")
    fits(agent.submit({"input": {}}), "/api/v1/agent/run", "post")
    fits(agent.submit(JOB, query="?wait=99"), "/api/v1/agent/run", "post")
    fits(agent.get("/api/v1/runs"), "/api/v1/runs", "get")
    fits(agent.get(accepted["Location"]), "/api/v1/runs/{run_id}", "get")
    fits(agent.get(accepted["Location"] + "/events"), "/api/v1/runs/{run_id}/events", "get")
    fits(agent.get("/api/v1/task-types"), "/api/v1/task-types", "get")
    fits(agent.post(accepted["Location"] + "/cancel"), "/api/v1/runs/{run_id}/cancel", "post")
