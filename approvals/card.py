"""The card of one proposal: everything its page prints, from the frozen proposal and the run's own record.

Nothing here is written by an agent except `explanation`, which is marked as such. Evidence is the recorded output of a
tool at the very place an argument came from, not text that was searched for.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from django.urls import reverse

from agentops.audit.services import Recorded, load
from agentops.engine.events import CallReconciled, CallSucceeded
from agentops.engine.transitions import CallState
from agentops.guardrails.provenance import Provenance, Source, SourceKind, join
from agentops.runs.fields import CURRENCY, SchemaField, is_money, schema_fields
from agentops.runs.recording import stream_of
from agentops.runs.timeline import Told, planner_words, tell
from agentops.tenancy.access import Actor, can
from agentops.wire.money import format_money
from agentops.wire.parse import JSON, JSONObject, pointer_token
from approvals import freezing
from approvals.bar import bar_of
from approvals.forms import ARGUMENT, shown_value
from approvals.gate import leaves
from approvals.models import Decision, Proposal, RejectReason, Status
from approvals.selectors import decision_on
from approvals.sight import Sight
from tools.contracts import ToolContract, Trust, action_digest
from tools.registry import registry

MAX_EVIDENCE: Final = 2_000
MAX_PIECES: Final = 8

RULES: Final[Mapping[str, str]] = {
    "people_only": "Only people decide proposals.",
    "role": "Your roles in this tenant do not decide proposals; operators and seniors do.",
    "self_approval": "You submitted this task, and nobody approves what they asked for. You can still reject it.",
    "needs_role": "This was escalated: seniors decide it now.",
    "own_policy": "You changed what this kind of work may do within the last 24 hours, so somebody else approves it.",
    "own_edit": "You edited this version, and several people have to agree: others approve it.",
    "once_each": "You have approved this already; somebody else has to agree.",
    "not_yours": "Whoever approved this takes it back, or a senior.",
    "no_password": "Approving this needs your password, and you have none. Set one first, from the sign-in page.",
}
"""Rule of `services.Forbidden` -> what a person is told."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What a person had typed when a decision was not taken; nothing of it is lost."""

    reason_code: str = ""
    note: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    open: str = ""
    answers: Mapping[str, str] = field(default_factory=dict)
    facts: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Notice:
    """What just happened, above the card. `tone` is ok, error or info."""

    tone: str
    title: str
    text: str = ""
    draft_kept: bool = False
    url: str = ""
    link: str = ""
    undo_url: str = ""


@dataclass(frozen=True, slots=True)
class _Output:
    tool: str
    output: JSON
    trust: Mapping[str, str]


def card_of(
    proposal: Proposal,
    actor: Actor,
    *,
    notice: Notice | None = None,
    draft: Draft | None = None,
    sight: Sight | None = None,
    chosen: bool = True,
) -> dict[str, Any]:
    """Return the context `card` of `approvals/_card.html` (documented there).

    `proposal` comes from `selectors.find`. One query for the run's events, one more for the decision once there is one,
    and those of `bar.bar_of`. `sight` is the card that is shown again, so that its time to read goes on; otherwise a
    new one is made. `chosen` is False for a card that nobody has asked for.
    """
    recorded = load(stream_of(proposal.run_id))
    told = tell(recorded)
    decision = decision_on(proposal) if proposal.status in (Status.APPROVED, Status.REJECTED) else None
    typed = draft or Draft()
    order = {call_id: index for index, call_id in enumerate(told.state.calls)}
    arguments = _arguments(proposal, typed, order)
    bar = bar_of(proposal, actor, typed, arguments, sight=sight, chosen=chosen)
    return {
        "p": _head(proposal),
        "sentence_parts": proposal.sentence,
        "consequence": proposal.consequence,
        "risk": proposal.risk,
        "why": {"rule": proposal.policy_rule, "text": " ".join(str(reason) for reason in proposal.reasons)},
        "explanation": proposal.explanation,
        "arguments": arguments,
        "preview": _preview(proposal),
        "evidence": _evidence(proposal, recorded),
        "history": _history(proposal, told),
        "receipt": _receipt(proposal, decision, told, recorded),
        "reasons": RejectReason.choices,
        "can_decide": can(actor, "proposal.decide"),
        "cannot_decide_why": "" if can(actor, "proposal.decide") else RULES["role"],
        "cannot_approve_why": RULES[bar["rule"]] if bar["rule"] else "",
        "bar": bar,
        "closing_note": proposal.closing_note,
        "still_since": freezing.standing([proposal]).get(proposal.pk),
        "draft": {"reason_code": typed.reason_code, "note": typed.note, "values": typed.values},
        "errors": typed.errors,
        "notice": notice,
        "open": typed.open,
    }


