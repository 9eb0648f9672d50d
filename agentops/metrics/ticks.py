"""Which events of a tenant are changes that may move a metric, and what a chart calls them. Pure."""

from collections.abc import Mapping
from typing import Any, Final

RULES: Final[Mapping[str, str]] = {
    "tasktype": "Task type",
    "allowlistentry": "Allowlist",
    "playbook": "Playbook",
    "prompt": "Prompt",
    "bandrule": "Friction",
    "budget": "Budget",
}
"""Kinds of subjects of `admin.changed` that are rules."""

TYPES: Final = (
    *("admin.changed", "allowlist.approved", "host.allowed", "host.refused", "policy.approved"),
    *("risk.weights_approved", "suite.run", "trust.given", "trust.revoked"),
)
"""Types of events outside of runs of which some are changes."""

_WORDS: Final[Mapping[str, str]] = {
    "host.allowed": "Host allowed",
    "host.refused": "Host no longer allowed",
    "risk.weights_approved": "Risk weights approved",
    "trust.given": "Trusted calls widened",
    "trust.revoked": "Trusted calls narrowed",
}


def tick_of(kind: str, subject: str, data: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return kind and label of the change an event tells of, None for any other event.

    Of a policy the version that two admins put in force; of a release the first regression run on it.
    """
    match kind:
        case "admin.changed":
            return ("rule", f"{RULES[subject]} changed") if subject in RULES else None
        case "policy.approved":
            return "policy", f"version {data.get('version', '?')}"
        case "allowlist.approved":
            return "rule", f"Allowlist change {data.get('version', '?')}"
        case "suite.run":
            release = data.get("release")
            return ("release", release) if isinstance(release, str) and release else None
        case _:
            return ("rule", _WORDS[kind]) if kind in _WORDS else None
