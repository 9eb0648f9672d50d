"""What a tenant's policy says about a call: rules in CEL, of which the most restrictive one wins. Pure.

A rule denies, asks for a person (how many, of which role, until when), or lets a sensitive call run by itself within a
bounds and until a date. `allow` lifts nothing but the classes it names: an untrusted target, readers, and a person whom
the allowlist asks for stay what they are. A rule that cannot be evaluated counts as met where it denies or asks for a
person, and as not met where it allows; a policy that cannot be read denies everything.
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from agentops.guardrails.provenance import Provenance
from agentops.runs.fields import CURRENCY, MONEY_SUFFIX
from agentops.wire import expressions
from agentops.wire.canonical import digest
from agentops.wire.money import in_currencies
from agentops.wire.parse import JSON, JSONObject
from tools.contracts import Sensitivity, ToolContract

logger = logging.getLogger(__name__)

RISK: Final = "risk"
"""What costs more than the rest to know, and is worked out only where a rule speaks of it."""
ROOTS: Final = frozenset({"call", "contract", "provenance", RISK, "run", "tenant", "time"})
"""What a rule may speak of."""


class Effect(StrEnum):
    """What a rule does when it is met."""

    DENY = "deny"
    GATE = "gate"
    ALLOW = "allow"


@dataclass(frozen=True, slots=True)
class Bound:
    """What an argument may be at most: a number, an address of one of these domains, or one of these values."""

    parameter: str
    most: int | None = None
    domains: tuple[str, ...] = ()
    values: tuple[str, ...] = ()

    def holds(self, arguments: JSON) -> bool:
        """Say whether an argument lies within the bound; one that is missing does not."""
        if not isinstance(arguments, dict) or self.parameter not in arguments:
            return False
        given = arguments[self.parameter]
        if self.most is not None:
            return isinstance(given, int | float) and not isinstance(given, bool) and 0 <= given <= self.most
        listed = given if isinstance(given, list) else [given]
        if not listed or not all(isinstance(one, str) for one in listed):
            return False
        if self.domains:
            return all(domain_of(str(one)) in self.domains for one in listed)
        return all(one in self.values for one in listed)


class Per(StrEnum):
    """What a rate is counted for."""

    TENANT = "tenant"
    TOOL = "tool"
    VALUE = "value"


@dataclass(frozen=True, slots=True)
class Rate:
    """How many calls a rule may let run within a time: of the tenant, of each tool, or for each value of an argument.

    Only calls that the rule itself has let run count, and each from the moment at which its permission was used.
    """

    calls: int
    within_s: int
    per: Per = Per.TOOL
    parameter: str = ""

    def key(self, rule_id: str, tool: str, arguments: JSON) -> str:
        """Return the name under which a call is counted; empty where it lacks the argument."""
        what: list[JSON] = [rule_id, self.within_s, self.per.value]
        if self.per is not Per.TENANT:
            what.append(tool)
        if self.per is Per.VALUE:
            if not isinstance(arguments, dict) or self.parameter not in arguments:
                return ""
            what += [self.parameter, arguments[self.parameter]]
        return digest(what)


@dataclass(frozen=True, slots=True)
class Quota:
    """What a call that is let run uses up: one of `calls` within `within_s` seconds under `key`."""

    key: str
    calls: int
    within_s: int


Spent = Callable[[str, int, str], int]
"""Key of a quota, seconds, and the id of a call -> how many other calls have used it in that time up to now."""

Risky = Callable[[ToolContract, JSON, Mapping[str, Provenance]], JSONObject]
"""Contract, arguments and the provenance of each leaf -> `score`, `band` and `reasons` (codes)."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `quorum`, `role` and `decide_within_s` belong to gate; the rest from `classes` on to allow."""

    id: str
    when: str
    effect: Effect
    because: str = ""
    quorum: int = 1
    role: str = ""
    decide_within_s: int | None = None
    classes: tuple[Sensitivity, ...] = ()
    bounds: tuple[Bound, ...] = ()
    rates: tuple[Rate, ...] = ()
    calls_per_run: int | None = None
    expires: datetime | None = None

    @property
    def sees_risk(self) -> bool:
        return RISK in expressions.names_in(self.when)


@dataclass(frozen=True, slots=True)
class Policy:
    """One version of a tenant's rules, in their order; version 0 has none. `readable` is off for one that is broken."""

    version: int = 0
    rules: tuple[Rule, ...] = ()
    readable: bool = True

    def name(self, rule: Rule) -> str:
        """Return the rule as proposals, grants and events name it."""
        return f"policy.{self.version}.{rule.id}"


