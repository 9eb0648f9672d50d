"""Ask the models of a chain one after the other until one answers; every attempt stays on record."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from agentops.engine.events import Usage
from agentops.providers.catalogue import ModelConfig
from agentops.wire.parse import JSON, JSONObject
from agentops.worker.model import ModelAnswer, ModelFailed, Outcome, Question
from agentops.worker.model_request import ask

log = logging.getLogger(__name__)

WORTH_THE_NEXT: Final = frozenset(
    {
        "model_rate_limited",
        "model_quota",
        "model_unavailable",
        "model_timeout",
        "model_bad_answer",
        "model_auth",
        "model_not_found",
        "model_not_configured",
    }
)
"""Failures of one model that say nothing about the next. What is too long, filtered or cut would be so again."""

MISCONFIGURED: Final = frozenset({"model_auth", "model_not_found", "model_not_configured"})
"""Somebody has to mend these, although another model answered meanwhile."""

# Used in the loop thread only. Model -> the monotonic time until which its provider asked to be left alone.
_resting: dict[ModelConfig, float] = {}


@dataclass(frozen=True, slots=True)
class Attempted:
    """What came of a question, and the name of the model it came from."""

    outcome: Outcome
    model: str


async def ask_in_order(question: Question, models: Sequence[ModelConfig], *, deadline_s: float) -> Attempted:
    """Ask until one answers or fails in a way that the next would too; returns by the deadline.

    Each model may take its share of the time that is left, so that a silent one leaves time for the others. Models
    whose provider asked to be left alone are passed over while another one is ready. The outcome's usage is that of
    all attempts; its exchange is the last attempt's and has the others under `earlier`. Of several failures the one
    that lets the run be tried again soonest is told.
    """
    started = time.monotonic()
    awake = [model for model in models if _resting.get(model, 0.0) <= started] or list(models)
    passed_over = [model for model in models if model not in awake]
    earlier: list[JSONObject] = [{"model": model.name, "code": "model_resting"} for model in passed_over]
    failures: list[tuple[str, ModelFailed]] = []
    usage = Usage(requests=0)
    for index, model in enumerate(awake):
        left = deadline_s - (time.monotonic() - started)
        share = left / (len(awake) - index)
        outcome = await ask(question, model, deadline_s=max(0.001, min(share, question.parameters.timeout_s or share)))
        usage = usage.plus(outcome.usage)
        if isinstance(outcome, ModelAnswer):
            return Attempted(replace(outcome, usage=usage, exchange=_with(outcome.exchange, earlier)), model.name)
        failures.append((model.name, outcome))
        if outcome.retry_after:
            _resting[model] = time.monotonic() + outcome.retry_after
        if outcome.code in MISCONFIGURED and len(models) > 1:
            log.error("Model %s cannot be used and the next one is asked: %s", model.name, outcome.message)
        if outcome.code not in WORTH_THE_NEXT:
            break
        if index < len(awake) - 1:
            earlier.append({**(outcome.exchange or {"model": model.name}), "code": outcome.code})
    return _failed(failures, earlier, usage)


def _failed(failures: Sequence[tuple[str, ModelFailed]], earlier: list[JSONObject], usage: Usage) -> Attempted:
    last_name, last = failures[-1]
    soonest = min(
        (pair for pair in failures if pair[1].retryable), key=lambda pair: pair[1].retry_after or 0.0, default=None
    )
    name, told = soonest if soonest is not None and last.code in WORTH_THE_NEXT else (last_name, last)
    message = told.message if len(failures) == 1 else " ".join(f"{n}: {f.message}" for n, f in failures)
    exchange = _with(last.exchange, earlier) if last.exchange is not None or earlier else None
    return Attempted(replace(told, message=message, usage=usage, exchange=exchange), name)


def _with(exchange: JSONObject | None, earlier: list[JSONObject]) -> JSONObject:
    if not earlier:
        return exchange or {}
    return {**(exchange or {}), "earlier": list[JSON](earlier)}
