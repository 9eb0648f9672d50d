"""What an auditor looks for is found: by terms, by a reference from outside, and in a file to take along."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from agentops.audit import exports, indexing, tail, verification, walk
from agentops.audit.models import Event, EventTerm, Export, Stream, Tail, Verification, genesis, link
from agentops.audit.terms import term
from agentops.runs.models import Run
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from approvals.models import Grant, Proposal
from approvals.services import reject
from approvals.traces.tracing import trace
from tests.audit.conftest import append_some, unguarded
from tests.conftest import reached_by
from tests.deciding import approve, edit_and_approve
from tests.shop import drive, only_proposal, open_shop, start
from tools.backoffice.models import Refund

SignedIn = Callable[[User], Client]


def index() -> int:
    """Index everything; on PostgreSQL a reader looks ahead first."""
    return sum(indexing.index_new() for _ in range(3))


@pytest.fixture
def refunded(scoped: Tenant, bob: User, actor_of: Callable[[User, Tenant], Actor]) -> Run:
    """Return a run whose refund was approved and paid, and whose letter was refused."""
    open_shop(scoped)
    run = drive(start("support-email", {"message_id": "M-0001"}).id)
    actor = actor_of(bob, scoped)
    first = only_proposal()
    approve(proposal_id=first.pk, actor=actor, version=1, digest=first.digest, note="The photo shows it.")
    drive(run.pk)
    second = only_proposal()
    reject(
        proposal_id=second.pk,
        actor=actor,
        version=1,
        digest=second.digest,
        reason_code="duplicate",
        note="Told already.",
    )
    return drive(run.pk)


def found(client: Client, terms: str) -> list[str]:
    response = client.get("/t/acme/audit", {"terms": terms})
    assert response.status_code == 200, response.context["filter"].errors
    return [row.type for row in response.context["events"]]


# --- terms ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ("decision:approve", ["proposal.decided"]),
        ("decision:reject role:operator", ["proposal.decided"]),
        ("decision:approve decision:reject", []),
        ("decision:approve has:note", ["proposal.decided"]),
        ("task:support-email decision:approve", ["proposal.decided"]),
        ("decision:approve taint:yes", ["proposal.decided"]),
        ("is:orphan", []),
        ('policy:"sensitive.financial" decision:approve', ["proposal.decided"]),
        ("decision:perhaps", []),
    ],
)
def test_terms_narrow_the_list(refunded: Run, bob: User, signed_in: SignedIn, terms: str, expected: list[str]) -> None:
    index()
    assert found(signed_in(bob), terms) == expected


def test_a_digest_finds_proposal_and_decision(refunded: Run, bob: User, signed_in: SignedIn) -> None:
    index()
    digest = Proposal.objects.order_by("created_at")[0].digest
    assert found(signed_in(bob), f"digest:{digest}") == ["proposal.decided", "call.proposed"]
    assert found(signed_in(bob), f"digest:sha256:{digest[:12]}") == ["proposal.decided", "call.proposed"]


@pytest.mark.parametrize(
    "terms", ["descision:approve", "decision:", "approve", "digest:9f27", "\u202eband:high", "a:b " * 9]
)
def test_what_is_no_term_is_named(scoped: Tenant, bob: User, signed_in: SignedIn, terms: str) -> None:
    response = signed_in(bob).get("/t/acme/audit", {"terms": terms})
    assert response.status_code == 400
    assert "terms" in response.context["filter"].errors


def test_a_wrong_term_says_what_was_meant(scoped: Tenant, bob: User, signed_in: SignedIn) -> None:
    response = signed_in(bob).get("/t/acme/audit", {"terms": "decison:approve"})
    assert "Did you mean decision:?" in str(response.context["filter"].errors)


def test_an_effect_without_a_permission_is_an_orphan(refunded: Run, bob: User, signed_in: SignedIn) -> None:
    # Somebody with the database at hand has removed the permission.
    Grant.objects.filter(proposal__isnull=False).update(consumed_at=None)
    index()
    client = signed_in(bob)
    assert found(client, "is:orphan") == ["call.succeeded"]
    assert client.get("/t/acme/audit").context["orphans"] == 1


def test_a_term_of_an_event_that_is_gone_hides_nothing(
    refunded: Run, bob: User, signed_in: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index is made behind those who write, so it can name what retention has removed."""
    monkeypatch.setattr("agentops.audit.selectors.PAGE", 1)
    index()
    client = signed_in(bob)
    newest = Event.objects.order_by("-pk").values_list("pk", flat=True)[0]
    EventTerm.objects.create(term="decision:approve", event_id=newest + 1_000)
    response = client.get("/t/acme/audit", {"terms": "decision:approve"})
    assert list(response.context["events"]) == []
    older = client.get(response.context["next_url"])
    assert [row.type for row in older.context["events"]] == ["proposal.decided"]
    assert older.context["next_url"] == ""


