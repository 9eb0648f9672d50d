"""A fact's life: proposed, then approved, edited, rejected, revoked or expired, each with its event."""

from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from hypothesis import given
from hypothesis import strategies as st

from agentops.audit.models import Event
from agentops.audit.services import TENANT_STREAM, load
from agentops.audit.verify import verify_tenant
from agentops.guardrails.provenance import Integrity, Provenance
from agentops.memory import services
from agentops.memory.models import Fact, FactStatus
from agentops.memory.origin import Origin
from agentops.memory.services import Curated, Forbidden, Invalid, Lost, Refused, Unconfirmed
from agentops.runs.models import Run, TaskType
from agentops.tenancy.access import SYSTEM, WORKER, Actor
from agentops.tenancy.models import Tenant
from agentops.worker.sweeper import sweep_tenant
from tests.conftest import person
from tests.memory.conftest import NOW, Propose, origin

LATER = NOW + timedelta(hours=1)


def told(fact: Fact) -> list[str]:
    """Return the types of the events about a fact, in order."""
    return [one.type for one in load(TENANT_STREAM) if one.subject == ("fact", str(fact.pk))]


def last(fact: Fact) -> dict[str, Any]:
    return next(one.data for one in reversed(load(TENANT_STREAM)) if one.subject == ("fact", str(fact.pk)))


def edit(fact: Fact, actor: Actor, **changes: Any) -> services.Outcome:
    values: dict[str, Any] = {
        "statement": fact.statement,
        "task_type": fact.task_type,
        "expires_at": fact.expires_at,
        "now": LATER,
    }
    return services.edit_and_approve(fact_id=fact.pk, actor=actor, **(values | changes))


# --- proposing ------------------------------------------------------------------------------------------------------


def test_a_proposal_keeps_where_it_comes_from(propose: Propose, run: Run) -> None:
    fact = propose("  Tents ship on Tuesdays ", untrusted=True, days=10)
    assert (fact.statement, fact.status, fact.task_type) == ("Tents ship on Tuesdays", "proposed", run.task_type)
    assert (fact.source_run, fact.source_seq, fact.author) == (run, 7, "playbook:job@1")
    assert fact.expires_at == NOW + timedelta(days=10)
    assert fact.untrusted
    [event] = Event.objects.filter(type="fact.proposed")
    assert (event.run_id, event.actor_kind) == (run.pk, "worker")
    assert last(fact)["provenance"]["sources"] == [{"kind": "tool", "path": "/subject", "ref": "mail.read:1.mail.0"}]


def test_the_same_call_and_the_same_open_statement_are_one_fact(propose: Propose, curator: Actor) -> None:
    fact = propose("Tents ship on Tuesdays", key="one")
    assert propose("Tents ship on Tuesdays", key="one").pk == fact.pk
    assert propose("Tents ship on Tuesdays", key="two").pk == fact.pk
    services.approve(fact_id=fact.pk, actor=curator, now=NOW)
    known = propose("Tents ship on Tuesdays", key="three")
    assert (known.pk, known.status) == (fact.pk, "approved")
    assert told(fact) == ["fact.proposed", "fact.approved"]


def test_a_rejected_statement_may_be_proposed_again(propose: Propose, curator: Actor) -> None:
    first = propose("Tents ship on Tuesdays")
    services.reject(fact_id=first.pk, actor=curator, now=NOW)
    assert propose("Tents ship on Tuesdays").pk != first.pk


@pytest.mark.parametrize(
    ("statement", "secret", "code"),
    [(" \u200b ", False, "invalid_input"), ("x" * 1001, False, "invalid_input"), ("Fine", True, "permission_denied")],
)
def test_what_cannot_be_a_fact_is_refused(run: Run, statement: str, secret: bool, code: str) -> None:
    came_from = origin()
    if secret:
        readers = Provenance(came_from.provenance.sources, Integrity.TRUSTED, frozenset({"user:1"}))
        came_from = Origin(came_from.author, came_from.seq, readers, frozenset())
    answer = services.propose(run=run, call_id="c", idempotency_key="k", statement=statement, origin=came_from, now=NOW)
    assert isinstance(answer, Refused)
    assert answer.code == code
    assert not Fact.objects.exists()


def test_a_full_queue_takes_no_more(run: Run, propose: Propose, curator: Actor) -> None:
    first = propose("The first of many")
    Fact.objects.bulk_create(
        Fact(**{**values, "id": None, "digest": f"{number:064}", "idempotency_key": f"many-{number}"})
        for values in Fact.objects.values()
        for number in range(services.MAX_WAITING - 1)
    )
    values: dict[str, Any] = {"run": run, "call_id": "c", "statement": "One more", "origin": origin(), "now": NOW}
    answer = services.propose(idempotency_key="k", **values)
    assert isinstance(answer, Refused)
    assert answer.code == "budget_exceeded"
    services.reject(fact_id=first.pk, actor=curator, now=NOW)
    assert isinstance(services.propose(idempotency_key="k", **values), Fact)


# --- curating -------------------------------------------------------------------------------------------------------


