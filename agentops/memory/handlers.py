"""What the memory tools do. A run can propose and recall; approving is for people and has no tool.

The run is always the one whose call this is: there is no argument that could name another.
"""

from django.utils import timezone

from agentops.memory import services, session
from agentops.memory.models import Fact, SessionNote
from agentops.memory.origin import arguments_of, origin_of
from agentops.memory.recall import recall as recall_facts
from agentops.runs.models import Run
from agentops.wire.parse import JSON, JSONObject
from tools.builtin.effects import effect
from tools.contracts import (
    Blast,
    CallContext,
    Consequence,
    DidNotHappen,
    ErrorCode,
    Happened,
    Reconciled,
    ToolError,
)


def propose_fact(ctx: CallContext, arguments: JSONObject) -> JSONObject:
    """Put the statement into the curation queue, with the provenance that the run's record gives it."""
    days = arguments["expires_in_days"]
    with effect(ctx):
        origin = origin_of(ctx.run_id, ctx.call_id)
        if origin is None:
            raise ToolError(ErrorCode.PERMISSION_DENIED, "Only a recorded call of a run can propose a fact.")
        proposed = services.propose(
            run=Run.objects.select_related("task_type").get(pk=ctx.run_id),
            call_id=ctx.call_id,
            idempotency_key=ctx.idempotency_key,
            statement=str(arguments["statement"]),
            origin=origin,
            expires_in_days=days if isinstance(days, int) else None,
        )
        if isinstance(proposed, services.Refused):
            raise ToolError(ErrorCode(proposed.code), proposed.message)
    return _output(proposed)


def reconcile_proposal(ctx: CallContext, arguments: JSONObject) -> Reconciled:
    """Look the proposal up by key."""
    fact = services.find_by_key(ctx.idempotency_key)
    return DidNotHappen() if fact is None else Happened(_output(fact))


def describe_proposal(arguments: JSONObject) -> Consequence:
    """Say that a curator gets one more statement to read."""
    return Consequence(
        "Adds one statement to the curation queue; nothing is remembered until a curator approves it.",
        blast=(Blast("facts", 1),),
    )


def recall(ctx: CallContext, arguments: JSONObject) -> JSONObject:
    """Find the facts that the run's task type may know."""
    task_type = Run.objects.values_list("task_type_id", flat=True).get(pk=ctx.run_id)
    found: list[JSON] = [
        {"fact_id": one.fact_id, "statement": one.statement, "untrusted": one.untrusted}
        for one in recall_facts(str(arguments["query"]), task_type, timezone.now())
    ]
    return {"facts": found}


def describe_recall(arguments: JSONObject) -> Consequence:
    """Say that nothing changes."""
    return Consequence("Reads approved facts of this tenant.")


def note(ctx: CallContext, arguments: JSONObject) -> JSONObject:
    """Keep a value for this run, with the provenance that the run's record gives it."""
    value = arguments["value"]
    assert isinstance(value, bool | int | str)
    with effect(ctx):
        # Under the lock of the run: a worker that was taken over must not put an old value over a newer one.
        if not session.hold(ctx.run_id):
            raise ToolError(ErrorCode.CONFLICT, "The run has ended, and its session memory with it.")
        came_from = arguments_of(ctx.run_id, ctx.call_id)
        if came_from is None:
            raise ToolError(ErrorCode.PERMISSION_DENIED, "Only a call that is under way can keep a note.")
        kept = session.write(
            run_id=ctx.run_id,
            call_id=ctx.call_id,
            idempotency_key=ctx.idempotency_key,
            name=str(arguments["name"]),
            value=value,
            provenance=came_from,
        )
        if isinstance(kept, session.Refused):
            raise ToolError(ErrorCode(kept.code), kept.message)
    return _kept(kept)


def reconcile_note(ctx: CallContext, arguments: JSONObject) -> Reconciled:
    """Look the note up by key."""
    kept = session.find_by_key(ctx.run_id, ctx.idempotency_key)
    return DidNotHappen() if kept is None else Happened(_kept(kept))


def describe_note(arguments: JSONObject) -> Consequence:
    """Say that nothing outside of the run changes."""
    return Consequence("Keeps one value for this run alone, until the run ends.", blast=(Blast("notes", 1),))


def read_note(ctx: CallContext, arguments: JSONObject) -> JSONObject:
    """Read a note of this run."""
    found = session.read(ctx.run_id, str(arguments["name"]))
    if found is None:
        return {"found": False, "kind": None, "value": None, "written_by": None}
    return {"found": True, "kind": found.kind, "value": found.value, "written_by": found.written_by}


def describe_read_note(arguments: JSONObject) -> Consequence:
    """Say that nothing changes."""
    return Consequence("Reads a note of this run.")


def _kept(kept: SessionNote) -> JSONObject:
    return {"name": kept.name, "bytes": kept.size, "digest": kept.digest}


def _output(fact: Fact) -> JSONObject:
    return {"fact_id": fact.pk, "status": fact.status}
