"""Whatever a model server does, a request ends by its deadline, with an answer or with the right code."""

import gzip
import json
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from agentops.providers.catalogue import ModelConfig
from agentops.providers.chain import configured
from agentops.wire.canonical import canonical
from agentops.worker import model_loop, model_request
from agentops.worker.model import (
    FunctionCall,
    FunctionResult,
    FunctionTool,
    Instructions,
    Message,
    ModelAnswer,
    ModelFailed,
    ModelTurn,
    Outcome,
    Question,
    UserText,
)
from agentops.worker.model_client import MAX_EXCHANGE
from tests.stubs.model_server import (
    DRIPPING,
    HTML,
    NO_CHOICES,
    QUOTA,
    SILENT,
    TRUNCATED,
    Call,
    ModelServer,
    Raw,
    Reply,
    Says,
    Script,
    in_seconds,
    in_turn,
    rate_limited,
    refusal,
    serving,
)

KEY = "sk-test-0123456789"
PLENTY_S = 30.0
READ = FunctionTool(
    "mail__read",
    "Read one e-mail.",
    {
        "type": "object",
        "properties": {"message_id": {"type": "string"}},
        "required": ["message_id"],
        "additionalProperties": False,
    },
)
HELLO: list[Message] = [Instructions("Be brief."), UserText("Read M-0001.")]


@pytest.fixture(scope="module", autouse=True)
def _loop_thread() -> Iterator[None]:
    """Leave no thread and no connection behind."""
    yield
    model_loop.close()


def request(
    config: ModelConfig, messages: list[Message], tools: list[FunctionTool], *, deadline_s: float = PLENTY_S
) -> Outcome:
    model_request.preload()
    question = Question(tuple(messages), tuple(tools))
    asked = model_loop.submit(model_request.ask(question, config, deadline_s=deadline_s))
    return asked.result(deadline_s + model_request.GRACE_S)


def ask(
    script: Script | Reply, *, name: str = "stub", deadline_s: float = PLENTY_S, messages: list[Message] = HELLO
) -> Outcome:
    with serving(in_turn(script) if isinstance(script, Says | Raw) else script) as server:
        return ask_at(server, name=name, deadline_s=deadline_s, messages=messages)


def ask_at(
    server: ModelServer, *, name: str = "stub", deadline_s: float = PLENTY_S, messages: list[Message] = HELLO
) -> Outcome:
    url = server.root if name.startswith("anthropic:") else server.url
    return request(ModelConfig(name, KEY, url), messages, [READ], deadline_s=deadline_s)


def failed(outcome: Outcome) -> ModelFailed:
    assert isinstance(outcome, ModelFailed)
    return outcome


def answered(outcome: Outcome) -> ModelAnswer:
    assert isinstance(outcome, ModelAnswer), outcome
    return outcome


# --- Answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["stub", "openai:gpt-4o", "anthropic:claude-sonnet-4-6"])
def test_text_and_calls_come_back_with_what_they_cost(name: str) -> None:
    answer = answered(ask(Says("I will read it.", [Call("mail__read", {"message_id": "M-0001"})]), name=name))
    assert answer.text == "I will read it."
    assert [(call.name, call.arguments, call.invalid) for call in answer.calls] == [
        ("mail__read", {"message_id": "M-0001"}, "")
    ]
    assert (answer.usage.requests, answer.usage.input_tokens, answer.usage.output_tokens) == (1, 120, 30)
    assert (answer.usage.cost_micros > 0) == (name != "stub")


@pytest.mark.parametrize("name", ["stub", "anthropic:claude-sonnet-4-6"])
def test_the_server_is_told_the_history_in_order(name: str) -> None:
    history: list[Message] = [
        *HELLO,
        ModelTurn((FunctionCall("call_1", "mail__read", {"message_id": "M-0001"}),)),
        FunctionResult("call_1", "mail__read", '{"subject":"Refund"}'),
        UserText("Go on."),
    ]
    with serving(in_turn(Says("Done."))) as server:
        answered(ask_at(server, name=name, messages=history))
    asked = server.asked[0]
    assert "Be brief." in " ".join(asked.texts["system"])
    assert asked.results == [("mail__read", {"subject": "Refund"})]
    sent = json.dumps(asked.body)
    assert sent.index("Read M-0001.") < sent.index("call_1") < sent.index("Go on.")


