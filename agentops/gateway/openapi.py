"""What the generated schema lacks: the bearer token, query parameters from their models, and every problem."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from agentops.gateway import messages
from agentops.gateway.problems import CATALOG, CONTENT_TYPE, Fault, FaultDocument, ProblemDocument, describe
from agentops.wire.parse import WireCode

_REFERENCE: Final = "#/components/schemas/{model}"

IDEMPOTENCY_KEY: Final = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    OpenApiParameter.HEADER,
    description="Any text that is new for every new request, such as a UUID. Remembered for 24 hours.",
)
RUN_ID: Final = OpenApiParameter("run_id", {"type": "string", "format": "uuid"}, OpenApiParameter.PATH)
SEQ: Final = OpenApiParameter("seq", {"type": "integer", "minimum": 1}, OpenApiParameter.PATH)
STILL_GOING: Final = OpenApiParameter(
    "Retry-After",
    {"type": "integer"},
    OpenApiParameter.HEADER,
    description="Seconds; present if `wait` was given and the run has not ended.",
    response=[200],
)
SUBMIT_HEADERS: Final = (
    OpenApiParameter(
        "Location", {"type": "string"}, OpenApiParameter.HEADER, description="Address of the run.", response=[202]
    ),
    OpenApiParameter(
        "Content-Location",
        {"type": "string"},
        OpenApiParameter.HEADER,
        description="Address of the run.",
        response=[200],
    ),
    OpenApiParameter(
        "Idempotent-Replayed",
        {"type": "string", "enum": ["true"]},
        OpenApiParameter.HEADER,
        description="Present if an earlier request with the same key made the run.",
        response=[200, 202],
    ),
    OpenApiParameter(
        "Retry-After",
        {"type": "integer"},
        OpenApiParameter.HEADER,
        description="Seconds; present if `wait` was given and the run has not ended.",
        response=[202],
    ),
)

_ALWAYS: Final = ("unauthenticated", "invalid_token", "insufficient_scope", "throttled", "internal", "unavailable")
_BODY: Final = (*WireCode, "bad_request", "length_required", "unsupported_media_type", "invalid_request")
_OWN: Final[Mapping[str, tuple[str, ...]]] = {
    "submit_run": (
        "idempotency_key_invalid",
        "idempotency_in_progress",
        "idempotency_key_reused",
        "unknown_task_type",
        "task_type_unusable",
        "budget_exceeded",
        "invalid_task",
    ),
    "cancel_run": ("run_ended", "not_yours", "record_removed"),
    "pause_run": ("run_ended", "not_yours", "record_removed"),
    "resume_run": ("run_ended", "run_stopped", "not_yours", "record_removed"),
    "get_run": ("record_removed",),
    "list_run_events": ("record_removed",),
    "get_exchange": ("record_removed", "payload_damaged"),
}
_CHALLENGE: Final = (
    "WWW-Authenticate",
    "string",
    "How to authenticate, or the scope that is missing (RFC 6750).",
)
_WAIT: Final = ("Retry-After", "integer", "Seconds until the same request may succeed.")
# Status -> headers of its problems: name, type, what they say, and whether every one of these problems has it.
_HEADERS: Final[Mapping[int, tuple[tuple[tuple[str, str, str], bool], ...]]] = {
    401: ((_CHALLENGE, True),),
    403: ((_CHALLENGE, False),),
    409: ((_WAIT, False),),
    415: ((("Accept-Encoding", "string", "`identity`, if the body had a Content-Encoding."), False),),
    429: ((_WAIT, False),),
    503: ((_WAIT, True),),
}
_FAULTS: Final[Mapping[str, Fault]] = {
    "invalid_request": Fault("missing", "Field required.", pointer="/task_type"),
    "invalid_task": Fault("required", "message_id is missing.", pointer="/input/message_id"),
    "invalid_parameter": Fault("less_than_equal", "Input should be less than or equal to 30.", parameter="wait"),
}


class Operation(AutoSchema):
    """Say of every operation which scopes the token needs: one of them, and as OAS 3.1 has it, as names of roles."""

    def get_auth(self) -> list[dict[str, list[str]]]:
        """Return one alternative for each scope that lets a token in."""
        super().get_auth()  # describes the token itself
        scopes: Mapping[str, Sequence[str]] = self.view.scopes  # type: ignore[attr-defined]  # an `ApiView`
        return [{BearerToken.name: [scope]} for scope in scopes[self.method]]


class BearerToken(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Describe `ServiceTokenAuthentication`."""

    target_class = "agentops.gateway.authentication.ServiceTokenAuthentication"
    name = "serviceToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Return the security scheme."""
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "aod_<tenant>_<prefix>_<secret>",
            "description": "A service token of one tenant, made by an admin. Its scopes say what it may do.",
        }


def query_parameters(model: type[BaseModel]) -> list[OpenApiParameter]:
    """Return the query parameters that a model of them accepts."""
    schema = model.model_json_schema()
    parameters = []
    for name, described in schema["properties"].items():
        branches = [branch for branch in described.get("anyOf", [described]) if branch.get("type") != "null"]
        inner = dict(branches[0])
        if reference := inner.pop("$ref", ""):
            inner |= schema["$defs"][reference.rpartition("/")[2]]
        if described.get("default") is not None:
            inner["default"] = described["default"]
        kept = {key: value for key, value in inner.items() if key not in {"title", "description"}}
        parameters.append(
            OpenApiParameter(name, kept, OpenApiParameter.QUERY, description=described.get("description", ""))
        )
    return parameters


def complete(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Add the problem documents to every operation, and the webhooks (a drf-spectacular postprocessing hook)."""
    _, definitions = models_json_schema(
        [(ProblemDocument, "serialization"), (FaultDocument, "serialization")], ref_template=_REFERENCE
    )
    result.setdefault("components", {}).setdefault("schemas", {}).update(definitions["$defs"])
    for path, operations in result["paths"].items():
        for operation in operations.values():
            for status, codes in _by_status(_codes(operation)).items():
                operation["responses"][str(status)] = _response(path, status, codes)
            operation["responses"] = dict(sorted(operation["responses"].items()))
    result["webhooks"] = messages.described()
    return result


def _codes(operation: Mapping[str, Any]) -> Iterator[str]:
    places = {parameter["in"] for parameter in operation.get("parameters", ())}
    yield from _ALWAYS
    if "query" in places:
        yield "invalid_parameter"
    if "path" in places:
        yield "not_found"
    if "requestBody" in operation:
        yield from _BODY
    yield from _OWN.get(operation["operationId"], ())


def _by_status(codes: Iterator[str]) -> dict[int, list[str]]:
    grouped: dict[int, list[str]] = {}
    for code in codes:
        grouped.setdefault(CATALOG[code][0], []).append(str(code))
    return grouped


def _response(path: str, status: int, codes: list[str]) -> dict[str, Any]:
    examples = {
        code: {
            "summary": CATALOG[code][1],
            "value": describe(
                code, CATALOG[code][1] + ".", instance=path, faults=[_FAULTS[code]] if code in _FAULTS else []
            ),
        }
        for code in codes
    }
    content = {"schema": {"$ref": _REFERENCE.format(model="ProblemDocument")}, "examples": examples}
    response = {"description": ", ".join(f"`{code}`" for code in codes), "content": {CONTENT_TYPE: content}}
    headers = {
        name: {"description": said, "required": always, "schema": {"type": kind}}
        for (name, kind, said), always in _HEADERS.get(status, ())
    }
    return response | ({"headers": headers} if headers else {})