@pytest.mark.parametrize("clock_ahead", [False, True])
def test_what_is_not_indexed_yet_is_found_by_the_time_it_happened(
    scoped: Tenant, bob: User, signed_in: SignedIn, clock_ahead: bool
) -> None:
    """Written right after the hour, it says that it happened right before: its writer had waited."""
    hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    append_some("run:new", at=hour + timedelta(days=1_000 if clock_ahead else 0, seconds=1))
    append_some("run:late", at=hour - timedelta(seconds=2))
    index()
    append_some("run:late", at=hour - timedelta(seconds=1))
    asked = {"since": f"{hour - timedelta(hours=1):%Y-%m-%dT%H:%M}", "until": f"{hour:%Y-%m-%dT%H:%M}"}
    response = signed_in(bob).get("/t/acme/audit", asked)
    assert [(row.stream, row.seq) for row in response.context["events"]] == [("run:late", 2), ("run:late", 1)]


def test_indexing_again_changes_nothing(refunded: Run) -> None:
    assert index() == Event.objects.count()
    before = set(EventTerm.objects.values_list("term", "event_id"))
    assert index() == 0
    Tail.objects.all().delete()
    index()
    assert set(EventTerm.objects.values_list("term", "event_id")) == before


def test_a_text_somebody_made_unreadable_stops_nothing(refunded: Run) -> None:
    victim = Event.objects.order_by("pk").first()
    assert victim is not None
    with unguarded() as forge:
        forge("update audit_event set body = %s where id = %s", b"{", victim.pk)
    assert index() == Event.objects.count()


def test_long_values_and_digests_are_cut_alike_on_both_sides() -> None:
    assert term("ref", "X" * 500) == term("ref", "x" * 400)
    assert term("digest", "sha256:" + "AB" * 32) == "digest:" + "ab" * 6


# --- the tail ---------------------------------------------------------------------------------------------------------


def test_a_reader_gets_every_event_once_in_order(scoped: Tenant) -> None:
    append_some("run:1", 7)
    got: list[int] = []
    for _ in range(9):
        tail.follow("test", lambda events: got.extend(event.pk for event in events), limit=3)
    assert got == list(Event.objects.order_by("pk").values_list("pk", flat=True))


@pytest.mark.django_db(transaction=True)
def test_what_a_dying_reader_had_read_is_read_again(acme: Tenant) -> None:
    def die(events: list[Event]) -> None:
        raise KeyboardInterrupt

    got: list[int] = []
    with tenant_scope(acme):
        append_some("run:1", 4)
        with pytest.raises(KeyboardInterrupt):
            tail.follow("test", die, limit=1000)
        for _ in range(3):
            tail.follow("test", lambda events: got.extend(event.pk for event in events), limit=1000)
        assert got == list(Event.objects.order_by("pk").values_list("pk", flat=True))


@pytest.mark.django_db(transaction=True)
def test_an_event_that_commits_late_is_not_skipped(acme: Tenant) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("on SQLite one writer follows the other")
    import threading

    began, let_go = threading.Event(), threading.Event()

    def late() -> None:
        with tenant_scope(acme), transaction.atomic():
            from agentops.audit.services import NewEvent, append
            from agentops.tenancy.access import SYSTEM

            append("run:late", [NewEvent("run.late", {})], actor=SYSTEM)
            began.set()
            let_go.wait(20)
        connection.close()

    thread = threading.Thread(target=late)
    thread.start()
    began.wait(20)
    got: list[str] = []

    def read() -> None:
        with tenant_scope(acme):
            tail.follow("test", lambda events: got.extend(event.type for event in events), limit=1000)

    with tenant_scope(acme):
        append_some("run:early", 1)  # has a larger id and is there first
    for _ in range(3):
        read()
    assert got == []
    let_go.set()
    thread.join()
    for _ in range(3):
        read()
    assert {"run.late", "run.step"} <= set(got)


