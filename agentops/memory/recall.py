"""Find approved facts by their words, within one tenant and task type: PostgreSQL's tsvector or SQLite's FTS5."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import connection
from django.db.models import BooleanField, FloatField, Q
from django.db.models.expressions import RawSQL

from agentops.memory.models import Fact, FactStatus
from agentops.memory.words import asked
from agentops.runs.models import TaskType

MOST: Final = 5

# The column `search` and the table `memory_fact_words` are made by migration 0003; parameters carry the question.
_POSTGRESQL: Final = (
    "memory_fact.search @@ to_tsquery('simple', %s)",
    "ts_rank(memory_fact.search, to_tsquery('simple', %s), 1)",
)
_SQLITE: Final = (
    "memory_fact.id in (select rowid from memory_fact_words where memory_fact_words match %s)",
    """(select -bm25(memory_fact_words) from memory_fact_words
    where memory_fact_words match %s and rowid = memory_fact.id)""",
)


@dataclass(frozen=True, slots=True)
class Recalled:
    """One fact that fits a question; a higher `score` fits better and means nothing across questions."""

    fact_id: int
    statement: str
    untrusted: bool
    score: float


def recall(query: str, task_type: TaskType | int | None, now: datetime) -> list[Recalled]:
    """Return at most five approved, unexpired facts of the open tenant that share words with the query, best first.

    Facts of the task type (a row or its id) and facts for every type are searched; with None only the latter. A query
    without words finds nothing. One query.
    """
    wanted = asked(query)
    if not wanted:
        return []
    scope = Q(task_type__isnull=True)
    if task_type is not None:
        scope |= Q(task_type=task_type)
    known = Fact.objects.filter(scope, status=FactStatus.APPROVED, expires_at__gt=now)
    matches, score, question = _search(wanted)
    # S611: both texts are constants of this module.
    found = known.alias(fits=RawSQL(matches, (question,), output_field=BooleanField())).filter(fits=True)  # noqa: S611
    ranked = found.annotate(score=RawSQL(score, (question,), output_field=FloatField()))  # noqa: S611
    best = ranked.order_by("-score", "-id")[:MOST]
    return [Recalled(fact.pk, fact.statement, fact.untrusted, fact.score) for fact in best]


def _search(wanted: list[str]) -> tuple[str, str, str]:
    """Return condition, score and question for facts with any of the words; words are letters and digits only."""
    if connection.vendor == "postgresql":
        return *_POSTGRESQL, " | ".join(f"'{word}'" for word in wanted)
    return *_SQLITE, " OR ".join(f'"{word}"' for word in wanted)
