"""Effects of which nobody knows whether they happened, as items of the queue: the list, and the card of one.

Everything on the card is this system's own record: what was asked of the tool and under which key, who saw what, and
which results later steps would need.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from django.urls import reverse

from agentops import clock
from agentops.audit.services import Recorded, load
from agentops.engine.events import CallReconciled, CallStarted, CallUnknown
from agentops.engine.plan import refs_of
from agentops.engine.state import State
from agentops.engine.transitions import CallState
from agentops.halts.covering import unsettled_stops
from agentops.runs.fields import SchemaField, UnreadableValue, schema_fields
from agentops.runs.models import ToolCall
from agentops.runs.recording import stream_of
from agentops.runs.timeline import tell
from agentops.tenancy.access import Actor, can
from agentops.tenancy.people import called, who_acted
from agentops.wire.parse import JSON, JSONObject
from approvals.cards.arguments import shown_arguments
from approvals.cards.card import Notice
from approvals.models import Grant, Proposal
from approvals.proposals import freezing
from approvals.queue.filters import Filters, OfTaskType, Tool
from approvals.values.sentence import render
from tools.contracts import ToolContract
from tools.registry import registry

RIGHT: Final = "call.reconcile"
SHOWN: Final = 50
OUTPUT: Final = "out:"
PREFIX: Final = "call-"

VERDICTS: Final[tuple[tuple[str, str, str], ...]] = (
    ("happened", "It happened", "The call counts as done and the run goes on after it."),
    ("did_not_happen", "It did not happen", "The run may use its permission again and do it now, once."),
    ("gave_up", "It cannot be found out", "The call ends as failed with outcome_unknown. Nothing is repeated."),
)
ENDED: Final = "Its permission has ended meanwhile: the call is refused, and nothing is done."
"""What it leads to that it did not happen, where nobody may do it any more."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What a person had typed when the answer was not taken; nothing of it is lost."""

    verdict: str = ""
    note: str = ""
    reference: str = ""
    output: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)


# --- the list -------------------------------------------------------------------------------------------------------


def waiting(filters: Filters) -> list[dict[str, Any]]:
    """Return what waits for an answer, the oldest first: at most 50 of `approvals/_unknown_row.html`. Two queries.

    Terms that only proposals have (risk, provenance, status) leave it empty.
    """
    if not all(isinstance(term, Tool | OfTaskType) for term in filters.terms):
        return []
    asked = ToolCall.objects.filter(unsettled=True, state=CallState.UNKNOWN.value, hook_asked=True)
    calls = asked.select_related("run__task_type")
    for term in filters.terms:
        match term:
            case Tool(name=name):
                calls = calls.filter(tool=name)
            case OfTaskType(slug=slug):
                calls = calls.filter(run__task_type__slug=slug)
    found = list(calls.order_by("id")[:SHOWN])
    sentences = _sentences(found)
    return [
        {
            "id": f"{PREFIX}{call.pk}",
            "url": reverse("unknown", args=[call.pk]),
            "sentence_parts": sentences.get((call.run_id, call.call_id)) or [{"arg": "", "text": call.tool}],
            "tool": call.tool,
            "task_type": call.run.task_type.name,
            "since": call.started_at,
            "selected": False,
        }
        for call in found
    ]


def find(pk: int) -> ToolCall | None:
    """Return a call of the open tenant that is unknown, or that somebody has reconciled; None for every other."""
    call = ToolCall.objects.select_related("run__task_type", "run__requested_by").filter(pk=pk).first()
    if call is None:
        return None
    once = call.state == CallState.UNKNOWN.value or any(
        one.type in (CallUnknown.type, CallReconciled.type) and one.data.get("call_id") == call.call_id
        for one in load(stream_of(call.run_id))
    )
    return call if once else None


def _sentences(calls: Sequence[ToolCall]) -> dict[tuple[UUID, str], Any]:
    """Return what people approved, in words, of those calls that a person was asked about."""
    if not calls:
        return {}
    rows = Proposal.objects.filter(run_id__in={call.run_id for call in calls}).order_by("created_at")
    return {(run_id, call_id): said for run_id, call_id, said in rows.values_list("run_id", "call_id", "sentence")}