def test_only_the_configured_key_and_address_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, "sk-of-somebody-else")
    for name in ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    for name in ("stub", "openai:gpt-4o", "anthropic:claude-x"):
        with serving(in_turn(Says("Done."))) as server:
            answered(ask_at(server, name=name))
        assert KEY in str(server.asked[0].headers)
        assert "sk-of-somebody-else" not in str(server.asked[0].headers)


def test_characters_a_database_refuses_are_replaced_in_an_answer() -> None:
    assert answered(ask(Says("a\x00b"))).text.startswith("a\ufffdb")


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ('{"INVALID_JSON"', "Not valid JSON"),
        ('{"message_id": 1e999}', "not finite"),
        ('{"message_id": "\\u0000"}', "U+0000"),
        ('{"message_id": ' + "[" * 10_000 + "]" * 10_000 + "}", "deeper than"),
        ('{"message_id": "' + "x" * 300_000 + '"}', "larger than"),
        ('{"message_id": "a", "message_id": "b"}', "twice"),
        ("[1]", "object"),
        ('"text"', "object"),
    ],
)
def test_arguments_that_are_not_acceptable_json_are_named_and_never_used(raw: str, why: str) -> None:
    (call,) = answered(ask(Says(calls=[Call("mail__read", raw=raw)]))).calls
    assert why in call.invalid
    assert call.arguments == {}


def test_numbers_out_of_range_are_refused_from_anthropic_too() -> None:
    def huge(asked: Any) -> Raw:
        body = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude",
            "content": [{"type": "tool_use", "id": "t1", "name": "mail__read", "input": {"message_id": "NUMBER"}}],
            "stop_reason": "tool_use",
            "usage": {"input_tokens": 1, "output_tokens": 1},
        }
        return Raw(json.dumps(body).replace('"NUMBER"', "1e999").encode())

    (call,) = answered(ask(huge, name="anthropic:claude-x")).calls
    assert "not finite" in call.invalid