def _head(proposal: Proposal) -> dict[str, Any]:
    return {
        "id": proposal.id,
        "version": proposal.version,
        "status": proposal.status,
        "digest": proposal.digest,
        "tool": proposal.tool,
        "contract_version": proposal.contract_version,
        "created_at": proposal.created_at,
        "decide_by": proposal.decide_by,
        "execute_by": proposal.execute_by,
        "band": proposal.risk_band,
        "score": proposal.risk_score,
        "tainted": proposal.tainted,
        "needs_role": proposal.needs_role,
        "edited": proposal.edited,
        "requested_by": _name(proposal.requested_by),
        "decided_by": _name(proposal.decided_by),
        "decided_at": proposal.decided_at,
        "task_type": proposal.task_type.name,
        "run_url": reverse("run", args=[proposal.run_id]),
        "url": reverse("proposal", args=[proposal.id]),
        "decide_url": reverse("decide", args=[proposal.id]),
    }


def _name(user: Any) -> str:
    return "" if user is None else user.get_full_name() or user.get_username()


# --- arguments ------------------------------------------------------------------------------------------------------


def _arguments(proposal: Proposal, draft: Draft, order: Mapping[str, int]) -> list[dict[str, Any]]:
    contract = registry.get(proposal.tool, proposal.contract_version)
    now, original = proposal.argument_values, proposal.original_values
    provenance = {path: Provenance.from_json(raw) for path, raw in proposal.provenance.items()}
    properties = contract.input_schema.get("properties") if contract is not None else None
    schemas: Mapping[str, Any] = properties if isinstance(properties, Mapping) else {}
    fields = {f.name: f for f in schema_fields(contract.input_schema)} if contract is not None else {}
    must_see = contract.must_see if contract is not None else ()
    shown = []
    for name, value in now.items():
        pointer = f"/{pointer_token(name)}"
        found = fields.get(name)
        changed = name in original and original[name] != value
        shown.append(
            {
                "path": pointer,
                "name": name,
                "role": str(contract.roles.get(name, "")) if contract is not None else "",
                "type": _type_words(name, schemas),
                "value": value,
                "text": _shown(name, value, now, schemas),
                "provenance": _provenance(pointer, provenance, order),
                "attacked": any(_within(path, pointer) for path in proposal.attacked),
                "must_see": name in must_see,
                "editable": found is not None,
                "changed_from": _shown(name, original[name], original, schemas) if changed else "",
                "field": _field(found, now, draft) if found is not None else None,
            }
        )
    return shown


def shown_arguments(
    contract: ToolContract | None,
    arguments: JSONObject,
    provenance: Mapping[str, Provenance],
    order: Mapping[str, int],
) -> list[dict[str, Any]]:
    """Return the arguments of a call to read: [{name, type, role, text, provenance {label, sources}}]."""
    properties = contract.input_schema.get("properties") if contract is not None else None
    schemas: Mapping[str, Any] = properties if isinstance(properties, Mapping) else {}
    return [
        {
            "name": name,
            "type": _type_words(name, schemas),
            "role": str(contract.roles.get(name, "")) if contract is not None else "",
            "value": value,
            "text": _shown(name, value, arguments, schemas),
            "provenance": _provenance(f"/{pointer_token(name)}", provenance, order),
        }
        for name, value in arguments.items()
    ]


def _field(found: SchemaField, arguments: JSONObject, draft: Draft) -> dict[str, Any]:
    typed = draft.values.get(found.pointer)
    currency = arguments.get(CURRENCY)
    value = shown_value(found, arguments) if typed is None else typed
    kind = {"json": "textarea"}.get(found.kind, found.kind)
    if kind == "text" and "\n" in value:
        kind = "textarea"  # one line cannot hold it, and the browser would cut it silently
    return {
        "kind": kind,
        "name": f"{ARGUMENT}{found.pointer}",
        "value": value,
        "choices": found.choices,
        "currency": draft.values.get(f"/{CURRENCY}") or currency if found.kind == "money" else "",
        "help": "A decimal amount." if found.kind == "money" else found.description,
        "error": draft.errors.get(found.pointer, ""),
    }


def _shown(name: str, value: JSON, siblings: JSONObject, schemas: Mapping[str, Any]) -> str:
    currency = siblings.get(CURRENCY)
    schema = schemas.get(name)
    money = isinstance(schema, Mapping) and is_money(name, schema, schemas)
    match value:
        case bool():
            return "yes" if value else "no"
        case int() if money and isinstance(currency, str):
            try:
                return format_money(value, currency)
            except ValueError:
                return f"{value} minor units of {currency}"
        case None:
            return ""
        case str():
            return value
        case int() | float():
            return str(value)
        case _:
            return "\n".join(f"{path}: {_leaf(leaf)}" for path, leaf in leaves(value)) or "empty"


