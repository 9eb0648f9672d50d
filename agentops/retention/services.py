"""Say how long records are kept, and hold some back from that. Every change is an event with before and after."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import transaction

from agentops import clock
from agentops.audit.models import Event
from agentops.audit.services import record_in_tenant_stream
from agentops.changes import services as changes
from agentops.changes.models import ChangeStatus
from agentops.changes.outcomes import (
    Decided,
    Forbidden,
    Invalid,
    NotFound,
    Proposed,
    Stale,
    StepUpNeeded,
    TooLate,
    Waiting,
)
from agentops.retention import classes
from agentops.retention.models import Door, Hold, HoldKind, Periods
from agentops.runs.models import Run
from agentops.tenancy import proof
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Membership
from agentops.tenancy.people import called
from agentops.wire.parse import JSONObject, clean_text
from approvals.models import Decision, Proposal

MAX_MATTER: Final = 100


@dataclass(frozen=True, slots=True)
class InForce:
    """The periods that count, in days by class; version 0 is what is usual."""

    version: int
    days: Mapping[str, int]

    def cutoff(self, record_class: str, now: datetime) -> datetime:
        """Return the moment before which records of a class are past their period."""
        one = classes.CLASSES[record_class]
        return now - timedelta(days=max(self.days[record_class], one.least))


@dataclass(frozen=True, slots=True)
class Lengthened:
    """The new periods count at once, because none of them is shorter."""

    version: int


@dataclass(frozen=True, slots=True)
class Unchanged:
    """These are the periods that are in force."""


def in_force() -> InForce:
    """Return the periods of the open tenant scope. One query."""
    row = Periods.objects.filter(status=ChangeStatus.ACTIVE).only("version", "body", "tenant_id").first()
    return InForce(0, classes.usual()) if row is None else InForce(row.version, _days(row.body))


def _days(body: Any) -> dict[str, int]:
    # A class that is newer than the version has its usual period.
    return classes.usual() | {name: int(days) for name, days in body.items() if name in classes.CLASSES}


# --- periods ----------------------------------------------------------------------------------------------------------


def change_periods(
    *, days: Mapping[str, object], note: str, actor: Actor, now: datetime | None = None
) -> Lengthened | Unchanged | Proposed | Waiting | Forbidden | Invalid:
    """Lengthen periods at once, or propose to another admin what shortens one. `days` names every class."""
    if (refused := changes.may_not(actor)) is not None:
        return refused
    found = {**classes.problems(days), **changes.note_problems(note)}
    if found:
        return Invalid(found)
    wanted = {name: int(str(days[name])) for name in classes.CLASSES}
    body: JSONObject = dict(wanted)
    moment = now or clock.now()
    with transaction.atomic():
        open_door()
        before = in_force()
        if wanted == before.days:
            return Unchanged()
        if classes.shortened(before.days, wanted):
            return changes.propose(KIND, body=body, note=note, actor=actor, now=moment, shortens=True)
        changes.retire(KIND)
        row = changes.create(
            KIND,
            body=body,
            note=note,
            actor=actor,
            now=moment,
            shortens=False,
            status=ChangeStatus.ACTIVE,
            decided_at=moment,
        )
        told: JSONObject = {"note": row.note, "before": dict(before.days), "after": body}
        changes.record(KIND, "lengthened", row, actor, told)
        return Lengthened(row.version)


def decide_periods(*, change_id: UUID, verdict: str, note: str, actor: Actor, now: datetime | None = None) -> Decided:
    """Put proposed periods in force (`approve`), turn them down (`refuse`), or take the own ones back (`withdraw`)."""
    with transaction.atomic():
        open_door()
        return changes.decide(KIND, change_id=change_id, verdict=verdict, note=note, actor=actor, now=now)


def _put_in_force(row: Periods, actor: Actor, now: datetime) -> JSONObject | Stale:
    wanted, before = _days(row.body), in_force()
    if classes.problems(wanted):
        return Stale("What may be kept for how long")
    newer = Periods.objects.filter(status=ChangeStatus.ACTIVE, version__gt=row.version).exists()
    if newer:
        return Stale("What is in force")
    changes.retire(KIND)
    return {"before": dict(before.days), "after": dict(wanted), "proposed_by": row.proposed_by.get_username()}


KIND: Final = changes.Kind(Periods, "retention.", "periods", _put_in_force)


# --- holds ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a hold is to cover; only what its kind needs counts."""

    kind: str
    run_id: UUID | None = None
    proposal_id: UUID | None = None
    person: str = ""
    since: datetime | None = None
    until: datetime | None = None


