"""The tools through which a run meets memory: propose a fact, recall approved ones; keep itself a note, read it."""

from typing import Final

from agentops.memory import session
from agentops.memory.models import MAX_STATEMENT
from agentops.memory.recall import MOST
from agentops.wire.parse import JSONObject
from tools.builtin.shapes import YES_NO, choice, closed, nullable, number, rows, text
from tools.contracts import ArgumentRole, Effect, ErrorCode, Reversal, Reversibility, ToolContract, Trust
from tools.promises import Promises, Sink

LARGEST_ID: Final = 2**53 - 1
MOST_DAYS: Final = 3650

PROPOSE_FACT = ToolContract(
    name="memory.propose_fact",
    version="1.0.0",
    title="Propose a fact",
    description=(
        "Propose one sentence to remember for later runs of this kind. A curator approves, edits or rejects it; until "
        "then nothing is remembered. Write what holds in general, not what this task was about."
    ),
    input_schema=closed(
        statement=text(MAX_STATEMENT, minimum=1, note="One statement, in plain words."),
        expires_in_days=nullable(number(1, MOST_DAYS, note="Days it stays true; null where that is not known.")),
    ),
    output_schema=closed(
        fact_id=number(1, LARGEST_ID), status=choice("proposed", "approved", "rejected", "revoked", "expired")
    ),
    effect=Effect.IDEMPOTENT_WRITE,
    roles={"statement": ArgumentRole.CONTENT, "expires_in_days": ArgumentRole.CONTENT},
    output_trust={"": Trust.TRUSTED},
    error_codes=frozenset(
        {
            ErrorCode.INVALID_INPUT,
            ErrorCode.CONFLICT,
            ErrorCode.PERMISSION_DENIED,
            ErrorCode.BUDGET_EXCEEDED,
            ErrorCode.TIMEOUT,
            ErrorCode.UNAVAILABLE,
        }
    ),
    sentence="Propose to remember: {statement}",
    reversible=Reversibility(Reversal.BY_HAND, "A curator rejects or revokes it."),
    must_see=("statement",),
    promises=Promises(sinks=frozenset({Sink.MEMORY})),
)

# A statement may descend from mail although a curator let it in, and what is recalled is chosen by the words of the
# question; so nothing that comes back can clear what it is used for.
RECALL = ToolContract(
    name="memory.recall",
    version="1.0.0",
    title="Recall facts",
    description=(
        f"Find at most {MOST} approved facts that have words in common with the question, the best first. Where "
        "`untrusted` is true the statement descends from text that somebody outside wrote."
    ),
    input_schema=closed(query=text(500, minimum=1, note="The words to look for.")),
    output_schema=closed(
        facts=rows(closed(fact_id=number(1, LARGEST_ID), statement=text(MAX_STATEMENT), untrusted=YES_NO), MOST)
    ),
    effect=Effect.READ,
    roles={"query": ArgumentRole.CONTENT},
    output_trust={"": Trust.UNTRUSTED},
    error_codes=frozenset(),
    sentence="Recall facts about {query}",
    reversible=Reversibility(Reversal.NONE_NEEDED, "Only reads."),
)

NOTE_NAME = text(40, minimum=1, pattern="^[a-z][a-z0-9_]*$", note="A short word in lower case.")
LARGEST_NOTE: Final = 4_000
"""Characters of a text."""

SESSION_NOTE = ToolContract(
    name=session.NOTE,
    version="1.0.0",
    title="Keep a note for this run",
    description=(
        "Keep one named value until this run ends; a second note of the same name replaces the first. Only this run "
        f"can read it. At most {session.MAX_NOTES} notes and {session.MAX_BYTES // 1024} KiB in all."
    ),
    input_schema=closed(
        name=NOTE_NAME,
        value={
            "type": ["string", "integer", "boolean"],
            "maxLength": LARGEST_NOTE,
            "minimum": -LARGEST_ID,
            "maximum": LARGEST_ID,
            "description": "Text, a whole number, or true or false.",
        },
    ),
    output_schema=closed(name=NOTE_NAME, bytes=number(1, session.MAX_BYTES), digest=text(64)),
    effect=Effect.IDEMPOTENT_WRITE,
    roles={"name": ArgumentRole.CONTENT, "value": ArgumentRole.CONTENT},
    output_trust={"": Trust.TRUSTED, "name": Trust.INHERIT},
    error_codes=frozenset(
        {ErrorCode.CONFLICT, ErrorCode.PERMISSION_DENIED, ErrorCode.BUDGET_EXCEEDED}
        | {ErrorCode.TIMEOUT, ErrorCode.UNAVAILABLE}
    ),
    sentence="Keep the note {name} for this run: {value}",
    reversible=Reversibility(Reversal.NONE_NEEDED, "Deleted when the run ends."),
    must_see=("name", "value"),
    promises=Promises(sinks=frozenset({Sink.MEMORY})),
)

SESSION_RECALL = ToolContract(
    name=session.RECALL,
    version="1.0.0",
    title="Read a note of this run",
    description="Return the note of this name that this run has kept; `found` is false when there is none.",
    input_schema=closed(name=NOTE_NAME),
    output_schema=closed(
        found=YES_NO,
        kind=nullable(choice("text", "number", "yes_no")),
        value={
            "type": ["string", "integer", "boolean", "null"],
            "maxLength": LARGEST_NOTE,
            "minimum": -LARGEST_ID,
            "maximum": LARGEST_ID,
        },
        written_by=nullable(text(64)),
    ),
    effect=Effect.READ,
    roles={"name": ArgumentRole.CONTENT},
    # As trusted as what was written: the engine takes that from the arguments of the call in `written_by`.
    output_trust={"": Trust.TRUSTED, "value": Trust.CARRIED},
    error_codes=frozenset(),
    sentence="Read the note {name} of this run",
    reversible=Reversibility(Reversal.NONE_NEEDED, "Only reads."),
)

EXAMPLES: Final[dict[str, JSONObject]] = {
    PROPOSE_FACT.name: {"statement": "The carrier picks parcels up at four o'clock.", "expires_in_days": 90},
    RECALL.name: {"query": "carrier pick up time"},
    SESSION_NOTE.name: {"name": "tracking_number", "value": "JJD0001"},
    SESSION_RECALL.name: {"name": "tracking_number"},
}
