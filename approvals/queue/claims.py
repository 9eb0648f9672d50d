"""Whose a proposal is for the moment: serve the next one, claim, release, assign, take over, put off until later.

A lease lasts two minutes and is renewed while its holder looks at the card; meanwhile nobody else decides it. Being
assigned lasts until the proposal is closed and only says whose it is. What somebody else has is taken over with a
reason. Each of these is a compare-and-set on the proposal's row together with its event in the stream of the tenant;
renewing a lease is none of them and leaves no event. Outcomes are values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from agentops import clock
from agentops.audit.services import record_in_tenant_stream
from agentops.tenancy.access import SYSTEM, Actor, can, roles_with
from agentops.tenancy.models import Membership
from agentops.tenancy.people import account_of, called, with_id
from agentops.wire.parse import JSON, clean_text
from approvals.models import Proposal, Skip, SkipReason, Status
from approvals.proposals.opening import leased_by_another, person_of
from approvals.queue.filters import Filters
from approvals.queue.selectors import free_for, in_order

RIGHT: Final = "proposal.decide"
LEASE: Final = timedelta(minutes=2)
LONGEST_HOLD: Final = timedelta(hours=24)
SHORTEST_HOLD: Final = timedelta(minutes=1)
MAX_NOTE: Final = 300
MIN_REASON: Final = 5

MOST_PEOPLE: Final = 200
HOLDS: Final[Sequence[tuple[int, str]]] = (
    (15, "15 minutes"),
    (60, "1 hour"),
    (240, "4 hours"),
    (24 * 60, "24 hours"),
)

_NO_LEASE: Final[Mapping[str, object]] = {"leased_by": None, "leased_until": None, "served_at": None}
_NO_HOLD: Final[Mapping[str, object]] = {"held_by": None, "held_until": None, "held_note": ""}


# --- outcomes ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Done:
    """It is recorded. `until` is the end of the lease or of the hold, where there is one."""

    proposal_id: UUID
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """Somebody else has it: by lease until `until`, or None when it is only assigned. Taking over needs a reason."""

    by: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Closed:
    """It is no longer pending."""

    status: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was changed: `field` and `message` say what is wrong with the request."""

    field: str
    message: str


