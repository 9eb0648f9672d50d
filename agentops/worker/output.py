"""The last check before anybody sees a run's answer."""

import re
from typing import Final

from agentops.engine.events import RunFailed, RunSucceeded
from agentops.guardrails.text import scan
from agentops.wire.parse import JSONObject

MAX_ANSWER: Final = 16_384
_LINK: Final = re.compile(r"(?:https?:)?//[^\s<>\"')\]]+|data:[a-z]+/[^\s]+|!\[", re.IGNORECASE)
_SECRETS: Final = (
    ("private_key", re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")),
    ("cloud_key", re.compile(r"\bAKIA[0-9A-Z]{16}\b")),
    ("api_token", re.compile(r"\b(?:aod_[a-z0-9-]+_[A-Za-z0-9]+_|gh[pousr]_|xox[abpr]-|sk-)[A-Za-z0-9_-]{20,}")),
)


def review_answer(answer: str, *, untrusted: bool) -> RunSucceeded | RunFailed:
    """Let an answer out with its findings, or end the run with `output_blocked`.

    Secrets block. Links, images and hidden characters in an answer that holds untrusted text are findings: they are
    recorded and shown, and pages never make a link of them.
    """
    for name, pattern in _SECRETS:
        if pattern.search(answer):
            return RunFailed("output_blocked", f"The answer holds a secret ({name}); it was not let out.")
    findings: list[JSONObject] = [
        {"code": finding.code, "offset": finding.offset, "length": finding.length} for finding in scan(answer)
    ]
    if untrusted:
        findings += [
            {"code": "untrusted_link", "offset": link.start(), "length": len(link.group())}
            for link in _LINK.finditer(answer)
        ]
    if len(answer) > MAX_ANSWER:
        findings.append({"code": "shortened", "offset": MAX_ANSWER, "length": len(answer) - MAX_ANSWER})
    return RunSucceeded(answer[:MAX_ANSWER], findings[:50])