@pytest.mark.django_db(transaction=True)
def test_a_writer_of_another_role_is_waited_for_although_what_it_does_is_hidden(acme: Tenant) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no roles")
    role = f"plain_{os.getpid()}"
    with psycopg.connect(**reached_by()) as other, connection.cursor() as cursor:
        cursor.execute(f"create role {role}")
        try:
            cursor.execute(f"set role {role}")
            other.execute("select 1")
            assert tail.oldest_writer() is None
            other.execute("lock table audit_event in row exclusive mode")
            oldest = tail.oldest_writer()
            other.rollback()
            assert tail.oldest_writer() is None
        finally:
            cursor.execute("reset role")
            cursor.execute(f"drop role {role}")
    assert oldest is not None
    assert oldest.year == 1970


# --- trace ------------------------------------------------------------------------------------------------------------


def test_a_reference_leads_to_who_decided_and_what_ran(refunded: Run, bob: User) -> None:
    index()
    refund = Refund.objects.get()
    [one] = trace(f" {refund.ref.lower()} ")
    assert one.run == refunded
    assert one.tool == "shop.issue_refund"
    assert [(decision.user, decision.verdict) for decision in one.decisions] == [(bob, "approve")]
    assert one.match
    assert isinstance(one.arguments, dict)
    assert one.arguments["amount_minor"] == refund.amount_minor


def test_an_order_leads_to_every_call_that_would_have_changed_something_about_it(refunded: Run, bob: User) -> None:
    index()
    paid = trace("a-1001")
    assert {(one.run, one.tool, one.state) for one in paid} >= {(refunded, "shop.issue_refund", "succeeded")}
    assert "shop.find_order" not in {one.tool for one in paid}, "what only reads has changed nothing"
    another = drive(start("goodwill-refund", {"order_ref": "A-1002", "amount_minor": 100, "reason": "late"}).id)
    proposal = only_proposal()
    actor = Actor("user", str(bob.pk), "bob", frozenset({"operator"}), bob.pk)
    edit_and_approve(
        proposal_id=proposal.pk,
        actor=actor,
        version=1,
        digest=proposal.digest,
        arguments=proposal.argument_values | {"order_ref": "A-1003"},
    )
    index()
    for order in ("A-1002", "A-1003"):
        assert [one.run for one in trace(order)] == [another], order


def test_ids_and_digests_are_traced_too(refunded: Run) -> None:
    index()
    proposal = Proposal.objects.order_by("created_at")[0]
    grant = Grant.objects.get(proposal=proposal)
    for text in (str(proposal.pk), str(grant.pk), proposal.digest, f" sha256:{proposal.digest[:16]} "):
        assert [one.call_id for one in trace(text)] == [proposal.call_id], text
    assert {one.call_id for one in trace(f"run:{refunded.pk}")} >= {proposal.call_id}


@pytest.mark.parametrize("text", ["", "   ", "nothing", "%", "'; drop table", "0" * 500, "\u202e"])
def test_what_nobody_knows_traces_to_nothing(refunded: Run, text: str) -> None:
    index()
    assert trace(text) == []


def test_the_trace_page_says_it_inertly(refunded: Run, bob: User, signed_in: SignedIn) -> None:
    index()
    proposal = Proposal.objects.order_by("created_at")[0]
    page = signed_in(bob).get("/t/acme/audit/trace", {"q": str(proposal.pk)}).content.decode()
    assert "Approved digest = executed digest" in page
    assert "The photo shows it." in page
    page = signed_in(bob).get("/t/acme/audit/trace", {"q": "<script>\u202e"}).content.decode()
    assert "<script>\u202e" not in page


# --- verification -----------------------------------------------------------------------------------------------------


