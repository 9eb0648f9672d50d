"""`manage.py gate_trace FILE`: what the gate says of an agent's recorded calls; no model, no database."""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from agentops.guardrails.text import printable, surface
from agentops.wire.parse import JSON, JSONObject
from approvals.traces.trace import run_trace
from approvals.traces.trace_format import BadTrace, TraceIssue, read_trace, schema


class Command(BaseCommand):
    """Read one trace from a JSON file, or one a line from a .jsonl file, and print what the gate says of each."""

    help = "Put an agent's recorded calls before the gate. The format is that of --schema; see README."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the file and the form of the answer."""
        parser.add_argument("file", nargs="?", help="a .json or .jsonl file, or - for standard input")
        parser.add_argument("--text", action="store_true", help="a readable form instead of JSON")
        parser.add_argument("--schema", action="store_true", help="print the JSON Schema of the format")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print one answer a trace; exit with 2 if one of them could not be read."""
        if options["schema"]:
            self.stdout.write(json.dumps(schema(), indent=2))
            return
        bad = False
        for number, raw in _traces(options["file"]):
            answer, failed = _answered(raw, number)
            bad = bad or failed
            self.stdout.write(readable(answer) if options["text"] else json.dumps(answer, ensure_ascii=True))
        if bad:
            sys.exit(2)


def _traces(name: str | None) -> Iterator[tuple[int, bytes | BadTrace]]:
    """Yield the number of its line (0: the whole file) and each trace as it is written."""
    try:
        raw = sys.stdin.buffer.read() if name == "-" else Path(name or "").read_bytes()
    except OSError as error:
        message = f"The file cannot be read ({error.strerror or type(error).__name__})."
        yield 0, BadTrace([TraceIssue("", "unreadable_file", message)])
        return
    if name is None or not name.endswith(".jsonl"):
        yield 0, raw
        return
    for number, line in enumerate(raw.split(b"\n"), start=1):
        if line.strip():
            yield number, line


def _answered(raw: bytes | BadTrace, number: int) -> tuple[JSONObject, bool]:
    where: JSONObject = {"line": number} if number else {}
    try:
        if isinstance(raw, BadTrace):
            raise raw
        return {**where, **run_trace(read_trace(raw))}, False
    except BadTrace as error:
        return {**where, **error.to_json()}, True


def readable(answer: JSONObject) -> str:
    """Return an answer as lines for a person; nothing in them can hide or colour anything."""
    return "\n".join(printable(surface(line)).replace("\x1b", "") for line in _lines(answer))


def _lines(answer: JSONObject) -> Iterator[str]:
    if (error := answer.get("error")) is not None:
        for issue in _rows(error, "issues"):
            yield f"{issue['path'] or '/'}: {issue['message']} ({issue['code']})"
        return
    for call in _rows(answer, "calls"):
        step = f" as step {call['step']}" if call["step"] else " outside of the plan"
        yield f"{str(call['verdict']).upper():5}  {call['tool']}{step}: {call['rule']}"
        for reason in call["reasons"]:
            yield f"       {_line(reason)}"
        for one in call["policy"]:
            yield f"       policy rule {_line(one['rule'])}: {_line(one['says'])}"
        for path in call["attacked"]:
            yield f"       attacked: {_line(path)}"
        if "screen" in call:
            shown = call["screen"]
            yield f"       a person reads: {_line(shown['sentence'])}"
            yield f"       consequence: {_line(shown['consequence']['summary'])}"
            for warning in shown["consequence"]["warnings"]:
                yield f"       warning: {_line(warning)}"
            yield f"       risk: {shown['risk']['band']} ({shown['risk']['score']})"
            yield f"       and says: {call['decision']}"
    summary = answer["summary"]
    assert isinstance(summary, dict)
    yield ", ".join(f"{name} {count}" for name, count in summary.items())


def _rows(answer: JSON, name: str) -> "list[Any]":
    rows = answer.get(name) if isinstance(answer, dict) else None
    return rows if isinstance(rows, list) else []


def _line(text: object) -> str:
    return " ".join(str(text).split())
