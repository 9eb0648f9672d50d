"""Records of event version 1 are read for ever: the same bytes, the same state, the same commands.

`fixtures/v1/*.jsonl` are whole runs as they were recorded once (see `recording.py`), and `every_event_type.txt` one
event of each type with every member it had then. None of them is ever changed; new ones are added beside them.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from agentops.engine.codec import decode, encode
from agentops.engine.events import EVENT_TYPES, Stamped
from agentops.engine.folding import fold
from agentops.engine.replay import Identical, replay
from agentops.wire.canonical import canonical
from agentops.wire.parse import JSONObject

V1 = Path(__file__).parent / "fixtures" / "v1"
RUNS = sorted(path.stem for path in V1.glob("*.jsonl"))
TOLD = json.loads((V1 / "told.json").read_text()) if (V1 / "told.json").exists() else {}


def events_of(name: str) -> Iterator[tuple[str, Stamped]]:
    for line in (V1 / name).read_text().removesuffix("\n").split("\n"):
        raw = json.loads(line)
        event = decode(raw["type"], raw["data"], raw["version"])
        yield line, Stamped(raw["seq"], datetime.fromisoformat(raw["at"]), event)


def written(stamped: Stamped) -> str:
    return canonical(
        {
            "seq": stamped.seq,
            "at": stamped.at.isoformat(timespec="microseconds"),
            "type": stamped.event.type,
            "version": 1,
            "data": encode(stamped.event),
        }
    )


def told(events: list[Stamped]) -> JSONObject:
    """What a run came to, and by which commands."""
    verdict = replay(events)
    assert isinstance(verdict, Identical), verdict
    state = verdict.state
    return {
        "state": state.state.value,
        "failure_code": state.failure_code,
        "failure_message": state.failure_message,
        "answer": state.answer,
        "steps": {name: step.outcome for name, step in state.steps.items()},
        "calls": {call_id: call.state.value for call_id, call in state.calls.items()},
        "commands": [type(command).__name__ for command in verdict.commands],
        "feedback": list(state.feedback),
        "tainted": state.tainted,
        "used": [state.steps_used, state.calls_used, state.denied_calls, state.usage.requests],
    }


@pytest.mark.parametrize("name", RUNS)
def test_a_run_of_version_1_is_read_folded_replayed_and_written_again_as_it_was(name: str) -> None:
    read = list(events_of(f"{name}.jsonl"))
    assert [line for line, _ in read] == [written(stamped) for _, stamped in read]
    events = [stamped for _, stamped in read]
    assert fold(events) == fold(events)
    assert told(events) == TOLD[name]


def test_every_event_type_of_version_1_is_read_and_written_again_as_it_was() -> None:
    read = list(events_of("every_event_type.txt"))
    assert [line for line, _ in read] == [written(stamped) for _, stamped in read]
    assert {stamped.event.type for _, stamped in read} <= set(EVENT_TYPES)


def test_the_runs_on_record_cover_every_event_type_and_every_kind_of_end() -> None:
    """A new event type needs a run that has it: `python -m tests.engine.recording`."""
    every = {s.event.type for _, s in events_of("every_event_type.txt")}
    covered = {s.event.type for name in RUNS for _, s in events_of(f"{name}.jsonl")}
    missing = set(EVENT_TYPES) - every
    assert not missing, f"add them with `python -m tests.engine.recording`: {missing}"
    assert covered <= every
    ends = {TOLD[name]["state"] for name in RUNS}
    assert ends == {"succeeded", "failed", "cancelled"}
    assert len(RUNS) >= 12
