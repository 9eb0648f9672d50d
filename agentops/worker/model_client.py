"""The only module that imports the provider library (pydantic-ai, its direct API). Used through `model_request`."""

import asyncio
import hashlib
import json
import logging
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, assert_never

import httpx2
from django.conf import settings
from pydantic_ai import exceptions as failures
from pydantic_ai.direct import model_request
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition

from agentops.engine.events import Usage
from agentops.guardrails.text import printable
from agentops.providers.catalogue import ModelConfig
from agentops.providers.prices import PriceTable, Tokens
from agentops.wire.canonical import canonical
from agentops.wire.parse import JSON, JSONObject, WireError, as_object, clean, clean_text, guard, parse_json
from agentops.worker import model_loop
from agentops.worker.model import (
    FunctionCall,
    FunctionResult,
    Instructions,
    Message,
    ModelAnswer,
    ModelFailed,
    ModelTurn,
    Outcome,
    Question,
    UserText,
)

log = logging.getLogger(__name__)

MAX_ANSWER: Final = 4 * 1024 * 1024
"""Bytes of one answer; what is longer is not read to its end."""

MAX_EXCHANGE: Final = 2 * MAX_ANSWER
"""Bytes of a recorded exchange; what is long in it is stored once, beside the event (see `agentops.payloads`)."""

MAX_RETRY_AFTER_S: Final = 3600.0

# --- Raw exchange ----------------------------------------------------------------------------------------------------


class AnswerRefused(Exception):
    """The answer is too large or encoded although we asked for it plain."""


@dataclass(slots=True)
class _Wire:
    """What went over the wire in one request; also filled when the answer makes no sense to the library."""

    started: float = field(default_factory=time.monotonic)
    url: str = ""
    request: bytes = b""
    status: int | None = None
    answer: bytearray = field(default_factory=bytearray)
    refused: str = ""

    def usage(self, tokens: Tokens | None = None, cost_micros: int | None = 0) -> Usage:
        """Return what was used; a cost of None means that nobody can say what it was."""
        used = tokens or Tokens(0, 0)
        return Usage(
            requests=1,
            input_tokens=used.input,
            output_tokens=used.output,
            cost_micros=cost_micros or 0,
            duration_ms=int((time.monotonic() - self.started) * 1000),
            cached_tokens=used.cached,
            unpriced=int(cost_micros is None),
        )


_wire: ContextVar[_Wire] = ContextVar("agentops_model_wire")


class _Transport(httpx2.AsyncBaseTransport):
    """Sends requests, keeps what was said, and stops reading an answer that is too long. Headers are not kept."""

    def __init__(self) -> None:
        limits = httpx2.Limits(
            max_connections=settings.MODEL_IN_FLIGHT, max_keepalive_connections=20, keepalive_expiry=5
        )
        self._inner = httpx2.AsyncHTTPTransport(limits=limits)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        wire = _wire.get()
        wire.request = await request.aread()
        wire.url = str(request.url.copy_with(query=None))
        request.headers["accept-encoding"] = "identity"
        response = await self._inner.handle_async_request(request)
        wire.status = response.status_code
        stream = response.stream
        assert isinstance(stream, httpx2.AsyncByteStream)
        if response.headers.get("content-encoding", "identity") != "identity":
            await stream.aclose()
            wire.refused = "The server sent an encoded answer although a plain one was asked for."
            raise AnswerRefused
        return httpx2.Response(
            response.status_code, headers=response.headers, stream=_Kept(stream, wire), request=request
        )

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Kept(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, wire: _Wire) -> None:
        self._stream = stream
        self._wire = wire

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            if len(self._wire.answer) + len(chunk) > MAX_ANSWER:
                self._wire.refused = f"The answer is longer than {MAX_ANSWER} bytes."
                raise AnswerRefused
            self._wire.answer += chunk
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


