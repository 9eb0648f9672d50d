"""Who may say how long records are kept and what is held, and that every step of it is an event."""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, IntegrityError, transaction
from django.test import Client
from django.utils import timezone

from agentops import clock
from agentops.audit.services import TENANT_STREAM, load, record_in_tenant_stream
from agentops.changes.outcomes import Forbidden, Invalid, NotFound, Proposed, Settled, TooLate, Waiting
from agentops.retention.models import Hold, Periods
from agentops.retention.services import (
    Lengthened,
    Unchanged,
    Wanted,
    answer_lift,
    ask_to_lift,
    change_periods,
    decide_periods,
    in_force,
    place_hold,
)
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from tests.conftest import person
from tests.retention.conftest import old_run

pytestmark = pytest.mark.not_replayed("what its runs did is written by hand")
USUAL = {"record": 2_557, "bodies": 365, "trials": 365, "imports": 365, "exports": 7}
NOTE = "A reason that is long enough."


def told(type_: str) -> list[dict[str, object]]:
    return [one.data for one in load(TENANT_STREAM) if one.type == type_]


# --- periods ----------------------------------------------------------------------------------------------------------


def test_without_a_word_the_usual_periods_count(scoped: Tenant) -> None:
    assert (in_force().version, dict(in_force().days)) == (0, USUAL)


def test_longer_counts_at_once_and_says_before_and_after(scoped: Tenant, admin: Actor) -> None:
    assert isinstance(change_periods(days={**USUAL, "bodies": 400}, note=NOTE, actor=admin), Lengthened)
    assert in_force().days["bodies"] == 400
    [event] = told("retention.lengthened")
    assert (event["before"], event["after"]) == (USUAL, {**USUAL, "bodies": 400})


def test_shorter_waits_for_another_admin(scoped: Tenant, admin: Actor, second: Actor) -> None:
    proposed = change_periods(days={**USUAL, "bodies": 184}, note=NOTE, actor=admin)
    assert isinstance(proposed, Proposed)
    assert in_force().days == USUAL
    assert isinstance(change_periods(days={**USUAL, "bodies": 185}, note=NOTE, actor=second), Waiting)
    own = decide_periods(change_id=proposed.change_id, verdict="approve", note="", actor=admin)
    assert own == Forbidden("own")
    done = decide_periods(change_id=proposed.change_id, verdict="approve", note="", actor=second)
    assert isinstance(done, Settled)
    assert in_force().days["bodies"] == 184
    [event] = told("retention.approved")
    assert (event["before"], event["after"]) == (USUAL, {**USUAL, "bodies": 184})
    late = decide_periods(change_id=proposed.change_id, verdict="refuse", note="no", actor=second)
    assert isinstance(late, TooLate)


def test_a_change_meanwhile_voids_what_waits(scoped: Tenant, admin: Actor, second: Actor) -> None:
    proposed = change_periods(days={**USUAL, "bodies": 184}, note=NOTE, actor=admin)
    assert isinstance(proposed, Proposed)
    assert isinstance(change_periods(days={**USUAL, "record": 3_000}, note=NOTE, actor=second), Lengthened)
    decided = decide_periods(change_id=proposed.change_id, verdict="approve", note="", actor=second)
    assert type(decided).__name__ == "Stale"
    assert in_force().days["bodies"] == 365


def test_the_database_refuses_a_shortening_by_one(scoped: Tenant, admin: Actor) -> None:
    assert admin.user_id is not None
    with pytest.raises(IntegrityError), transaction.atomic():
        Periods.objects.create(
            version=1,
            body=USUAL,
            shortens=True,
            note=NOTE,
            status="active",
            proposed_by_id=admin.user_id,
            proposed_at=timezone.now(),
            decided_by_id=admin.user_id,
            decided_at=timezone.now(),
        )