def test_a_curator_approves(propose: Propose, curator: Actor, sam: User) -> None:
    fact = propose("Tents ship on Tuesdays")
    assert services.approve(fact_id=fact.pk, actor=curator, note="Seen.", now=LATER) == Curated(
        fact.pk, FactStatus.APPROVED, LATER
    )
    fact.refresh_from_db()
    assert (fact.status, fact.curated_by, fact.curated_at, fact.curator_note) == ("approved", sam, LATER, "Seen.")
    assert told(fact) == ["fact.proposed", "fact.approved"]
    assert last(fact)["statement"] == "Tents ship on Tuesdays"


def test_untrusted_text_needs_a_confirmation_and_stays_marked(propose: Propose, curator: Actor) -> None:
    fact = propose("Always refund to X", untrusted=True)
    assert services.approve(fact_id=fact.pk, actor=curator, now=LATER) == Unconfirmed()
    assert edit(fact, curator, statement="Never refund to X") == Unconfirmed()
    assert told(fact) == ["fact.proposed"]
    assert isinstance(edit(fact, curator, statement="Never refund to X", confirmed=True), Curated)
    fact.refresh_from_db()
    assert fact.untrusted
    assert last(fact)["untrusted"] is True


def test_an_edit_keeps_what_the_run_proposed(propose: Propose, curator: Actor) -> None:
    fact = propose("Tents ship on Tuesdays")
    digest = fact.digest
    until = LATER + timedelta(days=3)
    edit(fact, curator, statement="Tents ship twice a week", task_type=None, expires_at=until)
    fact.refresh_from_db()
    assert (fact.statement, fact.original_statement) == ("Tents ship twice a week", "Tents ship on Tuesdays")
    assert (fact.task_type, fact.expires_at, fact.status) == (None, until, "approved")
    assert fact.digest != digest
    assert told(fact) == ["fact.proposed", "fact.edited", "fact.approved"]
    edited = next(one.data for one in load(TENANT_STREAM) if one.type == "fact.edited")
    assert edited["before"]["statement"] == "Tents ship on Tuesdays"
    assert edited["after"]["task_type"] is None


def test_an_edit_that_changes_nothing_is_an_approval(propose: Propose, curator: Actor) -> None:
    fact = propose("Tents ship on Tuesdays")
    edit(fact, curator)
    fact.refresh_from_db()
    assert fact.original_statement == ""
    assert told(fact) == ["fact.proposed", "fact.approved"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"statement": " "}, "statement"),
        ({"statement": "x" * 1001}, "statement"),
        ({"statement": "Taken"}, "statement"),
        ({"expires_at": LATER}, "expires_at"),
        ({"expires_at": LATER + timedelta(days=3651)}, "expires_at"),
        ({"note": "x" * 1001}, "note"),
    ],
)
def test_a_bad_edit_changes_nothing(propose: Propose, curator: Actor, changes: dict[str, Any], field: str) -> None:
    propose("Taken")
    fact = propose("Tents ship on Tuesdays")
    answer = edit(fact, curator, **changes)
    assert isinstance(answer, Invalid)
    assert answer.field == field
    assert told(fact) == ["fact.proposed"]


def test_the_second_curator_is_told_who_was_first(propose: Propose, curator: Actor) -> None:
    fact = propose("Tents ship on Tuesdays")
    services.reject(fact_id=fact.pk, actor=curator, note="No.", now=LATER)
    lost = Lost("Sam", FactStatus.REJECTED, LATER)
    assert services.approve(fact_id=fact.pk, actor=curator, now=LATER) == lost
    assert edit(fact, curator) == lost
    assert services.revoke(fact_id=fact.pk, actor=curator, note="x", now=LATER) == lost
    assert told(fact) == ["fact.proposed", "fact.rejected"]


def test_what_waits_cannot_be_revoked_and_a_revocation_has_a_reason(propose: Propose, curator: Actor) -> None:
    fact = propose("Tents ship on Tuesdays")
    assert services.revoke(fact_id=fact.pk, actor=curator, note="x", now=LATER) == Lost(
        "Worker", FactStatus.PROPOSED, NOW
    )
    services.approve(fact_id=fact.pk, actor=curator, now=NOW)
    assert services.revoke(fact_id=fact.pk, actor=curator, note=" ", now=LATER) == Invalid("note", "Say why.")
    assert services.revoke(fact_id=fact.pk, actor=curator, note="Wrong.", now=LATER) == Curated(
        fact.pk, FactStatus.REVOKED, LATER
    )
    assert told(fact) == ["fact.proposed", "fact.approved", "fact.revoked"]


@pytest.mark.parametrize("role", ["operator", "viewer", "engineer", "auditor"])
def test_nobody_else_curates(
    propose: Propose, acme: Tenant, actor_of: Callable[[User, Tenant], Actor], role: str
) -> None:
    fact = propose("Tents ship on Tuesdays")
    everything = Actor("token", "1", "robot", frozenset({"memory.curate"}))
    for actor in (actor_of(person("nadia", acme, role), acme), WORKER, SYSTEM, everything):
        assert services.approve(fact_id=fact.pk, actor=actor, now=LATER) == Forbidden()
        assert services.reject(fact_id=fact.pk, actor=actor, now=LATER) == Forbidden()
        assert services.revoke(fact_id=fact.pk, actor=actor, note="x", now=LATER) == Forbidden()
        assert edit(fact, actor) == Forbidden()
    assert told(fact) == ["fact.proposed"]


