"""When one model fails, the next is asked; everything stays on record, and what the next cannot mend is not tried."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from agentops.engine.planner import Planned, PlannerAnswer, PlannerFailed
from agentops.providers.catalogue import ModelConfig
from agentops.providers.parameters import ModelParameters
from agentops.worker import fallback, model_loop
from agentops.worker.model_planner import ModelPlanner
from tests.stubs.model_server import (
    HTML,
    QUOTA,
    SILENT,
    Call,
    ModelServer,
    Raw,
    Reply,
    Says,
    in_turn,
    plan,
    rate_limited,
    refusal,
)
from tests.worker.test_model_planner import FIRST

GOOD = plan([], [{"when": "", "text": "Nothing."}])
DOWN = refusal(500, "The server had an error")
WRONG_KEY = refusal(401, "Incorrect API key")


@pytest.fixture(scope="module", autouse=True)
def _loop_thread() -> Iterator[None]:
    yield
    model_loop.close()


@pytest.fixture
def chain() -> Iterator["Chain"]:
    with ExitStack() as stack:
        yield Chain(stack)


class Chain:
    """Models m1, m2, ... that answer with these replies, each a server of its own."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.servers: list[ModelServer] = []

    def planner(self, *replies: Reply, **more: Any) -> ModelPlanner:
        self.servers = [self.stack.enter_context(ModelServer(in_turn(reply))) for reply in replies]
        models = tuple(ModelConfig(f"m{i}", "", server.url) for i, server in enumerate(self.servers, 1))
        return ModelPlanner("model:m1", models, more.pop("deadline_s", 30.0), **more)

    def asked(self) -> list[int]:
        return [len(server.asked) for server in self.servers]


def exchange(answer: PlannerAnswer) -> Any:
    assert answer.exchange is not None
    return answer.exchange


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (rate_limited("1"), "model_rate_limited"),
        (QUOTA, "model_quota"),
        (DOWN, "model_unavailable"),
        (Raw(hang_up=True), "model_unavailable"),
        (HTML, "model_bad_answer"),
        (refusal(400, "Unsupported parameter"), "model_bad_answer"),
        (WRONG_KEY, "model_auth"),
        (refusal(404, "No such model", code="model_not_found"), "model_not_found"),
    ],
)
def test_the_next_model_answers_and_the_record_names_both(chain: Chain, reply: Reply, code: str) -> None:
    answer = chain.planner(reply, GOOD).plan(FIRST)
    assert isinstance(answer, Planned)
    assert answer.planner == "model:m2"
    assert chain.asked() == [1, 1]
    said = exchange(answer)
    assert (said["model"], said["status"]) == ("m2", 200)
    [earlier] = said["earlier"]
    assert (earlier["model"], earlier["code"]) == ("m1", code)
    assert "request" in earlier
    assert answer.usage is not None
    assert (answer.usage.requests, answer.usage.input_tokens) == (2, 120)


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Says("Half a sen", finish="length"), "model_truncated"),
        (Says(finish="content_filter"), "model_content_filtered"),
        (refusal(400, "too long", code="context_length_exceeded"), "model_context_length"),
    ],
)
def test_what_the_next_model_would_meet_as_well_ends_the_question(chain: Chain, reply: Reply, code: str) -> None:
    answer = chain.planner(reply, GOOD).plan(FIRST)
    assert isinstance(answer, PlannerFailed)
    assert (answer.code, answer.planner) == (code, "model:m1")
    assert chain.asked() == [1, 0]


def test_an_answer_that_is_no_plan_goes_back_to_the_engine_and_not_to_the_next_model(chain: Chain) -> None:
    answer = chain.planner(Says("I would read the mail."), GOOD).plan(FIRST)
    assert isinstance(answer, PlannerFailed)
    assert answer.code == "plan_invalid"
    assert chain.asked() == [1, 0]


