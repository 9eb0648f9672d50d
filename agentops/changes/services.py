"""Propose a change of rules, and decide on one: two admins, always, and every step an event of the tenant's stream.

The second one proves once more who they are before it counts (`tenancy.proof`).

What the rules are, and what putting them in force means, each kind says itself (`Kind`). The database refuses as well
that somebody puts in force what they proposed (`models.two_admins`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Max

from agentops import clock
from agentops.audit.services import record_in_tenant_stream
from agentops.changes.models import Change, ChangeStatus
from agentops.changes.outcomes import (
    Decided,
    Forbidden,
    Invalid,
    NotFound,
    Proposed,
    Settled,
    Stale,
    TooLate,
    Waiting,
)
from agentops.tenancy import proof
from agentops.tenancy.access import Actor, can
from agentops.tenancy.people import called
from agentops.wire.parse import JSONObject, clean_text

RIGHT: Final = "admin.manage"
MAX_NOTE: Final = 2_000
SHORTEST_NOTE: Final = 10
TRIES: Final = 5

C = TypeVar("C", bound=Change)


@dataclass(frozen=True, slots=True)
class Kind(Generic[C]):
    """One kind of rules that two admins change.

    `event` begins the names of its events (`<event>proposed`, ...), `subject` is the kind of what they are about.
    `put_in_force` makes a change count, under its lock and in its transaction, and returns what the event says about
    that, or `Stale` when the rules have moved on.
    """

    model: type[C]
    event: str
    subject: str
    put_in_force: Callable[[C, Actor, datetime], JSONObject | Stale]


def propose(
    kind: Kind[C], *, body: JSONObject, note: str, actor: Actor, now: datetime | None = None, **columns: Any
) -> Proposed | Waiting | Forbidden | Invalid:
    """Keep a change that waits for another admin. `note` says why, in 10 to 2,000 characters.

    Returns `Waiting` where the kind lets one change wait at a time and there is one.
    """
    if (refused := may_not(actor)) is not None:
        return refused
    if problems := note_problems(note):
        return Invalid(problems)
    for _ in range(TRIES):
        try:
            with transaction.atomic():
                row = create(kind, body=body, note=note, actor=actor, now=now or clock.now(), **columns)
                record(kind, "proposed", row, actor, {"body": body, "note": row.note})
                return Proposed(row.pk, row.version)
        except IntegrityError:
            waiting = kind.model.objects.select_related("proposed_by").filter(status=ChangeStatus.PROPOSED)
            if _one_at_a_time(kind) and (found := waiting.first()) is not None:
                return Waiting(called(found.proposed_by), found.version)
    raise IntegrityError(f"no version number of {kind.subject} was free")


def _one_at_a_time(kind: Kind[C]) -> bool:
    return any(one.name.endswith("_one_proposed") for one in kind.model._meta.constraints)


def create(kind: Kind[C], *, body: JSONObject, note: str, actor: Actor, now: datetime, **columns: Any) -> C:
    """Write the next version. Must run inside `atomic`; IntegrityError when somebody else was faster."""
    assert actor.user_id is not None
    version = (kind.model.objects.aggregate(last=Max("version"))["last"] or 0) + 1
    said = clean_text(note.strip())
    return kind.model.objects.create(
        version=version, body=body, note=said, proposed_by_id=actor.user_id, proposed_at=now, **columns
    )


def decide(
    kind: Kind[C], *, change_id: UUID, verdict: str, note: str, actor: Actor, now: datetime | None = None
) -> Decided:
    """Put a proposed change in force (`approve`), turn it down (`refuse`), or take the own one back (`withdraw`).

    Refusing needs a note, and putting in force that the person has just proved who they are. All of it is one
    transaction, under the lock of the change.
    """
    if (refused := may_not(actor)) is not None:
        return refused
    with transaction.atomic():
        # People are looked up afterwards: of a row that was waited for, a join would show who had decided before.
        found = kind.model.objects.select_for_update().filter(pk=change_id).first()
        if found is None:
            return NotFound()
        if found.status != ChangeStatus.PROPOSED:
            by = called(found.decided_by) or "nobody"
            return TooLate(by, found.status)
        own = found.proposed_by_id == actor.user_id
        if own != (verdict == "withdraw"):
            return Forbidden("own" if own else "not_own")
        if verdict not in _STATUS_OF:
            return Invalid({"verdict": "Choose what to do."})
        if len(note) > MAX_NOTE or (verdict == "refuse" and not note.strip()):
            return Invalid({"note": f"Say why, in at most {MAX_NOTE:,} characters."})
        if verdict == "approve" and (unproved := proof.missing(actor)) is not None:
            return unproved
        return _settle(kind, found, _STATUS_OF[verdict], clean_text(note.strip()), actor, now or clock.now())


_STATUS_OF: Final[Mapping[str, ChangeStatus]] = {
    "approve": ChangeStatus.ACTIVE,
    "refuse": ChangeStatus.REFUSED,
    "withdraw": ChangeStatus.WITHDRAWN,
}
_WORDS: Final = {
    ChangeStatus.ACTIVE: "approved",
    ChangeStatus.REFUSED: "refused",
    ChangeStatus.WITHDRAWN: "withdrawn",
}


def _settle(kind: Kind[C], row: C, status: ChangeStatus, note: str, actor: Actor, now: datetime) -> Settled | Stale:
    told: JSONObject = {}
    if status is ChangeStatus.ACTIVE:
        effect = kind.put_in_force(row, actor, now)
        if isinstance(effect, Stale):
            return effect
        told = effect
    changes = {"status": status, "decided_by": actor.user_id, "decided_at": now, "decision_note": note}
    if not kind.model.objects.filter(pk=row.pk, status=ChangeStatus.PROPOSED).update(**changes):
        raise IntegrityError("a change was decided under its own lock")
    record(kind, _WORDS[status], row, actor, {"note": note, **told})
    return Settled(row.pk, row.version, status.value)


def retire(kind: Kind[C]) -> int:
    """End what is in force, for a change that replaces it as a whole; return its version, 0 if there was none."""
    active = kind.model.objects.filter(status=ChangeStatus.ACTIVE)
    before = active.values_list("version", flat=True).first()
    active.update(status=ChangeStatus.RETIRED)
    return before or 0


def may_not(actor: Actor) -> Forbidden | None:
    """Refuse whoever is no person with the right to manage the tenant."""
    return None if actor.kind == "user" and actor.user_id is not None and can(actor, RIGHT) else Forbidden("role")


def note_problems(note: str) -> Mapping[str, str]:
    """Say what is wrong with the note that says why."""
    if not SHORTEST_NOTE <= len(note.strip()) <= MAX_NOTE:
        return {"note": f"Say why, in {SHORTEST_NOTE} to {MAX_NOTE:,} characters."}
    return {}


def record(kind: Kind[C], what: str, row: C, actor: Actor, data: JSONObject) -> None:
    """Write the event of one step."""
    record_in_tenant_stream(
        f"{kind.event}{what}", {"version": row.version, **data}, subject=(kind.subject, str(row.pk)), actor=actor
    )