def place_hold(
    *, wanted: Wanted, matter: str, reason: str, actor: Actor, now: datetime | None = None
) -> Hold | Forbidden | Invalid:
    """Hold records back from removal, at once: one admin is enough for what keeps something."""
    if (refused := changes.may_not(actor)) is not None:
        return refused
    said, reference = clean_text(reason.strip()), clean_text(matter.strip())
    found: dict[str, str] = {}
    if problems := changes.note_problems(said):
        found["reason"] = problems["note"]
    if not 1 <= len(reference) <= MAX_MATTER:
        found["matter"] = f"Name the matter, in at most {MAX_MATTER} characters."
    columns = _covered(wanted, found)
    if found:
        return Invalid(found)
    assert actor.user_id is not None
    with transaction.atomic():
        open_door()
        row = Hold.objects.create(
            kind=wanted.kind,
            matter=reference,
            reason=said,
            placed_by_id=actor.user_id,
            placed_at=now or clock.now(),
            **columns,
        )
        _record_hold("placed", row, actor, {"reason": said})
    return row


def ask_to_lift(
    *, hold_id: UUID, reason: str, actor: Actor, now: datetime | None = None
) -> Hold | Forbidden | Invalid | NotFound | TooLate:
    """Ask another admin to lift a hold; whoever asked first is the one who asked."""
    if (refused := changes.may_not(actor)) is not None:
        return refused
    if problems := changes.note_problems(reason):
        return Invalid({"reason": problems["note"]})
    with transaction.atomic():
        found = _locked(hold_id)
        if not isinstance(found, Hold):
            return found
        if found.lift_asked_by is not None:
            return TooLate(called(found.lift_asked_by), "asked")
        found.lift_asked_by_id, found.lift_asked_at = actor.user_id, now or clock.now()
        found.lift_reason = clean_text(reason.strip())
        # The database looks for who asked, and who lifted, on the record (`guards`).
        _record_hold("lift_asked", found, actor, {"reason": found.lift_reason})
        found.save(update_fields=["lift_asked_by", "lift_asked_at", "lift_reason"])
    return found


def answer_lift(
    *, hold_id: UUID, verdict: str, actor: Actor, now: datetime | None = None
) -> Hold | Forbidden | Invalid | NotFound | TooLate | StepUpNeeded:
    """Lift a hold that somebody else asked to lift (`lift`), or leave it in force (`keep`)."""
    if (refused := changes.may_not(actor)) is not None:
        return refused
    if verdict not in ("lift", "keep"):
        return Invalid({"verdict": "Choose what to do."})
    if verdict == "lift" and (unproved := proof.missing(actor)) is not None:
        return unproved
    with transaction.atomic():
        open_door()
        found = _locked(hold_id)
        if not isinstance(found, Hold):
            return found
        if found.lift_asked_by_id is None:
            return TooLate("nobody", "in force")
        if verdict == "lift":
            if found.lift_asked_by_id == actor.user_id:
                return Forbidden("own")
            found.lifted_by_id, found.lifted_at = actor.user_id, now or clock.now()
            asked = found.lift_asked_by.get_username() if found.lift_asked_by else ""
            _record_hold("lifted", found, actor, {"reason": found.lift_reason, "asked_by": asked})
            found.save(update_fields=["lifted_by", "lifted_at"])
        else:
            found.lift_asked_by = found.lift_asked_at = None
            found.lift_reason = ""
            found.save(update_fields=["lift_asked_by", "lift_asked_at", "lift_reason"])
            _record_hold("kept", found, actor, {})
    return found