def test_when_all_fail_the_run_may_try_again_when_the_first_of_them_may(chain: Chain) -> None:
    answer = chain.planner(rate_limited("40"), rate_limited("7"), WRONG_KEY).plan(FIRST)
    assert isinstance(answer, PlannerFailed)
    assert (answer.code, answer.retryable, answer.retry_after) == ("model_rate_limited", True, 7)
    assert all(name in answer.message for name in ("m1:", "m2:", "m3:"))
    assert [one["code"] for one in exchange(answer)["earlier"]] == ["model_rate_limited", "model_rate_limited"]
    assert answer.usage is not None
    assert answer.usage.requests == 3


def test_a_silent_model_leaves_time_for_the_next_one(chain: Chain) -> None:
    planner = chain.planner(SILENT, GOOD, deadline_s=6.0)
    answer = planner.plan(FIRST)
    assert isinstance(answer, Planned), answer
    assert exchange(answer)["earlier"][0]["code"] == "model_timeout"
    assert answer.usage is not None
    assert answer.usage.unpriced == 2, "nobody knows what a request costs that was given up, nor what the stub costs"


def test_a_time_limit_for_each_model_holds_below_the_share(chain: Chain) -> None:
    parameters = ModelParameters.from_json({"timeout_s": 1, "deadline_s": 60})
    answer = chain.planner(SILENT, GOOD, deadline_s=60.0, parameters=parameters).plan(FIRST)
    assert isinstance(answer, Planned)
    assert answer.usage is not None
    assert answer.usage.duration_ms < 10_000


def test_a_model_whose_provider_asked_for_a_pause_is_passed_over_meanwhile(chain: Chain) -> None:
    planner = chain.planner(rate_limited("60"), GOOD)
    planner.plan(FIRST)
    answer = planner.plan(FIRST)
    assert isinstance(answer, Planned)
    assert chain.asked() == [1, 2]
    assert exchange(answer)["earlier"] == [{"model": "m1", "code": "model_resting"}]


def test_when_all_rest_they_are_asked_all_the_same(chain: Chain) -> None:
    planner = chain.planner(rate_limited("60"))
    planner.plan(FIRST)
    planner.plan(FIRST)
    assert chain.asked() == [2]


def test_a_model_without_a_key_is_passed_over_loudly(chain: Chain, caplog: pytest.LogCaptureFixture) -> None:
    planner = chain.planner(GOOD)
    keyless = ModelConfig("openai:gpt-5")
    with caplog.at_level("ERROR", fallback.log.name):
        answer = replace(planner, models=(keyless, *planner.models)).plan(FIRST)
    assert isinstance(answer, Planned)
    assert "openai:gpt-5" in caplog.text


def test_the_parameters_of_the_task_type_are_sent_and_the_answer_is_always_bounded(chain: Chain) -> None:
    parameters = ModelParameters.from_json({"temperature": 0.5, "top_p": 0.9, "seed": 7, "max_tokens": 100})
    chain.planner(GOOD, parameters=parameters).plan(FIRST)
    body = chain.servers[0].asked[0].body
    assert (body["temperature"], body["top_p"], body["seed"]) == (0.5, 0.9, 7)
    assert body.get("max_completion_tokens", body.get("max_tokens")) == 100
    chain.planner(GOOD).plan(FIRST)
    body = chain.servers[0].asked[0].body
    assert "temperature" not in body
    assert body.get("max_completion_tokens", body.get("max_tokens")) == 8192


def test_tools_are_offered_with_the_schemas_of_their_contracts(chain: Chain) -> None:
    chain.planner(Says(calls=[Call("create_ticket")])).plan(FIRST)
    asked = chain.servers[0].asked[0]
    for tool in FIRST.tools:
        sent = asked.tools[tool.name.replace(".", "__")]
        assert sent["properties"].keys() == dict(tool.input_schema)["properties"].keys()  # type: ignore[union-attr]
        assert sent["additionalProperties"] is False
        assert sorted(sent["required"]) == sorted(sent["properties"])