def test_a_walk_goes_on_in_pieces_to_the_end(scoped: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "PIECE", 4)
    monkeypatch.setattr(verification, "STREAMS", 2)
    for number in range(5):
        append_some(f"run:{number}", 3)
    append_some("run:long", 11)
    now = timezone.now()
    assert verification.standing().word == "pending"
    verification.begin(now=now)
    assert not verification.begin(now=now)
    for _ in range(20):
        verification.go_on(now)
    standing = verification.standing()
    assert (standing.word, standing.running, standing.newer) == ("intact", None, 0)
    assert standing.last is not None
    assert standing.last.events >= 26
    append_some("run:new", 2)
    assert verification.standing().newer == 2


def test_a_forged_event_is_named_on_the_first_page_and_on_record(
    scoped: Tenant, bob: User, signed_in: SignedIn
) -> None:
    append_some("run:1", 3)
    victim = Event.objects.get(stream__name="run:1", seq=2)
    with unguarded() as forge:
        forge("update audit_event set tool = 'x' where id = %s", victim.pk)
    client = signed_in(bob)
    assert client.post("/t/acme/audit/verify").status_code == 302
    for _ in range(4):
        verification.go_on(timezone.now())
    page = client.get("/t/acme/audit")
    assert page.context["standing"].word == "tampered"
    assert f"/audit/events/{victim.pk}" in page.content.decode()
    assert Event.objects.filter(type="audit.tampered").count() == 1
    assert Event.objects.filter(type="audit.verify_requested", actor_id=str(bob.pk)).count() == 1


def test_every_chain_is_walked_once_a_day(scoped: Tenant) -> None:
    append_some("run:1", 3)
    now = timezone.now()
    for _ in range(5):
        verification.go_on(now)
    assert Verification.objects.count() == 1
    for _ in range(5):
        verification.go_on(now + timedelta(hours=25))
    assert Verification.objects.count() == 2


# --- export -----------------------------------------------------------------------------------------------------------


def finish() -> None:
    while Export.objects.filter(ended_at=None).exists():
        exports.go_on(timezone.now())


def fetched(client: Client, pk: int) -> bytes:
    response = client.post(f"/t/acme/audit/exports/{pk}/file")
    assert response.status_code == 200
    return response.content


def test_a_jsonl_export_holds_what_was_hashed_and_proves_itself(
    refunded: Run, ann: User, signed_in: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "PIECE", 3)
    client = signed_in(ann)
    client.post("/t/acme/audit/exports/new", {"format": "jsonl", "run": str(refunded.pk)})
    finish()
    lines = fetched(client, Export.objects.get().pk).decode().splitlines()
    head = genesis("acme", f"run:{refunded.pk}")
    for line in lines:
        assert json.loads(line)["run"] == str(refunded.pk)
        head = link(head, line)
    assert head == bytes(Stream.objects.get(name=f"run:{refunded.pk}").head)
    told = Event.objects.filter(type__in=["audit.exported", "audit.export_fetched"]).order_by("pk")
    assert [(event.type, event.actor_id) for event in told] == [
        ("audit.exported", str(ann.pk)),
        ("audit.export_fetched", str(ann.pk)),
    ]