def open_door() -> Door:
    """Lock this tenant's removal until the transaction ends; whoever removes and whoever holds wait for each other."""
    found = Door.objects.select_for_update().first()
    if found is None:
        Door.objects.bulk_create([Door()], ignore_conflicts=True)
        found = Door.objects.select_for_update().get()
    return found


def _locked(hold_id: UUID) -> Hold | NotFound | TooLate:
    rows = Hold.objects.select_for_update(of=("self",)).select_related("lift_asked_by", "lifted_by")
    found = rows.filter(pk=hold_id).first()
    if found is None:
        return NotFound()
    if found.lifted_by is not None:
        return TooLate(called(found.lifted_by), "lifted")
    return found


def _covered(wanted: Wanted, problems: dict[str, str]) -> dict[str, Any]:
    """Return the columns that say what a hold covers; add what is wrong with it. Other tenants' ids are not there."""
    match wanted.kind:
        case HoldKind.RUN:
            if wanted.run_id is None or not Run.objects.filter(pk=wanted.run_id).exists():
                problems["run_id"] = "There is no such run."
            return {"run_id": wanted.run_id}
        case HoldKind.PROPOSAL:
            found = Proposal.objects.filter(pk=wanted.proposal_id) if wanted.proposal_id is not None else None
            proposal = found.values("pk", "run_id").first() if found is not None else None
            if proposal is None:
                problems["proposal_id"] = "There is no such proposal."
                return {}
            return {"proposal_id": proposal["pk"], "run_id": proposal["run_id"]}
        case HoldKind.PERSON:
            person = _person(wanted.person) if wanted.person else None
            if person is None:
                problems["person"] = "Nobody of that name belongs here, or ever did anything here."
            return {"person_id": person}
        case HoldKind.PERIOD:
            if wanted.since is None:
                problems["since"] = "Say from when."
            if wanted.until is None or (wanted.since is not None and wanted.until <= wanted.since):
                problems["until"] = "Say until when, after the beginning."
            return {"since": wanted.since, "until": wanted.until}
        case HoldKind.TENANT:
            return {}
        case _:
            problems["kind"] = "Say what is to be held."
            return {}


def _person(username: str) -> int | None:
    """Return somebody who belongs to the open tenant, or who has left and is on its record."""
    members = Membership.objects.filter(user__username=username)
    if (member := members.values_list("user_id", flat=True).first()) is not None:
        return member
    left = get_user_model().objects.filter(username=username).values_list("pk", flat=True).first()
    if left is None:
        return None
    acted = Event.objects.filter(actor_kind="user", actor_id=str(left)).exists()
    known = acted or Run.objects.filter(requested_by_id=left).exists() or Decision.objects.filter(user_id=left).exists()
    return left if known else None


def describe(row: Hold) -> JSONObject:
    """Return what a hold covers, as events carry it."""
    told: JSONObject = {"kind": str(row.kind), "matter": row.matter}
    if row.run_id is not None:
        told["run"] = str(row.run_id)
    if row.proposal_id is not None:
        told["proposal"] = str(row.proposal_id)
    if row.person_id is not None:
        told["person"] = str(row.person_id)
    if row.since is not None and row.until is not None:
        told |= {"since": row.since.isoformat(), "until": row.until.isoformat()}
    return told


def _record_hold(what: str, row: Hold, actor: Actor, data: JSONObject) -> None:
    record_in_tenant_stream(f"hold.{what}", {**describe(row), **data}, subject=("hold", str(row.pk)), actor=actor)


__all__ = [
    "InForce",
    "Lengthened",
    "Unchanged",
    "Wanted",
    "answer_lift",
    "ask_to_lift",
    "change_periods",
    "decide_periods",
    "describe",
    "in_force",
    "open_door",
    "place_hold",
]