# --- the card of one ------------------------------------------------------------------------------------------------


def item_of(
    row: ToolCall, actor: Actor, *, notice: Notice | None = None, draft: Draft | None = None
) -> dict[str, Any] | None:
    """Return the context `item` of `approvals/_unknown.html` (documented there); None if the record cannot be read."""
    recorded = load(stream_of(row.run_id))
    told = tell(recorded)
    call = told.state.calls.get(row.call_id)
    if call is None:
        return None
    typed = draft or Draft()
    contract = registry.get(call.tool, call.version)
    arguments: JSONObject = call.arguments if isinstance(call.arguments, dict) else {}
    order = {call_id: index for index, call_id in enumerate(told.state.calls)}
    needed = frozenset(needed_later(told.state, call.step_id))
    proposal = Proposal.objects.select_related("decided_by").filter(run_id=row.run_id, call_id=row.call_id).last()
    waits = call.state is CallState.UNKNOWN
    return {
        "id": f"{PREFIX}{row.pk}",
        "url": reverse("unknown", args=[row.pk]),
        "answer_url": reverse("unknown_answer", args=[row.pk]),
        "run_url": reverse("run", args=[row.run_id]),
        "run_title": row.run.title or row.run.task_type.name,
        "run_state": row.run.state,
        "task_type": row.run.task_type.name,
        "sentence_parts": render(contract, arguments) if contract is not None else [{"arg": "", "text": call.tool}],
        "tool": call.tool,
        "version": call.version,
        "state": call.state.value,
        "waits": waits,
        "attempt": call.attempts,
        "idempotency_key": call.idempotency_key,
        "digest": call.digest,
        "started": _started(recorded, row.call_id),
        "seen": list(_seen(recorded, row.call_id)),
        "arguments": shown_arguments(contract, arguments, call.provenance, order),
        "approval": _approval(proposal),
        "answers": list(_answers(recorded, row.call_id)),
        "verdicts": [
            {"value": value, "label": label, "text": text, "chosen": typed.verdict == value}
            for value, label, text in _verdicts(row)
        ],
        "fields": _fields(contract, typed, needed),
        "needed": bool(needed),
        "can_answer": waits and can(actor, RIGHT),
        "draft": {"note": typed.note, "reference": typed.reference},
        "errors": typed.errors,
        "notice": notice,
    }


def _verdicts(row: ToolCall) -> Iterator[tuple[str, str, str]]:
    """Yield the answers there are, with what each of them leads to as it is now. Two queries."""
    ended = all(_has_ended(grant, row) for grant in Grant.objects.filter(run_id=row.run_id, call_id=row.call_id))
    for value, label, text in VERDICTS:
        yield value, label, ENDED if value == "did_not_happen" and ended else text


def _has_ended(grant: Grant, row: ToolCall) -> bool:
    """Say whether the time of a permission is over; it stands still while the call is stopped or its run paused."""
    born, thawed = grant.created_at, grant.thawed_to
    still = freezing.still_since(unsettled_stops(), row.run, row.tool, born=born, thawed_to=thawed)
    return grant.expires_at <= (still or clock.now())


def _started(recorded: Sequence[Recorded], call_id: str) -> dict[str, Any] | None:
    """Return when the effect was begun last, and which worker was inside it."""
    starts = [one for one in recorded if one.type == CallStarted.type and one.data.get("call_id") == call_id]
    if not starts:
        return None
    return {"at": starts[-1].at, "worker": str(starts[-1].actor.get("id") or "")}


def _seen(recorded: Sequence[Recorded], call_id: str) -> Iterator[dict[str, Any]]:
    """Yield what the worker and the tool's own check said since the effect was begun last."""
    since = max(
        (one.seq for one in recorded if one.type == CallStarted.type and one.data.get("call_id") == call_id), default=0
    )
    for one in recorded:
        if one.seq > since and one.type == CallUnknown.type and one.data.get("call_id") == call_id:
            who = "The tool's own record" if one.data.get("asked") else "The worker"
            yield {"at": one.at, "who": who, "text": str(one.data.get("message") or "")}


