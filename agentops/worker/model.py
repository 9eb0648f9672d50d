"""Ask a language model and get a value back, an answer or a failure with a code, never later than the deadline.

The provider library is an optional extra and takes seconds to import, so only `worker.model_client` imports it, when
the first request is made. All requests of a process share one event loop in one thread: its clients must not be used
from two loops. The thread starts with the first request, hence after a worker process was forked.
"""

import asyncio
import atexit
import contextlib
import os
import threading
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Final, Literal, Self, TypeVar
from urllib.parse import urlsplit

from agentops.engine.events import Usage
from agentops.wire.parse import JSONObject

Provider = Literal["openai", "anthropic", "compatible"]

GRACE_S: Final = 2.0
"""How long after its deadline a request may still report by itself before its caller gives it up."""

THREAD_NAME: Final = "agentops-model"

# --- What is asked ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Which model to ask: `openai:<model>`, `anthropic:<model>`, or any name at an OpenAI-compatible `base_url`."""

    name: str = ""
    api_key: str = field(default="", repr=False)
    base_url: str = ""

    @classmethod
    def from_settings(cls) -> Self:
        """Read AGENTOPS_MODEL, AGENTOPS_MODEL_API_KEY and AGENTOPS_MODEL_BASE_URL."""
        from django.conf import settings

        return cls(settings.AGENTOPS_MODEL, settings.AGENTOPS_MODEL_API_KEY, settings.AGENTOPS_MODEL_BASE_URL)

    @property
    def provider(self) -> Provider:
        """Which of the three ways to speak; a prefix that is none of ours belongs to the model's name (`llama3:8b`)."""
        match self.name.partition(":"):
            case ("openai", ":", _):
                return "openai"
            case ("anthropic", ":", _):
                return "anthropic"
            case _:
                return "compatible"

    @property
    def model(self) -> str:
        """The model's name as its provider knows it."""
        return self.name if self.provider == "compatible" else self.name.partition(":")[2]

    def configured(self) -> bool:
        """Whether a request could be made."""
        return not self.problem()

    def problem(self) -> str:
        """Return what is missing, as one sentence that says what to set; empty when nothing is."""
        if not self.name:
            return "No model is set: set AGENTOPS_MODEL, for instance to openai:gpt-5."
        if not self.model:
            return f"AGENTOPS_MODEL is {self.name!r}: write the model's name after the colon."
        if self.provider == "compatible" and not self.base_url:
            return (
                f"AGENTOPS_MODEL is {self.name[:80]!r}: write openai:<model> or anthropic:<model>, "
                "or set AGENTOPS_MODEL_BASE_URL to an OpenAI-compatible server."
            )
        address = urlsplit(self.base_url)
        if "@" in address.netloc or address.query or address.fragment:
            return (
                "AGENTOPS_MODEL_BASE_URL may hold scheme, host and path only: put a secret into AGENTOPS_MODEL_API_KEY."
            )
        if not self.api_key and not self.base_url:
            return f"The model {self.name[:80]} needs a key: set AGENTOPS_MODEL_API_KEY."
        if find_spec("pydantic_ai") is None:
            return "The model client is not installed: install the extra with `pip install agentops[llm]`."
        return ""


@dataclass(frozen=True, slots=True)
class Instructions:
    """What the application tells the model; at most one, and first."""

    text: str


@dataclass(frozen=True, slots=True)
class UserText:
    text: str


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A function the model called. `invalid` says why its arguments cannot be read; `arguments` is then empty."""

    id: str
    name: str
    arguments: JSONObject
    invalid: str = ""


@dataclass(frozen=True, slots=True)
class ModelTurn:
    """An earlier turn of the model: the functions it called."""

    calls: tuple[FunctionCall, ...]


@dataclass(frozen=True, slots=True)
class FunctionResult:
    """What an earlier call returned, as the text the model is to see."""

    id: str
    name: str
    text: str


Message = Instructions | UserText | ModelTurn | FunctionResult


@dataclass(frozen=True, slots=True)
class FunctionTool:
    """A function the model may call; `schema` is the JSON Schema of its arguments."""

    name: str
    description: str
    schema: JSONObject


# --- What comes back -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """A complete answer: text, function calls, or both. `exchange` is the raw request and answer, without the key."""

    text: str
    calls: tuple[FunctionCall, ...]
    usage: Usage
    exchange: JSONObject


@dataclass(frozen=True, slots=True)
class ModelFailed:
    """No answer; codes as in `engine.planner.PlannerFailed`. `retry_after`: seconds, where the provider named them."""

    code: str
    message: str
    retryable: bool = False
    retry_after: float | None = None
    usage: Usage | None = None
    exchange: JSONObject | None = None


Outcome = ModelAnswer | ModelFailed


def request(
    config: ModelConfig,
    messages: Sequence[Message],
    tools: Sequence[FunctionTool],
    *,
    deadline_s: float,
    must_call: bool = False,
) -> Outcome:
    """Ask the model once and wait; returns at the latest `deadline_s` + GRACE_S seconds later, without any retry.

    `must_call` asks the provider to insist on a function call; servers of the third kind are only asked in words.
    """
    if problem := config.problem():
        return ModelFailed("model_not_configured", problem)
    future = submit(config, messages, tools, deadline_s=deadline_s, must_call=must_call)
    try:
        return future.result(deadline_s + GRACE_S)
    except TimeoutError:
        future.cancel()
        return ModelFailed("model_timeout", f"The model did not answer within {deadline_s:g} s.", retryable=True)
    except BaseException:
        # A time limit or a shutdown of the caller: nobody waits for the answer any more.
        future.cancel()
        raise


def submit(
    config: ModelConfig,
    messages: Sequence[Message],
    tools: Sequence[FunctionTool],
    *,
    deadline_s: float,
    must_call: bool = False,
) -> "Future[Outcome]":
    """Ask the model once without waiting, so that one thread can have any number of requests in flight."""
    # Imported here, by the caller: the seconds it takes must neither count nor hold up other requests in the loop.
    from agentops.worker.model_client import ask

    return _run(ask(config, tuple(messages), tuple(tools), deadline_s, must_call=must_call))


# --- The event loop thread -------------------------------------------------------------------------------------------

T = TypeVar("T")


class _LoopThread:
    """One event loop in one daemon thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name=THREAD_NAME, daemon=True)
        self.thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def stop(self) -> None:
        from agentops.worker.model_client import close_clients

        with contextlib.suppress(TimeoutError):
            self.run(close_clients()).result(1.0)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(1.0)
        if not self.thread.is_alive():
            self.loop.close()


class _PerProcess:
    """The loop thread of this process, or none yet."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.running: _LoopThread | None = None


_process = _PerProcess()


def _run(work: Coroutine[Any, Any, T]) -> "Future[T]":
    with _process.lock:
        if _process.running is None:
            _process.running = _LoopThread()
        return _process.running.run(work)


def close() -> None:
    """Stop the loop thread and its connections; the next request starts new ones."""
    with _process.lock:
        running, _process.running = _process.running, None
    if running is not None:
        running.stop()


def _start_afresh() -> None:
    """Threads do not survive a fork, and another thread may have held the lock at that moment."""
    _process.lock = threading.Lock()
    _process.running = None


os.register_at_fork(after_in_child=_start_afresh)
atexit.register(close)
