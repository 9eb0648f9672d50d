"""Programs that call the API of a small shop, each with its own service token."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.test import Client

from agentops.tenancy.access import SYSTEM, TOKEN_SCOPES
from agentops.tenancy.models import ServiceToken, Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.tenancy.services import issue_token
from agentops.wire.parse import JSONObject
from tests.shop import open_shop, task_type
from tools.allowlist import AllowlistState

MAIL = {"task_type": "support-email", "input": {"message_id": "M-0001"}}
JOB: dict[str, Any] = {"task_type": "job", "input": {}}
LOOK_UP: JSONObject = {"id": "order", "tool": "shop.find_order", "arguments": {"order_ref": "A-1001"}}


@dataclass(frozen=True)
class Program:
    """A caller with one token; `headers` go with every request."""

    token: str
    row: ServiceToken

    def get(self, path: str, **headers: str) -> Any:
        return Client(raise_request_exception=False).get(path, headers=self._headers(headers))

    def post(self, path: str, body: object = None, *, raw: bytes | None = None, **headers: str) -> Any:
        content = json.dumps(body if body is not None else {}).encode() if raw is None else raw
        client = Client(raise_request_exception=False)
        return client.post(path, content, content_type="application/json", headers=self._headers(headers))

    def submit(self, body: object = MAIL, *, query: str = "", **headers: str) -> Any:
        return self.post(f"/api/v1/agent/run{query}", body, raw=None, **headers)

    def _headers(self, more: dict[str, str]) -> dict[str, str]:
        own = {name.replace("_", "-"): value for name, value in more.items()}
        return {"authorization": f"Bearer {self.token}"} | own


def program(tenant: Tenant, *scopes: str) -> Program:
    """Give a program of the tenant a token with these scopes, or with all a token can have."""
    row, plain = issue_token(tenant=tenant, name="ci", scopes=scopes or TOKEN_SCOPES, actor=SYSTEM)
    return Program(plain, row)


@pytest.fixture
def shop(acme: Tenant) -> Tenant:
    """Return acme with the shop's task types, one message and `job`, which looks up one order and ends."""
    with tenant_scope(acme):
        open_shop(acme)
        task_type([LOOK_UP], {"shop.find_order": AllowlistState.AUTO})
    return acme


@pytest.fixture
def agent(shop: Tenant) -> Program:
    """Return a program of the shop that may do everything a token can be allowed."""
    return program(shop)


@pytest.fixture
def stranger(globex: Tenant) -> Program:
    """Return a program of the other tenant."""
    return program(globex)


@pytest.fixture
def problem() -> Callable[..., dict[str, Any]]:
    """Return a check that an answer is a problem document with this status and code; it returns the document."""

    def check(response: Any, status: int, code: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(response.content)
        assert (response.status_code, document.get("code")) == (status, code), document
        assert response["Content-Type"] == "application/problem+json"
        assert document["type"] == f"urn:agentops:problem:{code}"
        assert document["status"] == status
        assert {"title", "detail", "instance", "errors", "request_id"} <= set(document)
        assert document["request_id"]
        return document

    return check