# --- Failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["stub", "anthropic:claude-sonnet-4-6"])
@pytest.mark.parametrize(
    ("reply", "code", "retryable"),
    [
        (rate_limited("7"), "model_rate_limited", True),
        (refusal(500, "The server had an error"), "model_unavailable", True),
        (refusal(502, "Bad gateway"), "model_unavailable", True),
        (refusal(503, "Overloaded"), "model_unavailable", True),
        (refusal(529, "Overloaded", kind="overloaded_error"), "model_unavailable", True),
        (refusal(401, "Incorrect API key provided"), "model_auth", False),
        (refusal(403, "Not allowed"), "model_auth", False),
        (refusal(404, "The model does not exist", code="model_not_found"), "model_not_found", False),
        (refusal(400, "Invalid schema"), "model_bad_answer", False),
        (Raw(b"", 302, headers={"Location": "http://127.0.0.1:9/"}), "model_bad_answer", False),
        (HTML, "model_bad_answer", True),
        (TRUNCATED, "model_bad_answer", True),
        (Raw(b""), "model_bad_answer", True),
        (Raw(b"null"), "model_bad_answer", True),
        (Raw(b"[" * 100_000), "model_bad_answer", True),
        (Raw(b'{"choices": 1, "content": 2}'), "model_bad_answer", True),
        (Says(), "model_bad_answer", True),
        (Raw(b"x" * 5_000_000), "model_bad_answer", False),
        (Raw(gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"}), "model_bad_answer", False),
        (Raw(hang_up=True), "model_unavailable", True),
    ],
)
def test_what_goes_wrong_has_a_code(reply: Reply, code: str, *, retryable: bool, name: str) -> None:
    outcome = failed(ask(reply, name=name))
    assert (outcome.code, outcome.retryable) == (code, retryable)
    assert outcome.message
    assert outcome.usage is not None
    assert outcome.usage.requests == 1
    assert outcome.exchange is not None


def test_an_answer_without_choices_is_a_bad_answer() -> None:
    assert failed(ask(NO_CHOICES)).code == "model_bad_answer"


def test_no_quota_is_not_worth_a_retry() -> None:
    outcome = failed(ask(QUOTA))
    assert (outcome.code, outcome.retryable, outcome.retry_after) == ("model_quota", False, None)


def test_a_request_beyond_the_context_says_so() -> None:
    outcome = failed(ask(refusal(400, "maximum context length is 8192 tokens", code="context_length_exceeded")))
    assert (outcome.code, outcome.retryable) == ("model_context_length", False)


@pytest.mark.parametrize("status", [429, 503])
def test_the_wait_the_provider_asks_for_is_reported(status: int) -> None:
    seconds = failed(ask(refusal(status, "later", headers={"Retry-After": "7"})))
    assert seconds.retry_after == 7
    date = failed(ask(lambda asked: refusal(status, "later", headers={"Retry-After": in_seconds(60)})))
    assert date.retry_after is not None
    assert 30 < date.retry_after <= 60


@pytest.mark.parametrize(("value", "seconds"), [("soon", None), ("-5", None), ("999999999", 3600), ("", None)])
def test_an_odd_wait_never_becomes_a_long_one(value: str, seconds: float | None) -> None:
    assert failed(ask(rate_limited(value))).retry_after == seconds


@pytest.mark.parametrize("name", ["stub", "anthropic:claude-sonnet-4-6"])
@pytest.mark.parametrize("reply", [SILENT, DRIPPING])
def test_an_answer_that_does_not_come_to_an_end_is_given_up_at_the_deadline(reply: Raw, name: str) -> None:
    with serving(in_turn(Says("Ready."), reply)) as server:
        answered(ask_at(server, name=name))
        started = time.monotonic()
        outcome = failed(ask_at(server, name=name, deadline_s=0.5))
    assert time.monotonic() - started < 0.5 + model_request.GRACE_S
    assert (outcome.code, outcome.retryable) == ("model_timeout", True)
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("name", "length", "filtered"),
    [("stub", "length", "content_filter"), ("anthropic:claude-x", "max_tokens", "refusal")],
)
def test_an_answer_that_was_cut_or_filtered_is_never_used(name: str, length: str, filtered: str) -> None:
    call = Call("mail__read", {"message_id": "M-0001"})
    assert failed(ask(Says(calls=[call], finish=length), name=name)).code == "model_truncated"
    assert failed(ask(Says(calls=[call], finish=filtered), name=name)).code == "model_content_filtered"


def test_nothing_is_tried_twice() -> None:
    with serving(in_turn(refusal(500, "The server had an error"))) as server:
        failed(ask_at(server))
    assert len(server.asked) == 1


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        outcome = failed(request(ModelConfig("stub", KEY, url), HELLO, [READ]))
    assert outcome.code == "model_unavailable"


# --- The record of the exchange --------------------------------------------------------------------------------------


def test_the_exchange_holds_both_sides_and_never_the_key() -> None:
    outcome = failed(ask(refusal(401, f"Incorrect API key provided: {KEY}")))
    assert outcome.exchange is not None
    assert outcome.exchange["status"] == 401
    recorded = canonical(outcome.exchange)
    assert "Read M-0001." in recorded
    assert "Incorrect API key provided: [key]" in recorded
    assert KEY not in recorded + outcome.message


def test_what_the_library_cannot_read_is_recorded_as_it_came() -> None:
    outcome = failed(ask(HTML))
    assert outcome.exchange is not None
    assert "hotel" in str(outcome.exchange["response"])


def test_a_long_exchange_is_recorded_whole() -> None:
    answer = answered(ask(Says("Done."), messages=[UserText("x" * 900_000)]))
    assert "note" not in answer.exchange
    assert "x" * 900_000 in canonical(answer.exchange["request"])


@pytest.mark.parametrize("filler", ["x", '"', "\U0001f600"])
def test_an_exchange_beyond_all_measure_is_cut_and_says_so(filler: str) -> None:
    answer = answered(ask(Says("Done."), messages=[UserText(filler * 9_000_000)]))
    assert len(canonical(answer.exchange).encode()) <= MAX_EXCHANGE
    assert "sha256" in str(answer.exchange["note"])
    assert "Done." in canonical(answer.exchange["response"])


# --- Configuration ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (ModelConfig(), "AGENTOPS_MODEL"),
        (ModelConfig("openai:gpt-5"), "AGENTOPS_MODEL_API_KEY"),
        (ModelConfig("anthropic:claude-x"), "AGENTOPS_MODEL_API_KEY"),
        (ModelConfig("openai:", KEY), "after the colon"),
        (ModelConfig("llama3:8b", KEY), "AGENTOPS_MODEL_BASE_URL"),
        (ModelConfig("stub", KEY, "http://user:hunter22@127.0.0.1/v1"), "AGENTOPS_MODEL_API_KEY"),
        (ModelConfig("stub", KEY, "http://127.0.0.1/v1?key=hunter22"), "AGENTOPS_MODEL_API_KEY"),
    ],
)
def test_an_incomplete_configuration_says_what_to_set_and_asks_nobody(config: ModelConfig, says: str) -> None:
    assert not config.configured()
    outcome = failed(request(config, HELLO, [READ]))
    assert outcome.code == "model_not_configured"
    assert says in outcome.message
    assert "hunter22" not in outcome.message


