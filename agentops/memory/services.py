"""Change what is remembered: a run proposes; a curator approves, edits, rejects or revokes; time lets it expire.

Every change is an event in the stream `tenant`, written in the same transaction, which holds the lock of that stream
from its beginning: of two curators at the same moment one wins and the other is told who it was. Every outcome is a
value.
"""

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from agentops.audit.models import Stream
from agentops.audit.services import TENANT_STREAM, NewEvent, append
from agentops.memory.models import MAX_STATEMENT, OPEN, Descent, Fact, FactStatus
from agentops.memory.origin import Origin
from agentops.memory.words import words
from agentops.runs.models import Run, TaskType
from agentops.tenancy.access import SYSTEM, WORKER, Actor, can
from agentops.tenancy.people import called
from agentops.wire.canonical import digest
from agentops.wire.parse import JSONObject, clean_text

logger = logging.getLogger(__name__)

LIFE: Final = timedelta(days=365)
"""How long a fact is remembered whose run could not say."""

LONGEST_LIFE: Final = timedelta(days=3650)
MAX_WAITING: Final = 500
"""Facts of one tenant that may wait for a curator: nobody reads more, and an attacker must not be able to add more."""

MAX_NOTE: Final = 1_000


# --- outcomes -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was proposed. Codes: invalid_input, conflict, permission_denied, budget_exceeded."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Curated:
    """The verdict is recorded. `also` are the facts that were revoked with this one, because they descend from it."""

    fact_id: int
    status: FactStatus
    at: datetime
    also: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Lost:
    """The fact is not in a state this verdict applies to: `by` made it `status`, at `at`."""

    by: str
    status: FactStatus
    at: datetime


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """The statement descends from untrusted text; letting it in needs an explicit confirmation."""


@dataclass(frozen=True, slots=True)
class Forbidden:
    """This actor may not curate."""


@dataclass(frozen=True, slots=True)
class Invalid:
    """A value cannot be taken as it is; nothing was changed."""

    field: str
    message: str


Outcome = Curated | Lost | Unconfirmed | Forbidden | Invalid


# --- proposing ------------------------------------------------------------------------------------------------------


def propose(
    *,
    run: Run,
    call_id: str,
    idempotency_key: str,
    statement: str,
    origin: Origin,
    expires_in_days: int | None = None,
    now: datetime | None = None,
) -> Fact | Refused:
    """Put a statement into the curation queue, in the scope of the run's task type, and return the fact.

    The same key, or a statement that waits or is approved already, gives the fact that is there. Refused: an empty
    statement, one that not everybody in the tenant may read, one made from a fact that was revoked since it was
    recalled, and everything while the queue is full.
    """
    moment = now or timezone.now()
    text = clean_text(statement.strip())
    if problem := _statement_problem(text):
        return Refused("invalid_input", problem)
    if origin.provenance.readers is not None:
        return Refused("permission_denied", "Not everybody may read where this comes from.")
    life = LIFE if expires_in_days is None else timedelta(days=expires_in_days)
    named = fact_digest(text, run.task_type)
    with transaction.atomic():
        _serialise()
        if (known := _known(idempotency_key, named)) is not None:
            return known
        if Fact.objects.filter(pk__in=origin.recalled).exclude(status=FactStatus.APPROVED).exists():
            return Refused("conflict", "A fact it was made from is not approved any more.")
        if Fact.objects.filter(status=FactStatus.PROPOSED).count() >= MAX_WAITING:
            return Refused("budget_exceeded", f"{MAX_WAITING} facts wait for a curator already.")
        fact = Fact.objects.create(
            task_type_id=run.task_type_id,
            statement=text,
            words=" ".join(words(text)),
            digest=named,
            source_run=run,
            source_seq=origin.seq,
            source_call=call_id,
            author=clean_text(origin.author)[:128],
            provenance=origin.provenance.to_json(),
            untrusted=origin.provenance.untrusted,
            idempotency_key=idempotency_key,
            proposed_at=moment,
            expires_at=moment + min(life, LONGEST_LIFE),
        )
        ancestors = list(Fact.objects.filter(pk__in=origin.recalled).order_by("pk"))
        Descent.objects.bulk_create(Descent(fact=fact, ancestor=ancestor) for ancestor in ancestors)
        _record("proposed", fact, WORKER, _proposal_data(fact, ancestors), moment)
    return fact


def find_by_key(idempotency_key: str) -> Fact | None:
    """Return the fact that a call with this key has proposed."""
    return Fact.objects.filter(idempotency_key=idempotency_key).first()


def fact_digest(statement: str, task_type: TaskType | None) -> str:
    """Name a statement in its scope: no two facts with one name are open at a time."""
    return digest({"statement": statement, "task_type": None if task_type is None else task_type.slug})


def _known(idempotency_key: str, named: str) -> Fact | None:
    same = find_by_key(idempotency_key)
    return same if same is not None else Fact.objects.filter(digest=named, status__in=OPEN).first()


