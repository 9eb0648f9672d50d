"""A policy as people write it, in YAML: read with line and column of every problem, and written out again.

policy: 1
rules:
  - id: large-refunds
    when: call.tool == 'shop.issue_refund' && call.args.amount_minor > 50000
    effect: gate
    quorum: 2
    role: senior
    decide_within: 4h
    because: Two look at large refunds.
  - id: small-refunds
    when: call.tool == 'shop.issue_refund'
    effect: allow
    classes: [financial]
    bounds: [{parameter: amount_minor, most: 2000}, {calls: 20, within: 1h, per: tenant}]
    calls_per_run: 1
    expires: 2027-01-31T00:00:00Z

A rate counts per tenant, per tool (also where nothing is said), or for each value of a parameter: `{parameter: to,
calls: 3, within: 1d}`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import yaml

from agentops.wire.expressions import KNOWN_FUNCTIONS, ExpressionError, brief, check
from agentops.wire.parse import JSON, JSONObject, clean_text
from agentops.wire.places import BadFile, NodeReader, compose, dump, pointers
from approvals.gating.policy import ROOTS, Bound, Effect, Per, Policy, Rate, Rule
from tools.contracts import Sensitivity

VERSION: Final = 1
MAX_RULES: Final = 100
MAX_QUORUM: Final = 5
MAX_CALLS: Final = 1_000
LONGEST: Final = timedelta(days=366)
"""How far in the future an expiry date may lie."""

_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_SPAN: Final = re.compile(r"([1-9]\d{0,6})([smhd])")
_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_COMMON: Final = ("id", "when", "effect", "because")
_OF: Final[Mapping[str, frozenset[str]]] = {
    "deny": frozenset(_COMMON),
    "gate": frozenset((*_COMMON, "quorum", "role", "decide_within")),
    "allow": frozenset((*_COMMON, "classes", "bounds", "calls_per_run", "expires")),
}
_NEEDED: Final = {"deny": (), "gate": (), "allow": ("classes", "bounds", "expires")}


def read(text: str, *, now: datetime) -> tuple[Rule, ...]:
    """Return the rules that a file states. Raises BadFile with everything that is wrong, each with its place."""
    reader = _Reader(now)
    rules = reader.file(compose(text))
    if reader.problems:
        raise BadFile(sorted(reader.problems, key=lambda one: (one.line, one.column)))
    return rules


def write(rules: tuple[Rule, ...]) -> str:
    """Return the file that says these rules."""
    return dump({"policy": VERSION, "rules": [to_json(rule) for rule in rules]})


def to_json(rule: Rule) -> JSONObject:
    """Return a rule as plain JSON, in the words of the file; what is not set is left out."""
    found: JSONObject = {"id": rule.id, "when": rule.when, "effect": rule.effect.value}
    if rule.effect is Effect.GATE:
        found["quorum"] = rule.quorum
        if rule.role:
            found["role"] = rule.role
        if rule.decide_within_s is not None:
            found["decide_within"] = span_text(rule.decide_within_s)
    if rule.effect is Effect.ALLOW:
        found["classes"] = [one.value for one in rule.classes]
        found["bounds"] = [*(_bound_json(one) for one in rule.bounds), *(_rate_json(one) for one in rule.rates)]
        if rule.calls_per_run is not None:
            found["calls_per_run"] = rule.calls_per_run
        found["expires"] = rule.expires.isoformat().replace("+00:00", "Z") if rule.expires else ""
    if rule.because:
        found["because"] = rule.because
    return found


def span_text(seconds: int) -> str:
    """Return a span as people write it in a file, in the largest unit that is exact: 14400 is 4h."""
    unit = max((one for one in _UNITS if seconds % _UNITS[one] == 0), key=_UNITS.__getitem__)
    return f"{seconds // _UNITS[unit]}{unit}"


def _bound_json(bound: Bound) -> JSONObject:
    found: JSONObject = {"parameter": bound.parameter}
    if bound.most is not None:
        found["most"] = bound.most
    elif bound.domains:
        found["domains"] = list[JSON](bound.domains)
    else:
        found["values"] = list[JSON](bound.values)
    return found


def _rate_json(rate: Rate) -> JSONObject:
    found: JSONObject = {"calls": rate.calls, "within": span_text(rate.within_s)}
    return {"parameter": rate.parameter, **found} if rate.per is Per.VALUE else {**found, "per": rate.per.value}


def stored(body: Mapping[str, Any], version: int) -> Policy:
    """Return a version as it was published. One that cannot be read denies everything, whatever has happened to it."""
    try:
        rules = read(dump(dict(body)), now=datetime.min.replace(tzinfo=UTC))
    except BadFile:
        return Policy(version, (), readable=False)
    return Policy(version, rules)


def read_json(body: Mapping[str, Any], *, now: datetime) -> "tuple[tuple[Rule, ...], tuple[tuple[str, str], ...]]":
    """Return the rules that a file stated as JSON says, and what is wrong with it: JSON pointer and sentence."""
    root = compose(dump(dict(body)))
    reader = _Pointing(now, pointers(root))
    rules = reader.file(root)
    return rules, tuple(reader.found)


@dataclass
class _Reader(NodeReader):
    now: datetime

    def file(self, root: Any) -> tuple[Rule, ...]:
        found = {name: (key, value) for name, key, value in self.members(root, "The file")}
        for name, (key, _) in found.items():
            if name not in {"policy", "rules"}:
                self.wrong(key, f"{clean_text(name[:100])} is not known here; use policy and rules.")
        version = found.get("policy")
        if version is None or getattr(version[1], "value", None) != str(VERSION):
            self.wrong(version[1] if version else root, f"Say `policy: {VERSION}` first, the version of the format.")
        listed = found["rules"][1] if "rules" in found else None
        if not isinstance(listed, yaml.SequenceNode):
            self.wrong(listed or root, "rules must be a list.")
            return ()
        if len(listed.value) > MAX_RULES:
            self.wrong(listed, f"A policy may have {MAX_RULES} rules.")
            return ()
        rules: list[Rule] = []
        for node in listed.value:
            rule = self.rule(node)
            if rule is not None and any(rule.id == other.id for other in rules):
                self.wrong(node, f"Two rules are called {rule.id}.")
            if rule is not None:
                rules.append(rule)
        return tuple(rules)

    def rule(self, node: Any) -> Rule | None:
        before = len(self.problems)
        found = {name: (key, value) for name, key, value in self.members(node, "A rule")}
        effect = self.one_of(found, "effect", tuple(_OF), node)
        for name, (key, _) in found.items():
            if effect and name not in _OF[effect]:
                self.wrong(key, f"{clean_text(name[:100])} does not belong to a rule with the effect {effect}.")
        for name in ("id", "when", *_NEEDED.get(effect, ())):
            if name not in found:
                self.wrong(node, f"{name} is missing.")
        values: dict[str, Any] = {}
        for name, (_, value) in found.items():
            if effect and name in _OF[effect] and name != "effect":
                values |= self.value(name, value)
        if effect == "allow" and "calls_per_run" not in found and not values.get("rates"):
            self.wrong(node, "calls_per_run is missing, or a rate among the bounds: calls, within.")
        if len(self.problems) > before:
            return None
        return Rule(effect=Effect(effect), **values)

    def value(self, name: str, node: Any) -> dict[str, Any]:
        match name:
            case "id":
                text = self.text(node, name)
                if _ID.fullmatch(text) is None:
                    self.wrong(node, "An id has small letters, digits and -, at most 40.")
                return {"id": text}
            case "when":
                return {"when": self.expression(node)}
            case "because":
                text = self.text(node, name)
                if len(text) > 200:
                    self.wrong(node, "Use at most 200 characters.")
                return {"because": clean_text(text.strip())}
            case "quorum" | "calls_per_run":
                low, high = (1, MAX_QUORUM) if name == "quorum" else (1, MAX_CALLS)
                number = self.number(node, name)
                if number is not None and not low <= number <= high:
                    self.wrong(node, f"{name} is from {low} to {high:,}.")
                return {name: number}
            case "role":
                if self.text(node, name) != "senior":
                    self.wrong(node, "role may be senior.")
                return {"role": "senior"}
            case "decide_within":
                return {"decide_within_s": self.span(node, name)}
            case "classes":
                return {"classes": self.classes(node)}
            case "bounds":
                bounds = self.bounds(node)
                return {
                    "bounds": tuple(one for one in bounds if isinstance(one, Bound)),
                    "rates": tuple(one for one in bounds if isinstance(one, Rate)),
                }
            case _:
                return {"expires": self.moment(node)}

    def one_of(self, found: Mapping[str, tuple[Any, Any]], name: str, known: tuple[str, ...], node: Any) -> str:
        if name not in found:
            self.wrong(node, f"{name} is missing: {', '.join(known)}.")
            return ""
        text = self.text(found[name][1], name)
        if text in known:
            return text
        self.wrong(found[name][1], f"{name} is one of {', '.join(known)}.")
        return ""

    def expression(self, node: Any) -> str:
        text = self.text(node, "when")
        try:
            if not text.strip():
                raise ExpressionError("invalid_condition", "say when the rule is met")
            check(text, ROOTS, functions=KNOWN_FUNCTIONS)
        except ExpressionError as error:
            self.wrong(node, f"when: {brief(error)}")
        return text

    def span(self, node: Any, name: str) -> int:
        found = _SPAN.fullmatch(self.text(node, name))
        seconds = int(found[1]) * _UNITS[found[2]] if found else 0
        if not 60 <= seconds <= 30 * 86_400:
            self.wrong(node, f"{name} is from 1m to 30d, such as 4h.")
        return seconds

    def texts(self, node: Any, what: str) -> tuple[str, ...]:
        if not isinstance(node, yaml.SequenceNode) or not 0 < len(node.value) <= 100:
            self.wrong(node, f"{what} is a list of 1 to 100.")
            return ()
        return tuple(self.text(one, what) for one in node.value)

    def classes(self, node: Any) -> tuple[Sensitivity, ...]:
        found = self.texts(node, "classes")
        known = {one.value for one in Sensitivity}
        if not set(found) <= known:
            self.wrong(node, f"classes are {', '.join(sorted(known))}.")
            return ()
        return tuple(sorted({Sensitivity(one) for one in found}))

    def bounds(self, node: Any) -> tuple[Bound | Rate, ...]:
        if not isinstance(node, yaml.SequenceNode) or not 0 < len(node.value) <= 10:
            self.wrong(node, "bounds is a list of 1 to 10.")
            return ()
        return tuple(one for member in node.value if (one := self.bound(member)) is not None)

    def bound(self, node: Any) -> Bound | Rate | None:
        found = {name: value for name, _, value in self.members(node, "A bound")}
        if found.keys() & {"calls", "within", "per"}:
            return self.rate(node, found)
        kinds = found.keys() - {"parameter"}
        if "parameter" not in found or len(kinds) != 1 or not kinds <= {"most", "domains", "values"}:
            self.wrong(node, "A bound has parameter, and one of most, domains and values; or calls and within.")
            return None
        parameter, kind = self.text(found["parameter"], "parameter"), kinds.pop()
        if kind == "most":
            return Bound(parameter, most=self.number(found[kind], kind))
        texts = self.texts(found[kind], kind)
        if kind == "domains":
            return Bound(parameter, domains=tuple(one.lower() for one in texts))
        return Bound(parameter, values=texts)

    def rate(self, node: Any, found: Mapping[str, Any]) -> Rate | None:
        known = {"calls", "within", "per", "parameter"}
        if not {"calls", "within"} <= found.keys() <= known or {"per", "parameter"} <= found.keys():
            self.wrong(node, "A rate has calls and within, and at most one of per and parameter.")
            return None
        calls, within_s = self.number(found["calls"], "calls"), self.span(found["within"], "within")
        if calls is not None and not 1 <= calls <= MAX_CALLS:
            self.wrong(found["calls"], f"calls is from 1 to {MAX_CALLS:,}.")
        if "parameter" in found:
            return Rate(calls or 0, within_s, Per.VALUE, self.text(found["parameter"], "parameter"))
        per = self.text(found["per"], "per") if "per" in found else Per.TOOL.value
        if per not in {Per.TENANT.value, Per.TOOL.value}:
            self.wrong(found["per"], "per is tenant or tool; for each value of an argument, name the parameter.")
            return None
        return Rate(calls or 0, within_s, Per(per))

    def moment(self, node: Any) -> datetime | None:
        try:
            found = datetime.fromisoformat(self.text(node, "expires").strip())
        except ValueError:
            found = None
        if found is None or found.tzinfo is None:
            self.wrong(node, "expires is a date and a time with its zone, such as 2027-01-31T00:00:00Z.")
            return None
        stored = self.now.year == 1
        if not stored and not self.now < found <= self.now + LONGEST:
            self.wrong(node, f"expires lies in the future, at most {LONGEST.days} days from now.")
        return found.astimezone(UTC)


@dataclass
class _Pointing(_Reader):
    """Says the place of what is wrong as JSON pointers."""

    paths: Mapping[int, str]
    found: list[tuple[str, str]] = field(default_factory=list)

    def wrong(self, node: Any, message: str) -> None:
        super().wrong(node, message)
        self.found.append((self.paths.get(id(node), ""), message))
