"""Errors as RFC 9457 problem documents with stable codes.

Every answer of the API that is not a success comes from here, whatever went wrong: our own refusals, the framework's,
the database's. A document says what the caller can do about it and nothing about the inside.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from django.core.exceptions import BadRequest, PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.core.signals import got_request_exception
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, JsonResponse, UnreadablePostError
from pydantic import BaseModel, Field
from rest_framework import exceptions
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

from agentops.wire.parse import JSONObject, WireCode, WireError

log = logging.getLogger(__name__)

CONTENT_TYPE: Final = "application/problem+json"
_TYPE: Final = "urn:agentops:problem:"

# Stable code -> HTTP status and title. The schema lists them all; a code is never given another meaning.
CATALOG: Final[Mapping[str, tuple[int, str]]] = {
    WireCode.INVALID_JSON: (400, "The body is not valid JSON"),
    WireCode.TOO_DEEP: (400, "The body is nested too deeply"),
    WireCode.NOT_FINITE: (400, "The body has a number that is not finite"),
    WireCode.BAD_CHARACTER: (400, "The body has a character that is not allowed"),
    WireCode.DUPLICATE_KEY: (400, "The body has a key twice"),
    WireCode.NOT_JSON: (400, "The body has a value that JSON cannot carry exactly"),
    "bad_request": (400, "The request cannot be understood"),
    "invalid_parameter": (400, "A query parameter is not valid"),
    "idempotency_key_invalid": (400, "The Idempotency-Key is not valid"),
    "unauthenticated": (401, "A service token is needed"),
    "invalid_token": (401, "The service token is not valid"),
    "insufficient_scope": (403, "The service token lacks a scope"),
    "forbidden": (403, "This is not allowed"),
    "not_yours": (403, "Somebody else did this, and only they or a person may undo it"),
    "not_found": (404, "There is nothing here"),
    "method_not_allowed": (405, "The method is not allowed here"),
    "not_acceptable": (406, "There is no such representation"),
    "idempotency_in_progress": (409, "The first request with this Idempotency-Key is still in progress"),
    "run_ended": (409, "The run has ended already"),
    "run_stopped": (409, "The line is stopped, and the run waits until that is lifted"),
    "record_removed": (410, "The record of the run is not there any more"),
    "payload_damaged": (410, "A recorded text is not there any more as it was recorded"),
    "length_required": (411, "The request needs a Content-Length"),
    WireCode.TOO_LARGE: (413, "The body is too large"),
    "unsupported_media_type": (415, "The body is not application/json"),
    "invalid_request": (422, "The request does not have the right form"),
    "unknown_task_type": (422, "There is no such task type"),
    "task_type_unusable": (422, "The task type cannot be used now"),
    "invalid_task": (422, "The task does not fit its task type"),
    "idempotency_key_reused": (422, "The Idempotency-Key was used for another request"),
    "throttled": (429, "Too many requests"),
    "budget_exceeded": (429, "A budget of the tenant is used up"),
    "internal": (500, "Something went wrong on our side"),
    "unavailable": (503, "The service cannot answer right now"),
}

_FRAMEWORK: Final[tuple[tuple[type[Exception], str], ...]] = (
    (Http404, "not_found"),
    (exceptions.NotFound, "not_found"),
    (exceptions.NotAuthenticated, "unauthenticated"),
    (exceptions.AuthenticationFailed, "invalid_token"),
    (PermissionDenied, "forbidden"),
    (exceptions.PermissionDenied, "forbidden"),
    (exceptions.MethodNotAllowed, "method_not_allowed"),
    (exceptions.NotAcceptable, "not_acceptable"),
    (exceptions.UnsupportedMediaType, "unsupported_media_type"),
    (exceptions.Throttled, "throttled"),
    (exceptions.APIException, "bad_request"),
    (RequestDataTooBig, "too_large"),
    (UnreadablePostError, "bad_request"),
    (BadRequest, "bad_request"),
    (SuspiciousOperation, "bad_request"),
    (OperationalError, "unavailable"),
    (InterfaceError, "unavailable"),
)

_DETAILS: Final[Mapping[str, str]] = {
    "bad_request": "The request could not be read.",
    "unauthenticated": "Send a service token: Authorization: Bearer aod_...",
    "invalid_token": "The token is unknown, expired or revoked.",
    "forbidden": "The token may not do this.",
    "not_found": "There is nothing at this address, or it belongs to somebody else.",
    "method_not_allowed": "The Allow header says which methods this address has.",
    "not_acceptable": "Ask for application/json.",
    "too_large": "Send less than 256 KiB.",
    "unsupported_media_type": "Send the body as Content-Type: application/json.",
    "throttled": "Wait for the time that Retry-After says.",
    "internal": "The error was logged under the request id.",
    "unavailable": "Try again in a moment.",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a request: where (a JSON pointer into the body or a parameter's name), code, sentence."""

    code: str
    detail: str
    pointer: str | None = None
    parameter: str | None = None

    def to_json(self) -> JSONObject:
        """Return the member of `errors`."""
        place: JSONObject = {}
        if self.pointer is not None:
            place["pointer"] = self.pointer
        if self.parameter is not None:
            place["parameter"] = self.parameter
        return {**place, "code": self.code, "detail": self.detail}


