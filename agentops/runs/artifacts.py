"""Task memory: what a run was asked for and the values it has so far, each with its type. Pure; read from the state.

It lives as long as the run's record and no other run sees it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from agentops.engine.plan import Plan, Ref, refs_of
from agentops.engine.state import Call, State, output_provenance
from agentops.engine.transitions import CallState, RunState
from agentops.guardrails.provenance import Provenance, SourceKind, join, provenance
from agentops.wire.canonical import canonical
from agentops.wire.parse import JSON, pointer_token

SHOWN: Final = 300
"""Characters of one value on the page of the run; the page of the artifact has the whole of it."""

TASK: Final = "input"
"""Stands for the task where the other artifacts have the id of the call that returned them."""

ANSWER: Final = "the answer"


@dataclass(frozen=True, slots=True)
class Value:
    """One named value of an artifact.

    `kind` is its type in words, `size` the bytes of its canonical JSON, `text` is cut when `cut` says so. `edited`: a
    reviewer wrote it. `used_by` are the step and argument (`refund.amount_minor`) of every call that was made with it.
    """

    name: str
    kind: str
    text: str
    cut: bool
    size: int = 0
    untrusted: bool = False
    edited: bool = False
    used_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Artifact:
    """What one successful call has returned; `edited` are the arguments it ran with that a reviewer wrote."""

    step_id: str
    tool: str
    values: tuple[Value, ...]
    call_id: str = ""
    edited: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class Whole:
    """One value in full and where it comes from: `digest` is SHA-256 of the text, `sources` are (kind, ref, path)."""

    value: Value
    text: str
    digest: str
    sources: tuple[tuple[SourceKind, str, str], ...]
    made_by: str
    step_id: str


def objective(state: State) -> tuple[Value, ...]:
    """Return the members of the task as it was submitted; operators typed them."""
    task = state.submitted.input if state.submitted is not None else {}
    used = uses(state)
    return tuple(_value(name, member, used_by=used.get((TASK, name), ())) for name, member in task.items())


def artifacts(state: State) -> tuple[Artifact, ...]:
    """Return the outputs of the calls that succeeded, in the order they were selected."""
    used = uses(state)
    done = (call for call in state.calls.values() if call.state is CallState.SUCCEEDED)
    return tuple(
        Artifact(call.step_id, call.tool, tuple(_outputs(call, used)), call.call_id, tuple(_edited(call)))
        for call in done
    )


def whole(state: State, call_id: str, name: str) -> Whole | None:
    """Return one value of an artifact in full; None when the run has no such value. `name` is empty for no member."""
    call = state.calls.get(call_id)
    if call_id == TASK and state.submitted is not None and name in state.submitted.input:
        source = provenance(SourceKind.OPERATOR, state.submitted.requested_by, f"/input/{pointer_token(name)}")
        [value] = (one for one in objective(state) if one.name == name)
        return _whole(value, state.submitted.input[name], source, "", "")
    if call is None or call.state is not CallState.SUCCEEDED:
        return None
    if isinstance(call.output, dict):
        if name not in call.output:
            return None
        member: JSON = call.output[name]
    elif name:
        return None
    else:
        member = call.output
    value = next(one for one in _outputs(call, uses(state)) if one.name == name)
    return _whole(value, member, output_provenance(call, (name,) if name else ()), call.tool, call.step_id)


def uses(state: State) -> Mapping[tuple[str, str], tuple[str, ...]]:
    """Return who used what: (call id or `input`, member) -> the arguments that refer to it, of calls that were made.

    Read from the references of the plans; what a model copied by hand into a later plan has no reference.
    """
    found: dict[tuple[str, str], dict[str, None]] = {}
    for plan in state.plans:
        for user, ref in _references(state, plan):
            for place in _places(state, ref):
                found.setdefault(place, {})[user] = None
    return {place: tuple(users) for place, users in found.items()}


def _references(state: State, plan: Plan) -> Iterator[tuple[str, Ref]]:
    for step in plan.steps:
        for index, call in enumerate(step.calls):
            if f"{plan.version}.{step.id}.{index}" in state.calls:
                for name, tree in call.arguments.members:
                    yield from ((f"{step.id}.{name}", ref) for ref in refs_of(tree))
    if state.state is RunState.SUCCEEDED and plan is state.plan:
        for answer in plan.answers:
            yield from ((ANSWER, ref) for ref in refs_of(answer.text))


def _places(state: State, ref: Ref) -> Iterator[tuple[str, str]]:
    """Yield every member that a reference covers; one to a whole output covers all of it."""
    if ref.base == TASK:
        task = state.submitted.input if state.submitted is not None else {}
        yield from ((TASK, name) for name in (ref.path[:1] or task))
        return
    step = state.steps.get(ref.step_id or "")
    if step is None or not ref.base.endswith(".output"):
        return
    calls, path = step.call_ids, ref.path
    if len(calls) > 1 and path:
        index = int(path[0]) if path[0].isdecimal() and len(path[0]) < 9 else len(calls)
        calls, path = calls[index : index + 1], path[1:]
    for call_id in calls:
        output = state.calls[call_id].output
        yield from ((call_id, name) for name in (path[:1] or (output if isinstance(output, dict) else ("",))))


def _outputs(call: Call, used: Mapping[tuple[str, str], tuple[str, ...]]) -> Iterator[Value]:
    members: Mapping[str, JSON] = call.output if isinstance(call.output, dict) else {"": call.output}
    for name, member in members.items():
        untrusted = output_provenance(call, (name,) if name else ()).untrusted
        yield _value(name, member, untrusted=untrusted, used_by=used.get((call.call_id, name), ()))


def _edited(call: Call) -> Iterator[Value]:
    """Yield the top-level arguments in which a reviewer's words stand."""
    arguments = call.arguments if isinstance(call.arguments, dict) else {}
    for name, member in arguments.items():
        place = f"/{pointer_token(name)}"
        if any(path in ("", place) or path.startswith(f"{place}/") for path in call.edited):
            within = [known for at, known in call.provenance.items() if at == place or at.startswith(f"{place}/")]
            yield _value(name, member, untrusted=join(within).untrusted, edited=True)


def _whole(value: Value, member: JSON, came_from: Provenance, made_by: str, step_id: str) -> Whole:
    text = _text(member)
    sources = tuple((source.kind, source.ref, source.path) for source in came_from.sources)
    return Whole(value, text, sha256(text.encode("utf-8", "surrogatepass")).hexdigest(), sources, made_by, step_id)


def _value(
    name: str, value: JSON, *, untrusted: bool = False, edited: bool = False, used_by: tuple[str, ...] = ()
) -> Value:
    text = _text(value)
    size = len(canonical(value).encode())
    return Value(name, kind_of(value), text[:SHOWN], len(text) > SHOWN, size, untrusted, edited, used_by)


def _text(value: JSON) -> str:
    return value if isinstance(value, str) else canonical(value)


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
