"""What the output policy finds in the arguments that a call carries out of the tenant. Pure.

Secrets, marks of instructions, card and account numbers and personal data count in every argument that leaves, links
and claims in what the call says (its content). Arguments are never changed silently: what the policy would redact goes
to a person, with the place marked.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from agentops.guardrails.output.found import WORDS, Kind, said
from agentops.guardrails.output.policy import Action
from agentops.guardrails.output.review import Judged, OutputContext, check, with_path
from agentops.guardrails.provenance import Provenance
from agentops.wire.parse import JSON, JSONObject, pointer_token
from approvals.values.leaves import is_untrusted, leaves
from tools.contracts import ToolContract

_OF_CONTENT = frozenset({Kind.CARRIER, Kind.LINK, Kind.CLAIM, Kind.REPORTED_CLAIM})


@dataclass(frozen=True, slots=True)
class Leaving:
    """A finding in the argument at a JSON pointer."""

    path: str
    judged: Judged

    @property
    def kind(self) -> Kind:
        return self.judged.found.kind

    def to_json(self) -> JSONObject:
        """Return the finding as it is recorded."""
        return with_path(self.path, self.judged)


def found_in(
    contract: ToolContract, arguments: JSON, provenance: Mapping[str, Provenance], context: OutputContext
) -> tuple[Leaving, ...]:
    """Return everything found in what leaves, in the order of the arguments."""
    return tuple(_found_in(contract, arguments, provenance, context))


def _found_in(
    contract: ToolContract, arguments: JSON, provenance: Mapping[str, Provenance], context: OutputContext
) -> Iterator[Leaving]:
    if not isinstance(arguments, dict):
        return
    for name in contract.egress:
        if name not in arguments:
            continue
        content = name not in contract.authority
        for path, value in leaves(arguments[name], f"/{pointer_token(name)}"):
            text = value if isinstance(value, str) else str(value) if isinstance(value, int | float) else ""
            if not text or isinstance(value, bool):
                continue
            for judged in check(text, context, untrusted=is_untrusted(path, provenance), hidden=False):
                if content or judged.found.kind not in _OF_CONTENT:
                    yield Leaving(path, judged)


def refused(found: Sequence[Leaving]) -> tuple[Leaving, ...]:
    """Return the findings for which the policy refuses a call."""
    return tuple(one for one in found if one.judged.action is Action.BLOCK)


def asked(found: Sequence[Leaving]) -> tuple[Leaving, ...]:
    """Return the findings for which the policy wants a person."""
    return tuple(one for one in found if one.judged.action in (Action.ASK, Action.REDACT))


def told(found: Sequence[Leaving]) -> str:
    """Say in our words what was found where: "body holds a card number (card number, characters 12 to 31)."."""
    parts = []
    for one in found:
        start, size = one.judged.found.offset, one.judged.found.length
        where = f", characters {start + 1:,} to {start + size:,}" if size else ""
        parts.append(f"{one.path.removeprefix('/')} holds {WORDS[one.kind]} ({said(one.judged.found.code)}{where})")
    more = f"; and {len(parts) - _MOST_TOLD} more" if len(parts) > _MOST_TOLD else ""
    return "; ".join(parts[:_MOST_TOLD]) + more + "."


_MOST_TOLD = 6