def _leaf(value: JSON) -> str:
    match value:
        case None:
            return "not set"
        case dict() | list():
            return "empty"
        case bool():
            return "yes" if value else "no"
        case _:
            return str(value)


def _type_words(name: str, schemas: Mapping[str, Any]) -> str:
    schema = schemas.get(name)
    if not isinstance(schema, Mapping):
        return "not declared"
    if is_money(name, schema, schemas):
        return "money"
    if "enum" in schema:
        return "one of a list"
    declared = schema.get("type")
    types = [str(one) for one in (declared if isinstance(declared, list) else [declared])]
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "yes or no", "array": "list"}
    said = " or ".join(words.get(one, one) for one in types if one not in ("null", "None")) or "any"
    return f"{schema['format']}" if isinstance(schema.get("format"), str) else said


# --- provenance -----------------------------------------------------------------------------------------------------


def label_of(found: Provenance) -> str:
    """Return the chip of a provenance: operator, system, tool, agent, untrusted or mixed.

    Mixed is text put together from untrusted values and what a playbook, a model or a reviewer wrote. A value nobody
    vouches for is untrusted.
    """
    kinds = {source.kind for source in found.sources}
    if found.untrusted:
        writers = kinds & {SourceKind.CONSTANT, SourceKind.MODEL, SourceKind.REVIEWER, SourceKind.FACT}
        return "mixed" if SourceKind.TOOL in kinds and writers else "untrusted"
    if SourceKind.MODEL in kinds:
        return "agent"
    if SourceKind.TOOL in kinds:
        return "tool"
    if kinds & {SourceKind.OPERATOR, SourceKind.REVIEWER}:
        return "operator"
    return "system"


def source_words(sources: Iterable[Source], order: Mapping[str, int]) -> list[str]:
    """Say where a value came from, the last call first; `order` ranks the calls of the run by their ids."""
    named: dict[str, list[str]] = {}
    for source in sorted(sources, key=lambda one: -order.get(one.ref.partition(":")[2], -1)):
        who, part = _source_words(source)
        parts = named.setdefault(who, [])
        if part and part not in parts:
            parts.append(part)
    return [f"{who} ({', '.join(parts)})" if parts else who for who, parts in named.items()]


def _source_words(source: Source) -> tuple[str, str]:
    path = source.path.lstrip("/").replace("/", ".")
    match source.kind:
        case SourceKind.OPERATOR if path.startswith("input"):
            return "the submitted task", path.removeprefix("input").lstrip(".")
        case SourceKind.OPERATOR:
            return "a person's edit", ""
        case SourceKind.REVIEWER:
            return "a reviewer's note", ""
        case SourceKind.CONSTANT:
            return planner_words(source.ref) if ":" in source.ref else "the task type", ""
        case SourceKind.MODEL:
            return f"the words of {planner_words(source.ref.partition('#')[0])}", ""
        case SourceKind.FACT:
            return f"the stored fact {source.ref}", ""
        case SourceKind.TOOL:
            return source.ref.partition(":")[0], path


def _provenance(pointer: str, known: Mapping[str, Provenance], order: Mapping[str, int]) -> dict[str, Any]:
    found = _joined(pointer, known)
    if found is None:
        return {"label": "untrusted", "sources": ["nobody knows where"]}
    return {"label": label_of(found), "sources": source_words(found.sources, order)}


def _joined(pointer: str, known: Mapping[str, Provenance]) -> Provenance | None:
    parts = [one for path, one in known.items() if _within(path, pointer) or path == ""]
    return join(parts) if parts else None


def _within(path: str, pointer: str) -> bool:
    return path == pointer or path.startswith(f"{pointer}/")


# --- evidence -------------------------------------------------------------------------------------------------------


def _evidence(proposal: Proposal, recorded: Sequence[Recorded]) -> list[dict[str, Any]]:
    """Return the recorded text each argument came from: untrusted sources first, at most eight pieces."""
    outputs = dict(_outputs(recorded))
    wanted: dict[tuple[str, str], list[str]] = {}
    for path, raw in proposal.provenance.items():
        name = path.split("/")[1] if path.count("/") else ""
        for source in Provenance.from_json(raw).sources:
            if source.kind is SourceKind.TOOL:
                names = wanted.setdefault((source.ref, source.path), [])
                if name not in names:
                    names.append(name)
    pieces = []
    for (ref, path), names in wanted.items():
        output = outputs.get(ref.partition(":")[2])
        if output is None or (found := dig(output.output, path)) in (None, ""):
            continue
        top = path.split("/")[1] if path.count("/") else ""
        trust = output.trust.get(top, output.trust.get("", Trust.UNTRUSTED.value))
        pieces.append(
            {
                "source": f"{ref.partition(':')[0]}{path and f' ({path[1:]})'}, for {', '.join(names)}",
                "text": _cut(_as_text(found)),
                "trust": Trust.TRUSTED.value if trust == Trust.TRUSTED else Trust.UNTRUSTED.value,
            }
        )
    pieces.sort(key=lambda piece: piece["trust"] == Trust.TRUSTED.value)
    return pieces[:MAX_PIECES]


