"""Scan lines of JSON, one text each: what `manage.py scan` does with a line. Pure; a line never stops the next one."""

import json
from collections.abc import Sequence

from agentops.guardrails.classifier import Classifier
from agentops.guardrails.sanitise import sanitise
from agentops.guardrails.scan import scan
from agentops.guardrails.score import DEFAULT, Settings
from agentops.wire.parse import JSON, JSONObject


def scan_line(
    line: bytes, number: int, settings: Settings = DEFAULT, classifiers: Sequence[Classifier] = ()
) -> JSONObject:
    """Return what a line's text holds, or {"line", "id", "error"} for what is no {"id", "text"} object.

    The answer is {"id", "score", "flagged", "findings", "more", "sanitised", "removed", "engine"}; offsets count code
    points of the text. A classifier that fails makes the line an error with code `guardrail_failed`.
    """
    try:
        raw = json.loads(line)
    except (ValueError, RecursionError) as error:
        return _refused(number, None, "invalid_json", f"{type(error).__name__}: {error}"[:300])
    if not isinstance(raw, dict) or not isinstance(raw.get("text"), str):
        return _refused(
            number, raw.get("id") if isinstance(raw, dict) else None, "invalid_line", "text must be a string"
        )
    text: str = raw["text"]
    try:
        found = scan(text, settings, classifiers)
    except Exception as error:  # noqa: BLE001 - said in the answer, which then counts as suspicious
        return _refused(number, raw.get("id"), "guardrail_failed", f"{type(error).__name__}: {error}"[:300])
    clean = sanitise(text, found.findings)
    return {
        "id": raw.get("id"),
        "score": found.score,
        "flagged": found.flagged,
        "findings": [dict[str, JSON](finding.to_json()) for finding in found.listed],
        "more": found.more,
        "sanitised": clean.text,
        "removed": [{"handle": one.handle, "start": one.start, "end": one.end} for one in clean.removed],
        "engine": found.engine,
    }


def _refused(number: int, given: object, code: str, message: str) -> JSONObject:
    known = given if isinstance(given, str | int) else None
    return {"line": number, "id": known, "error": {"code": code, "message": message}}
