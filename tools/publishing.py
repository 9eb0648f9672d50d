"""Published contracts: what a version said when it was first out, and that it says the same today.

Two records: `tools/published.json`, which is part of the source (a version of it cannot be registered with another
content, so that no process starts), and the table `PublishedContract`, which says what ran in this installation.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from agentops.wire.canonical import canonical
from agentops.wire.canonical import digest as wire_digest
from agentops.wire.parse import JSONObject, as_object, parse_json

from .contracts import ContractError, ToolContract, parse_version

FILE: Final = Path(__file__).with_name("published.json")
MAX_BYTES: Final = 8_000_000


class ContractChanged(ContractError):
    """Raised when a published version says something else now."""


@dataclass(frozen=True, slots=True)
class Published:
    """One published version: its digest, its content, and since when (a date or moment in ISO 8601)."""

    tool: str
    version: str
    digest: str
    since: str
    body: Mapping[str, Any]


def read(path: Path = FILE) -> list[Published]:
    """Return what a file publishes, by tool and version. Raises `ContractChanged` where a body is not its digest's."""
    if not path.exists():
        return []
    raw = as_object(parse_json(path.read_bytes(), max_bytes=MAX_BYTES))
    found = []
    for key, entry in raw.items():
        one = as_object(entry)
        body = as_object(one["contract"])
        if wire_digest(body) != one["digest"]:
            raise ContractChanged(f"{path.name}: the content of {key} is not what its digest says")
        found.append(Published(str(body["name"]), str(body["version"]), str(one["digest"]), str(one["since"]), body))
    return sorted(found, key=lambda one: (one.tool, parse_version(one.version)))


@lru_cache(maxsize=1)
def digests() -> Mapping[tuple[str, str], str]:
    """Return the digest of every version that the source publishes."""
    return {(one.tool, one.version): one.digest for one in read()}


def refuse_change(contract: ToolContract) -> None:
    """Raise `ContractChanged` if the source publishes this version with another content."""
    published = digests().get((contract.name, contract.version))
    if published is not None and published != contract.digest:
        raise ContractChanged(
            f"{contract.name} {contract.version} is published and says something else now; give it a new version"
        )


def write(contracts: Iterable[ToolContract], *, today: str, path: Path = FILE) -> list[str]:
    """Add the contracts that a file does not have yet, and name them. Raises `ContractChanged`; nothing is replaced."""
    known = {(one.tool, one.version): one for one in read(path)}
    added = []
    for contract in contracts:
        found = known.get((contract.name, contract.version))
        if found is None:
            known[contract.name, contract.version] = Published(
                contract.name, contract.version, contract.digest, today, contract.to_json()
            )
            added.append(f"{contract.name} {contract.version}")
        elif found.digest != contract.digest:
            raise ContractChanged(f"{contract.name} {contract.version} is published and says something else now")
    rows = sorted(known.values(), key=lambda one: (one.tool, parse_version(one.version)))
    entries = {
        f"{one.tool} {one.version}": {"digest": one.digest, "since": one.since, "contract": dict(one.body)}
        for one in rows
    }
    if added:
        path.write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        digests.cache_clear()
    return added


# --- this installation ----------------------------------------------------------------------------------------------


def changed_here(contracts: Iterable[ToolContract]) -> list[str]:
    """Name the contracts that this installation has seen with another content. One query."""
    from .models import PublishedContract

    seen = {(row.tool, row.version): row.digest for row in PublishedContract.objects.only("tool", "version", "digest")}
    return [
        f"{one.name} {one.version}" for one in contracts if seen.get((one.name, one.version), one.digest) != one.digest
    ]


def record(contracts: Iterable[ToolContract]) -> int:
    """Write down the versions this installation has not seen yet; return how many. Raises `ContractChanged`."""
    from .models import PublishedContract

    listed = list(contracts)
    if changed := changed_here(listed):
        raise ContractChanged(f"published here with another content: {', '.join(changed)}; give it a new version")
    seen = set(PublishedContract.objects.values_list("tool", "version"))
    new = [
        PublishedContract(tool=one.name, version=one.version, digest=one.digest, body=canonical(one.to_json()))
        for one in listed
        if (one.name, one.version) not in seen
    ]
    PublishedContract.objects.bulk_create(new, ignore_conflicts=True)
    return len(new)


def versions_here(tool: str) -> list[Published]:
    """Return every version of a tool that this installation has seen, the newest number first. One query."""
    from .models import PublishedContract

    rows = PublishedContract.objects.filter(tool=tool)
    found: list[Published] = []
    for row in rows:
        body: JSONObject = as_object(parse_json(row.body))
        found.append(Published(row.tool, row.version, row.digest, row.published_at.isoformat(), body))
    return sorted(found, key=lambda one: parse_version(one.version), reverse=True)
