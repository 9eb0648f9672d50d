"""Look at a text that is about to leave, and say what is in it and what follows from that. Pure; fails closed."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from agentops.guardrails.output.canary import canaries_in
from agentops.guardrails.output.claims import Deed, claims_in
from agentops.guardrails.output.found import WORDS, Found, Kind, said
from agentops.guardrails.output.links import links_in
from agentops.guardrails.output.personal import personal_in
from agentops.guardrails.output.policy import DEFAULT, Action, OutputPolicy
from agentops.guardrails.output.secrets import cards_in, ibans_in, secrets_in
from agentops.guardrails.output.views import View, as_read, views
from agentops.guardrails.text import scan
from agentops.wire.parse import JSON, JSONObject

logger = logging.getLogger(__name__)

MOST_FOUND: Final = 200
"""A text with more findings than a record can carry is held back."""


@dataclass(frozen=True, slots=True)
class OutputContext:
    """What a text is judged by: the rules in force, the run's markers, and what it has executed."""

    policy: OutputPolicy = DEFAULT
    canaries: tuple[str, ...] = ()
    deeds: tuple[Deed, ...] = ()


@dataclass(frozen=True, slots=True)
class Judged:
    """A finding and what the policy makes of it."""

    found: Found
    action: Action

    def to_json(self) -> JSONObject:
        """Return both as plain JSON."""
        return {**self.found.to_json(), "action": self.action.value}


def check(text: str, context: OutputContext, *, untrusted: bool, hidden: bool = True) -> tuple[Judged, ...]:
    """Return everything found in a text, in order. Never raises: a check that crashes is a finding that blocks.

    `untrusted`: an outsider may have written parts of it; only then do links count. `hidden`: whether characters that
    nobody sees are findings.
    """
    try:
        found = list(_found(text, context, untrusted=untrusted, hidden=hidden))
        judged = [Judged(one, context.policy.action(one.kind)) for one in _merged(found)]
        if len(judged) > MOST_FOUND:
            many = Found(Kind.CHECK_FAILED, "too_many_findings", 0, len(text), f"{len(judged)} findings")
            judged = [Judged(many, Action.BLOCK), *judged[: MOST_FOUND - 1]]
        return tuple(judged)
    except Exception:
        logger.exception("an output could not be checked")
        return (FAILED,)


FAILED: Final = Judged(Found(Kind.CHECK_FAILED, "check_failed", 0, 0, "the check itself failed"), Action.BLOCK)


def _found(text: str, context: OutputContext, *, untrusted: bool, hidden: bool) -> Iterator[Found]:
    policy = context.policy
    for view in views(text):
        yield from secrets_in(view)
        yield from cards_in(view)
        yield from ibans_in(view)
        if policy.personal:
            yield from personal_in(view, policy.personal, policy.hosts)
        if context.canaries:
            yield from canaries_in(view, context.canaries)
        if view.whole is None:
            yield from _in_words(view, context, untrusted=untrusted)
    if untrusted and (read := as_read(text)) is not None:
        yield from links_in(read, policy.hosts, untrusted=True)
    if hidden:
        for one in scan(text):
            # Not its sample: what hidden characters spell may itself be what must not leave.
            yield Found(Kind.HIDDEN, one.code, one.offset, one.length, said(one.code))


def _in_words(view: View, context: OutputContext, *, untrusted: bool) -> Iterator[Found]:
    if untrusted:
        yield from links_in(view, context.policy.hosts, untrusted=untrusted)
    yield from claims_in(view, context.deeds)


_COVERED_BY: Final[Mapping[Kind, frozenset[Kind]]] = {
    Kind.PERSONAL: frozenset({Kind.CARD, Kind.IBAN, Kind.SECRET}),
    Kind.REPORTED_CLAIM: frozenset({Kind.CLAIM}),
    Kind.LINK: frozenset({Kind.CARRIER}),
}
"""Kind -> the kinds that say the same, and more, of the place where they stand."""


def _merged(found: Iterable[Found]) -> list[Found]:
    """Drop what another form of the text has found once more, and what a stronger finding covers."""
    every = sorted(dict.fromkeys(found), key=lambda one: (one.offset, -one.length, one.kind.value, one.code))
    kept: list[Found] = []
    for one in every:
        again = any(k.kind is one.kind and k.offset <= one.offset and one.end <= k.end for k in kept)
        stronger = _COVERED_BY.get(one.kind, frozenset())
        covered = any(k.kind in stronger and k.offset < one.end and one.offset < k.end for k in every)
        if not again and not covered:
            kept.append(one)
    return kept


def strictest(judged: Sequence[Judged]) -> Action:
    """Return the strictest action of findings; `report` where there is nothing."""
    return max((one.action for one in judged), key=lambda action: action.rank, default=Action.REPORT)


def sentence(judged: Sequence[Judged], *, of: str) -> str:
    """Say in our words what was found: "The answer holds a secret (github token)." Never quotes the text."""
    named: dict[Kind, list[str]] = {}
    for one in judged:
        named.setdefault(one.found.kind, []).append(said(one.found.code))
    parts = [f"{WORDS[kind]} ({', '.join(sorted(set(codes)))})" for kind, codes in named.items()]
    return f"{of} holds {' and '.join(parts)}."


def redacted(text: str, findings: Sequence[Mapping[str, Any]]) -> str:
    """Return a text with the findings (as recorded) whose action is `redact` taken out.

    Overlapping ones are taken out together. Replay does the same with the same record.
    """
    spans = sorted(
        (int(one["offset"]), int(one["offset"]) + int(one["length"]), said(str(one["code"])))
        for one in findings
        if one.get("action") == Action.REDACT.value
    )
    parts: list[str] = []
    done = 0
    for start, end, name in spans:
        if start >= done:
            parts += [text[done:start], f"[redacted: {name}]"]
        done = max(done, end)
    return "".join([*parts, text[done:]])


def to_json(judged: Sequence[Judged]) -> list[JSONObject]:
    """Return findings as they are recorded."""
    return [one.to_json() for one in judged]


def with_path(path: str, judged: Judged) -> JSONObject:
    """Return a finding in an argument as it is recorded."""
    at: JSON = path
    return {"path": at, **judged.to_json()}
