"""What a language model is asked, and what comes back: an answer, or a failure with a code. Sent by `model_request`."""

from dataclasses import dataclass
from typing import assert_never

from agentops.engine.events import Usage
from agentops.providers.parameters import DEFAULTS, ModelParameters
from agentops.providers.prices import LISTED, PriceTable
from agentops.wire.canonical import canonical
from agentops.wire.parse import JSONObject

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