NONE: Final = Policy()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a call happens, as rules see it; `now` is what expiry dates are compared with.

    `spent` and `risk` may ask a database. Without `spent` a rate lets nothing run; without `risk` what speaks of it
    cannot be evaluated.
    """

    now: datetime
    task_type: str = ""
    origin: str = ""
    requested_by: str = ""
    tenant: str = ""
    environment: str = ""
    spent: Spent | None = field(default=None, compare=False)
    risk: Risky | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the rules say together: a denial, the rules that ask for a person, and the classes that are let pass."""

    denied: Rule | None = None
    gates: tuple[Rule, ...] = ()
    lifted: Mapping[Sensitivity, Rule] = field(default_factory=dict)

    @property
    def quorum(self) -> int:
        return max((rule.quorum for rule in self.gates), default=0)

    @property
    def role(self) -> str:
        return "senior" if any(rule.role for rule in self.gates) else ""

    @property
    def decide_within_s(self) -> int | None:
        return min((rule.decide_within_s for rule in self.gates if rule.decide_within_s is not None), default=None)


@dataclass(frozen=True, slots=True)
class Subject:
    """The call a policy judges. `attacked` are the pointers of authority arguments that untrusted text chose.

    `waiting` counts calls of the tool in this run that were let run before it and have not started; `provenance` has
    every leaf.
    """

    contract: ToolContract
    arguments: JSON
    untrusted: bool
    attacked: Sequence[str]
    restricted: Sequence[str]
    calls_so_far: int
    surroundings: Surroundings | None
    call_id: str = ""
    waiting: int = 0
    provenance: Mapping[str, Provenance] = field(default_factory=dict)


def judge(policy: Policy, subject: Subject) -> Judgement:
    """Return what the rules say about a call. Raises nothing for what rules are; arguments are JSON."""
    if not policy.rules:
        return Judgement()
    named = names_of(subject)
    if any(rule.sees_risk for rule in policy.rules) and (risk := _risk_of(subject)) is not None:
        named[RISK] = risk
    names = expressions.bind(named)
    gates: list[Rule] = []
    lifted: dict[Sensitivity, Rule] = {}
    denied: Rule | None = None
    for rule in policy.rules:
        met = expressions.evaluate(rule.when, names)
        match rule.effect:
            case Effect.DENY:
                if met is not False:
                    denied = denied or rule
            case Effect.GATE:
                if met is not False:
                    gates.append(rule)
            case Effect.ALLOW:
                if met is True and within(rule, subject):
                    lifted |= {one: rule for one in rule.classes if one not in lifted}
    return Judgement(denied, tuple(gates), lifted)


def _risk_of(subject: Subject) -> JSONObject | None:
    """Return what rules see of the risk of a call, None where nobody knows it."""
    around = subject.surroundings
    if around is None or around.risk is None:
        return None
    try:
        return around.risk(subject.contract, subject.arguments, subject.provenance)
    except Exception:
        logger.exception("the risk of a call could not be worked out for the policy")
        return None


def within(rule: Rule, subject: Subject) -> bool:
    """Say whether a call lies within the bounds of a rule that allows, at this moment.

    How often it was used already is asked last, and only of what lies within all other bounds.
    """
    if rule.expires is None or not (rule.bounds or rule.rates) or subject.surroundings is None:
        return False
    if subject.surroundings.now >= rule.expires:
        return False
    if rule.calls_per_run is None and not rule.rates:
        return False
    if rule.calls_per_run is not None and subject.calls_so_far >= rule.calls_per_run:
        return False
    return all(bound.holds(subject.arguments) for bound in rule.bounds) and _in_time(rule, subject)


def _in_time(rule: Rule, subject: Subject) -> bool:
    found = quotas(rule, subject.contract.name, subject.arguments)
    spent = subject.surroundings.spent if subject.surroundings is not None else None
    if not found:
        return not rule.rates
    waiting, call_id = subject.waiting, subject.call_id
    return spent is not None and all(spent(one.key, one.within_s, call_id) + waiting < one.calls for one in found)


def quotas(rule: Rule, tool: str, arguments: JSON) -> tuple[Quota, ...]:
    """Return what a call uses up of the rates of a rule; nothing where it lacks an argument that one is counted by."""
    found = tuple(Quota(one.key(rule.id, tool, arguments), one.calls, one.within_s) for one in rule.rates)
    return found if all(one.key for one in found) else ()