def _exchange(config: ModelConfig, wire: _Wire) -> JSONObject:
    """Return what was said as JSON of at most MAX_EXCHANGE bytes; a longer text is cut and its digest noted."""
    asked, answered = (_without_key(config, bytes(raw).decode(errors="replace")) for raw in (wire.request, wire.answer))
    head: JSONObject = {"model": config.name, "url": _without_key(config, wire.url), "status": wire.status}
    limit = MAX_EXCHANGE
    while True:  # ends: with nothing of either text the head is short
        cut = [name for name, text in (("request", asked), ("response", answered)) if len(text) > limit]
        exchange: JSONObject = {**head, "request": _readable(asked, limit), "response": _readable(answered, limit)}
        if cut:
            digests = (f"request {_digest(wire.request)}", f"response {_digest(wire.answer)}")
            exchange["note"] = f"cut to {limit} characters: {' and '.join(cut)}; {'; '.join(digests)}"
        if len(canonical(exchange).encode()) <= MAX_EXCHANGE:
            return exchange
        limit //= 2


def _digest(raw: bytes | bytearray) -> str:
    return f"{len(raw)} bytes, sha256 {hashlib.sha256(raw).hexdigest()}"


def _readable(text: str, limit: int) -> JSON:
    if len(text) > limit:
        return clean_text(text[:limit])
    try:
        return parse_json(text, max_bytes=MAX_EXCHANGE)
    except WireError:
        return clean_text(text)


def _without_key(config: ModelConfig, text: str) -> str:
    """Remove the key, which some servers repeat in their refusals."""
    for secret in (config.api_key, json.dumps(config.api_key)[1:-1]):
        if len(secret) >= 4:
            text = text.replace(secret, "[key]")
    return text


# --- Clients ---------------------------------------------------------------------------------------------------------


# Used in the loop thread only, hence without a lock. Clients belong to the loop they were made in.
@dataclass(slots=True)
class _Clients:
    """One pool of connections for a loop, and the models that are asked through it."""

    http: httpx2.AsyncClient
    models: dict[ModelConfig, Model] = field(default_factory=dict)


_clients: dict[asyncio.AbstractEventLoop, _Clients] = {}


def _model(config: ModelConfig) -> Model:
    loop = asyncio.get_running_loop()
    if loop not in _clients:
        _clients[loop] = _Clients(httpx2.AsyncClient(transport=_Transport(), follow_redirects=False))
    clients = _clients[loop]
    if config not in clients.models:
        clients.models[config] = _make_model(config, clients.http)
    return clients.models[config]


def _make_model(config: ModelConfig, http: httpx2.AsyncClient) -> Model:
    """Base URL and key are always given, so that the library does not look for them in the environment."""
    key = config.api_key or "no-key"
    base_url = config.address
    match config.provider:
        case "openai":
            return OpenAIChatModel(
                config.model, provider=OpenAIProvider(base_url=base_url, api_key=key, http_client=http)
            )
        case "anthropic":
            return AnthropicModel(
                config.model, provider=AnthropicProvider(base_url=base_url, api_key=key, http_client=http)
            )
        case "compatible":
            return OpenAIChatModel(
                config.model,
                provider=OpenAICompatibleProvider("compatible", base_url=base_url, api_key=key, http_client=http),
            )
        case _:
            assert_never(config.provider)


async def close_clients() -> None:
    """Close every connection of the running loop."""
    clients = _clients.pop(asyncio.get_running_loop(), None)
    if clients is not None:
        await clients.http.aclose()


model_loop.on_close(close_clients)

# --- One request -----------------------------------------------------------------------------------------------------


async def ask(config: ModelConfig, question: Question, deadline_s: float) -> Outcome:
    """Make one request. Whatever goes wrong, in the library or at the other end, becomes a ModelFailed."""
    wire = _Wire()
    _wire.set(wire)
    must_call = question.must_call and bool(question.tools)
    try:
        async with asyncio.timeout(deadline_s):
            response = await model_request(
                _model(config),
                _history(question.messages),
                model_settings=_settings(question, deadline_s),
                model_request_parameters=ModelRequestParameters(
                    function_tools=[
                        ToolDefinition(name=tool.name, description=tool.description, parameters_json_schema=tool.schema)
                        for tool in question.tools
                    ],
                    allow_text_output=not must_call or config.provider == "compatible",
                ),
            )
        return _answer(config, response, wire, question.prices)
    except Exception as error:  # noqa: BLE001 - the library raises bare IndexError, ValueError and more for bad answers
        return _failed(config, error, wire, deadline_s)