def _outputs(recorded: Sequence[Recorded]) -> Iterator[tuple[str, _Output]]:
    for one in recorded:
        call_id = one.data.get("call_id")
        if one.type in (CallSucceeded.type, CallReconciled.type) and isinstance(call_id, str):
            trust = one.data.get("trust")
            known = {str(k): str(v) for k, v in trust.items()} if isinstance(trust, Mapping) else {}
            yield call_id, _Output(one.tool, one.data.get("output"), known)


def dig(value: JSON, pointer: str) -> JSON:
    """Return the member at a JSON pointer, None when there is none."""
    found = value
    for token in pointer.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict) and key in found:
            found = found[key]
        elif isinstance(found, list) and key.isdecimal() and int(key) < len(found):
            found = found[int(key)]
        else:
            return None
    return found


def _as_text(value: JSON) -> str:
    return value if isinstance(value, str) else _shown("", value, {}, {})


def _cut(text: str) -> str:
    more = len(text) - MAX_EVIDENCE
    return text if more <= 0 else f"{text[:MAX_EVIDENCE]}\n[{more:,} more characters in the run's record]"


# --- what happened --------------------------------------------------------------------------------------------------


def _history(proposal: Proposal, told: Told) -> list[dict[str, Any]]:
    return [
        {"at": entry.at, "actor": entry.actor, "text": entry.text}
        for group in told.groups
        for entry in group.events
        if entry.call_id == proposal.call_id
    ]


def _receipt(
    proposal: Proposal, decision: Decision | None, told: Told, recorded: Sequence[Recorded]
) -> dict[str, Any] | None:
    """Return what proves that what ran is what was approved, once it was approved.

    The executed digest is computed again from the arguments in the run's record, not copied from anywhere.
    """
    if proposal.status != Status.APPROVED or decision is None:
        return None
    receipt: dict[str, Any] = {
        "approved_digest": decision.digest,
        "executed_digest": "",
        "match": False,
        "outcome": "",
        "provider_ref": "",
        "executed_at": None,
    }
    call = told.state.calls.get(proposal.call_id)
    if call is None or call.state in (CallState.PROPOSED, CallState.GRANTED):
        return receipt
    receipt["outcome"] = call.state.value if not call.code else f"{call.state.value}: {call.code}"
    if call.state is CallState.SUCCEEDED:
        executed = action_digest(
            tenant_id=proposal.tenant_id, tool=call.tool, version=call.version, arguments=call.arguments
        )
        receipt |= {
            "executed_digest": executed,
            "match": executed == decision.digest,
            "provider_ref": _reference(call.output) or _found_reference(proposal, recorded),
            "executed_at": _ended_at(proposal, told),
        }
    return receipt


def _reference(output: JSON) -> str:
    """Return the id the tool gave to what it did: the first text field named so."""
    if isinstance(output, Mapping):
        for name, value in output.items():
            if name.endswith(("_id", "_ref", "reference")) and isinstance(value, str) and value:
                return value
    return ""


def _found_reference(proposal: Proposal, recorded: Sequence[Recorded]) -> str:
    """Return the reference under which a person found the effect in the other system."""
    found = (one for one in reversed(recorded) if one.type == CallReconciled.type)
    mine = (one for one in found if one.data.get("call_id") == proposal.call_id)
    return next((str(one.data.get("reference") or "") for one in mine), "")


def _ended_at(proposal: Proposal, told: Told) -> Any:
    ended = [
        entry.at
        for group in told.groups
        for entry in group.events
        if entry.call_id == proposal.call_id and entry.kind in (CallSucceeded.type, CallReconciled.type)
    ]
    return ended[-1] if ended else None


def _preview(proposal: Proposal) -> dict[str, Any] | None:
    """Return what will be sent, for tools that send: anything with a recipient, a subject and a body."""
    values = proposal.argument_values
    if not {"to", "subject", "body"} <= set(values):
        return None
    headers = [("To", values["to"]), ("Cc", values.get("cc")), ("Subject", values["subject"])]
    return {
        "kind": "email",
        "headers": [{"name": name, "value": _shown("", value, {}, {})} for name, value in headers if value],
        "body": _shown("", values["body"], {}, {}),
        "attachments": [],
    }