def names_of(subject: Subject) -> JSONObject:
    """Return what rules see of a call. Without surroundings the names of run, tenant and time are missing."""
    contract = subject.contract
    found: JSONObject = {
        "call": {"tool": contract.name, "args": subject.arguments, "earlier": subject.calls_so_far},
        "contract": {
            "version": contract.version,
            "effect": contract.effect.value,
            "writes": contract.writes,
            "sensitivity": [one.value for one in sorted(contract.sensitivity)],
            "authority": list[JSON](contract.authority),
        },
        "provenance": {
            "untrusted": subject.untrusted,
            "attacked": list[JSON](subject.attacked),
            "restricted": list[JSON](subject.restricted),
        },
    }
    around = subject.surroundings
    if around is not None:
        found["run"] = {"task_type": around.task_type, "origin": around.origin, "requested_by": around.requested_by}
        found["tenant"] = {"slug": around.tenant, "environment": around.environment}
        found["time"] = {
            "hour": around.now.hour,
            "weekday": around.now.isoweekday(),
            "date": around.now.date().isoformat(),
        }
    return found


_HOST: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")


def domain_of(text: str) -> str:
    """Return the domain an address or a URL leads to, empty where that is not certain."""
    if any(char.isspace() or ord(char) < 33 for char in text) or "\\" in text:
        return ""
    if "://" in text:
        try:
            parts = urlsplit(text)
            host = parts.hostname or ""
        except ValueError:
            return ""
        if parts.scheme not in {"http", "https"} or parts.username is not None:
            return ""
    else:
        local, at, host = text.rpartition("@")
        if not at or not local or any(char in '@<>,;:"()[]' for char in local):
            return ""
    host = host.lower()
    return host if _HOST.fullmatch(host) else ""


SENSITIVE: Final[Mapping[Sensitivity, str]] = {
    Sensitivity.FINANCIAL: "moves money",
    Sensitivity.DATA_DELETION: "deletes data",
    Sensitivity.EXTERNAL_COMMUNICATION: "sends something to somebody outside",
    Sensitivity.PERMISSION_CHANGE: "changes what somebody may do",
}
"""What calls of each class do, as the end of a sentence."""

# --- in words -------------------------------------------------------------------------------------------------------


def in_words(rule: Rule) -> str:
    """Return a rule as a sentence for people; the condition itself is quoted, because it alone counts."""
    when = f"When {rule.when.strip()}"
    if rule.sees_risk:
        when += " (the risk that its card shows, from 0 to 100)"
    match rule.effect:
        case Effect.DENY:
            return f"{when}: the call is denied."
        case Effect.GATE:
            who = "a senior" if rule.role else "a person"
            many = f"{rule.quorum} people" + (", seniors," if rule.role else "") if rule.quorum > 1 else who
            verb = "have" if rule.quorum > 1 else "has"
            until = f" within {duration(rule.decide_within_s)}" if rule.decide_within_s is not None else ""
            return f"{when}: {many} {verb} to agree{until}."
        case Effect.ALLOW:
            classes = " and ".join(SENSITIVE[one] for one in rule.classes)
            calls = "1 call" if rule.calls_per_run == 1 else f"{rule.calls_per_run} calls"
            most = [] if rule.calls_per_run is None else [f"at most {calls} in one run"]
            most += [_rate_in_words(one) for one in rule.rates]
            codes = next((one.values for one in rule.bounds if one.parameter == CURRENCY), ())
            bounds = " and ".join(_bound_in_words(one, codes) for one in rule.bounds)
            until = rule.expires.strftime("%Y-%m-%d %H:%M UTC") if rule.expires else "never"
            return (
                f"{when}: that a call {classes} is no reason to ask a person, for {' and '.join(most) or 'no calls'}, "
                f"{f'while {bounds}, ' if bounds else ''}until {until}."
            )


def _rate_in_words(rate: Rate) -> str:
    counted = {
        Per.TENANT: "of the whole tenant",
        Per.TOOL: "of the tool",
        Per.VALUE: f"of the tool with the same {rate.parameter}",
    }[rate.per]
    return f"at most {rate.calls:,} calls {counted} in {duration(rate.within_s)}"


def _bound_in_words(bound: Bound, codes: Sequence[str]) -> str:
    """Say a bound. An amount of money is said in the currencies that the same rule is bound to (`codes`)."""
    name = bound.parameter
    if bound.most is not None and name.endswith(MONEY_SUFFIX):
        return f"{name.removesuffix(MONEY_SUFFIX)} is at most {in_currencies(bound.most, codes)}"
    if bound.most is not None:
        return f"{name} is at most {bound.most:,}"
    if bound.domains:
        return f"{name} leads to {' or '.join(bound.domains)}"
    return f"{name} is {' or '.join(bound.values)}"


def duration(seconds: int) -> str:
    """Return seconds as people say them."""
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds % size == 0 and seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{seconds} seconds"
