"""Task memory: what a run was asked for and the values it has so far, each with its type. Pure; read from the state.

It lives as long as the run's record and no other run sees it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from agentops.engine.state import Call, State, output_provenance
from agentops.engine.transitions import CallState
from agentops.wire.canonical import canonical
from agentops.wire.parse import JSON

SHOWN: Final = 300
"""Characters of one value; the timeline has the whole of it."""


@dataclass(frozen=True, slots=True)
class Value:
    """One named value: `kind` is its type in words, `text` is cut when `cut` says so, `untrusted` is its integrity."""

    name: str
    kind: str
    text: str
    cut: bool
    untrusted: bool = False


@dataclass(frozen=True, slots=True)
class Artifact:
    """What one successful call has returned."""

    step_id: str
    tool: str
    values: tuple[Value, ...]


def objective(state: State) -> tuple[Value, ...]:
    """Return the members of the task as it was submitted; operators typed them."""
    task = state.submitted.input if state.submitted is not None else {}
    return tuple(_value(name, member) for name, member in task.items())


def artifacts(state: State) -> tuple[Artifact, ...]:
    """Return the outputs of the calls that succeeded, in the order they were selected."""
    done = (call for call in state.calls.values() if call.state is CallState.SUCCEEDED)
    return tuple(Artifact(call.step_id, call.tool, tuple(_outputs(call))) for call in done)


def _outputs(call: Call) -> Iterator[Value]:
    if not isinstance(call.output, dict):
        yield _value("", call.output, untrusted=output_provenance(call, ()).untrusted)
        return
    for name, member in call.output.items():
        yield _value(name, member, untrusted=output_provenance(call, (name,)).untrusted)


def _value(name: str, value: JSON, *, untrusted: bool = False) -> Value:
    text = value if isinstance(value, str) else canonical(value)
    return Value(name, kind_of(value), text[:SHOWN], len(text) > SHOWN, untrusted)


def kind_of(value: JSON) -> str:
    """Return the type of a JSON value in words."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "yes or no"
        case int() | float():
            return "number"
        case str():
            return "text"
        case list():
            return f"list of {len(value)}"
        case _:
            return f"object of {len(value)}"
