"""Ask a language model and get a value back, an answer or a failure with a code, never later than the deadline.

The provider library is an optional extra and takes seconds to import, so only `worker.model_client` imports it, when
the first request is made. All requests of a process share the loop of `worker.model_loop`.
"""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final, assert_never

from agentops.engine.events import Usage
from agentops.providers.catalogue import ModelConfig
from agentops.providers.parameters import DEFAULTS, ModelParameters
from agentops.providers.prices import LISTED, PriceTable
from agentops.wire.canonical import canonical
from agentops.wire.parse import JSONObject
from agentops.worker import model_loop

GRACE_S: Final = 2.0
"""How long after its deadline a request may still report by itself before its caller gives it up."""

# --- What is asked ---------------------------------------------------------------------------------------------------


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


@dataclass(frozen=True, slots=True)
class Question:
    """What one or several models are asked: messages, functions, whether to insist on a call, how, at which prices."""

    messages: tuple[Message, ...]
    tools: tuple[FunctionTool, ...]
    must_call: bool = False
    parameters: ModelParameters = DEFAULTS
    prices: PriceTable = LISTED


def question_bytes(question: Question) -> int:
    """Return an upper bound for the bytes of text that a question sends, whatever the provider's format."""
    texts: list[str] = []
    for message in question.messages:
        match message:
            case Instructions(text) | UserText(text):
                texts.append(text)
            case FunctionResult(call_id, name, text):
                texts += [call_id, name, text]
            case ModelTurn(calls):
                texts += [part for call in calls for part in (call.id, call.name, canonical(call.arguments))]
            case _:
                assert_never(message)
    for tool in question.tools:
        texts += [tool.name, tool.description, canonical(tool.schema)]
    # Quotes, roles and keys around each of them; what JSON escapes is longer on the wire than for the model.
    return sum(len(text.encode()) + 64 for text in texts)


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


def preload() -> None:
    """Import the provider library now: the seconds it takes must neither count nor hold up others in the loop."""
    from agentops.worker import model_client  # noqa: F401


async def ask(question: "Question", config: ModelConfig, *, deadline_s: float) -> Outcome:
    """Ask one model once, without any retry; returns by the deadline. For coroutines in the loop of `model_loop`."""
    if problem := config.problem():
        return ModelFailed("model_not_configured", problem.message)
    from agentops.worker.model_client import ask as ask_client

    return await ask_client(config, question, deadline_s)


def request(
    config: ModelConfig,
    messages: Sequence[Message],
    tools: Sequence[FunctionTool],
    *,
    deadline_s: float,
    must_call: bool = False,
    parameters: ModelParameters | None = None,
    prices: PriceTable | None = None,
) -> Outcome:
    """Ask the model once and wait; returns at the latest `deadline_s` + GRACE_S seconds later, without any retry.

    `must_call` asks the provider to insist on a function call; servers of the third kind are only asked in words.
    """
    if problem := config.problem():
        return ModelFailed("model_not_configured", problem.message)
    preload()
    question = Question(tuple(messages), tuple(tools), must_call, parameters or DEFAULTS, prices or LISTED)
    return await_outcome(model_loop.submit(ask(question, config, deadline_s=deadline_s)), deadline_s)


def await_outcome(future: "Future[Outcome]", deadline_s: float) -> Outcome:
    """Wait for an outcome, a little longer than it may take; it is cancelled when the wait ends without it."""
    try:
        return future.result(deadline_s + GRACE_S)
    except TimeoutError:
        future.cancel()
        return ModelFailed("model_timeout", f"The model did not answer within {deadline_s:g} s.", retryable=True)
    except BaseException:
        # A time limit or a shutdown of the caller: nobody waits for the answer any more.
        future.cancel()
        raise
