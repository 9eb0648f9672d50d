"""What is wrong with the contracts of a registry, for CI: rules every contract keeps, and the numbers of versions."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from agentops.wire.parse import JSONObject

from . import schema
from .compatibility import compare, version_problem
from .contracts import ContractError, Effect, ToolContract, parse_version, sentence_fields
from .publishing import Published
from .registry import Registry


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, with a code for programs and a sentence for people."""

    tool: str
    version: str
    code: str
    message: str

    def to_json(self) -> JSONObject:
        return {"tool": self.tool, "version": self.version, "code": self.code, "message": self.message}


def problems(tools: Registry, published: Iterable[Published]) -> list[Problem]:
    """Return everything that is wrong, by tool and version. `published` is what the source has published."""
    listed = list(published)
    found: list[Problem] = []
    for contract in tools.all_versions():
        own = [*_rules(contract, tools), *_versions(contract, listed)]
        found += (Problem(contract.name, contract.version, code, message) for code, message in own)
    registered = {(one.name, one.version) for one in tools.all_versions()}
    found += (
        Problem(one.tool, one.version, "gone", "It is published and no longer registered; calls that wait for it fail.")
        for one in listed
        if (one.tool, one.version) not in registered
    )
    return found


def _rules(contract: ToolContract, tools: Registry) -> Iterator[tuple[str, str]]:
    for side, part in (("input", contract.input_schema), ("output", contract.output_schema)):
        try:
            schema.assert_strict(part, where=side)
        except ContractError as error:
            yield "not_strict", str(error)
    if missing := set(contract.parameters) - set(contract.roles):
        yield "role_missing", f"These parameters have no role: {', '.join(sorted(missing))}."
    named = {name for field in sentence_fields(contract.sentence) for name in (field.argument, field.parameter)}
    if left_out := [name for name in contract.authority if name not in named]:
        yield "sentence_incomplete", f"The sentence does not name {', '.join(left_out)}, which decide where it lands."
    if not contract.description.endswith("."):
        yield "no_description", "The description is no sentence."
    yield from _example(contract, tools)
    if contract.writes and not tools.has_preview(contract.name, contract.version):
        yield "no_preview", "Nothing says what a call would touch."
    if contract.writes and not contract.promises.sinks:
        yield "no_sink", "It writes, and does not say where."
    if contract.sensitivity and not contract.must_see:
        yield "nothing_to_see", "It is sensitive, and no parameter has to be seen."
    undo = contract.promises.undo_tool
    if undo and (found := tools.get(undo)) is None:
        yield "undo_missing", f"There is no tool {undo} to take it back with."
    elif undo and found is not None and found.effect is Effect.READ:
        yield "undo_reads", f"{undo} only reads and takes nothing back."


def _example(contract: ToolContract, tools: Registry) -> Iterator[tuple[str, str]]:
    example = tools.example(contract.name)
    if example is None:
        yield "no_example", "There is no example of a call."
        return
    for issue in schema.compile(contract.input_schema).validate(example):
        yield "bad_example", f"The example does not fit: {issue.path or '/'}: {issue.message}"
    for message in contract.bounds.exceeded(example):
        yield "bad_example", f"The example is beyond a bound: {message}"


def _versions(contract: ToolContract, published: list[Published]) -> Iterator[tuple[str, str]]:
    versions = {one.version: one for one in published if one.tool == contract.name}
    same = versions.get(contract.version)
    if same is not None:
        if same.digest != contract.digest:
            words = "; ".join(one.words for one in compare(same.body, contract.to_json())[:3])
            yield "changed", f"It is published and says something else now: {words}"
        return
    yield "not_published", "It is not in the file of published versions; `contracts publish` puts it there."
    number = parse_version(contract.version)
    lower = [one for one in versions.values() if parse_version(one.version) < number]
    if not lower:
        return
    before = max(lower, key=lambda one: parse_version(one.version))
    if problem := version_problem(before.body, contract.to_json()):
        yield "version_too_low", f"After {before.version} it {problem}"