def test_the_configuration_comes_from_the_settings(settings: Any) -> None:
    assert not configured("anthropic:claude-x").configured()
    settings.AGENTOPS_MODEL = "anthropic:claude-x"
    settings.AGENTOPS_MODEL_API_KEY = KEY
    config = configured("anthropic:claude-x")
    assert config.configured()
    assert (config.provider, config.model) == ("anthropic", "claude-x")
    assert KEY not in repr(config)


def test_a_colon_may_be_part_of_a_local_models_name() -> None:
    with serving(in_turn(Says("Done."))) as server:
        answered(ask_at(server, name="llama3:8b"))
    assert server.asked[0].body["model"] == "llama3:8b"


# --- Threads and processes -------------------------------------------------------------------------------------------


def test_two_hundred_requests_at_once_share_one_loop_thread() -> None:
    everybody_is_here = threading.Barrier(200)

    def together(asked: Any) -> Says:
        everybody_is_here.wait(PLENTY_S)
        return Says(asked.texts["user"][0])

    with serving(together) as server, ThreadPoolExecutor(200) as pool:
        texts = [f"request {number}" for number in range(200)]
        outcomes = list(pool.map(lambda text: ask_at(server, messages=[UserText(text)], deadline_s=60.0), texts))
        loops = [thread for thread in threading.enumerate() if thread.name == model_loop.THREAD_NAME]
    assert [answered(outcome).text for outcome in outcomes] == texts
    assert len(loops) == 1


def test_after_close_the_next_request_starts_anew() -> None:
    answered(ask(Says("Done.")))
    model_loop.close()
    assert model_loop.THREAD_NAME not in {thread.name for thread in threading.enumerate()}
    answered(ask(Says("Done.")))


def test_the_web_process_does_not_load_the_provider_library() -> None:
    code = "import sys, agentops.worker.model, agentops.worker.model_planner; sys.exit('pydantic_ai' in sys.modules)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, env=os.environ.copy(), check=False).returncode == 0


def test_a_forked_worker_makes_its_own_loop_thread() -> None:
    code = """
        import os, sys
        from agentops.providers.catalogue import ModelConfig
        from agentops.worker import model_loop, model_request
        from agentops.worker.model import ModelAnswer, Question, UserText
        config = ModelConfig("stub", "", sys.argv[1])
        model_request.preload()
        def ask():
            asked = model_request.ask(Question((UserText("hi"),), ()), config, deadline_s=30)
            return isinstance(model_loop.submit(asked).result(60), ModelAnswer)
        if not ask():
            sys.exit(1)
        child = os.fork()
        if child == 0:
            os._exit(0 if ask() else 2)
        _, status = os.waitpid(child, 0)
        sys.exit(os.waitstatus_to_exitcode(status) or (0 if ask() else 3))
    """
    root = Path(__file__).parents[2]
    with serving(in_turn(Says("Done."))) as server:
        command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code), server.url]
        done = subprocess.run(command, cwd=root, timeout=120, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(server.asked) == 3
