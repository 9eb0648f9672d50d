"""Where a value came from, in words: its chip, its sources, and the way it took. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from agentops.guardrails.provenance import Provenance, Source, SourceKind, join
from agentops.runs.timeline import planner_words


def label_of(found: Provenance) -> str:
    """Return the chip of a provenance: operator, system, tool, agent, untrusted or mixed.

    Mixed is text put together from untrusted values and what a playbook, a model or a reviewer wrote. A value nobody
    vouches for is untrusted.
    """
    kinds = {source.kind for source in found.sources}
    if found.untrusted:
        writers = kinds & {SourceKind.CONSTANT, SourceKind.MODEL, SourceKind.REVIEWER, SourceKind.FACT}
        return "mixed" if SourceKind.TOOL in kinds and writers else "untrusted"
    if SourceKind.MODEL in kinds:
        return "agent"
    if SourceKind.TOOL in kinds:
        return "tool"
    if kinds & {SourceKind.OPERATOR, SourceKind.REVIEWER}:
        return "operator"
    return "system"


def source_words(sources: Iterable[Source], order: Mapping[str, int]) -> list[str]:
    """Say where a value came from, the last call first; `order` ranks the calls of the run by their ids."""
    named: dict[str, list[str]] = {}
    for source in sorted(sources, key=lambda one: -order.get(one.ref.partition(":")[2], -1)):
        who, part = _source_words(source)
        parts = named.setdefault(who, [])
        if part and part not in parts:
            parts.append(part)
    return [f"{who} ({', '.join(parts)})" if parts else who for who, parts in named.items()]


def _source_words(source: Source) -> tuple[str, str]:
    path = source.path.lstrip("/").replace("/", ".")
    match source.kind:
        case SourceKind.OPERATOR if path.startswith("input"):
            return "the submitted task", path.removeprefix("input").lstrip(".")
        case SourceKind.OPERATOR:
            return "a person's edit", ""
        case SourceKind.REVIEWER:
            return "a reviewer's note", ""
        case SourceKind.CONSTANT:
            return planner_words(source.ref) if ":" in source.ref else "the task type", ""
        case SourceKind.MODEL:
            return f"the words of {planner_words(source.ref.partition('#')[0])}", ""
        case SourceKind.FACT:
            return f"the stored fact {source.ref}", ""
        case SourceKind.TOOL:
            return source.ref.partition(":")[0], path


def origin_of(pointer: str, known: Mapping[str, Provenance], order: Mapping[str, int]) -> dict[str, Any]:
    """Return the chip and the sources of the argument at a pointer: {label, sources}."""
    found = joined(pointer, known)
    if found is None:
        return {"label": "untrusted", "sources": ["nobody knows where"]}
    return {"label": label_of(found), "sources": source_words(found.sources, order)}


def joined(pointer: str, known: Mapping[str, Provenance]) -> Provenance | None:
    """Return what is known about everything at or below a pointer, None for nothing."""
    parts = [one for path, one in known.items() if within(path, pointer) or path == ""]
    return join(parts) if parts else None


def within(path: str, pointer: str) -> bool:
    """Say whether a path is at or below a pointer."""
    return path == pointer or path.startswith(f"{pointer}/")


def way_of(pointer: str, known: Mapping[str, Provenance], order: Mapping[str, int]) -> list[str]:
    """Return the way an untrusted value took: its sources from the first call on, and the argument it ended in.

    Empty for a value that nothing untrusted reached, and for one that nobody knows the way of.
    """
    found = joined(pointer, known)
    if found is None or not found.untrusted:
        return []
    return [*reversed(source_words(found.sources, order)), pointer.lstrip("/").replace("/", ".")]
