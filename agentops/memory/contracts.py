"""The two tools through which a run meets long-term memory: propose a fact, recall approved ones."""

from typing import Final

from agentops.memory.models import MAX_STATEMENT
from agentops.memory.recall import MOST
from tools.builtin.shapes import YES_NO, choice, closed, nullable, number, rows, text
from tools.contracts import ArgumentRole, Effect, ErrorCode, Reversal, Reversibility, ToolContract, Trust

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
