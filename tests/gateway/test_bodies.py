"""Bodies nobody vouches for: each kind has its code, and nothing happens."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentops.runs.models import Run
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from tests.gateway.conftest import Program

Problem = Callable[..., dict[str, Any]]
RUN = "/api/v1/agent/run"


def task(value: str) -> bytes:
    return b'{"task_type": "job", "input": {"x": %s}}' % value.encode()


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b'{"INVALID_JSON"', 400, "invalid_json"),
        (b"{'task_type': 'job'}", 400, "invalid_json"),
        (b"\xef\xbb\xbf{}", 400, "invalid_json"),
        (b" ", 400, "invalid_json"),
        (task("1e999"), 400, "not_finite"),
        (task("NaN"), 400, "not_finite"),
        (task('"\\u0000"'), 400, "bad_character"),
        (task('"\\ud800"'), 400, "bad_character"),
        (b'{"task_type": "\xff"}', 400, "bad_character"),
        (task("9007199254740993"), 400, "not_json"),
        (task("9" * 5000), 400, "not_json"),
        (b'{"task_type": "job", "task_type": "mail", "input": {}}', 400, "duplicate_key"),
        (task("[" * 10_000 + "]" * 10_000), 400, "too_deep"),
        (b"[" * 10_000, 400, "too_deep"),
        (task('"' + "x" * 5_000_000 + '"'), 413, "too_large"),
        (b'{"task_type": "job", "input": {"x": "' + b"x" * 262_144 + b'"}}', 413, "too_large"),
        (task('"' + "x" * 70_000 + '"'), 422, "invalid_task"),
    ],
    ids=lambda value: ascii(value[:40]) if isinstance(value, bytes) else None,
)
def test_a_hostile_body_has_its_code(
    shop: Tenant, agent: Program, problem: Problem, raw: bytes, status: int, code: str
) -> None:
    response = agent.post(RUN, raw=raw)
    problem(response, status, code)
    assert len(response.content) < 2_000
    with tenant_scope(shop):
        assert not Run.objects.exists()


def test_the_place_of_a_bad_value_is_named(agent: Program, problem: Problem) -> None:
    document = problem(agent.post(RUN, raw=task('["a", "\\u0000"]')), 400, "bad_character")
    assert document["errors"][0]["pointer"] == "/input/x/1"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_only_json_is_read(agent: Program, problem: Problem, kind: str) -> None:
    response = Client().post(RUN, b"{}", content_type=kind, headers={"authorization": f"Bearer {agent.token}"})
    problem(response, 415, "unsupported_media_type")


def test_a_body_without_its_length_is_not_taken_for_an_empty_one(agent: Program, problem: Problem) -> None:
    request = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": RUN,
        "CONTENT_TYPE": "application/json",
        "HTTP_TRANSFER_ENCODING": "chunked",
        "HTTP_AUTHORIZATION": f"Bearer {agent.token}",
    }
    problem(Client().request(**request), 411, "length_required")


def test_an_empty_body_lacks_its_members(agent: Program, problem: Problem) -> None:
    document = problem(agent.post(RUN, raw=b""), 422, "invalid_request")
    assert {fault["pointer"] for fault in document["errors"]} == {"/task_type", "/input"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_bytes_break_the_api(agent: Program, raw: bytes) -> None:
    cache.clear()
    assert agent.post(RUN, raw=raw).status_code in {400, 422}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=JSON)
def test_no_task_breaks_the_api(agent: Program, value: object) -> None:
    cache.clear()
    assert agent.submit({"task_type": "support-email", "input": value}).status_code in {400, 422}
