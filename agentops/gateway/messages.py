"""Describe in the schema what webhooks are told."""

from collections.abc import Mapping
from typing import Any, Final

from agentops.webhooks.models import Kind

_TEXT: Final[Mapping[str, Any]] = {"type": "string"}
_MOMENT: Final[Mapping[str, Any]] = {"type": "string", "format": "date-time"}
_ID: Final[Mapping[str, Any]] = {"type": "string", "format": "uuid"}
_URI: Final[dict[str, Any]] = {"type": "string", "format": "uri"}
_OF_RUN: Final[Mapping[str, Any]] = {
    "tenant": _TEXT,
    "run_id": _ID,
    "task_type": _TEXT,
    "seq": {"type": "integer", "minimum": 1, "description": "Number of the event in the run's record."},
    "url": _URI | {"description": "Address of the run in this API."},
}
_OF_ALARM: Final[Mapping[str, Any]] = {
    "tenant": _TEXT,
    "id": _ID,
    "task_type": _TEXT,
    "kind": _TEXT,
    "started_at": _MOMENT,
    "url": _URI | {"description": "Page of the alarm."},
}
_HEADERS: Final[Mapping[str, str]] = {
    "webhook-id": "The same in every try; drop what you know.",
    "webhook-timestamp": "Seconds since 1970, of this try.",
    "webhook-signature": "`v1,<base64 HMAC-SHA256>` over `<id>.<timestamp>.<body>`, one for each valid secret.",
}


def described() -> dict[str, Any]:
    """Return the section `webhooks` of the schema (OpenAPI 3.1)."""
    return {kind.value: {"post": _operation(kind)} for kind in Kind}


def _operation(kind: Kind) -> dict[str, Any]:
    data = dict(_OF_ALARM if kind == Kind.ALARM else _OF_RUN)
    if kind != Kind.ALARM:
        data["state"] = {"const": kind.value.removeprefix("run.")}
    if kind == Kind.FAILED:
        data["code"] = _TEXT
    body = _object({"type": {"const": kind.value}, "timestamp": _MOMENT, "data": _object(data)})
    return {
        "operationId": kind.value.replace(".", "_"),
        "summary": f"{kind.label}.",
        "description": "Posted to endpoints that an admin has named: at least once, in any order.",
        "parameters": [
            {"name": name, "in": "header", "required": True, "description": said, "schema": _TEXT}
            for name, said in _HEADERS.items()
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {
            "2XX": {"description": "Taken."},
            "410": {"description": "The endpoint is gone and is disabled."},
            "default": {"description": "Tried again for a day."},
        },
        "security": [],
    }


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), "required": list(properties)}