@dataclass(frozen=True, slots=True)
class MayNot:
    """This actor, or the person it is to be given to, does not decide proposals here."""

    message: str


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The proposal that was served last is neither decided nor given back; giving it back needs a reason."""

    proposal_id: UUID


@dataclass(frozen=True, slots=True)
class Nothing:
    """There is nothing to serve."""


Outcome = Done | Taken | Closed | Refused | MayNot
Serving = Done | Unfinished | Nothing | Refused | MayNot


# --- reading ----------------------------------------------------------------------------------------------------------


def taken_by_another(proposal: Proposal, actor: Actor, now: datetime) -> Taken | None:
    """Return who else holds the lease of a pending proposal at the moment. One query when somebody does."""
    leased = leased_by_another(proposal, actor, now)
    return Taken(leased.by, leased.until) if leased is not None else None


def shown(proposal: Proposal, actor: Actor, now: datetime) -> dict[str, Any]:
    """Return what the card says about whose a proposal is, for `approvals/_whose.html`.

    `proposal` comes from `selectors.find`. One query for the people it can be given to, at most once a minute.
    """
    pending, me = proposal.status == Status.PENDING, actor.user_id
    may = pending and _may_not(actor) is None
    lease, hold_ends = proposal.leased_until, proposal.held_until
    leased = pending and lease is not None and lease > now and proposal.leased_by is not None
    mine = proposal.leased_by_id == me
    assigned = pending and proposal.assigned_to_id is not None
    held = pending and hold_ends is not None and hold_ends > now
    ours = (leased and mine) or (pending and me is not None and proposal.assigned_to_id == me)
    return {
        "may": may,
        "leased": {"by": called(proposal.leased_by), "until": lease, "mine": mine} if leased else None,
        "assigned": {"to": called(proposal.assigned_to), "mine": proposal.assigned_to_id == me} if assigned else None,
        "free": not (leased or assigned or held),
        "taken": (leased or assigned) and not ours,
        "held": {"by": called(proposal.held_by), "until": hold_ends, "note": proposal.held_note} if held else None,
        "served": leased and mine and proposal.served_at is not None,
        "mine": ours,
        "people": _people(proposal.tenant_id) if may else (),
        "skip_reasons": SkipReason.choices,
        "holds": HOLDS,
    }


def _people(tenant_id: int) -> list[tuple[str, str]]:
    """Return accounts and what pages call them, by account."""
    key = f"deciders:named:{tenant_id}"
    known: list[tuple[str, str]] | None = cache.get(key)
    if known is None:
        known = [(one.get_username(), called(one)) for one in deciders()[:MOST_PEOPLE]]
        cache.set(key, known, 60)
    return known


def deciders() -> QuerySet[User]:
    """Return the active people of the open tenant who decide proposals, by user name."""
    members = Membership.objects.filter(role__in=roles_with(RIGHT)).values("user")
    return User.objects.filter(pk__in=members, is_active=True).order_by("username")


# --- claiming ---------------------------------------------------------------------------------------------------------


def claim(*, proposal_id: UUID, actor: Actor, reason: str = "", now: datetime | None = None) -> Outcome:
    """Make a proposal the actor's own, with a lease. What somebody else has, by lease or assignment, needs a reason.

    Raises `Proposal.DoesNotExist` for an id of no proposal in the tenant.
    """
    moment, said = now or clock.now(), clean_text(reason.strip())
    if (refused := _may_not(actor)) is not None:
        return refused
    with transaction.atomic():
        row = _open_row(proposal_id)
        if isinstance(row, Closed):
            return row
        taken, holder = taken_by_another(row, actor, moment), row.leased_by_id
        if taken is None and row.assigned_to_id not in (None, actor.user_id):
            taken, holder = Taken(with_id(row.assigned_to_id), None), row.assigned_to_id
        if taken is not None and not said:
            return taken
        if taken is not None and (issue := _reason_issue(said)) is not None:
            return issue
        until = moment + LEASE
        if not _set(row, assigned_to=actor.user_id, leased_by=actor.user_id, leased_until=until, served_at=None):
            return _claim_again(proposal_id)
        data: dict[str, JSON] = {"until": until.isoformat()}
        if taken is not None:
            data |= {"from": account_of(holder), "reason": said}
        _record("proposal.taken_over" if taken is not None else "proposal.claimed", row, data, actor)
    return Done(row.pk, until)


def release(*, proposal_id: UUID, actor: Actor) -> Outcome:
    """Give back what the actor has: the lease and the assignment. Raises like `claim`."""
    if (refused := _may_not(actor)) is not None:
        return refused
    with transaction.atomic():
        row = _open_row(proposal_id)
        if isinstance(row, Closed):
            return row
        changes: dict[str, object] = {}
        if row.leased_by_id == actor.user_id:
            changes |= _NO_LEASE
        if row.assigned_to_id == actor.user_id:
            changes["assigned_to"] = None
        if not changes:
            return Refused("", "This is not yours, so there is nothing to give back.")
        if not _set(row, **changes):
            return _claim_again(proposal_id)
        _record("proposal.released", row, {}, actor)
    return Done(row.pk)


def renew(*, proposal_id: UUID, actor: Actor, now: datetime | None = None) -> Outcome:
    """Keep a lease that the actor still has for another two minutes. No event: nothing has changed hands."""
    moment = now or clock.now()
    if (refused := _may_not(actor)) is not None:
        return refused
    until = moment + LEASE
    mine = Proposal.objects.filter(pk=proposal_id, status=Status.PENDING, leased_by=actor.user_id)
    # A lease that has run out is still its holder's as long as nobody else has come.
    if mine.update(leased_until=until):
        return Done(proposal_id, until)
    row = _open_row(proposal_id)
    if isinstance(row, Closed):
        return row
    return taken_by_another(row, actor, moment) or Refused("", "This is not yours any more.")


def assign(*, proposal_id: UUID, actor: Actor, to: str, reason: str = "", now: datetime | None = None) -> Outcome:
    """Say whose a proposal is, by user name. Taking it from somebody needs a reason, and ends their lease.

    Raises like `claim`.
    """
    moment, said = now or clock.now(), clean_text(reason.strip())
    if (refused := _may_not(actor)) is not None:
        return refused
    person = deciders().filter(username=to).first()
    if person is None:
        return Refused("to", "Choose somebody who decides proposals here.")
    with transaction.atomic():
        row = _open_row(proposal_id)
        if isinstance(row, Closed):
            return row
        others, holder = taken_by_another(row, actor, moment), row.leased_by_id
        if others is not None and row.leased_by_id == person.pk:
            others = None
        if others is None and row.assigned_to_id not in (None, actor.user_id, person.pk):
            others, holder = Taken(with_id(row.assigned_to_id), None), row.assigned_to_id
        if others is not None and not said:
            return others
        if others is not None and (issue := _reason_issue(said)) is not None:
            return issue
        lease = {} if row.leased_by_id == person.pk else _NO_LEASE
        if not _set(row, assigned_to=person.pk, **lease):
            return _claim_again(proposal_id)
        data: dict[str, JSON] = {"to": person.get_username()}
        if said:
            data["reason"] = said[:MAX_NOTE]
        if others is not None:
            data["from"] = account_of(holder)
        _record("proposal.assigned", row, data, actor)
    return Done(row.pk)


# --- holding ----------------------------------------------------------------------------------------------------------


def hold(*, proposal_id: UUID, actor: Actor, until: datetime, reason: str, now: datetime | None = None) -> Outcome:
    """Put a proposal off: the queue does not show it until then. Its deadline goes on, and is a limit.

    Raises like `claim`.
    """
    moment, said = now or clock.now(), clean_text(reason.strip())
    if (refused := _may_not(actor)) is not None:
        return refused
    if (issue := _reason_issue(said)) is not None:
        return issue
    with transaction.atomic():
        row = _open_row(proposal_id)
        if isinstance(row, Closed):
            return row
        if (taken := taken_by_another(row, actor, moment)) is not None:
            return taken
        if not moment + SHORTEST_HOLD <= until <= moment + LONGEST_HOLD:
            return Refused("until", "Put it off by at least a minute and at most 24 hours.")
        if until >= row.decide_by:
            return Refused("until", f"It has to be decided by {row.decide_by:%Y-%m-%d %H:%M} UTC; come back before.")
        if not _set(row, held_by=actor.user_id, held_until=until, held_note=said, **_NO_LEASE):
            return _claim_again(proposal_id)
        _record("proposal.held", row, {"until": until.isoformat(), "reason": said}, actor)
    return Done(row.pk, until)


def resume(*, proposal_id: UUID, actor: Actor) -> Outcome:
    """Bring back at once what was put off. Raises like `claim`."""
    if (refused := _may_not(actor)) is not None:
        return refused
    with transaction.atomic():
        row = _open_row(proposal_id)
        if isinstance(row, Closed):
            return row
        if row.held_until is None:
            return Refused("", "This was not put off.")
        if not _set(row, **_NO_HOLD):
            return _claim_again(proposal_id)
        _record("proposal.resumed", row, {}, actor)
    return Done(row.pk)


def end_holds(now: datetime, limit: int) -> int:
    """Bring back what was put off until now, with an event that open pages hear; return how many. Safe to repeat."""
    due = Proposal.objects.filter(status=Status.PENDING, held_until__isnull=False, held_until__lte=now)
    ended = 0
    for row in list(due.order_by("held_until")[:limit]):
        with transaction.atomic():
            if _set(row, **_NO_HOLD):
                _record("proposal.resumed", row, {"by_itself": True}, SYSTEM)
                ended += 1
    return ended


# --- serving ----------------------------------------------------------------------------------------------------------


def serve_next(
    *, actor: Actor, filters: Filters, skip_reason: str = "", note: str = "", now: datetime | None = None
) -> Serving:
    """Give the actor the most urgent proposal that is theirs to decide, with a lease of two minutes.

    Passed over is what others have or are assigned, what is put off, what the actor asked for themselves or has given
    back before. Two who ask at once are given two. Who still has what was served last gives a reason to skip it.
    """
    moment = now or clock.now()
    if (refused := _may_not(actor)) is not None:
        return refused
    with transaction.atomic():
        last = _served_to(actor, moment)
        if last is not None:
            if not skip_reason:
                return Unfinished(last.pk)
            if (issue := _skip(last, actor, skip_reason, clean_text(note.strip()), moment)) is not None:
                return issue
        for part in in_order(filters, now=moment, at=moment):
            candidates = part.filter(_theirs(actor, moment)).select_related(None).only("pk")
            # Locked by nobody else: whoever asks at the same moment gets the one behind it.
            for row in candidates.select_for_update(skip_locked=True, of=("self",))[:1]:
                until = moment + LEASE
                served = {"leased_by": actor.user_id, "leased_until": until, "served_at": moment}
                Proposal.objects.filter(pk=row.pk).update(**served)
                _record("proposal.served", row, {"until": until.isoformat()}, actor)
                return Done(row.pk, until)
    return Nothing()


def _served_to(actor: Actor, now: datetime) -> Proposal | None:
    mine = Proposal.objects.filter(status=Status.PENDING, leased_by=actor.user_id, served_at__isnull=False)
    return mine.filter(leased_until__gt=now).order_by("-served_at").first()


def _skip(row: Proposal, actor: Actor, reason: str, note: str, now: datetime) -> Refused | None:
    if reason not in SkipReason.values:
        return Refused("skip_reason", "Choose a reason.")
    if reason == SkipReason.OTHER and len(note) < MIN_REASON:
        return Refused("note", "Say why in a few words.")
    if len(note) > MAX_NOTE:
        return _too_long()
    Proposal.objects.filter(pk=row.pk, leased_by=actor.user_id).update(**_NO_LEASE)
    Skip.objects.update_or_create(
        proposal=row, user_id=person_of(actor), defaults={"reason": reason, "note": note, "at": now}
    )
    data: dict[str, JSON] = {"reason": reason}
    if note:
        data["note"] = note
    _record("proposal.skipped", row, data, actor)
    return None


def _theirs(actor: Actor, now: datetime) -> Q:
    own = Q(requested_by=actor.user_id, requested_by__isnull=False, task_type__allow_self_approval=False)
    skipped = Skip.objects.filter(proposal=OuterRef("pk"), user=person_of(actor))
    unassigned = Q(assigned_to__isnull=True) | Q(assigned_to=actor.user_id)
    return free_for(actor.user_id, now) & unassigned & ~own & ~Exists(skipped) & Q(decide_by__gt=now)


# --- steps ------------------------------------------------------------------------------------------------------------


def _may_not(actor: Actor) -> MayNot | None:
    if actor.kind != "user" or actor.user_id is None or not can(actor, RIGHT):
        return MayNot("Your roles in this tenant do not decide proposals; operators and seniors do.")
    return None


def _open_row(proposal_id: UUID) -> Proposal | Closed:
    row = Proposal.objects.get(pk=proposal_id)
    return row if row.status == Status.PENDING else Closed(row.status)


def _set(row: Proposal, **changes: object) -> bool:
    """Change a pending proposal if nobody has changed meanwhile whose it is."""
    as_seen = {name: getattr(row, name) for name in ("assigned_to_id", "leased_by_id", "held_until")}
    same = Q(status=Status.PENDING)
    for name, value in as_seen.items():
        same &= Q(**{f"{name}__isnull": True}) if value is None else Q(**{name: value})
    return bool(Proposal.objects.filter(same, pk=row.pk).update(**changes))


def _claim_again(proposal_id: UUID) -> Outcome:
    row = _open_row(proposal_id)
    if isinstance(row, Closed):
        return row
    holder = row.leased_by_id or row.assigned_to_id
    return (
        Taken(with_id(holder), row.leased_until) if holder is not None else Refused("", "It has changed; look again.")
    )


def _reason_issue(said: str) -> Refused | None:
    if len(said) < MIN_REASON:
        return Refused("reason", "Say why in a few words.")
    return _too_long("reason") if len(said) > MAX_NOTE else None


def _too_long(field: str = "note") -> Refused:
    return Refused(field, f"Keep it within {MAX_NOTE} characters.")


def _record(event: str, row: Proposal, data: dict[str, JSON], actor: Actor) -> None:
    record_in_tenant_stream(event, data, subject=("proposal", str(row.pk)), actor=actor)