def _settings(question: Question, deadline_s: float) -> ModelSettings:
    parameters = question.parameters
    asked = ModelSettings(
        max_retries=0, timeout=deadline_s, request_timeout=deadline_s, max_tokens=parameters.max_tokens
    )
    if parameters.temperature is not None:
        asked["temperature"] = parameters.temperature
    if parameters.top_p is not None:
        asked["top_p"] = parameters.top_p
    if parameters.seed is not None:
        asked["seed"] = parameters.seed
    return asked


def _history(messages: Sequence[Message]) -> list[ModelMessage]:
    history: list[ModelMessage] = []
    instructions: str | None = None
    parts: list[ModelRequestPart] = []
    for message in messages:
        match message:
            case Instructions(text):
                instructions = text
            case UserText(text):
                parts.append(UserPromptPart(text))
            case FunctionResult(call_id, name, text):
                parts.append(ToolReturnPart(name, text, call_id))
            case ModelTurn(calls):
                history.append(ModelRequest(parts, instructions=instructions))
                history.append(ModelResponse([ToolCallPart(call.name, call.arguments, call.id) for call in calls]))
                parts = []
            case _:
                assert_never(message)
    history.append(ModelRequest(parts, instructions=instructions))
    return history


def _answer(config: ModelConfig, response: ModelResponse, wire: _Wire, prices: PriceTable) -> Outcome:
    exchange = _exchange(config, wire)
    usage = _usage(config, response, wire, prices)
    match response.finish_reason:
        case "length":
            return ModelFailed(
                "model_truncated", "The model's answer was cut at its length limit.", usage=usage, exchange=exchange
            )
        case "content_filter":
            return ModelFailed(
                "model_content_filtered",
                "The provider's content filter held the answer back.",
                usage=usage,
                exchange=exchange,
            )
        case "error":
            return ModelFailed(
                "model_bad_answer", "The model stopped with an error.", retryable=True, usage=usage, exchange=exchange
            )
        case _:
            pass
    text = "\n".join(part.content for part in response.parts if isinstance(part, TextPart)).strip()
    calls = tuple(_call(part) for part in response.parts if isinstance(part, ToolCallPart))
    if not text and not calls:
        return ModelFailed(
            "model_bad_answer", "The model's answer is empty.", retryable=True, usage=usage, exchange=exchange
        )
    return ModelAnswer(clean_text(text), calls, usage, exchange)


def _call(part: ToolCallPart) -> FunctionCall:
    name, call_id = clean_text(part.tool_name), clean_text(part.tool_call_id)
    try:
        if isinstance(part.args, str) and part.args.strip():
            # Stricter than the library: duplicate keys, depth, numbers that are not finite, NUL.
            return FunctionCall(call_id, name, as_object(parse_json(part.args)))
        return FunctionCall(call_id, name, as_object(guard(part.args_as_dict(raise_if_invalid=True))))
    except WireError as error:
        return FunctionCall(call_id, name, {}, invalid=str(error))
    except (ValueError, AssertionError):
        return FunctionCall(call_id, name, {}, invalid="Not valid JSON.")


def _usage(config: ModelConfig, response: ModelResponse, wire: _Wire, prices: PriceTable) -> Usage:
    told = response.usage
    tokens = Tokens(max(0, told.input_tokens), max(0, told.output_tokens), max(0, told.cache_read_tokens))
    measured = tokens.input > 0 or tokens.output > 0
    return wire.usage(tokens, prices.cost_micros(config.name, tokens, datetime.now(UTC)) if measured else None)


# --- Failures --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Kind:
    code: str
    sentence: str
    retryable: bool = False


