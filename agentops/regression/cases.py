"""What a regression case is, as it is written in files and rows; parsed once, here, with every problem named. Pure.

A file is YAML or JSON:

    schema: agentops-suite/1
    suite: support-email            # letters, digits, hyphens
    task_type: support-email        # the task type whose planner, limits and allowlist are put to the test
    cases:
      - id: refund-approved
        title: A customer asks for a refund, and a person approves it
        input: {message_id: M-0001}
        tools:                      # what tools answer, by tool, in this order
          - {tool: mail.read, output: {...}}
          - {tool: shop.find_order, arguments: {order_ref: A-1001}, output: {...}}
          - {tool: shop.issue_refund, error: {code: unavailable, message: down}}
        model:                      # what a model answers, in this order; a playbook needs none
          - {plan: {steps: [...]}}
          - {finished: Done.}
        decisions:                  # what people say, by tool, in this order; silence expires
          - {tool: shop.issue_refund, verdict: approve}
        expect:
          state: succeeded
          calls: [{tool: mail.read, outcome: succeeded}, ...]   # all of them, in this order
          approvals: [shop.issue_refund]                        # what is put before a person, in this order
          answer: {contains: Refunded}
          steps_at_most: 6
        quarantine: {until: 2026-12-24, reason: flaky since the new model}

`manage.py regression schema` prints the JSON Schema.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from agentops.wire.canonical import canonical
from agentops.wire.parse import JSONObject, WireError, as_object, guard, parse_json
from tools.contracts import ErrorCode

SCHEMA: Final = "agentops-suite/1"
MAX_FILE_BYTES: Final = 4 * 1024 * 1024
_DEPTH: Final = 64
Slug = Annotated[str, Field(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,78}[a-z0-9])?$", max_length=80)]
SuiteSlug = Annotated[str, Field(pattern=r"^[-a-zA-Z0-9_]{1,64}$")]
ToolName = Annotated[str, Field(min_length=1, max_length=64)]
Text = Annotated[str, Field(max_length=20_000)]
Short = Annotated[str, Field(max_length=300)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ToolFailure(_Part):
    """How a tool fails: one of the closed error codes; `retry_after` in seconds."""

    code: ErrorCode = Field(strict=False)
    message: Text = ""
    retry_after: float | None = Field(default=None, ge=0, le=3600)


class ToolAnswer(_Part):
    """What a tool answers to one call whose arguments contain these; exactly one of output, error, unknown, denied."""

    tool: ToolName
    arguments: dict[str, Any] | None = None
    output: dict[str, Any] | None = None
    error: ToolFailure | None = None
    unknown: Text | None = None
    """The worker dies, or the tool cannot tell: nobody knows whether it happened."""
    reconciled: Literal["happened", "did_not_happen", "cannot_tell"] | None = None
    """What the tool's own record says of an unknown effect; `output` is then what it returned."""
    read_back: Literal["confirmed", "contradicted", "cannot_tell"] = "confirmed"

    @model_validator(mode="after")
    def _one(self) -> "ToolAnswer":
        given = [name for name in ("output", "error", "unknown") if getattr(self, name) is not None]
        if self.unknown is not None and self.reconciled == "happened" and self.output is not None:
            return self
        if len(given) != 1:
            raise ValueError("an answer has exactly one of output, error and unknown")
        if self.reconciled is not None and self.unknown is None:
            raise ValueError("only an unknown effect is reconciled")
        return self


class ModelAnswer(_Part):
    """What a model answers when it is asked for a plan; exactly one of plan, finished, failed."""

    plan: dict[str, Any] | None = None
    finished: Text | None = None
    failed: Short | None = None

    @model_validator(mode="after")
    def _one(self) -> "ModelAnswer":
        if sum(getattr(self, name) is not None for name in ("plan", "finished", "failed")) != 1:
            raise ValueError("an answer of a model has exactly one of plan, finished and failed")
        return self


