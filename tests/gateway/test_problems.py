"""Whatever goes wrong, the answer is a problem document, and it tells nothing about the inside."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.core.exceptions import BadRequest, PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError, connection
from django.http import Http404, UnreadablePostError
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from agentops.audit import guards
from agentops.audit.models import Event
from agentops.gateway.problems import CATALOG, CONTENT_TYPE, Fault, Problem, describe, exception_handler
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from tests.gateway.conftest import JOB, Program


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Http404("plum"), 404, "not_found"),
        (PermissionDenied("plum"), 403, "forbidden"),
        (exceptions.NotAuthenticated("plum"), 401, "unauthenticated"),
        (exceptions.AuthenticationFailed("plum"), 401, "invalid_token"),
        (exceptions.MethodNotAllowed("PLUM", detail="plum"), 405, "method_not_allowed"),
        (exceptions.NotAcceptable("plum"), 406, "not_acceptable"),
        (exceptions.UnsupportedMediaType("plum"), 415, "unsupported_media_type"),
        (exceptions.Throttled(3, "plum"), 429, "throttled"),
        (exceptions.ParseError("plum"), 400, "bad_request"),
        (exceptions.ValidationError({"plum": ["plum"]}), 400, "bad_request"),
        (BadRequest("plum"), 400, "bad_request"),
        (SuspiciousOperation("plum"), 400, "bad_request"),
        (RequestDataTooBig("plum"), 413, "too_large"),
        (UnreadablePostError("plum"), 400, "bad_request"),
        (OperationalError("could not connect to plum"), 503, "unavailable"),
        (InterfaceError("plum"), 503, "unavailable"),
    ],
)
def test_errors_from_outside_our_code_have_a_code_and_our_words(error: Exception, status: int, code: str) -> None:
    response = exception_handler(error, {"request": Request(APIRequestFactory().get("/api/v1/runs"))})
    assert (response.status_code, response.data["code"]) == (status, code)
    assert response.content_type == CONTENT_TYPE
    assert "plum" not in str(response.data)
    assert ("Retry-After" in response.headers) == (status in {429, 503})


def test_a_refusal_of_ours_keeps_its_places_headers_and_members() -> None:
    error = Problem(
        "invalid_task",
        "Not so.",
        faults=[Fault("missing", "Field required.", pointer="/input/a~1b"), Fault("odd", "No.", parameter="wait")],
        headers={"X-Way": "out"},
        extra={"hint": 1},
    )
    response = exception_handler(error, {"request": Request(APIRequestFactory().get("/api/v1/runs"))})
    assert response.data["errors"] == [
        {"pointer": "/input/a~1b", "code": "missing", "detail": "Field required."},
        {"parameter": "wait", "code": "odd", "detail": "No."},
    ]
    assert (response.headers["X-Way"], response.data["hint"], response.data["detail"]) == ("out", 1, "Not so.")


@pytest.mark.parametrize("code", [str(code) for code in CATALOG])
def test_every_code_has_a_status_and_a_title(code: str) -> None:
    document = describe(code, "x", instance="/")
    assert 400 <= int(str(document["status"])) < 600
    assert document["title"]
    assert document["type"] == f"urn:agentops:problem:{code}"


@pytest.mark.django_db(transaction=True)
@pytest.mark.not_replayed("a record that cannot be read is the point")
def test_an_unexpected_error_is_logged_under_the_id_the_caller_gets(
    shop: Tenant, agent: Program, problem: Callable[..., dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    run_id = UUID(agent.submit(JOB).json()["run_id"])
    with tenant_scope(shop), guards.lifted(connection):
        Event.objects.filter(run_id=run_id).update(body='{"plum": 1}')
    caplog.clear()
    document = problem(agent.get(f"/api/v1/runs/{run_id}"), 500, "internal")
    assert "plum" not in str(document)
    [logged] = [record.getMessage() for record in caplog.records if record.exc_info]
    assert document["request_id"] in logged
