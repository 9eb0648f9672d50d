"""What an output policy says: for every kind of finding what happens, which personal data counts, which hosts are ours.

Written form (JSON), of a tenant and of a task type:

    {"actions": {"card": "redact", "claim": "ask"}, "personal": ["email", "phone"], "hosts": ["*.example.com"]}

`report` lets it out and says so. `redact` takes it out of an answer; a call's arguments, which nobody changes silently,
go to a person instead. `ask` puts a call before a person and holds an answer back. `block` refuses the call and holds
an answer back. Where tenant and task type both have a rule, the stricter one counts.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from agentops.guardrails.output.found import Kind
from agentops.guardrails.output.personal import FORMS
from agentops.wire.parse import JSON, JSONObject


class Action(StrEnum):
    """What happens to what was found, from the mildest to the strictest."""

    REPORT = "report"
    REDACT = "redact"
    ASK = "ask"
    BLOCK = "block"

    @property
    def rank(self) -> int:
        return _RANKS[self]


_RANKS: Final = {action: rank for rank, action in enumerate(Action)}

USUAL: Final[Mapping[Kind, Action]] = MappingProxyType(
    {
        Kind.SECRET: Action.BLOCK,
        Kind.CARD: Action.REDACT,
        Kind.IBAN: Action.REDACT,
        Kind.PERSONAL: Action.REDACT,
        Kind.CARRIER: Action.REDACT,
        Kind.LINK: Action.REPORT,
        Kind.CLAIM: Action.ASK,
        Kind.REPORTED_CLAIM: Action.REPORT,
        Kind.CANARY: Action.BLOCK,
        Kind.HIDDEN: Action.REPORT,
        Kind.CHECK_FAILED: Action.BLOCK,
    }
)
"""What happens where neither the tenant nor the task type says anything."""

_LEAST: Final[Mapping[Kind, Action]] = {Kind.SECRET: Action.REDACT, Kind.CANARY: Action.ASK}
_FIXED: Final = frozenset({Kind.CHECK_FAILED})
_HOST: Final = re.compile(r"(?:\*\.)?(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}")
MAX_HOSTS: Final = 200


class BadPolicy(ValueError):
    """A policy that cannot be used; `problems` are (JSON pointer, sentence)."""

    def __init__(self, problems: Iterable[tuple[str, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{path or '/'}: {message}" for path, message in self.problems))


@dataclass(frozen=True, slots=True)
class OutputPolicy:
    """The rules in force; `hosts` in lower case, `personal` are codes of `personal.FORMS`."""

    actions: Mapping[Kind, Action] = field(default_factory=lambda: USUAL)
    personal: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()

    def action(self, kind: Kind) -> Action:
        """Return what happens to a kind of finding."""
        return self.actions.get(kind, Action.BLOCK)

    def to_json(self) -> JSONObject:
        """Return the written form, complete."""
        return {
            "actions": {kind.value: self.action(kind).value for kind in Kind if kind not in _FIXED},
            "personal": list[JSON](self.personal),
            "hosts": list[JSON](self.hosts),
        }


@dataclass(frozen=True, slots=True)
class _Written:
    actions: Mapping[Kind, Action]
    personal: tuple[str, ...]
    hosts: tuple[str, ...]


def policy_of(*written: Any) -> OutputPolicy:
    """Return the policy that several written ones make together: actions the stricter, lists joined.

    A kind of which none says anything has its usual action. Raises `BadPolicy`.
    """
    read = [_read(raw) for raw in written]
    actions = dict(USUAL)
    for kind in Kind:
        said = [one.actions[kind] for one in read if kind in one.actions]
        if said:
            actions[kind] = max(said, key=lambda action: action.rank)
    return OutputPolicy(
        MappingProxyType(actions),
        tuple(sorted({code for one in read for code in one.personal})),
        tuple(sorted({host for one in read for host in one.hosts})),
    )


def problems_of(raw: Any) -> tuple[tuple[str, str], ...]:
    """Say everything wrong with a written policy, as (JSON pointer, sentence)."""
    try:
        _read(raw)
    except BadPolicy as error:
        return error.problems
    return ()


def _read(raw: Any) -> _Written:
    if raw is None:
        raw = {}
    if not isinstance(raw, Mapping):
        raise BadPolicy([("", "An output policy is a JSON object.")])
    problems = [
        (f"/{str(name)[:40]}", "Only actions, personal and hosts are known.")
        for name in raw
        if name not in ("actions", "personal", "hosts")
    ]
    actions = _actions(raw.get("actions", {}), problems)
    personal = _texts("personal", raw.get("personal", []), problems)
    problems += [
        (f"/personal/{index}", f"Choose among {', '.join(FORMS)}.")
        for index, code in enumerate(personal)
        if code not in FORMS
    ]
    hosts = tuple(host.casefold() for host in _texts("hosts", raw.get("hosts", []), problems))
    problems += [
        (f"/hosts/{index}", "Write a host such as example.com, or *.example.com for all below it.")
        for index, host in enumerate(hosts)
        if len(host) > 253 or _HOST.fullmatch(host) is None
    ]
    if problems:
        raise BadPolicy(problems)
    return _Written(actions, personal, hosts)


def _actions(raw: Any, problems: list[tuple[str, str]]) -> dict[Kind, Action]:
    if not isinstance(raw, Mapping):
        problems.append(("/actions", "Actions are an object: kind of finding -> report, redact, ask or block."))
        return {}
    found: dict[Kind, Action] = {}
    allowed = [kind.value for kind in Kind if kind not in _FIXED]
    for name, action in raw.items():
        at = f"/actions/{str(name)[:40]}"
        if name not in allowed:
            problems.append((at, f"Known kinds are {', '.join(allowed)}."))
        elif not isinstance(action, str) or action not in set(Action):
            problems.append((at, "Choose report, redact, ask or block."))
        elif (least := _LEAST.get(Kind(name))) is not None and Action(action).rank < least.rank:
            choices = " or ".join(one.value for one in Action if one.rank >= least.rank)
            problems.append((at, f"This is never let out: choose {choices}."))
        else:
            found[Kind(name)] = Action(action)
    return found


def _texts(name: str, raw: Any, problems: list[tuple[str, str]]) -> tuple[str, ...]:
    if not isinstance(raw, list) or len(raw) > MAX_HOSTS or not all(isinstance(one, str) for one in raw):
        problems.append((f"/{name}", f"This is a list of at most {MAX_HOSTS} texts."))
        return ()
    return tuple(raw)


DEFAULT: Final = OutputPolicy()