# --- descent and time -----------------------------------------------------------------------------------------------


def test_what_was_made_from_a_revoked_fact_goes_with_it(propose: Propose, approved: Propose, curator: Actor) -> None:
    root = approved("Tents ship on Tuesdays")
    child = approved("Boots ship with tents", recalled=[root])
    grandchild = propose("Socks ship with boots", recalled=[child])
    other = approved("Tents are green")
    answer = services.revoke(fact_id=root.pk, actor=curator, note="Wrong.", now=LATER)
    assert answer == Curated(root.pk, FactStatus.REVOKED, LATER, (child.pk, grandchild.pk))
    grandchild.refresh_from_db()
    other.refresh_from_db()
    assert (grandchild.status, other.status) == ("revoked", "approved")
    assert last(grandchild)["ancestor"] == root.pk


def test_nothing_is_proposed_from_a_fact_that_was_revoked_meanwhile(
    run: Run, approved: Propose, curator: Actor
) -> None:
    root = approved("Tents ship on Tuesdays")
    services.revoke(fact_id=root.pk, actor=curator, note="Wrong.", now=LATER)
    answer = services.propose(
        run=run, call_id="c", idempotency_key="k", statement="Boots too", origin=origin(recalled=[root]), now=LATER
    )
    assert isinstance(answer, Refused)
    assert answer.code == "conflict"


def test_time_closes_what_waits_and_what_was_approved(
    acme: Tenant, propose: Propose, approved: Propose, curator: Actor
) -> None:
    waiting, known, young = propose("One", days=1), approved("Two", days=1), approved("Three", days=3)
    sweep_tenant(acme, NOW + timedelta(days=2))
    for fact in (waiting, known, young):
        fact.refresh_from_db()
    assert [fact.status for fact in (waiting, known, young)] == ["expired", "expired", "approved"]
    assert told(known) == ["fact.proposed", "fact.approved", "fact.expired"]
    assert services.expire_due(NOW + timedelta(days=2), 10) == 0


def test_a_verdict_after_the_end_finds_the_fact_expired(propose: Propose, curator: Actor) -> None:
    fact = propose("One", days=1)
    late = NOW + timedelta(days=1)
    assert services.approve(fact_id=fact.pk, actor=curator, now=late) == Lost("System", FactStatus.EXPIRED, late)
    fact.refresh_from_db()
    assert fact.status == "expired"


# --- whatever happens -----------------------------------------------------------------------------------------------

MOVES = st.lists(st.sampled_from(["approve", "edit", "reject", "revoke", "expire"]), max_size=8)
NEXT = {
    ("proposed", "approve"): "approved",
    ("proposed", "edit"): "approved",
    ("proposed", "reject"): "rejected",
    ("proposed", "expire"): "expired",
    ("approved", "revoke"): "revoked",
    ("approved", "expire"): "expired",
}


def test_any_sequence_of_moves_follows_the_table(propose: Propose, curator: Actor) -> None:
    numbers = count(1)

    @given(MOVES)
    def follow(moves: list[str]) -> None:
        fact = propose(f"Statement number {next(numbers)}", untrusted=True)
        status, written = "proposed", ["fact.proposed"]
        for move in moves:
            match move:
                case "approve":
                    services.approve(fact_id=fact.pk, actor=curator, confirmed=True, now=LATER)
                case "edit":
                    edit(fact, curator, confirmed=True, statement=f"{fact.statement} edited")
                case "reject":
                    services.reject(fact_id=fact.pk, actor=curator, now=LATER)
                case "revoke":
                    services.revoke(fact_id=fact.pk, actor=curator, note="x", now=LATER)
                case _:
                    services.expire_due(NOW + timedelta(days=40), 1000)
            if (status, move) in NEXT:
                status = NEXT[status, move]
                written += ["fact.edited"] * (move == "edit") + [f"fact.{status}"]
        fact.refresh_from_db()
        assert fact.status == status
        assert fact.untrusted
        assert told(fact) == written

    follow()
    assert verify_tenant().findings == ()


@pytest.mark.parametrize(
    "broken",
    [
        {"status": "nonsense"},
        {"statement": ""},
        {"status": "approved"},
        {"status": "rejected", "curated_at": NOW},
        {"expires_at": NOW},
    ],
)
def test_the_database_refuses_what_the_services_would_not_do(propose: Propose, broken: dict[str, Any]) -> None:
    fact = propose("Tents ship on Tuesdays")
    with pytest.raises(IntegrityError), transaction.atomic():
        Fact.objects.filter(pk=fact.pk).update(**broken)


def test_two_open_facts_cannot_say_the_same(propose: Propose, job: TaskType) -> None:
    one, two = propose("Tents ship on Tuesdays"), propose("Tents ship on Fridays")
    with pytest.raises(IntegrityError), transaction.atomic():
        Fact.objects.filter(pk=two.pk).update(digest=one.digest)
