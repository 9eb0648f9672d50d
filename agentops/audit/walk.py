"""Walk the chains in an exported file (JSONL) without this program, its database or its keys: this file is enough.

    python3 walk.py FILE [HASH]

Prints the number and hash of the last event of every stream in the file; with HASH, as the page of an event shows it,
which event it belongs to, and so that everything up to that event is what was written. Exit code 1 if an event is
missing, a line is no event, or nothing has that hash; 2 for a wrong command.

A row's hash is SHA-256 over the 32 bytes of the hash before it and the line as it stands in the file, without its line
break. Before the first row of a stream stands SHA-256 of "agentops\\n<tenant>\\n<stream>". A row that holds several
events has the number of its last. Long texts beside an event stand in it as their own SHA-256.
"""

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO


class Broken(Exception):
    """The file does not hold whole chains: what is wrong, and in which line."""


class Link(NamedTuple):
    """One row of a stream: the number of its last event, and its hash."""

    stream: str
    seq: int
    hash: bytes


def walk(lines: Iterable[bytes]) -> list[Link]:
    """Return the links of all streams in the file, in its order; raises `Broken` at the first that does not follow."""
    links: list[Link] = []
    heads: dict[str, Link] = {}
    for number, line in enumerate(lines, start=1):
        row = _row(line, number)
        stream, seq, size = str(row["stream"]), row["seq"], len(row.get("events") or "1")
        first = f"agentops\n{row['tenant']}\n{stream}".encode()
        before = heads.get(stream) or Link(stream, 0, hashlib.sha256(first).digest())
        if seq - size != before.seq:
            raise Broken(f"line {number}: event {seq - size + 1} of {stream} follows {before.seq}; some are missing")
        heads[stream] = Link(stream, seq, hashlib.sha256(before.hash + line).digest())
        links.append(heads[stream])
    return links


def _row(line: bytes, number: int) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
        if isinstance(row, dict) and row.keys() >= {"stream", "tenant"} and isinstance(row.get("seq"), int):
            return row
    except ValueError:
        pass
    raise Broken(f"line {number} is no event")


def main(arguments: Sequence[str], out: TextIO) -> int:
    """Answer a command line."""
    if len(arguments) not in (1, 2):
        out.write("usage: python3 walk.py FILE [HASH]\n")
        return 2
    lines = Path(arguments[0]).read_bytes().split(b"\n")
    try:
        links = walk(line for line in lines if line)
    except Broken as problem:
        out.write(f"BROKEN {problem}\n")
        return 1
    out.writelines(
        f"{last.stream} whole up to event {last.seq}, hash {last.hash.hex()}\n"
        for last in {link.stream: link for link in links}.values()
    )
    if len(arguments) == 1:
        return 0
    for link in links:
        if link.hash.hex() == arguments[1].strip().lower():
            out.write(f"PROVEN {link.stream} up to event {link.seq} is what that hash was made of\n")
            return 0
    out.write("BROKEN nothing in this file has that hash\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], sys.stdout))