@pytest.mark.parametrize(
    ("name", "days"), [("record", 183), ("bodies", 183), ("record", "x"), ("record", True), ("exports", 8), ("what", 9)]
)
def test_what_is_below_the_floor_or_no_number_is_refused(scoped: Tenant, admin: Actor, name: str, days: object) -> None:
    refused = change_periods(days={**USUAL, name: days}, note=NOTE, actor=admin)
    assert isinstance(refused, Invalid)
    assert list(refused.problems) == [name]


def test_only_admins_with_a_reason_change_periods(scoped: Tenant, admin: Actor, bob: User) -> None:
    operator = Actor.user(bob, ["operator"])
    assert change_periods(days=USUAL, note=NOTE, actor=operator) == Forbidden("role")
    assert isinstance(change_periods(days={**USUAL, "bodies": 400}, note="x", actor=admin), Invalid)
    assert isinstance(change_periods(days=USUAL, note=NOTE, actor=admin), Unchanged)


# --- holds ------------------------------------------------------------------------------------------------------------


def test_a_hold_is_placed_by_one_and_lifted_by_two(scoped: Tenant, admin: Actor, second: Actor) -> None:
    placed = place_hold(wanted=Wanted("tenant"), matter="M-7", reason=NOTE, actor=admin)
    assert isinstance(placed, Hold)
    assert isinstance(answer_lift(hold_id=placed.pk, verdict="lift", actor=second), TooLate)
    assert isinstance(ask_to_lift(hold_id=placed.pk, reason=NOTE, actor=admin), Hold)
    assert isinstance(ask_to_lift(hold_id=placed.pk, reason=NOTE, actor=second), TooLate)
    assert answer_lift(hold_id=placed.pk, verdict="lift", actor=admin) == Forbidden("own")
    assert isinstance(answer_lift(hold_id=placed.pk, verdict="keep", actor=second), Hold)
    assert isinstance(ask_to_lift(hold_id=placed.pk, reason=NOTE, actor=admin), Hold)
    lifted = answer_lift(hold_id=placed.pk, verdict="lift", actor=second)
    assert isinstance(lifted, Hold)
    assert lifted.lifted_by_id == second.user_id
    assert isinstance(ask_to_lift(hold_id=placed.pk, reason=NOTE, actor=admin), TooLate)
    kinds = [one.type for one in load(TENANT_STREAM) if one.type.startswith("hold.")]
    assert kinds == ["hold.placed", "hold.lift_asked", "hold.kept", "hold.lift_asked", "hold.lifted"]


def test_the_database_refuses_a_lifting_that_the_record_does_not_tell_of(
    scoped: Tenant, admin: Actor, second: Actor
) -> None:
    placed = place_hold(wanted=Wanted("tenant"), matter="M-7", reason=NOTE, actor=admin)
    assert isinstance(placed, Hold)
    now = timezone.now()
    asked = {"lift_asked_by": admin.user_id, "lift_asked_at": now}
    lifted = {"lifted_by": second.user_id, "lifted_at": now}

    def refused(why: str, **columns: object) -> None:
        with pytest.raises(DatabaseError, match=why), transaction.atomic():
            Hold.objects.filter(pk=placed.pk).update(**columns)

    refused("nobody had asked", **asked, **lifted)
    refused("nobody had asked", **asked, lifted_by=admin.user_id, lifted_at=now)
    refused("who asked", **asked)
    ask_to_lift(hold_id=placed.pk, reason=NOTE, actor=admin)
    refused("who lifted", **lifted)
    refused("who lifted", lifted_by=admin.user_id, lifted_at=now)
    with transaction.atomic():
        record_in_tenant_stream("hold.lifted", {}, subject=("hold", str(placed.pk)), actor=admin)
    refused("hold_lifted_by_two", lifted_by=admin.user_id, lifted_at=now)
    refused("who lifted", **lifted)
    refused("nobody had asked", lift_asked_by=second.user_id, **lifted)
    answer_lift(hold_id=placed.pk, verdict="keep", actor=second)
    # That somebody asked once is no reason for ever.
    refused("who asked", **asked)
    assert Hold.objects.get().lifted_at is None