def _answers(recorded: Sequence[Recorded], call_id: str) -> Iterator[dict[str, Any]]:
    words = {value: label for value, label, _ in VERDICTS}
    for one in recorded:
        if one.type == CallReconciled.type and one.data.get("call_id") == call_id:
            by = {"hook": "The tool's own record", "worker": "The worker"}.get(str(one.data.get("by")))
            yield {
                "at": one.at,
                "by": by or who_acted([one.actor])[0],
                "verdict": words.get(str(one.data.get("verdict")), ""),
                "note": str(one.data.get("note") or ""),
                "reference": str(one.data.get("reference") or ""),
            }


def _approval(proposal: Proposal | None) -> dict[str, Any] | None:
    if proposal is None or proposal.decided_by is None:
        return None
    by = called(proposal.decided_by)
    return {"url": reverse("proposal", args=[proposal.pk]), "by": by, "at": proposal.decided_at}


# --- what the call would have returned ------------------------------------------------------------------------------


def needed_later(state: State, step_id: str) -> Iterator[str]:
    """Yield the members of a step's output that later steps or the answer refer to; "" stands for the whole."""
    plan = state.plan
    if plan is None:
        return
    named = re.compile(rf"\bsteps\.{re.escape(step_id)}\.output(?:\.(\w+))?")
    base = f"steps.{step_id}.output"
    here = next((index for index, step in enumerate(plan.steps) if step.id == step_id), len(plan.steps))
    conditions = [answer.when for answer in plan.answers] + [step.when for step in plan.steps[here + 1 :]]
    conditions += [step.expect for step in plan.steps[here + 1 :]]
    if here < len(plan.steps) and plan.steps[here].expect:
        yield from re.findall(r"\boutput\.(\w+)", plan.steps[here].expect)
    if state.submitted is not None:
        conditions += [state.submitted.stop_when, state.submitted.success_when]
    for condition in conditions:
        yield from named.findall(condition)
    trees = [answer.text for answer in plan.answers]
    trees += [call.arguments for step in plan.steps[here + 1 :] for call in step.calls]
    for tree in trees:
        for ref in refs_of(tree):
            if ref.base == base:
                yield ref.path[0] if ref.path else ""


def _fields(contract: ToolContract | None, draft: Draft, needed: frozenset[str]) -> list[dict[str, Any]]:
    if contract is None:
        return []
    everything = "" in needed
    return [
        {
            "name": f"{OUTPUT}{one.pointer}",
            "id": f"out-{one.name}",
            "label": one.label,
            "kind": "textarea" if one.long else "select" if one.kind == "select" else "text",
            "choices": one.choices,
            "value": draft.output.get(one.pointer, ""),
            "help": _help(one),
            "needed": everything or one.name in needed,
            "error": draft.errors.get(f"output{one.pointer}", ""),
        }
        for one in schema_fields(contract.output_schema)
    ]


def _help(one: SchemaField) -> str:
    if one.kind == "money":
        return "The amount, such as 12.50, in the currency given beside it."
    return "Written as JSON." if one.kind == "json" else one.description


def read_output(contract: ToolContract | None, typed: Mapping[str, str]) -> tuple[JSON, dict[str, str]]:
    """Read the result a person typed (JSON pointer -> text): the output, and what could not be read by field.

    Nothing typed at all is no output (None). As soon as one field is filled in, the result has to be whole.
    """
    if contract is None or not any(text.strip() for text in typed.values()):
        return None, {}
    currency = typed.get("/currency", "").strip()
    output: JSONObject = {}
    errors: dict[str, str] = {}
    for one in schema_fields(contract.output_schema):
        raw = typed.get(one.pointer, "")
        if not raw.strip() and not one.may_be_empty:
            errors[f"output{one.pointer}"] = "The result is only taken whole: fill this in as well."
            continue
        try:
            output[one.name] = one.read(raw, currency)
        except UnreadableValue as problem:
            errors[f"output{one.pointer}"] = str(problem)
    return output, errors