def _statement_problem(text: str) -> str:
    if not words(text):
        return "A statement needs words."
    return f"Keep it within {MAX_STATEMENT} characters." if len(text) > MAX_STATEMENT else ""


# --- curating -------------------------------------------------------------------------------------------------------


def approve(
    *, fact_id: int, actor: Actor, confirmed: bool = False, note: str = "", now: datetime | None = None
) -> Outcome:
    """Let a fact in as it was proposed; runs recall it from now on.

    `confirmed` is the curator's explicit yes to a statement that descends from untrusted text; it stays marked. Raises
    `Fact.DoesNotExist` for an id of no fact in the tenant.
    """
    moment = now or timezone.now()
    with transaction.atomic():
        fact = _opened(fact_id, actor, FactStatus.PROPOSED, note, moment)
        if not isinstance(fact, Fact):
            return fact
        if fact.untrusted and not confirmed:
            return Unconfirmed()
        return _approve(fact, actor, note, moment)


def edit_and_approve(
    *,
    fact_id: int,
    actor: Actor,
    statement: str,
    task_type: TaskType | None,
    expires_at: datetime,
    confirmed: bool = False,
    note: str = "",
    now: datetime | None = None,
) -> Outcome:
    """Let a fact in with another statement, scope or end; what the run proposed is kept beside it.

    An edited statement still descends from what the run proposed, so it stays marked and needs the confirmation too.
    Raises `Fact.DoesNotExist` like `approve`.
    """
    moment = now or timezone.now()
    text = clean_text(statement.strip())
    with transaction.atomic():
        fact = _opened(fact_id, actor, FactStatus.PROPOSED, note, moment)
        if not isinstance(fact, Fact):
            return fact
        if problem := _statement_problem(text):
            return Invalid("statement", problem)
        if not moment < expires_at <= moment + LONGEST_LIFE:
            return Invalid("expires_at", f"Choose a time within the next {LONGEST_LIFE.days} days.")
        if fact.untrusted and not confirmed:
            return Unconfirmed()
        named = fact_digest(text, task_type)
        if Fact.objects.filter(digest=named, status__in=OPEN).exclude(pk=fact.pk).exists():
            return Invalid("statement", "This statement waits or is approved already in this scope.")
        return _edit(fact, actor, text, task_type, named, expires_at, note, moment)


def reject(*, fact_id: int, actor: Actor, note: str = "", now: datetime | None = None) -> Outcome:
    """Keep a proposed fact out. Raises `Fact.DoesNotExist` like `approve`."""
    moment = now or timezone.now()
    with transaction.atomic():
        fact = _opened(fact_id, actor, FactStatus.PROPOSED, note, moment)
        if not isinstance(fact, Fact):
            return fact
        _change(fact, FactStatus.REJECTED, _by(actor, note, moment))
        _record("rejected", fact, actor, {"note": fact.curator_note}, moment)
        return Curated(fact.pk, FactStatus.REJECTED, moment)


def revoke(*, fact_id: int, actor: Actor, note: str, now: datetime | None = None) -> Outcome:
    """Take an approved fact, and every open fact that descends from it, out of memory at once.

    A reason is required. Raises `Fact.DoesNotExist` like `approve`.
    """
    moment = now or timezone.now()
    with transaction.atomic():
        fact = _opened(fact_id, actor, FactStatus.APPROVED, note, moment)
        if not isinstance(fact, Fact):
            return fact
        if not note.strip():
            return Invalid("note", "Say why.")
        _change(fact, FactStatus.REVOKED, _by(actor, note, moment))
        _record("revoked", fact, actor, {"note": fact.curator_note}, moment)
        also = []
        for one in Fact.objects.filter(pk__in=_descendants(fact.pk), status__in=OPEN).order_by("pk"):
            because = f"It descends from fact {fact.pk}, which was revoked."
            _change(one, FactStatus.REVOKED, _by(actor, because, moment))
            _record("revoked", one, actor, {"note": because, "ancestor": fact.pk}, moment)
            also.append(one.pk)
        return Curated(fact.pk, FactStatus.REVOKED, moment, tuple(also))


def expire_due(now: datetime, limit: int) -> int:
    """Close up to `limit` facts of the open tenant whose time has passed, oldest first; return how many.

    One transaction each, safe to run anywhere at any time. Recall has left them out since the moment itself.
    """
    due = Fact.objects.filter(status__in=OPEN, expires_at__lte=now).order_by("expires_at", "pk")
    expired = 0
    for fact_id in list(due.values_list("pk", flat=True)[:limit]):
        try:
            with transaction.atomic():
                _serialise()
                fact = Fact.objects.get(pk=fact_id)
                expired += _expire_if_due(fact, now)
        except Exception:
            logger.exception("fact %s could not be expired", fact_id)
    return expired


# --- steps of a change ----------------------------------------------------------------------------------------------