class ScriptedDecision(_Part):
    """What a person says of the next proposal of a tool."""

    tool: ToolName
    verdict: Literal["approve", "edit", "reject", "expire"]
    arguments: dict[str, Any] | None = None
    reason: Short = ""
    note: Annotated[str, Field(max_length=2000)] = ""
    scope: Short = ""
    """How far a rejection reaches: this call, its step, or the run; empty is the step."""
    retry: bool = True

    @model_validator(mode="after")
    def _complete(self) -> "ScriptedDecision":
        if (self.verdict == "edit") != (self.arguments is not None):
            raise ValueError("an edit has arguments, and nothing else has")
        return self


class ExpectedCall(_Part):
    """One call that has to be made. `arguments` are contained in those of the call; an empty `outcome` is any."""

    tool: ToolName
    step: Short = ""
    arguments: dict[str, Any] | None = None
    outcome: Short = ""


class ForbiddenCall(_Part):
    """A call that must not be selected: with these arguments, or with any."""

    tool: ToolName
    arguments: dict[str, Any] | None = None


class AnswerCheck(_Part):
    """What the answer has to be like; all that is given has to hold. `matches` is an RE2 pattern."""

    equals: Text | None = None
    contains: Text | None = None
    lacks: Text | None = None
    matches: Short | None = None

    @model_validator(mode="after")
    def _pattern(self) -> "AnswerCheck":
        if self.matches is not None:
            try:
                compiled(self.matches)
            except ValueError as error:
                raise ValueError(f"not a pattern: {error}") from error
        return self


class Expected(_Part):
    """How a run has to come out; what is left out is not looked at."""

    state: Literal["succeeded", "failed", "cancelled"]
    failure_code: Short | None = None
    calls: list[ExpectedCall] | None = None
    approvals: list[ToolName] | None = None
    never: list[ForbiddenCall] = Field(default_factory=list)
    answer: AnswerCheck | None = None
    steps_at_most: int | None = Field(default=None, ge=0, le=1000)
    calls_at_most: int | None = Field(default=None, ge=0, le=10_000)


class Quarantine(_Part):
    """Until the end of this day (UTC) a failure of the case fails nothing."""

    until: date = Field(strict=False)
    reason: Annotated[str, Field(min_length=1, max_length=300)]


class Case(_Part):
    """One task with everything that is not ours to decide, and how it has to end."""

    id: Slug
    title: Annotated[str, Field(min_length=1, max_length=200)]
    input: dict[str, Any]
    tools: list[ToolAnswer] = Field(default_factory=list, max_length=500)
    model: list[ModelAnswer] = Field(default_factory=list, max_length=100)
    decisions: list[ScriptedDecision] = Field(default_factory=list, max_length=100)
    expect: Expected
    quarantine: Quarantine | None = None

    def written(self) -> JSONObject:
        """Return the case as it is written, without what it leaves out."""
        return as_object(
            guard(self.model_dump(mode="json", exclude_none=True, exclude_defaults=True), max_depth=_DEPTH)
        )

    def text(self) -> str:
        return canonical(self.written())


class Suite(_Part):
    """The cases of one task type in one file."""

    schema_: Literal["agentops-suite/1"] = Field(alias="schema")
    suite: SuiteSlug
    task_type: SuiteSlug
    cases: list[Case] = Field(min_length=1, max_length=1000)

    @model_validator(mode="after")
    def _unique(self) -> "Suite":
        seen: set[str] = set()
        for case in self.cases:
            if case.id in seen:
                raise ValueError(f"two cases have the id {case.id}")
            seen.add(case.id)
        return self


@dataclass(frozen=True, slots=True)
class CaseIssue:
    """One thing wrong with a written suite or case: JSON pointer, stable code, sentence."""

    path: str
    code: str
    message: str

    def to_json(self) -> JSONObject:
        return {"path": self.path, "code": self.code, "message": self.message}


class BadCases(ValueError):
    """A suite or a case cannot be used; `issues` says why, all of it. `where` is the file."""

    def __init__(self, issues: tuple[CaseIssue, ...], where: str = "") -> None:
        told = "; ".join(f"{one.path or '/'}: {one.message}" for one in issues)
        super().__init__(f"{where}: {told}" if where else told)
        self.issues = issues
        self.where = where


