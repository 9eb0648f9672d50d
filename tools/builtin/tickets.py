"""create_ticket: leave a note for the team."""

from agentops.wire.parse import JSONObject
from tools.backoffice.models import Ticket
from tools.contracts import (
    ArgumentRole,
    Blast,
    CallContext,
    Consequence,
    DidNotHappen,
    Effect,
    ErrorCode,
    Happened,
    Reconciled,
    Reversal,
    Reversibility,
    ToolContract,
    Trust,
)
from tools.promises import Promises, Sink

from .effects import another_action, effect, reference
from .shapes import choice, closed, text

CREATE_TICKET = ToolContract(
    name="create_ticket",
    version="1.0.0",
    title="Create ticket",
    description="Leave a ticket for the team when a person has to look at something.",
    input_schema=closed(title=text(200, minimum=1), priority=choice("low", "med", "high")),
    output_schema=closed(ticket_id=text(40), status=choice("created", "failed")),
    effect=Effect.IDEMPOTENT_WRITE,
    roles={"title": ArgumentRole.CONTENT, "priority": ArgumentRole.CONTENT},
    output_trust={"": Trust.TRUSTED},
    error_codes=frozenset({ErrorCode.CONFLICT, ErrorCode.TIMEOUT, ErrorCode.UNAVAILABLE}),
    sentence="Create a {priority} priority ticket: {title}",
    reversible=Reversibility(Reversal.BY_HAND, "Close the ticket."),
    promises=Promises(sinks=frozenset({Sink.RECORDS})),
)


def create_ticket(ctx: CallContext, arguments: JSONObject) -> JSONObject:
    """Add the ticket, or return the one this key already made."""
    with effect(ctx):
        ticket, created = Ticket.objects.get_or_create(
            idempotency_key=ctx.idempotency_key,
            defaults={
                "ref": reference("T", ctx),
                "title": str(arguments["title"]),
                "priority": str(arguments["priority"]),
            },
        )
        if not created and (ticket.title, ticket.priority) != (arguments["title"], arguments["priority"]):
            raise another_action()
    return _output(ticket)


def reconcile(ctx: CallContext, arguments: JSONObject) -> Reconciled:
    """Look the ticket up by key."""
    ticket = Ticket.objects.filter(idempotency_key=ctx.idempotency_key).first()
    return DidNotHappen() if ticket is None else Happened(_output(ticket))


def describe(arguments: JSONObject) -> Consequence:
    """Say that the team gets one more ticket."""
    same = Ticket.objects.filter(title=str(arguments["title"])).count()
    warnings = (f"{same} ticket(s) with this title exist already.",) if same else ()
    return Consequence("Adds one ticket to the team's list", blast=(Blast("tickets", 1),), warnings=warnings)


def _output(ticket: Ticket) -> JSONObject:
    return {"ticket_id": ticket.ref, "status": "created"}
