"""The published document is a promise: whatever is sent to any operation, the answer is one that it describes."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import jsonschema_rs
import pytest
from django.core.cache import cache
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from tests.gateway.conftest import JOB, MAIL, Program, program
from tests.shop import drive

_GENERATOR: Any = SchemaGenerator
DOCUMENT: dict[str, Any] = json.loads(json.dumps(_GENERATOR().get_schema(request=None, public=True)))
OPERATIONS = [(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods]
PROBLEM = "application/problem+json"

TEXT = st.text(max_size=30) | st.sampled_from(
    ["", "\0", "\ud800", "a" * 300, "../..", "%00", "0", "-1", "9" * 30, "1.5"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
NAMES = [
    *("accept", "accept-language", "content-encoding", "content-type", "idempotency-key", "if-none-match", "range"),
    *("x-http-method-override", "x-request-id", "expect", "origin", "x-forwarded-for", "x-forwarded-host"),
]
HEADERS = st.dictionaries(
    st.sampled_from(NAMES),
    st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40)
    | st.sampled_from(["text/html", "gzip", "DELETE", "*", "bytes=0-", "application/json; charset=utf-16", "null"]),
    max_size=3,
)


@dataclass(frozen=True)
class World:
    """Who calls, and the runs that there are: two of one's own, one that waits for a person, and somebody else's."""

    agent: Program
    narrow: Program
    runs: tuple[UUID, ...]


@pytest.fixture
def world(shop: Tenant, agent: Program, stranger: Program) -> World:
    """Return programs and runs."""
    waiting = UUID(agent.submit(MAIL).json()["run_id"])
    done, queued = (UUID(agent.submit(JOB).json()["run_id"]) for _ in range(2))
    with tenant_scope(shop):
        drive(waiting)
        drive(done)
    return World(agent, program(shop, "run.cancel"), (waiting, done, queued))


def fits(path: str, method: str, response: Any) -> None:
    """Fail unless the document describes this answer: its status, code, headers, media type and form."""
    described = DOCUMENT["paths"][path][method]["responses"]
    assert str(response.status_code) in described, (response.status_code, response.content[:300])
    assert response.status_code < 500, response.content[:300]
    answer = described[str(response.status_code)]
    kind = response["Content-Type"]
    assert kind in answer["content"], kind
    assert (kind == PROBLEM) == (response.status_code >= 400)
    body = json.loads(response.content)
    if kind == PROBLEM:
        assert body["code"] in answer["content"][kind]["examples"], body
    sent = {name.lower() for name in response.headers}
    told = {name.lower() for name in answer.get("headers", {})}
    assert sent & {"location", "content-location", "retry-after", "www-authenticate", "accept-encoding"} <= told
    for name, header in answer.get("headers", {}).items():
        assert not header.get("required") or name in response, name
    form = {**answer["content"][kind]["schema"], "components": DOCUMENT["components"]}
    assert [error.message for error in jsonschema_rs.validator_for(form).iter_errors(body)] == []


def bodies(method: str, path: str) -> st.SearchStrategy[bytes]:
    """Return bodies: nearly right, wrong, and nothing that is JSON."""
    if "requestBody" not in DOCUMENT["paths"][path][method]:
        return st.just(b"") | st.binary(max_size=20)
    names = ["task_type", "input", "title", "reason"]
    near = st.fixed_dictionaries(
        {},
        optional={name: JSON | st.sampled_from(["job", "support-email", "x"]) for name in names} | {"input": JSON},
    )
    good = st.sampled_from([JOB, MAIL, {"reason": "Because."}, {}])
    written = (near | good | JSON).map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass"))
    return written | st.binary(max_size=60) | st.sampled_from([b'{"a":1,"a":2}', b"[" * 500, b'{"input":NaN}'])


def queries(method: str, path: str) -> st.SearchStrategy[str]:
    """Return query strings of documented and other names, also twice and malformed."""
    known = [one["name"] for one in DOCUMENT["paths"][path][method].get("parameters", ()) if one["in"] == "query"]
    value = TEXT.map(lambda text: quote(text.encode("utf-8", "surrogatepass"))) | st.sampled_from(
        ["1", "0", "%ff", "queued"]
    )
    # Waiting for a run would only take time.
    pair = st.tuples(st.sampled_from([name for name in known if name != "wait"] + ["nothing", "format"]), value)
    return st.lists(pair, max_size=3).map(lambda pairs: "&".join(f"{name}={text}" for name, text in pairs))


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_every_answer_is_one_that_the_document_describes(
    world: World, path: str, method: str, data: st.DataObject
) -> None:
    cache.clear()
    run_id = data.draw(st.sampled_from([*world.runs, uuid4(), UUID(int=0)]))
    seq = data.draw(st.integers(1, 20) | st.sampled_from([2**31, 2**63, 10**40]))
    headers = data.draw(HEADERS)
    caller = data.draw(st.sampled_from([world.agent, world.narrow, None]))
    if caller is not None:
        headers |= {"authorization": f"Bearer {caller.token}"}
    address = path.format(run_id=run_id, seq=seq)
    kind = headers.pop("content-type", "application/json")
    query = data.draw(queries(method, path))
    response = Client(raise_request_exception=False).generic(
        method.upper(),
        address,
        data.draw(bodies(method, path)),
        content_type=kind,
        query_string=query,
        headers=headers,
    )
    fits(path, method, response)


STRANGE = [
    *("/api", "/api/", "/api/v1", "/api/v1/", "/api/v2/runs", "/api/schema", "/api/docs/x", "/api/v1/runs/"),
    *("/api/v1/runs%00", "/api/v1/runs/%FF", "/api/v1/%2e%2e/runs", "/api//v1/runs", "/api/v1/runs;x"),
]


@pytest.mark.parametrize("address", STRANGE)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_where_there_is_nothing_a_problem_says_so(agent: Program, problem: Any, address: str, method: str) -> None:
    headers = {"authorization": f"Bearer {agent.token}"}
    problem(Client(raise_request_exception=False).generic(method, address, headers=headers), 404, "not_found")


def test_a_request_for_another_host_is_a_problem_too(db: None) -> None:
    response = Client().get("/api/v1/runs", headers={"host": "evil.example"})
    assert (response.status_code, response["Content-Type"]) == (400, PROBLEM)
    assert response.json()["code"] == "bad_request"
    assert "evil" not in response.content.decode()
    page = Client().get("/sign-in", headers={"host": "evil.example"})
    assert (page.status_code, page["Content-Type"].partition(";")[0]) == (400, "text/html")


@pytest.mark.parametrize(
    ("method", "query", "accept", "status", "code"),
    [
        ("POST", "", "*/*", 405, "method_not_allowed"),
        ("OPTIONS", "", "*/*", 405, "method_not_allowed"),
        ("GET", "", "text/html", 406, "not_acceptable"),
        ("GET", "?format=zzz", "*/*", 404, "not_found"),
    ],
)
def test_what_the_document_itself_refuses_is_json(
    db: None, problem: Any, method: str, query: str, accept: str, status: int, code: str
) -> None:
    problem(Client().generic(method, f"/api/schema/{query}", headers={"accept": accept}), status, code)


def test_a_parameter_is_given_once(agent: Program, problem: Any) -> None:
    document = problem(agent.get("/api/v1/runs?limit=1&limit=100"), 400, "invalid_parameter")
    assert [(fault["parameter"], fault["code"]) for fault in document["errors"]] == [("limit", "repeated")]


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "identity, gzip"])
def test_a_body_that_is_packed_is_refused_by_its_header(agent: Program, problem: Any, coding: str) -> None:
    response = agent.post("/api/v1/agent/run", JOB, content_encoding=coding)
    problem(response, 415, "unsupported_media_type")
    assert response["Accept-Encoding"] == "identity"


def test_a_body_in_another_charset_is_refused(agent: Program, problem: Any) -> None:
    for kind, status in (("utf-16", 415), ("latin-1", 415), ("UTF-8", 202), ('"utf-8"', 202)):
        response = Client().generic(
            "POST",
            "/api/v1/agent/run",
            json.dumps(JOB).encode(),
            content_type=f"application/json; charset={kind}",
            headers={"authorization": f"Bearer {agent.token}"},
        )
        assert response.status_code == status, kind
