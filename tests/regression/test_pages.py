"""Records step by step, imports, cases and suites, as people see and change them."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from agentops.audit.models import Event
from agentops.regression.models import Case, ImportedRun
from agentops.runs.models import Run
from agentops.tenancy.models import Tenant
from approvals.models import Proposal
from tests.conftest import person
from tests.regression.conftest import Shop
from tests.regression.rows import failed_suite_run

Browser = Callable[[User], Client]


@pytest.fixture
def enzo(acme: Tenant) -> User:
    return person("enzo", acme, "engineer")


@pytest.fixture
def engineer(enzo: User, signed_in: Browser) -> Client:
    return signed_in(enzo)


def page(client: Client, path: str, status: int = 200) -> str:
    answer = client.get(f"/t/acme/{path}")
    assert answer.status_code == status, answer
    return answer.content.decode()


def send(client: Client, path: str, **fields: Any) -> HttpResponse:
    answer = client.post(f"/t/acme/{path}", fields)
    assert isinstance(answer, HttpResponse)
    return answer


def last_event(type_: str) -> Event:
    return Event.objects.filter(type=type_).order_by("-pk")[0]


# --- step by step ---------------------------------------------------------------------------------------------------


def test_every_event_of_every_run_has_a_page_with_what_it_changed(shop: Shop, engineer: Client) -> None:
    run = shop.run("goodwill-refund", None, "edit")
    from agentops.runs.recording import load

    events = load(run.id)
    for number, stamped in enumerate(events, start=1):
        shown = page(engineer, f"runs/{run.id}/steps?at={number}")
        assert f"Event {number} of {len(events)}" in shown
        assert stamped.event.type in shown
        assert "Replay: identical" in shown
        assert ('rel="prev"' in shown, 'rel="next"' in shown) == (number > 1, number < len(events))
    plan = next(n for n, s in enumerate(events, start=1) if s.event.type == "plan.made")
    shown = page(engineer, f"runs/{run.id}/steps?at={plan}")
    assert "What the planner saw" in shown
    assert "shop.issue_refund" in shown


def test_without_a_place_the_page_begins_at_the_end_or_at_the_worst_finding(shop: Shop, engineer: Client) -> None:
    run = shop.run()
    assert "Event 17 of 17" in page(engineer, f"runs/{run.id}/steps")
    mail = shop.run("support-email", {"message_id": "M-0001"})
    shown = page(engineer, f"runs/{mail.id}/steps")
    assert "What the detectors found" in shown
    assert "ran with untrusted text" in shown


@pytest.mark.parametrize("at", ["0", "-1", "x", "99999999999"])
def test_an_address_that_names_no_event_is_refused(shop: Shop, engineer: Client, at: str) -> None:
    page(engineer, f"runs/{shop.run().id}/steps?at={at}", 400)


def test_a_place_that_is_not_there_is_not_found(shop: Shop, engineer: Client) -> None:
    page(engineer, f"runs/{shop.run().id}/steps?at=500", 404)


def test_the_page_of_a_run_leads_to_its_steps_and_shows_findings(shop: Shop, engineer: Client) -> None:
    run = shop.run("support-email", {"message_id": "M-0001"})
    shown = page(engineer, f"runs/{run.id}")
    assert f"/t/acme/runs/{run.id}/steps" in shown
    assert "Make a regression case" in shown
    assert "What the detectors found" in shown


def test_a_viewer_sees_steps_and_can_neither_take_nor_promote_them(
    shop: Shop, acme: Tenant, signed_in: Browser
) -> None:
    run = shop.run()
    viewer = signed_in(person("vera", acme, "viewer"))
    shown = page(viewer, f"runs/{run.id}/steps")
    assert "Make a regression case" not in shown
    assert "Download the record" not in shown
    assert send(viewer, f"runs/{run.id}/export", mask="all").status_code == 403
    assert send(viewer, f"runs/{run.id}/case").status_code == 403
    assert send(viewer, "records").status_code == 403


def test_a_downloaded_record_is_masked_as_asked_and_who_took_it_is_on_record(
    shop: Shop, engineer: Client, enzo: User
) -> None:
    run = shop.run("support-email", {"message_id": "M-0001"})
    answer = send(engineer, f"runs/{run.id}/export", mask="all")
    assert answer["Content-Disposition"] == f'attachment; filename="run-{run.id}.json"'
    assert b"wilma@example.com" not in answer.content
    event = last_event("run.exported")
    assert (event.actor_id, event.subject_id) == (str(enzo.pk), str(run.id))
    assert b"wilma@example.com" in send(engineer, f"runs/{run.id}/export", mask="none").content
    assert send(engineer, f"runs/{run.id}/export", mask="everything").status_code == 400
    assert engineer.get(f"/t/acme/runs/{run.id}/export").status_code == 405


# --- imports --------------------------------------------------------------------------------------------------------


def upload(client: Client, raw: bytes) -> HttpResponse:
    return send(client, "records", file=SimpleUploadedFile("run.json", raw, "application/json"))


def test_an_imported_record_is_shown_and_compared_and_never_becomes_a_run(shop: Shop, engineer: Client) -> None:
    run = shop.run()
    raw = send(engineer, f"runs/{run.id}/export", mask="none").content
    runs, calls = Run.objects.count(), Event.objects.filter(type="call.started").count()
    answer = upload(engineer, raw)
    row = ImportedRun.objects.get()
    assert (answer.status_code, row.origin) == (302, "replay")
    shown = page(engineer, f"records/{row.pk}?at=3")
    assert "Replay: identical" in shown
    assert "says that it comes from" in shown
    assert str(row.pk) in page(engineer, "records")
    assert upload(engineer, raw).status_code == 302
    assert ImportedRun.objects.count() == 1
    assert (Run.objects.count(), Event.objects.filter(type="call.started").count()) == (runs, calls)
    assert last_event("recording.imported").subject_id == str(row.pk)


@pytest.mark.parametrize("raw", [b"", b"{}", b"\xff", b'{"format":"agentops-run","version":1}'])
def test_a_bad_file_is_refused_with_its_reason(shop: Shop, engineer: Client, raw: bytes) -> None:
    answer = upload(engineer, raw)
    assert answer.status_code == 422
    assert b"errorlist" in answer.content
    assert not ImportedRun.objects.exists()


def test_hostile_text_of_a_file_is_shown_inert(shop: Shop, engineer: Client) -> None:
    run = shop.run()
    found = json.loads(send(engineer, f"runs/{run.id}/export", mask="none").content)
    found["run"]["title"] = "<script>alert(1)</script>\u202e"
    found["events"][0]["data"]["input"] = {"x": "<img src=x onerror=alert(1)>"}
    del found["digest"]
    from agentops.wire.canonical import digest

    upload(engineer, json.dumps({**found, "digest": digest(found)}).encode())
    shown = page(engineer, f"records/{ImportedRun.objects.get().pk}?at=1")
    assert "<script>alert" not in shown
    assert "<img src=x" not in shown
    assert "\u202e" not in shown


# --- cases ----------------------------------------------------------------------------------------------------------


def test_a_run_becomes_a_case_with_one_click_and_only_once(shop: Shop, engineer: Client) -> None:
    run = shop.run()
    answer = send(engineer, f"runs/{run.id}/case")
    case = Case.objects.get()
    assert answer["Location"].endswith(f"/regression/cases/{case.pk}")
    assert (case.suite, case.source, case.source_run) == ("goodwill-refund", "run", run.id)
    assert last_event("case.promoted").subject_id == str(case.pk)
    assert send(engineer, f"runs/{run.id}/case").status_code == 302
    assert Case.objects.count() == 1
    assert "shop.issue_refund" in page(engineer, f"regression/cases/{case.pk}")


def test_a_run_that_goes_on_is_refused_with_the_reason(shop: Shop, engineer: Client) -> None:
    run = shop.run("goodwill-refund", None, "wait")
    answer = send(engineer, f"runs/{run.id}/case")
    assert (answer.status_code, b"has not ended" in answer.content) == (409, True)


def test_a_rejection_becomes_a_case_from_its_card(shop: Shop, engineer: Client) -> None:
    run = shop.run("goodwill-refund", None, "reject")
    proposal = Proposal.objects.get(run=run)
    assert "Make a regression case of this rejection" in page(engineer, f"proposals/{proposal.pk}")
    assert send(engineer, f"proposals/{proposal.pk}/case").status_code == 302
    case = Case.objects.get()
    assert (case.source, case.source_proposal) == ("rejection", proposal.pk)
    assert "Never" in page(engineer, f"regression/cases/{case.pk}")


def test_only_a_rejected_proposal_becomes_such_a_case(shop: Shop, engineer: Client) -> None:
    proposal = Proposal.objects.get(run=shop.run())
    assert "of this rejection" not in page(engineer, f"proposals/{proposal.pk}")
    assert send(engineer, f"proposals/{proposal.pk}/case").status_code == 409


def test_quarantine_needs_a_near_end_and_a_reason_and_is_on_record(shop: Shop, engineer: Client) -> None:
    send(engineer, f"runs/{shop.run().id}/case")
    case = Case.objects.get()
    day = (timezone.now() + timedelta(days=7)).date().isoformat()
    for fields in ({"until": day}, {"until": "2020-01-01", "reason": "x"}, {"until": "2999-01-01", "reason": "x"}):
        assert send(engineer, f"regression/cases/{case.pk}/quarantine", **fields).status_code == 422
    assert send(engineer, f"regression/cases/{case.pk}/quarantine", until=day, reason="flaky").status_code == 302
    assert "In quarantine until" in page(engineer, f"regression/cases/{case.pk}")
    assert last_event("case.quarantined").subject_id == str(case.pk)
    send(engineer, f"regression/cases/{case.pk}/quarantine", until="", reason="")
    case.refresh_from_db()
    assert case.quarantined_until is None


def test_a_retired_case_can_be_put_back(shop: Shop, engineer: Client) -> None:
    send(engineer, f"runs/{shop.run().id}/case")
    case = Case.objects.get()
    for retired in ("yes", "no"):
        send(engineer, f"regression/cases/{case.pk}/retire", retired=retired)
        case.refresh_from_db()
        assert (case.retired_at is not None) == (retired == "yes")
    assert Event.objects.filter(type="case.retired").count() == 2


# --- suites ---------------------------------------------------------------------------------------------------------


def test_the_pages_of_suites_show_verdict_baseline_and_what_was_wrong(shop: Shop, engineer: Client) -> None:
    assert "There is no case yet" in page(engineer, "regression")
    send(engineer, f"runs/{shop.run().id}/case")
    shown = page(engineer, "regression")
    case = Case.objects.get()
    assert "Nothing has been run yet" in shown
    assert f"/regression/cases/{case.pk}" in shown
    row = failed_suite_run(case)
    shown = page(engineer, "regression")
    assert "failed" in shown
    assert "too few" in shown
    shown = page(engineer, f"regression/runs/{row.pk}")
    for part in ("1.1 &lt;b&gt;", "flaky 1 of 2", "The run failed &lt;i&gt;", "pass^2", "Newly failing", case.slug):
        assert part in shown
    assert f"/t/acme/regression/cases/{case.pk}" in shown
    assert "1 of 2" in page(engineer, f"regression/cases/{case.pk}")