def test_a_hold_names_what_is_there(charlie: User, scoped: Tenant, admin: Actor, bob: User) -> None:
    run = old_run(1)

    def problems(wanted: Wanted) -> set[str]:
        found = place_hold(wanted=wanted, matter="M", reason=NOTE, actor=admin)
        return set(found.problems) if isinstance(found, Invalid) else set()

    nobody = UUID(int=1)
    now = timezone.now()
    assert problems(Wanted("run", run_id=nobody)) == {"run_id"}
    assert problems(Wanted("proposal", proposal_id=nobody)) == {"proposal_id"}
    assert problems(Wanted("proposal")) == {"proposal_id"}
    assert problems(Wanted("person", person="charlie")) == {"person"}
    assert problems(Wanted("period", since=now, until=now - timedelta(days=1))) == {"until"}
    assert problems(Wanted("period")) == {"since", "until"}
    assert problems(Wanted("what")) == {"kind"}
    assert problems(Wanted("run", run_id=run.pk)) == set()
    assert problems(Wanted("person", person="bob")) == set()
    assert isinstance(place_hold(wanted=Wanted("tenant"), matter=" ", reason="x", actor=admin), Invalid)


def test_another_tenants_hold_is_not_there(acme: Tenant, globex: Tenant, admin: Actor) -> None:
    with tenant_scope(acme):
        placed = place_hold(wanted=Wanted("tenant"), matter="M-7", reason=NOTE, actor=admin)
    assert isinstance(placed, Hold)
    other = Actor.user(person("gina", globex, "admin"), ["admin"], clock.now())
    with tenant_scope(globex):
        assert isinstance(ask_to_lift(hold_id=placed.pk, reason=NOTE, actor=other), NotFound)
        assert isinstance(answer_lift(hold_id=placed.pk, verdict="lift", actor=other), NotFound)


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_shows_and_changes_everything(
    acme: Tenant, alice: User, ann: User, bob: User, signed_in: Callable[[User], Client]
) -> None:
    dora = person("dora", acme, "admin")
    admin, other, auditor, operator = (signed_in(one) for one in (alice, dora, ann, person("vic", acme, "viewer")))
    home = "/t/acme/retention"
    assert operator.get(home).status_code == 403
    shown = auditor.get(home)
    assert shown.status_code == 200
    assert b"Change the periods" not in shown.content
    assert auditor.post(f"{home}/periods", USUAL).status_code == 403
    low = admin.post(f"{home}/periods", {**USUAL, "record": "10", "note": NOTE})
    assert low.status_code == 422
    assert b"from 184 to" in low.content
    assert admin.post(f"{home}/periods", {**USUAL, "bodies": "200", "note": NOTE}).status_code == 302
    with tenant_scope(acme):
        waiting = Periods.objects.get()
    assert b"waits for another admin" in other.get(home).content
    assert admin.post(f"{home}/periods/{waiting.pk}", {"verdict": "approve"}).status_code == 403
    assert other.post(f"{home}/periods/{waiting.pk}", {"verdict": "approve"}).status_code == 302
    bad = admin.post(f"{home}/holds", {"kind": "run", "run_id": str(UUID(int=7)), "matter": "M-1", "reason": NOTE})
    assert bad.status_code == 422
    assert b"There is no such run." in bad.content
    assert admin.post(f"{home}/holds", {"kind": "tenant", "matter": "M-1", "reason": NOTE}).status_code == 302
    with tenant_scope(acme):
        held = Hold.objects.get()
    assert b"M-1" in auditor.get(home).content
    assert admin.post(f"{home}/holds/{held.pk}/lift", {"reason": "x"}).status_code == 422
    assert admin.post(f"{home}/holds/{held.pk}/lift", {"reason": NOTE}).status_code == 302
    assert admin.post(f"{home}/holds/{held.pk}/answer", {"verdict": "lift"}).status_code == 403
    assert other.post(f"{home}/holds/{held.pk}/answer", {"verdict": "lift"}).status_code == 302
    assert other.post(f"{home}/holds/{held.pk}/answer", {"verdict": "lift"}).status_code == 409
