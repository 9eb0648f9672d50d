"""What a run said to its models and what they answered, as recorded with its plans."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from agentops.audit.services import load
from agentops.payloads.references import reference
from agentops.payloads.services import PayloadDamaged, PayloadMissing, resolve
from agentops.runs.models import Run
from agentops.runs.recording import stream_of
from agentops.wire.parse import JSON

MAX_SHOWN: Final = 200_000
"""Characters of one text on the page; the audit record has the whole of it."""


@dataclass(frozen=True, slots=True)
class Said:
    """A request or an answer. `digest` is set where the text is kept beside the event; `problem` when it is not."""

    text: str
    digest: str = ""
    problem: str = ""
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """One model that was asked. `code` is why the next one was, empty for the last."""

    model: str
    url: str
    status: str
    code: str
    note: str
    request: Said
    response: Said


@dataclass(frozen=True, slots=True)
class Exchange:
    """Everything that was said for one plan, oldest attempt first."""

    seq: int
    at: datetime
    type: str
    planner: str
    attempts: tuple[Attempt, ...]


def exchange_of(run: Run, seq: int) -> Exchange | None:
    """Return what was said for the event with this number, or None when it has no exchange."""
    event = next((one for one in load(stream_of(run.id), seq - 1) if one.seq == seq), None)
    exchange = event.data.get("exchange") if event is not None else None
    if event is None or not isinstance(exchange, dict):
        return None
    earlier = exchange.get("earlier")
    told = [*(earlier if isinstance(earlier, list) else ()), exchange]
    attempts = tuple(_attempt(one) for one in told if isinstance(one, dict))
    return Exchange(event.seq, event.at, event.type, str(event.data.get("planner", "")), attempts)


def _attempt(one: Mapping[str, JSON]) -> Attempt:
    def word(name: str) -> str:
        value = one.get(name)
        return "" if value is None else str(value)

    return Attempt(
        word("model"),
        word("url"),
        word("status"),
        word("code"),
        word("note"),
        _said(one.get("request")),
        _said(one.get("response")),
    )


def _said(value: JSON) -> Said:
    digest = reference(value)
    try:
        whole = resolve(value)
    except (PayloadMissing, PayloadDamaged) as error:
        head = value.get("head") if isinstance(value, dict) else ""
        return Said(str(head), digest, str(error))
    text = "" if whole is None else whole if isinstance(whole, str) else json.dumps(whole, ensure_ascii=False, indent=2)
    return Said(text[:MAX_SHOWN], digest, cut=len(text) > MAX_SHOWN)
