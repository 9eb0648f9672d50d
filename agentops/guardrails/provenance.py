"""Where a value came from, carried with the value and never re-derived from its text.

The lattice follows FIDES and CaMeL: joining takes the lower integrity and the intersection of readers.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from agentops.wire.parse import JSON, JSONObject


class Integrity(StrEnum):
    """Whether an attacker may have chosen the value."""

    TRUSTED = "trusted"
    UNTRUSTED = "untrusted"


class SourceKind(StrEnum):
    """What kind of thing a value was read from."""

    OPERATOR = "operator"
    REVIEWER = "reviewer"
    CONSTANT = "constant"
    TOOL = "tool"
    MODEL = "model"
    FACT = "fact"


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """One origin: `ref` names it (a call id, a playbook version, a person), `path` is the JSON pointer inside it."""

    kind: SourceKind
    ref: str
    path: str = ""

    def to_json(self) -> JSONObject:
        return {"kind": self.kind.value, "ref": self.ref, "path": self.path}

    @classmethod
    def from_json(cls, raw: Mapping[str, JSON]) -> Self:
        return cls(SourceKind(str(raw["kind"])), str(raw["ref"]), str(raw.get("path", "")))


@dataclass(frozen=True, slots=True)
class Provenance:
    """Sources (sorted, unique), integrity and readers; `readers` None means everybody in the tenant."""

    sources: tuple[Source, ...]
    integrity: Integrity
    readers: frozenset[str] | None = None
    suspicion: tuple[str, ...] = ()
    """Families of what guardrails flagged in the sources (`score.Family`), and UNSCREENED; sorted, unique."""

    @property
    def untrusted(self) -> bool:
        return self.integrity is Integrity.UNTRUSTED

    def to_json(self) -> JSONObject:
        return {
            "sources": [source.to_json() for source in self.sources],
            "integrity": self.integrity.value,
            "readers": None if self.readers is None else list[JSON](sorted(self.readers)),
            # Left out where there is none, so that what was recorded before reads and compares as it did.
            **({"suspicion": list[JSON](self.suspicion)} if self.suspicion else {}),
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, JSON]) -> Self:
        sources, readers, suspicion = raw["sources"], raw.get("readers"), raw.get("suspicion")
        if not isinstance(sources, list):
            raise ValueError("sources must be a list")
        return cls(
            sources=tuple(sorted({Source.from_json(s) for s in sources if isinstance(s, dict)})),
            integrity=Integrity(str(raw["integrity"])),
            readers=frozenset(str(r) for r in readers) if isinstance(readers, list) else None,
            suspicion=tuple(sorted({str(one) for one in suspicion})) if isinstance(suspicion, list) else (),
        )


UNSCREENED: Final = "unscreened"
"""Stands among suspicions for a text that no guardrail could look at."""


def provenance(
    kind: SourceKind, ref: str, path: str = "", *, untrusted: bool = False, readers: frozenset[str] | None = None
) -> Provenance:
    """Make the provenance of a value with one source."""
    return Provenance((Source(kind, ref, path),), Integrity.UNTRUSTED if untrusted else Integrity.TRUSTED, readers)


CONSTANT: Final = Provenance((), Integrity.TRUSTED)
"""The identity of `join`: a value that nobody chose at run time."""


def join(parts: Iterable[Provenance]) -> Provenance:
    """Combine provenances: union of sources and of suspicions, the lower integrity, the intersection of readers."""
    sources: set[Source] = set()
    suspicion: set[str] = set()
    integrity = Integrity.TRUSTED
    readers: frozenset[str] | None = None
    for part in parts:
        sources.update(part.sources)
        suspicion.update(part.suspicion)
        if part.untrusted:
            integrity = Integrity.UNTRUSTED
        if part.readers is not None:
            readers = part.readers if readers is None else readers & part.readers
    return Provenance(tuple(sorted(sources)), integrity, readers, tuple(sorted(suspicion)))


ProvenanceMap = Mapping[str, Provenance]
"""JSON pointer of an argument leaf -> its provenance."""
