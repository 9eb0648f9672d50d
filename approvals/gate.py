"""Whether a call may run, must be shown to a person, or is refused. Pure; what cannot be decided is refused.

The order is that of measured defences (architecture, section 5): contract, allowlist, plan, sensitive classes, origin
of the values. The first refusal wins. A call outside the plan is refused and counted, never asked about, so that an
attacker's prompts do not reach reviewers.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from agentops.guardrails.output.review import OutputContext
from agentops.guardrails.provenance import Integrity, Provenance, join
from agentops.wire.parse import JSON, pointer_token
from approvals import outgoing
from approvals.leaves import covering, is_untrusted, leaves
from approvals.outgoing import Leaving
from tools import schema
from tools.allowlist import AllowlistRule, AllowlistState
from tools.contracts import Effect, Sensitivity, ToolContract
from tools.executor import describe_issues

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pin:
    """The contract a run was started with, or a proposal was frozen with."""

    version: str
    digest: str


USUAL: Final = OutputContext()
"""The output policy of whoever says nothing."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A call on its way to the gate.

    `contract` is the one that would execute now, None when there is none; `pinned` the one the run may use.
    `provenance` maps the JSON pointer of every argument leaf (or of a parent that covers it) to its origin.
    `calls_so_far` counts the run's other calls of this tool that were not refused. `output` is what texts that leave
    are judged by.
    """

    contract: ToolContract | None
    pinned: Pin | None
    arguments: JSON
    provenance: Mapping[str, Provenance]
    planned: bool
    allow: AllowlistRule
    calls_so_far: int = 0
    output: OutputContext = USUAL


@dataclass(frozen=True, slots=True)
class Deny:
    """Refused: nobody is asked and nothing runs. `issues` says what is wrong with the arguments, if that is why."""

    code: str
    message: str
    rule: str
    issues: tuple[schema.Issue, ...] = ()
    found: tuple[Leaving, ...] = ()


@dataclass(frozen=True, slots=True)
class Auto:
    """The policy lets it run."""

    rule: str
    reasons: tuple[str, ...]
    found: tuple[Leaving, ...] = ()


@dataclass(frozen=True, slots=True)
class Gate:
    """A person decides. `attacked` are JSON pointers of authority arguments that untrusted text chose.

    `found` is what the output policy has found in what leaves; the other verdicts have it as well.
    """

    rule: str
    reasons: tuple[str, ...]
    sensitivity: tuple[Sensitivity, ...] = ()
    attacked: tuple[str, ...] = ()
    found: tuple[Leaving, ...] = ()


GateVerdict = Deny | Auto | Gate

UNVOUCHED: Final = Provenance((), Integrity.UNTRUSTED)
"""Of a value that nobody said anything about."""

SENSITIVE: Final[Mapping[Sensitivity, str]] = {
    Sensitivity.FINANCIAL: "It moves money.",
    Sensitivity.DATA_DELETION: "It deletes data.",
    Sensitivity.EXTERNAL_COMMUNICATION: "It sends something to somebody outside.",
    Sensitivity.PERMISSION_CHANGE: "It changes what somebody may do.",
}


def classify(candidate: Candidate) -> GateVerdict:
    """Return what happens to a call. Never raises: what cannot be classified is refused with the code `internal`."""
    try:
        if (refusal := _denied(candidate)) is not None:
            return refusal
        found = _leaving(candidate)
        return _kept_in(found) or _gated(candidate, found) or _allowed(candidate, found)
    except Exception:
        logger.exception("a call could not be classified")
        return Deny("internal", "The gate could not classify this call.", "gate.internal")


def _denied(c: Candidate) -> Deny | None:
    contract, allow = c.contract, c.allow
    if contract is None:
        return Deny("unknown_tool", f"There is no tool {allow.tool[:100]}.", "tool.unknown")
    name = contract.name
    if allow.tool != name or allow.state not in (AllowlistState.GATED, AllowlistState.AUTO):
        return Deny("not_allowed", f"This task type may not use {name}.", "allowlist.denied")
    if c.pinned is None or (c.pinned.version, c.pinned.digest) != (contract.version, contract.digest):
        return Deny("contract_changed", f"The contract of {name} is not the one this run started with.", "contract.pin")
    if not allow.admits(contract.version):
        return Deny(
            "contract_changed", f"Version {contract.version} of {name} is outside the allowed range.", "contract.range"
        )
    issues = schema.compile(contract.input_schema).validate(c.arguments)
    if issues or not isinstance(c.arguments, dict):
        return Deny("invalid_input", describe_issues(issues), "contract.input", tuple(issues))
    if not c.planned:
        return Deny("off_plan", f"{name} with these arguments is not in the plan.", "plan.off_plan")
    if allow.max_calls is not None and c.calls_so_far >= allow.max_calls:
        return Deny("limit_calls", f"{name} may be called {allow.max_calls} times in one run.", "allowlist.max_calls")
    return None


def _leaving(c: Candidate) -> tuple[Leaving, ...]:
    if c.contract is None:
        raise ValueError("a call without a contract passed the refusals")
    return outgoing.found_in(c.contract, c.arguments, c.provenance, c.output)


def _kept_in(found: tuple[Leaving, ...]) -> Deny | None:
    """Refuse what the output policy does not let out, whoever would agree."""
    if not (refused := outgoing.refused(found)):
        return None
    message = f"The output policy does not let it out: {outgoing.told(refused)}"
    return Deny("output_policy", message, f"output.{refused[0].kind}", found=found)


def _gated(c: Candidate, found: tuple[Leaving, ...]) -> Gate | None:
    contract = c.contract
    if contract is None:
        raise ValueError("a call without a contract passed the refusals")
    # What a read sends out by asking is an effect like any other.
    read = contract.effect is Effect.READ and not contract.egress
    gated = c.allow.state is AllowlistState.GATED
    sensitivity = tuple(sorted(contract.sensitivity))
    attacked = () if read and not gated else untrusted_authority(contract, c.arguments, c.provenance)
    kept_back = restricted_egress(contract, c.arguments, c.provenance)
    rules: list[tuple[str, str]] = [(f"sensitive.{s}", SENSITIVE[s]) for s in sensitivity]
    if attacked:
        where = ", ".join(path.removeprefix("/") for path in attacked)
        rules.append(("provenance.untrusted_authority", f"Untrusted text decides where it goes: {where}."))
    if kept_back:
        rules.append(("provenance.readers", f"Not everybody may read what it sends: {', '.join(kept_back)}."))
    if asked := outgoing.asked(found):
        rules.append((f"output.{asked[0].kind}", f"What it sends: {outgoing.told(asked)}"))
    if gated:
        rules.append(("allowlist.gated", "The allowlist asks for a person."))
    if not rules:
        return None
    return Gate(rules[0][0], tuple(reason for _, reason in rules), sensitivity, attacked, found)


def _allowed(c: Candidate, found: tuple[Leaving, ...]) -> Auto | Deny:
    if c.allow.state is not AllowlistState.AUTO:
        return Deny("not_allowed", f"This task type may not use {c.allow.tool}.", "allowlist.denied")
    return Auto("allowlist.auto", ("The allowlist lets it run, and no rule asks for a person.",), found)


# --- where argument values come from --------------------------------------------------------------------------------


def untrusted_authority(
    contract: ToolContract, arguments: JSON, provenance: Mapping[str, Provenance]
) -> tuple[str, ...]:
    """Return the JSON pointers of authority leaves that an attacker may have chosen.

    A leaf nobody vouches for (no entry at it or above it) counts as untrusted.
    """
    return tuple(path for path in _leaves_of(contract.authority, arguments) if is_untrusted(path, provenance))


def untrusted_content(contract: ToolContract, arguments: JSON, provenance: Mapping[str, Provenance]) -> tuple[str, ...]:
    """Return the JSON pointers of content leaves that an attacker may have chosen."""
    content = tuple(name for name in contract.parameters if name not in contract.authority)
    return tuple(path for path in _leaves_of(content, arguments) if is_untrusted(path, provenance))


def restricted_egress(contract: ToolContract, arguments: JSON, provenance: Mapping[str, Provenance]) -> tuple[str, ...]:
    """Return the JSON pointers of leaves that leave the tenant although not everybody may read them."""
    return tuple(
        path
        for path in _leaves_of(contract.egress, arguments)
        if any(found.readers is not None for found in covering(path, provenance))
    )


def per_leaf(arguments: JSON, provenance: Mapping[str, Provenance]) -> dict[str, Provenance]:
    """Return the provenance of every single leaf: what covers it joined, and untrusted where nothing does."""
    return {path: join(covering(path, provenance) or [UNVOUCHED]) for path, _ in leaves(arguments)}


def _leaves_of(names: tuple[str, ...], arguments: JSON) -> Iterator[str]:
    for name in names:
        if isinstance(arguments, dict) and name in arguments:
            for path, _ in leaves(arguments[name], f"/{pointer_token(name)}"):
                yield path