def _serialise() -> None:
    """Hold off every other change of the tenant's memory until the transaction ends."""
    list(Stream.objects.select_for_update().filter(name=TENANT_STREAM).values_list("pk"))


def _opened(
    fact_id: int, actor: Actor, wanted: FactStatus, note: str, now: datetime
) -> Fact | Lost | Forbidden | Invalid:
    """Return a fact this actor may give a verdict on, or say why there is none to give."""
    if actor.user_id is None or not can(actor, "memory.curate"):
        return Forbidden()
    if len(note) > MAX_NOTE:
        return Invalid("note", f"Keep the note within {MAX_NOTE} characters.")
    _serialise()
    fact = Fact.objects.select_related("task_type", "curated_by").get(pk=fact_id)
    _expire_if_due(fact, now)
    if fact.status == wanted:
        return fact
    status = FactStatus(fact.status)
    if status is FactStatus.EXPIRED:
        return Lost(SYSTEM.name, status, fact.expires_at)
    if fact.curated_by is None or fact.curated_at is None:
        return Lost(WORKER.name, status, fact.proposed_at)
    return Lost(called(fact.curated_by), status, fact.curated_at)


def _approve(fact: Fact, actor: Actor, note: str, now: datetime) -> Curated:
    _change(fact, FactStatus.APPROVED, _by(actor, note, now))
    data: JSONObject = {
        "statement": fact.statement,
        "digest": fact.digest,
        "task_type": _slug(fact.task_type),
        "untrusted": fact.untrusted,
        "expires_at": fact.expires_at.isoformat(),
        "note": fact.curator_note,
    }
    _record("approved", fact, actor, data, now)
    return Curated(fact.pk, FactStatus.APPROVED, now)


def _edit(
    fact: Fact,
    actor: Actor,
    text: str,
    task_type: TaskType | None,
    named: str,
    expires_at: datetime,
    note: str,
    now: datetime,
) -> Curated:
    before = _editable(fact.statement, fact.task_type, fact.expires_at)
    after = _editable(text, task_type, expires_at)
    if before != after:
        if text != fact.statement:
            fact.original_statement = fact.statement
        fact.statement, fact.words, fact.digest = text, " ".join(words(text)), named
        fact.task_type, fact.expires_at = task_type, expires_at
        fact.save(update_fields=["original_statement", "statement", "words", "digest", "task_type", "expires_at"])
        _record("edited", fact, actor, {"before": before, "after": after}, now)
    return _approve(fact, actor, note, now)


def _editable(statement: str, task_type: TaskType | None, expires_at: datetime) -> JSONObject:
    return {"statement": statement, "task_type": _slug(task_type), "expires_at": expires_at.isoformat()}


def _by(actor: Actor, note: str, now: datetime) -> dict[str, object]:
    return {"curated_by_id": actor.user_id, "curated_at": now, "curator_note": clean_text(note.strip())[:MAX_NOTE]}


def _change(fact: Fact, status: FactStatus, columns: dict[str, object] | None = None) -> None:
    """Move a fact that is still in the state at hand; under the stream's lock nobody is in between."""
    written = Fact.objects.filter(pk=fact.pk, status=fact.status).update(status=status, **(columns or {}))
    if not written:
        raise RuntimeError(f"fact {fact.pk} was changed without the lock of its stream")
    fact.refresh_from_db()


def _expire_if_due(fact: Fact, now: datetime) -> bool:
    if fact.status not in OPEN or fact.expires_at > now:
        return False
    was = fact.status
    _change(fact, FactStatus.EXPIRED)
    _record("expired", fact, SYSTEM, {"was": was, "expires_at": fact.expires_at.isoformat()}, now)
    return True


def _descendants(fact_id: int) -> set[int]:
    """Return the ids of all facts made from this one, directly or through others."""
    found: set[int] = set()
    front: Collection[int] = {fact_id}
    while front:
        made = set(Descent.objects.filter(ancestor_id__in=front).values_list("fact_id", flat=True))
        front = made - found
        found |= made
    return found


def _proposal_data(fact: Fact, ancestors: Iterable[Fact]) -> JSONObject:
    return {
        "statement": fact.statement,
        "digest": fact.digest,
        "task_type": _slug(fact.task_type),
        "author": fact.author,
        "source": {"run": str(fact.source_run_id), "seq": fact.source_seq, "call": fact.source_call},
        "provenance": fact.provenance,
        "untrusted": fact.untrusted,
        "ancestors": [ancestor.pk for ancestor in ancestors],
        "expires_at": fact.expires_at.isoformat(),
    }


def _slug(task_type: TaskType | None) -> str | None:
    return None if task_type is None else task_type.slug


def _record(what: str, fact: Fact, actor: Actor, data: JSONObject, now: datetime) -> None:
    run: UUID | None = fact.source_run_id if what == "proposed" else None
    event = NewEvent(f"fact.{what}", data, subject=("fact", str(fact.pk)))
    append(TENANT_STREAM, [event], actor=actor, run_id=run, at=now)
