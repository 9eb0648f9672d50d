"""A Plan: steps whose argument leaves are literals, references to earlier values, or text made of both.

Written form (JSON), the same in playbooks, in model answers and in recorded events:

    {"steps": [{"id": "order", "tool": "shop.find_order",
                "arguments": {"order_ref": {"$ref": "steps.triage.output.order_ref"}},
                "when": "steps.triage.output.intent == 'refund'", "expect": "output.found"}],
     "answers": [{"when": "steps.refund.outcome == 'succeeded'",
                  "text": {"$text": ["Refunded order ", {"$ref": "steps.order.output.order_ref"}]}}]}

A reference is `input...`, `steps.<id>.output...`, `steps.<id>.outcome`, `.code` or `.note` of an *earlier* step.
References never add steps, so nothing that a tool returns can change what a plan does (CaMeL, plan then execute).
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from typing import Final

from agentops.engine.conditions import ConditionError, check_condition, steps_named_in
from agentops.guardrails.provenance import CONSTANT, Provenance, join
from agentops.wire.canonical import canonical
from agentops.wire.parse import JSON, JSONObject, is_plain

STEP_ID: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_REF: Final = re.compile(
    r"(input|steps\.[a-z][a-z0-9_]{0,39}\.(?:output|outcome|code|note))((?:\.[A-Za-z0-9_]{1,64}){0,16})"
)
MAX_TREE_DEPTH: Final = 16
MAX_PLAN_STEPS: Final = 1000


@dataclass(frozen=True, slots=True)
class PlanIssue:
    """One thing wrong with a written plan: JSON pointer, stable code, sentence."""

    path: str
    code: str
    message: str

    def to_json(self) -> JSONObject:
        return {"path": self.path, "code": self.code, "message": self.message}


class InvalidPlan(ValueError):
    """A written plan cannot be used; `issues` says why, all of it."""

    def __init__(self, issues: Sequence[PlanIssue]) -> None:
        super().__init__("; ".join(f"{i.path or '/'}: {i.message}" for i in issues))
        self.issues = tuple(issues)


@dataclass(frozen=True, slots=True)
class Literal:
    """A scalar the planner wrote."""

    value: bool | int | float | str | None


@dataclass(frozen=True, slots=True)
class Ref:
    """A value of an earlier step or of the task: `base` is `input` or `steps.<id>.<part>`, `path` the keys below it."""

    base: str
    path: tuple[str, ...] = ()

    @property
    def step_id(self) -> str | None:
        return self.base.split(".")[1] if self.base.startswith("steps.") else None

    def __str__(self) -> str:
        return ".".join((self.base, *self.path))


@dataclass(frozen=True, slots=True)
class Text:
    """Text joined from literal pieces and references."""

    parts: tuple["str | Ref", ...]


@dataclass(frozen=True, slots=True)
class ObjectTree:
    members: tuple[tuple[str, "Tree"], ...]


@dataclass(frozen=True, slots=True)
class ArrayTree:
    items: tuple["Tree", ...]


Tree = Literal | Ref | Text | ObjectTree | ArrayTree


class OnFailure(StrEnum):
    """What a failed, denied or unverified step means for the run."""

    FAIL = "fail"
    CONTINUE = "continue"


@dataclass(frozen=True, slots=True)
class PlannedCall:
    tool: str
    arguments: ObjectTree


@dataclass(frozen=True, slots=True)
class Step:
    """One turn of the loop: one or more calls, run only when `when` holds, good only when `expect` holds."""

    id: str
    calls: tuple[PlannedCall, ...]
    when: str = ""
    expect: str = ""
    on_failure: OnFailure = OnFailure.FAIL
    why: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    text: Tree
    when: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """A version of a plan; `raw` is its written form, `planner` names who made it."""

    version: int
    planner: str
    steps: tuple[Step, ...]
    answers: tuple[Answer, ...]
    raw: JSONObject = field(hash=False, compare=False)


def refs_of(tree: Tree) -> Iterator[Ref]:
    """Yield every reference in a tree."""
    match tree:
        case Ref():
            yield tree
        case Text(parts):
            yield from (part for part in parts if isinstance(part, Ref))
        case ObjectTree(members):
            for _, child in members:
                yield from refs_of(child)
        case ArrayTree(items):
            for child in items:
                yield from refs_of(child)
        case Literal():
            pass


# --- reading the written form ---------------------------------------------------------------------------------------


def parse_ref(raw: str) -> Ref:
    """Read `steps.find_order.output.total`; raises ValueError."""
    found = _REF.fullmatch(raw)
    if found is None:
        raise ValueError(f"not a reference: {raw[:80]!r}")
    base, rest = found.group(1), tuple(found.group(2).split(".")[1:])
    if rest and not (base == "input" or base.endswith(".output")):
        raise ValueError(f"{base} has no members")
    return Ref(base, rest)


def _object(raw: JSON) -> JSONObject:
    return raw if isinstance(raw, dict) else {}


class _Reader:
    """Collects every issue of one written plan instead of stopping at the first."""

    def __init__(
        self,
        known_steps: frozenset[str],
        known_tool: Callable[[str], bool] | None,
        calls_per_step: int,
        functions: frozenset[str] | None,
    ) -> None:
        self.functions = functions
        self.issues: list[PlanIssue] = []
        self.steps: set[str] = set(known_steps)
        self.known_tool = known_tool
        self.calls_per_step = calls_per_step

    def issue(self, path: str, code: str, message: str) -> None:
        self.issues.append(PlanIssue(path, code, message))

    def tree(self, raw: JSON, path: str, depth: int = 0) -> Tree:
        if depth > MAX_TREE_DEPTH:
            self.issue(path, "too_deep", f"arguments may be {MAX_TREE_DEPTH} levels deep")
            return Literal(None)
        match raw:
            case None | bool() | int() | float() | str():
                return Literal(raw)
            case list():
                return ArrayTree(tuple(self.tree(item, f"{path}/{i}", depth + 1) for i, item in enumerate(raw)))
            case {"$ref": str(ref)} if len(_object(raw)) == 1:
                return self.ref(ref, f"{path}/$ref")
            case {"$text": list(parts)} if len(_object(raw)) == 1:
                return Text(tuple(self.text_part(part, f"{path}/$text/{i}") for i, part in enumerate(parts)))
            case dict():
                return self.object(raw, path, depth)

    def object(self, raw: JSONObject, path: str, depth: int) -> ObjectTree:
        for key in raw:
            if key.startswith("$"):
                self.issue(f"{path}/{key}", "unknown_form", "only $ref and $text, alone in their object, are known")
        return ObjectTree(tuple((key, self.tree(child, f"{path}/{key}", depth + 1)) for key, child in raw.items()))

    def text_part(self, raw: JSON, path: str) -> str | Ref:
        match raw:
            case str():
                return raw
            case {"$ref": str(ref)} if len(_object(raw)) == 1:
                return self.ref(ref, f"{path}/$ref")
            case _:
                self.issue(path, "unknown_form", "text is made of strings and references")
                return ""

    def ref(self, raw: str, path: str) -> Ref:
        try:
            ref = parse_ref(raw)
        except ValueError as error:
            self.issue(path, "invalid_reference", str(error))
            return Ref("input")
        if ref.step_id is not None and ref.step_id not in self.steps:
            self.issue(path, "unknown_step", f"{ref.step_id} is not an earlier step")
        return ref

    def condition(self, raw: JSON, path: str, roots: frozenset[str]) -> str:
        if raw in (None, ""):
            return ""
        if not isinstance(raw, str):
            self.issue(path, "invalid_condition", "a condition is a CEL expression in a string")
            return ""
        try:
            check_condition(raw, roots, functions=self.functions)
        except ConditionError as error:
            self.issue(path, error.code, str(error))
        for name in steps_named_in(raw):
            if name not in self.steps:
                self.issue(path, "unknown_step", f"{name} is not an earlier step")
        return raw

    def string(self, raw: JSON, path: str, limit: int) -> str:
        if raw is None:
            return ""
        if not isinstance(raw, str) or len(raw) > limit:
            self.issue(path, "invalid_text", f"must be text of at most {limit} characters")
            return ""
        return raw

    def call(self, raw: JSON, path: str) -> PlannedCall:
        if not isinstance(raw, dict) or not set(raw) <= {"tool", "arguments"}:
            self.issue(path, "invalid_call", "a call has a tool and arguments")
            return PlannedCall("", ObjectTree(()))
        tool, arguments = raw.get("tool"), raw.get("arguments", {})
        if not isinstance(tool, str) or not 0 < len(tool) <= 64:
            self.issue(f"{path}/tool", "invalid_call", "the name of a tool is missing")
            tool = ""
        elif self.known_tool is not None and not self.known_tool(tool):
            self.issue(f"{path}/tool", "unknown_tool", f"there is no tool {tool!r}")
        if not isinstance(arguments, dict):
            self.issue(f"{path}/arguments", "invalid_call", "arguments must be an object")
            arguments = {}
        return PlannedCall(tool, self.object(arguments, f"{path}/arguments", 0))

    def step(self, raw: JSON, path: str) -> Step | None:
        if not isinstance(raw, dict):
            self.issue(path, "invalid_step", "a step must be an object")
            return None
        for key in set(raw) - {"id", "tool", "arguments", "calls", "when", "expect", "on_failure", "why"}:
            self.issue(f"{path}/{key}", "unknown_key", f"a step has no {key!r}")
        step_id = raw.get("id")
        if not isinstance(step_id, str) or STEP_ID.fullmatch(step_id) is None:
            self.issue(f"{path}/id", "invalid_step", "the id must match [a-z][a-z0-9_]{0,39}")
            return None
        if step_id in self.steps:
            self.issue(f"{path}/id", "duplicate_step", f"{step_id} is used twice")
        when = self.condition(raw.get("when"), f"{path}/when", frozenset({"input", "steps", "done"}))
        if "calls" in raw:
            calls_raw = raw["calls"]
            if "tool" in raw or not isinstance(calls_raw, list) or not calls_raw:
                self.issue(f"{path}/calls", "invalid_step", "a step has either a tool or a list of calls")
                calls_raw = []
            calls = tuple(self.call(call, f"{path}/calls/{i}") for i, call in enumerate(calls_raw))
        else:
            calls = (self.call({k: raw[k] for k in ("tool", "arguments") if k in raw}, path),)
        if len(calls) > self.calls_per_step:
            self.issue(f"{path}/calls", "limit_calls", f"at most {self.calls_per_step} calls per step")
        expect = self.condition(raw.get("expect"), f"{path}/expect", frozenset({"input", "steps", "done", "output"}))
        on_failure = raw.get("on_failure", OnFailure.FAIL.value)
        if on_failure not in [o.value for o in OnFailure]:
            self.issue(f"{path}/on_failure", "invalid_step", "must be fail or continue")
            on_failure = OnFailure.FAIL.value
        self.steps.add(step_id)
        return Step(
            step_id, calls, when, expect, OnFailure(str(on_failure)), self.string(raw.get("why"), f"{path}/why", 2000)
        )

    def answer(self, raw: JSON, path: str) -> Answer | None:
        if not isinstance(raw, dict) or not set(raw) <= {"when", "text"} or "text" not in raw:
            self.issue(path, "invalid_answer", "an answer has a text and perhaps a when")
            return None
        when = self.condition(raw.get("when"), f"{path}/when", frozenset({"input", "steps", "done"}))
        tree = self.tree(raw["text"], f"{path}/text")
        if isinstance(tree, ObjectTree | ArrayTree):
            self.issue(f"{path}/text", "invalid_answer", "an answer is text")
        return Answer(tree, when)


def parse_plan(
    raw: JSON,
    *,
    version: int,
    planner: str,
    max_steps: int = MAX_PLAN_STEPS,
    calls_per_step: int = 16,
    known_steps: frozenset[str] = frozenset(),
    known_tool: Callable[[str], bool] | None = None,
    functions: frozenset[str] | None = None,
) -> Plan:
    """Read a written plan; `known_steps` are those of earlier versions, which references may name.

    `functions` are those its conditions may call; recorded plans are read without asking.

    Raises InvalidPlan with every issue found. The same text is read once: runs of one playbook share its plan.
    """
    if known_tool is None and is_plain(raw):
        read = _read(canonical(raw), max_steps, calls_per_step, known_steps, functions)
        return replace(read, version=version, planner=planner)
    return _parse(raw, version, planner, max_steps, calls_per_step, known_steps, known_tool, functions)


@lru_cache(maxsize=512)
def _read(
    text: str, max_steps: int, calls_per_step: int, known_steps: frozenset[str], functions: frozenset[str] | None
) -> Plan:
    return _parse(json.loads(text), 0, "", max_steps, calls_per_step, known_steps, None, functions)


def _parse(
    raw: JSON,
    version: int,
    planner: str,
    max_steps: int,
    calls_per_step: int,
    known_steps: frozenset[str],
    known_tool: Callable[[str], bool] | None,
    functions: frozenset[str] | None,
) -> Plan:
    if not isinstance(raw, dict):
        raise InvalidPlan([PlanIssue("", "invalid_plan", "a plan must be an object")])
    reader = _Reader(known_steps, known_tool, calls_per_step, functions)
    for key in set(raw) - {"steps", "answers"}:
        reader.issue(f"/{key}", "unknown_key", f"a plan has no {key!r}")
    raw_steps, raw_answers = raw.get("steps"), raw.get("answers", [])
    if not isinstance(raw_steps, list):
        reader.issue("/steps", "invalid_plan", "steps must be a list")
        raw_steps = []
    if len(raw_steps) > max_steps:
        reader.issue("/steps", "limit_steps", f"at most {max_steps} steps")
        raw_steps = raw_steps[:max_steps]
    if not isinstance(raw_answers, list):
        reader.issue("/answers", "invalid_plan", "answers must be a list")
        raw_answers = []
    steps = [reader.step(step, f"/steps/{i}") for i, step in enumerate(raw_steps)]
    answers = [reader.answer(answer, f"/answers/{i}") for i, answer in enumerate(raw_answers)]
    if not steps and not answers:
        reader.issue("", "invalid_plan", "a plan without steps must at least answer")
    if reader.issues:
        raise InvalidPlan(reader.issues)
    return Plan(version, planner, tuple(s for s in steps if s), tuple(a for a in answers if a), raw)


# --- resolving references -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Missing:
    """A reference that has no value: its step did not succeed or its output has no such member."""

    ref: Ref


@dataclass(frozen=True, slots=True)
class Resolved:
    """A value and the provenance of each of its leaves, by JSON pointer."""

    value: JSON
    provenance: Mapping[str, Provenance]

    @property
    def joined(self) -> Provenance:
        return join(self.provenance.values())


Lookup = Callable[[Ref], "tuple[JSON, Provenance] | Missing"]


def resolve(tree: Tree, lookup: Lookup, literal: Provenance) -> Resolved | Missing:
    """Fill a tree's references; `literal` is the provenance of what the planner itself wrote."""
    provenance: dict[str, Provenance] = {}

    def fill(node: Tree, path: str) -> "JSON | Missing":
        match node:
            case Literal(scalar):
                provenance[path] = literal
                return scalar
            case Ref():
                found = lookup(node)
                if isinstance(found, Missing):
                    return found
                provenance[path] = found[1]
                return found[0]
            case Text(parts):
                return fill_text(parts, path)
            case ObjectTree(members):
                filled: JSONObject = {}
                for key, child in members:
                    value = fill(child, f"{path}/{_escape(key)}")
                    if isinstance(value, Missing):
                        return value
                    filled[key] = value
                return filled
            case ArrayTree(items):
                array: list[JSON] = []
                for i, child in enumerate(items):
                    value = fill(child, f"{path}/{i}")
                    if isinstance(value, Missing):
                        return value
                    array.append(value)
                return array

    def fill_text(parts: tuple[str | Ref, ...], path: str) -> "JSON | Missing":
        pieces: list[str] = []
        sources: list[Provenance] = []
        for part in parts:
            if isinstance(part, str):
                pieces.append(part)
                sources.append(literal)
                continue
            found = lookup(part)
            if isinstance(found, Missing):
                return found
            pieces.append(as_text(found[0]))
            sources.append(found[1])
        provenance[path] = join(sources) if sources else CONSTANT
        return "".join(pieces)

    value = fill(tree, "")
    return value if isinstance(value, Missing) else Resolved(value, provenance)


def as_text(value: JSON) -> str:
    """Show a scalar inside text: strings as they are, nothing for null, JSON otherwise."""
    match value:
        case str():
            return value
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case _:
            return canonical(value)


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


# --- confinement ----------------------------------------------------------------------------------------------------


def confined(call: PlannedCall, earlier: Sequence[Plan], authority: Mapping[str, frozenset[str]]) -> bool:
    """Whether a replan's call stays within earlier plans: same tool, the same tree in every authority argument.

    After untrusted text was read a new plan may only narrow what happens (monotonic confinement, Progent). `authority`
    maps each tool to the names of its authority parameters; a tool that is not in it is never confined.
    """
    names = authority.get(call.tool)
    if names is None:
        return False
    wanted = {key: tree for key, tree in call.arguments.members if key in names}
    return any(
        planned.tool == call.tool and {key: tree for key, tree in planned.arguments.members if key in names} == wanted
        for plan in earlier
        for step in plan.steps
        for planned in step.calls
    )