class Problem(Exception):
    """A refusal with a code of `CATALOG`; `extra` are further members of the document."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        faults: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
        extra: JSONObject | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.faults = tuple(faults)
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})


class FaultDocument(BaseModel):
    """One thing wrong with a request. `pointer` is a JSON pointer into the body, `parameter` a query parameter."""

    pointer: str | None = None
    parameter: str | None = None
    code: str
    detail: str


class ProblemDocument(BaseModel):
    """What went wrong (RFC 9457). `code` is stable; `detail` is for people and may change."""

    type: str = Field(examples=[f"{_TYPE}invalid_task"])
    title: str
    status: int
    detail: str
    instance: str
    code: str = Field(json_schema_extra={"enum": [*sorted(str(code) for code in CATALOG)]})
    errors: list[FaultDocument]
    request_id: str
    run_status: str | None = Field(default=None, description="With `run_ended`: how the run has ended.")


def exception_handler(error: Exception, context: Mapping[str, Any]) -> Response:
    """Answer a failed request with a problem document; unexpected errors are logged and told nothing about."""
    # The view of the schema answers with YAML as well.
    context["request"].accepted_renderer = JSONRenderer()
    context["request"].accepted_media_type = JSONRenderer.media_type
    request: HttpRequest = context["request"]._request  # noqa: SLF001 - what the signal promises
    problem = _problem(error)
    if problem.code == "internal":
        # The request middleware logs it, with the request id.
        got_request_exception.send(sender=None, request=request)
    elif problem.code == "unavailable":
        log.error("the database did not answer the API", exc_info=error)
    status, _ = CATALOG[problem.code]
    document = describe(
        problem.code, problem.detail, instance=request.path, faults=problem.faults, request_id=_request_id()
    )
    return Response({**document, **problem.extra}, status=status, headers=problem.headers, content_type=CONTENT_TYPE)


def problem_page(code: str, request: HttpRequest) -> JsonResponse:
    """Return the problem document for a request that no view of the API was asked about."""
    document = describe(code, _DETAILS[code], instance=request.path, request_id=_request_id())
    return JsonResponse(document, status=CATALOG[code][0], content_type=CONTENT_TYPE)


def describe(
    code: str, detail: str, *, instance: str, faults: Sequence[Fault] = (), request_id: str = ""
) -> JSONObject:
    """Return a problem document as JSON."""
    status, title = CATALOG[code]
    return {
        "type": f"{_TYPE}{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": instance,
        "code": str(code),
        "errors": [fault.to_json() for fault in faults],
        "request_id": request_id,
    }


def _problem(error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, WireError):
        return Problem(error.code, error.message, faults=[Fault(error.code, error.message, pointer=error.path)])
    code = next((code for kind, code in _FRAMEWORK if isinstance(error, kind)), "internal")
    headers = {}
    # The framework puts the challenge of the authentication class here.
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = f'{challenge}, error="invalid_token"' if code == "invalid_token" else challenge
    if isinstance(error, exceptions.Throttled):
        headers["Retry-After"] = str(int(getattr(error, "wait", None) or 0) + 1)
    if code == "unavailable":
        headers["Retry-After"] = "1"
    return Problem(code, _DETAILS[code], headers=headers)


def _request_id() -> str:
    # The caller may have chosen it (X-Request-ID); it goes back as text, not at any length.
    return str(structlog.contextvars.get_contextvars().get("request_id", ""))[:128]