_RATE_LIMITED = _Kind("model_rate_limited", "The provider limits the rate of requests.", retryable=True)
_QUOTA = _Kind("model_quota", "The account at the provider has no quota left.")
_TIMEOUT = _Kind("model_timeout", "The model did not answer in time.", retryable=True)
_UNAVAILABLE = _Kind("model_unavailable", "The provider cannot be reached or is out of order.", retryable=True)
_AUTH = _Kind("model_auth", "The provider does not accept the key.")
_NOT_FOUND = _Kind("model_not_found", "The provider does not know this model or address.")
_CONTEXT = _Kind("model_context_length", "The request is longer than the model's context.")
_FILTERED = _Kind("model_content_filtered", "The provider's content filter held the answer back.")
_REJECTED = _Kind("model_bad_answer", "The provider refused the request.")
_NOT_SENT = _Kind("model_bad_answer", "The request could not be made.")
_NONSENSE = _Kind("model_bad_answer", "The answer is not what a model server sends.", retryable=True)

_BY_STATUS: Final = {408: _TIMEOUT, 409: _UNAVAILABLE, 425: _UNAVAILABLE, 429: _RATE_LIMITED, 402: _QUOTA}


def _kind(error: Exception, wire: _Wire) -> _Kind:
    match error:
        case failures.ModelQuotaExceededError():
            return _QUOTA
        case failures.ModelRateLimitError():
            return _RATE_LIMITED
        case failures.ModelRequestTimeout() | failures.ModelTimeoutError() | TimeoutError():
            return _TIMEOUT
        case failures.ModelContextWindowExceededError():
            return _CONTEXT
        case failures.ModelAuthenticationError():
            return _AUTH
        case failures.ModelNotFoundError():
            return _NOT_FOUND
        case failures.ContentFilterError():
            return _FILTERED
        case failures.OutputTokenLimitExceeded():
            return _Kind("model_truncated", "The model's answer was cut at its length limit.")
        case failures.ModelServerError() | failures.ModelUnavailableError() | failures.ModelConnectionError():
            return _UNAVAILABLE
        case failures.ModelHTTPError(status_code=status) if status in _BY_STATUS:
            return _BY_STATUS[status]
        case failures.ModelHTTPError(status_code=status) if status >= 500:
            return _UNAVAILABLE
    if wire.status is None:
        return _NOT_SENT
    # Redirects and refusals: the same request would meet the same end.
    return _NONSENSE if wire.status < 300 else _REJECTED


def _failed(config: ModelConfig, error: Exception, wire: _Wire, deadline_s: float) -> ModelFailed:
    exchange = _exchange(config, wire)
    if wire.refused:
        return ModelFailed("model_bad_answer", wire.refused, usage=wire.usage(cost_micros=None), exchange=exchange)
    kind = _kind(error, wire)
    # Whoever accepted the request may bill it, although its answer was late or nonsense.
    billed = kind is _TIMEOUT or (wire.status is not None and wire.status < 300)
    if kind in (_NOT_SENT, _NONSENSE):
        log.warning("A model request failed in the client library.", exc_info=error)
    message = f"The model did not answer within {deadline_s:g} s." if kind is _TIMEOUT else kind.sentence
    if wire.status is not None and wire.status >= 300:
        message = f"{message} HTTP {wire.status}{_said(config, error)}"
    retry_after = getattr(error, "retry_after", None) if kind.retryable else None
    return ModelFailed(
        kind.code,
        message,
        kind.retryable,
        min(float(retry_after), MAX_RETRY_AFTER_S) if isinstance(retry_after, int | float) else None,
        wire.usage(cost_micros=None if billed else 0),
        exchange,
    )


def _said(config: ModelConfig, error: Exception) -> str:
    """Return the provider's own words, one short printable line of them, where the answer has any."""
    body = clean(_json_or_none(getattr(error, "body", None)))
    if isinstance(body, dict):
        inner = body.get("error", body)
        body = inner.get("message") if isinstance(inner, dict) else inner
    if not isinstance(body, str) or not body.strip() or "<html" in body.lower():
        return "."
    words = printable(re.sub(r"\s+", " ", _without_key(config, body))).strip()
    return f": {words[:200]}"


def _json_or_none(value: object) -> JSON:
    try:
        return guard(value)
    except WireError:
        return None