def test_an_export_proves_itself_to_somebody_who_has_nothing_of_ours_but_one_file(
    refunded: Run, ann: User, signed_in: SignedIn, tmp_path: Path
) -> None:
    client = signed_in(ann)
    client.post("/t/acme/audit/exports/new", {"format": "jsonl", "run": str(refunded.pk)})
    finish()
    file = tmp_path / "run.jsonl"
    text = fetched(client, Export.objects.get().pk)
    file.write_bytes(text)
    last = Event.objects.filter(run_id=refunded.pk).order_by("seq").last()
    assert last is not None
    page = client.get(f"/t/acme/audit/events/{last.pk}").content.decode()
    shown = re.search(r"Hash of this event</dt><dd class=\"data\">([0-9a-f]{64})", page)
    assert shown is not None

    def told(*arguments: str) -> tuple[int, str]:
        command = [sys.executable, "-I", "-S", str(walk.__file__), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        return done.returncode, done.stdout

    assert told(file.name, shown[1].upper())[0] == 0
    assert f"PROVEN run:{refunded.pk} up to event {last.seq}" in told(file.name, shown[1])[1]
    assert f"hash {shown[1]}" in told(file.name)[1]
    assert told(file.name, "0" * 64)[0] == 1
    assert told()[0] == 2
    lines = text.splitlines(keepends=True)
    file.write_bytes(text.replace(b'"reason"', b'"Reason"', 1))
    assert told(file.name, shown[1])[0] == 1, "a byte was changed"
    file.write_bytes(b"".join([*lines[:2], *lines[3:]]))
    assert "some are missing" in told(file.name)[1]
    file.write_bytes(b"".join([lines[1], lines[0], *lines[2:]]))
    assert "some are missing" in told(file.name)[1]
    file.write_bytes(b"[]\n")
    assert told(file.name) == (1, "BROKEN line 1 is no event\n")


def test_no_cell_of_a_csv_export_is_a_formula(scoped: Tenant, ann: User, signed_in: SignedIn) -> None:
    from agentops.audit.services import NewEvent, append

    evil = Actor("token", "=cmd|'/c calc'!A1", "@SUM(1)", frozenset())
    with transaction.atomic():
        append("run:1", [NewEvent("-2+3", {"=HYPERLINK()": 'x\n"y"'}, ("+", "1"), "=tool")], actor=evil)
    client = signed_in(ann)
    client.post("/t/acme/audit/exports/new", {"format": "csv", "type": "-2+3"})
    finish()
    head, row = csv.reader(io.StringIO(fetched(client, Export.objects.get().pk).decode(), newline=""))
    assert tuple(head) == exports.COLUMNS
    assert not any(cell.startswith(("=", "+", "-", "@", "|", "%")) for cell in row)
    assert row[-1] == "ann"


def test_an_export_is_cut_and_goes_on(
    scoped: Tenant, ann: User, signed_in: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "PIECE", 2)
    monkeypatch.setattr(exports, "MOST", 4)
    append_some("run:1", 7)
    client = signed_in(ann)
    client.post("/t/acme/audit/exports/new", {"format": "jsonl", "type": "run.step"})
    finish()
    first = Export.objects.get()
    assert (first.rows, first.cut) == (4, True)
    client.post("/t/acme/audit/exports/new", {"format": "jsonl", "type": "run.step", "after": first.position})
    finish()
    second = Export.objects.latest("pk")
    assert (second.rows, second.cut) == (3, False)
    seqs = [json.loads(line)["seq"] for pk in (first.pk, second.pk) for line in fetched(client, pk).splitlines()]
    assert seqs == [1, 2, 3, 4, 5, 6, 7]


def test_exports_are_for_auditors_and_are_refused_with_a_reason(
    scoped: Tenant, ann: User, bob: User, signed_in: SignedIn
) -> None:
    assert signed_in(bob).post("/t/acme/audit/exports/new", {"format": "csv"}).status_code == 403
    client = signed_in(ann)
    assert client.post("/t/acme/audit/exports/new", {"format": "exe"}).status_code == 400
    assert client.post("/t/acme/audit/exports/new", {"format": "csv", "run": "x"}).status_code == 400
    for _ in range(exports.AT_ONCE):
        assert client.post("/t/acme/audit/exports/new", {"format": "csv"}).status_code == 302
    assert client.post("/t/acme/audit/exports/new", {"format": "csv"}).status_code == 429
    assert client.post(f"/t/acme/audit/exports/{Export.objects.latest('pk').pk}/file").status_code == 409


def test_an_export_is_forgotten_after_a_week(scoped: Tenant, ann: User, signed_in: SignedIn) -> None:
    client = signed_in(ann)
    client.post("/t/acme/audit/exports/new", {"format": "csv"})
    finish()
    pk = Export.objects.get().pk
    exports.go_on(timezone.now() + exports.KEPT_FOR + timedelta(seconds=1))
    assert client.post(f"/t/acme/audit/exports/{pk}/file").status_code == 404


# --- who looked -------------------------------------------------------------------------------------------------------


def test_a_search_is_on_record_once_in_ten_minutes(scoped: Tenant, bob: User, signed_in: SignedIn) -> None:
    cache.clear()
    client = signed_in(bob)
    for _ in range(3):
        client.get("/t/acme/audit", {"type": "run."})
    client.get("/t/acme/audit")
    client.get("/t/acme/audit", {"type": "run.step"})
    searched: list[Any] = list(Event.objects.filter(type="audit.searched").values_list("actor_id", flat=True))
    assert searched == [str(bob.pk)] * 2