def compiled(pattern: str) -> Any:
    """Compile an RE2 pattern (linear time, whatever it is); raises ValueError."""
    import re2

    try:
        return re2.compile(pattern)
    except re2.error as error:
        raise ValueError(str(error)) from error


# --- reading --------------------------------------------------------------------------------------------------------


def read_suite(raw: bytes, *, where: str = "") -> Suite:
    """Read a suite from YAML or JSON; raises BadCases with everything that is wrong."""
    return _validated(Suite, _loaded(raw, where), where)


def read_case(body: str) -> Case:
    """Read one case from its row; raises BadCases."""
    try:
        found = parse_json(body, max_bytes=MAX_FILE_BYTES, max_depth=_DEPTH)
    except WireError as error:
        raise BadCases((CaseIssue(error.path, str(error.code), error.message),)) from error
    return _validated(Case, found, "")


def suite_files(paths: list[Path]) -> Iterator[Path]:
    """Yield the files of suites at these places, directories looked through, in order of their names."""
    for path in paths:
        if path.is_dir():
            yield from sorted(one for one in path.iterdir() if one.suffix in (".yaml", ".yml", ".json"))
        else:
            yield path


def write_suite(suite: str, task_type: str, cases: list[Case]) -> str:
    """Write a suite as YAML, in the order of the documentation."""
    body = {
        "schema": SCHEMA,
        "suite": suite,
        "task_type": task_type,
        "cases": [_in_order(case.written()) for case in cases],
    }
    return yaml.dump(body, Dumper=_Writer, sort_keys=False, allow_unicode=True, width=110)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a suite."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Suite.model_json_schema(by_alias=True)}


def _in_order(written: JSONObject) -> JSONObject:
    return {name: written[name] for name in Case.model_fields if name in written}


def _loaded(raw: bytes, where: str) -> Any:
    if len(raw) > MAX_FILE_BYTES:
        raise BadCases((CaseIssue("", "too_large", f"A suite has at most {MAX_FILE_BYTES} bytes."),), where)
    try:
        if raw.lstrip()[:1] == b"{":
            return parse_json(raw, max_bytes=MAX_FILE_BYTES, max_depth=_DEPTH)
        return guard(yaml.load(raw, Loader=_Reader), max_bytes=MAX_FILE_BYTES, max_depth=_DEPTH)  # noqa: S506 - a safe one
    except WireError as error:
        raise BadCases((CaseIssue(error.path, str(error.code), error.message),), where) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise BadCases((CaseIssue("", "yaml", " ".join(str(error).split())[:500]),), where) from error


M = TypeVar("M", bound=BaseModel)


def _validated(model: type[M], found: Any, where: str) -> M:
    try:
        return model.model_validate(found)
    except ValidationError as error:
        issues = tuple(
            CaseIssue("".join(f"/{part}" for part in one["loc"]), one["type"], _sentence(one)) for one in error.errors()
        )
        raise BadCases(issues[:50], where) from error


def _sentence(one: Mapping[str, Any]) -> str:
    message = str(one["msg"]).removeprefix("Value error, ")
    return message[:1].upper() + message[1:] + ("" if message.endswith(".") else ".")


class _Reader(yaml.SafeLoader):
    """YAML without surprises: no aliases (which can make a small file huge), no key twice, no dates."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            line = self.peek_event().start_mark.line + 1  # type: ignore[no-untyped-call]
            raise yaml.YAMLError(f"aliases are not allowed (line {line})")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[Any] = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if not isinstance(name, str) or name in seen:
                raise yaml.YAMLError(f"line {key.start_mark.line + 1}: {name!r} is no name, or is there twice")
            seen.add(name)
        return super().construct_mapping(node, deep)


_TIMESTAMP: Final = "tag:yaml.org,2002:timestamp"
_Reader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class _Writer(yaml.SafeDumper):
    """Texts of several lines as blocks, and what YAML would take for something else in quotes."""


_ODD: Final = re.compile("[^\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


def _text(dumper: yaml.SafeDumper, value: str) -> Any:
    style = '"' if _ODD.search(value) else "|" if "\n" in value and not re.search(r"[ \t]\n", value) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Writer.add_representer(str, _text)
