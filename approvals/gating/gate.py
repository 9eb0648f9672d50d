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
from agentops.guardrails.provenance import UNSCREENED, Integrity, Provenance, join
from agentops.wire.parse import JSON, pointer_token
from approvals.gating import outgoing
from approvals.gating import policy as policies
from approvals.gating.outgoing import Leaving
from approvals.values.leaves import covering, is_untrusted, leaves
from tools import schema
from tools.allowlist import AllowlistRule, AllowlistState
from tools.contracts import Barred, Effect, Sensitivity, ToolContract
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
    are judged by. `barred` is what the tenant's own records say against the call, such as a host that is not listed.
    """

    contract: ToolContract | None
    pinned: Pin | None
    arguments: JSON
    provenance: Mapping[str, Provenance]
    planned: bool
    allow: AllowlistRule
    calls_so_far: int = 0
    call_id: str = ""
    waiting: int = 0
    """Calls of this tool that the run has been let make and that have not started, before this one."""
    output: OutputContext = USUAL
    barred: Barred | None = None
    policy: policies.Policy = policies.NONE
    surroundings: policies.Surroundings | None = None
    trust: str = ""
    """The scoped trust that covers this very tool and its authority arguments (`permits.trust`), empty for none."""
    unscreened: bool = False
    """A guardrail broke on something that this run has read: nothing runs without a person any more."""


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
    """The policy lets it run. `quotas` are what it uses up of the rates of the rules that let it."""

    rule: str
    reasons: tuple[str, ...]
    found: tuple[Leaving, ...] = ()
    policy_version: int = 0
    quotas: tuple[policies.Quota, ...] = ()


@dataclass(frozen=True, slots=True)
class Gate:
    """A person decides. `attacked` are JSON pointers of authority arguments that untrusted text chose.

    `found` is what the output policy has found in what leaves; the other verdicts have it as well.

    `quorum`, `role` and `decide_within_s` are what rules of the policy ask for; 0, empty and None where they do not.
    `policy_rules` names those rules.
    """

    rule: str
    reasons: tuple[str, ...]
    sensitivity: tuple[Sensitivity, ...] = ()
    attacked: tuple[str, ...] = ()
    found: tuple[Leaving, ...] = ()
    policy_version: int = 0
    quorum: int = 0
    role: str = ""
    decide_within_s: int | None = None
    policy_rules: tuple[str, ...] = ()


GateVerdict = Deny | Auto | Gate

UNVOUCHED: Final = Provenance((), Integrity.UNTRUSTED)
"""Of a value that nobody said anything about."""


def classify(candidate: Candidate) -> GateVerdict:
    """Return what happens to a call. Never raises: what cannot be classified is refused with the code `internal`."""
    try:
        if (refusal := _denied(candidate)) is not None:
            return refusal
        found, judged = _leaving(candidate), _judged(candidate)
        return (
            _kept_in(found)
            or _forbidden(candidate, judged)
            or _gated(candidate, judged, found)
            or _allowed(candidate, judged, found)
        )
    except Exception:
        logger.exception("a call could not be classified")
        return Deny("internal", "The gate could not classify this call.", "gate.internal")


def recheck(candidate: Candidate, *, by_person: bool) -> GateVerdict:
    """Say whether the rules as they are now still let a call run that was granted earlier; never raises.

    What a person has approved is stopped by whatever refuses it now: the allowlist, the policy, the output policy. What
    policy granted is stopped by anything that asks for a person now as well. `Gate`: people have approved it, and the
    policy asks for so many of them, or of such a role, that whoever knows them has to say whether that is enough.
    """
    try:
        if (refusal := _denied(candidate)) is not None:
            return refusal
        found, judged = _leaving(candidate), _judged(candidate)
        forbidden = _kept_in(found) or _forbidden(candidate, judged)
        if forbidden is not None:
            return forbidden
        asks = _gated(candidate, judged, found)
        if asks is not None and by_person:
            if judged.quorum > 1 or judged.role:
                return asks
        elif asks is not None:
            return Deny("policy_blocked", f"A person has to agree now. {asks.reasons[0]}", asks.rule)
        return Auto(_allowing_rule(candidate, judged), (), (), candidate.policy.version, _quotas(candidate, judged))
    except Exception:
        logger.exception("a call could not be judged again")
        return Deny("internal", "The gate could not judge this call again.", "gate.internal")


def _judged(c: Candidate) -> policies.Judgement:
    if c.contract is None or not c.policy.rules:
        return policies.Judgement()
    leafwise = per_leaf(c.arguments, c.provenance)
    return policies.judge(
        c.policy,
        policies.Subject(
            contract=c.contract,
            arguments=c.arguments,
            untrusted=any(one.untrusted for one in leafwise.values()),
            attacked=untrusted_authority(c.contract, c.arguments, c.provenance),
            restricted=restricted_egress(c.contract, c.arguments, c.provenance),
            calls_so_far=c.calls_so_far,
            surroundings=c.surroundings,
            call_id=c.call_id,
            waiting=c.waiting,
            provenance=leafwise,
        ),
    )


def _forbidden(c: Candidate, judged: policies.Judgement) -> Deny | None:
    if not c.policy.readable:
        return Deny("policy_blocked", "The policy of this tenant cannot be read.", f"policy.{c.policy.version}")
    if judged.denied is not None:
        why = judged.denied.because or policies.in_words(judged.denied)
        return Deny("policy_blocked", f"The policy denies it: {why}", c.policy.name(judged.denied))
    return None


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
    if beyond := contract.bounds.exceeded(c.arguments):
        return Deny("bounds_exceeded", " ".join(beyond), "contract.bounds")
    if not c.planned:
        return Deny("off_plan", f"{name} with these arguments is not in the plan.", "plan.off_plan")
    if c.barred is not None:
        return Deny(c.barred.code, c.barred.message, "contract.barred")
    if allow.max_calls is not None and c.calls_so_far >= allow.max_calls:
        return Deny("limit_calls", f"{name} may be called {allow.max_calls} times in one run.", "allowlist.max_calls")
    if (broken := allow.violated(c.arguments)) is not None:
        message = f"{name}: its arguments violate the constraint {broken.name}: {broken.expression[:300]}"
        return Deny("constraint_violated", message, f"allowlist.constraint.{broken.name}")
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


def _gated(c: Candidate, judged: policies.Judgement, found: tuple[Leaving, ...] = ()) -> Gate | None:
    contract = c.contract
    if contract is None:
        raise ValueError("a call without a contract passed the refusals")
    # What a read sends out by asking is an effect like any other.
    read = contract.effect is Effect.READ and not contract.egress
    gated = c.allow.state is AllowlistState.GATED
    sensitivity = tuple(sorted(contract.sensitivity))
    attacked = () if read and not gated else untrusted_authority(contract, c.arguments, c.provenance)
    kept_back = restricted_egress(contract, c.arguments, c.provenance)
    rules: list[tuple[str, str]] = [
        (f"sensitive.{s}", f"It {policies.SENSITIVE[s]}.") for s in sensitivity if s not in judged.lifted
    ]
    rules += [(c.policy.name(rule), rule.because or policies.in_words(rule)) for rule in judged.gates]
    if attacked:
        where = ", ".join(path.removeprefix("/") for path in attacked)
        rules.append(("provenance.untrusted_authority", f"Untrusted text decides where it goes: {where}."))
    if kept_back:
        rules.append(("provenance.readers", f"Not everybody may read what it sends: {', '.join(kept_back)}."))
    if c.unscreened or any(UNSCREENED in one.suspicion for one in c.provenance.values()):
        rules.append(("guardrail.failed", "A guardrail broke on what this run has read, so nobody has looked at it."))
    if asked := outgoing.asked(found):
        rules.append((f"output.{asked[0].kind}", f"What it sends: {outgoing.told(asked)}"))
    # Somebody trusted exactly these targets: that answers the allowlist, and nothing else.
    if gated and not c.trust:
        rules.append(("allowlist.gated", "The allowlist asks for a person."))
    if not rules:
        return None
    return Gate(
        rules[0][0],
        tuple(reason for _, reason in rules),
        sensitivity,
        attacked,
        found,
        c.policy.version,
        judged.quorum,
        judged.role,
        judged.decide_within_s,
        tuple(c.policy.name(rule) for rule in judged.gates),
    )


def _allowed(c: Candidate, judged: policies.Judgement, found: tuple[Leaving, ...]) -> Auto | Deny:
    if c.allow.state is not AllowlistState.AUTO and not c.trust:
        return Deny("not_allowed", f"This task type may not use {c.allow.tool}.", "allowlist.denied")
    reason = "The allowlist lets it run, and no rule asks for a person."
    return Auto(_allowing_rule(c, judged), (reason,), found, c.policy.version, _quotas(c, judged))


def _allowing_rule(c: Candidate, judged: policies.Judgement) -> str:
    """Return what a call that no person was asked about runs by: a trust, a rule of the policy, or the allowlist."""
    if c.trust:
        return f"trust.{c.trust}"
    lifted = next((rule for one, rule in sorted(judged.lifted.items()) if one in _classes(c)), None)
    return "allowlist.auto" if lifted is None else c.policy.name(lifted)


def _quotas(c: Candidate, judged: policies.Judgement) -> tuple[policies.Quota, ...]:
    used = (judged.lifted[one] for one in sorted(_classes(c)) if one in judged.lifted)
    name = c.contract.name if c.contract is not None else ""
    found = (quota for rule in used for quota in policies.quotas(rule, name, c.arguments))
    return tuple(dict.fromkeys(found))


def _classes(c: Candidate) -> frozenset[Sensitivity]:
    return c.contract.sensitivity if c.contract is not None else frozenset()


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
