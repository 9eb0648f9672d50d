"""Instructions to an agent inside of what should be data: one module for each thing that such a text does."""

from agentops.guardrails.detectors.instructions import (
    action,
    answer,
    authority,
    foreign,
    override,
    reader,
    role,
    secrecy,
)
from agentops.guardrails.detectors.matching import Rule


def rules() -> tuple[Rule, ...]:
    """Return the rules of all languages."""
    modules = (override, role, reader, secrecy, answer, authority, action, foreign)
    return tuple(rule for module in modules for rule in module.rules())
