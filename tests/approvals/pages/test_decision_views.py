"""Deciding in the browser: every answer a person can get, with and without scripts, and nothing typed is ever lost."""

import html
import re
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.utils import timezone

from agentops.runs.models import Run, TaskType
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.wire.ids import uuid7
from approvals import services
from approvals.decisions.sight import read_sight
from approvals.models import Decision, Proposal, Reading, Viewing
from approvals.stopping.intervention import cancel_run
from tests.conftest import PASSWORD, person
from tests.deciding import edit_and_approve, posted
from tests.shop import drive, only_proposal, open_shop, receive, start
from tools.backoffice.models import Refund
from tools.models import AllowlistEntry

QUEUE = {"HX-Request": "true", "HX-Target": "card", "HX-Current-URL": "http://testserver/t/acme/queue"}
CARD = {"HX-Request": "true", "HX-Target": "card"}


@pytest.fixture
def proposal(scoped: Tenant) -> Proposal:
    """Return what an e-mail that asks for a refund leads to: EUR 124.00, high risk."""
    open_shop(scoped, orders=4)
    drive(start("support-email", {"message_id": "M-0001"}).id)
    return only_proposal()


@pytest.fixture
def desk(bob: User, signed_in: Callable[[User], Client]) -> Client:
    return signed_in(bob)


@pytest.fixture
def reviewer(sam: User, acme: Tenant, actor_of: Callable[[User, Tenant], Actor]) -> Actor:
    return actor_of(sam, acme)


def form(proposal: Proposal, decision: str, **more: str) -> dict[str, str]:
    return {"decision": decision, "version": str(proposal.version), "args_digest": proposal.digest, **more}


def post(desk: Client, proposal: Proposal, decision: str, headers: dict[str, str] | None = None, /, **more: str) -> Any:
    person = int(desk.session["_auth_user_id"])
    brought = {} if decision == "reject" else posted(proposal, Actor("user", str(person), "", user_id=person))
    fields = form(proposal, decision) | brought | more
    return desk.post(f"/t/acme/proposals/{proposal.pk}/decide", fields, headers=headers)


def text(answer: Any) -> str:
    content: bytes = answer.content
    return content.decode()


def status(proposal: Proposal) -> str:
    return Proposal.objects.get(pk=proposal.pk).status


def test_what_is_typed_on_the_card_that_stood_there_by_itself_is_kept_and_its_time_to_read_begins(
    proposal: Proposal, desk: Client, bob: User
) -> None:
    Proposal.objects.update(risk_band="medium", band_rank=1)
    page = text(desk.get("/t/acme/queue"))
    token = re.search(r'name="view_token" value="([^"]+)"', page)
    assert token is not None
    before = read_sight(html.unescape(token[1]))
    assert before is not None
    assert not before.opened
    edited = {"arg:/amount_minor": "4.50", "view_token": before.token()}
    fields = form(proposal, "edit") | edited
    refused = desk.post(f"/t/acme/proposals/{proposal.pk}/decide", fields, headers=QUEUE)
    assert refused.status_code == 422
    assert 'value="4.50"' in text(refused)
    again = re.search(r'name="view_token" value="([^"]+)"', text(refused))
    assert again is not None
    after = read_sight(html.unescape(again[1]))
    assert after is not None
    assert (after.id, after.opened) == (before.id, True)
    assert after.at > before.at
    assert Reading.objects.filter(proposal=proposal, user=bob).exists()
    early = desk.post(f"/t/acme/proposals/{proposal.pk}/decide", fields | {"view_token": after.token()}, headers=QUEUE)
    assert early.status_code == 422
    assert "Read it first: it can be approved in" in text(early)
    read = replace(after, at=after.at - timedelta(seconds=3))
    fields = form(proposal, "approve", view_token=read.token())
    done = desk.post(f"/t/acme/proposals/{proposal.pk}/decide", fields, headers=QUEUE)
    assert done.status_code == 200
    assert status(proposal) == "approved"


# --- recorded -------------------------------------------------------------------------------------------------------


def test_without_scripts_an_approval_leads_back_to_the_queue_which_says_so(proposal: Proposal, desk: Client) -> None:
    answer = post(desk, proposal, "approve")
    assert (answer.status_code, answer["Location"]) == (302, "/t/acme/queue")
    assert "Approved. shop.issue_refund runs now." in text(desk.get("/t/acme/queue"))
    assert status(proposal) == "approved"


def test_in_the_queue_the_answer_is_the_next_card(proposal: Proposal, desk: Client) -> None:
    receive(open_mail("A-1002"), "M-0002")
    drive(start("support-email", {"message_id": "M-0002"}).id)
    other = Proposal.objects.exclude(pk=proposal.pk).get()
    answer = post(desk, proposal, "approve", QUEUE)
    assert answer.status_code == 200
    assert f'data-id="{other.pk}"' in text(answer)
    assert "Approved. shop.issue_refund runs now." in text(answer)
    assert "<html" not in text(answer)


def test_the_last_card_of_the_queue_stays_and_shows_what_became_of_it(proposal: Proposal, desk: Client) -> None:
    answer = post(desk, proposal, "reject", QUEUE, reason_code="wrong_amount", note="The tent was used.")
    assert answer.status_code == 200
    assert f'data-id="{proposal.pk}"' in text(answer)
    assert 'data-status="rejected"' in text(answer)
    assert "the agent is told why" in text(answer)


def test_after_execution_the_receipt_compares_the_approved_and_the_executed_digest(
    proposal: Proposal, desk: Client
) -> None:
    post(desk, proposal, "approve")
    waiting = text(desk.get(f"/t/acme/proposals/{proposal.pk}"))
    assert "not executed yet" in " ".join(waiting.split())
    drive(proposal.run_id)
    receipt = desk.get(f"/t/acme/proposals/{proposal.pk}").context["card"]["receipt"]
    assert receipt["match"] is True
    assert receipt["approved_digest"] == receipt["executed_digest"] == proposal.digest
    assert receipt["outcome"] == "succeeded"
    assert receipt["provider_ref"]
    assert receipt["executed_at"] is not None


def test_an_edited_amount_is_typed_as_money_and_is_what_executes(proposal: Proposal, desk: Client) -> None:
    typed = {"arg:/amount_minor": "50.50", "arg:/currency": "EUR"}
    answer = post(desk, proposal, "edit", None, **typed)
    assert answer.status_code == 302
    drive(proposal.run_id)
    assert Refund.objects.get().amount_minor == 5_050
    card = desk.get(f"/t/acme/proposals/{proposal.pk}").context["card"]
    amount = next(one for one in card["arguments"] if one["name"] == "amount_minor")
    assert (amount["text"], amount["changed_from"]) == ("EUR 50.50", "EUR 124.00")
    assert amount["provenance"]["label"] == "operator"
    assert card["receipt"]["match"] is True


def test_an_edit_form_sent_back_untouched_approves_exactly_what_was_proposed(proposal: Proposal, desk: Client) -> None:
    card = desk.get(f"/t/acme/proposals/{proposal.pk}").context["card"]
    untouched = {one["field"]["name"]: one["field"]["value"] for one in card["arguments"]}
    assert post(desk, proposal, "edit", None, **untouched).status_code == 302
    decision = Decision.objects.get()
    assert (decision.verdict, decision.digest) == ("approve", proposal.digest)


# --- not recorded ---------------------------------------------------------------------------------------------------


def test_the_second_decision_loses_and_is_told_who_won(proposal: Proposal, desk: Client, reviewer: Actor) -> None:
    services.reject(
        proposal_id=proposal.pk,
        actor=reviewer,
        version=1,
        digest=proposal.digest,
        reason_code="duplicate",
        note="Seen.",
    )
    answer = post(desk, proposal, "approve", CARD, note="Looks fine to me.")
    assert answer.status_code == 409
    assert "Sam rejected this already" in text(answer)
    assert "Looks fine to me." in text(answer)
    assert Decision.objects.count() == 1


def test_pressing_twice_says_that_it_was_you(proposal: Proposal, desk: Client) -> None:
    post(desk, proposal, "approve")
    assert "You approved this already" in text(post(desk, proposal, "approve", CARD))


def test_an_edit_that_raises_the_risk_is_kept_and_has_to_be_approved_as_it_is_now(
    proposal: Proposal, desk: Client
) -> None:
    Proposal.objects.filter(pk=proposal.pk).update(band_rank=0, risk_band="low")
    answer = post(desk, proposal, "edit", CARD, **{"arg:/reason": "Goodwill"})
    assert answer.status_code == 422
    now = Proposal.objects.get(pk=proposal.pk)
    assert (now.status, now.version) == ("pending", 2)
    assert "Approved" not in text(answer).split('id="notice"')[1][:400]
    assert f'value="{now.digest}"' in text(answer)


def test_a_verdict_on_an_older_version_is_told_what_changed_and_keeps_the_draft(
    proposal: Proposal, desk: Client, reviewer: Actor
) -> None:
    Proposal.objects.filter(pk=proposal.pk).update(band_rank=0, risk_band="low")
    changed = proposal.argument_values | {"reason": "Goodwill"}
    outcome = edit_and_approve(
        proposal_id=proposal.pk, actor=reviewer, version=1, digest=proposal.digest, arguments=changed
    )
    assert isinstance(outcome, services.Reconfirm)
    answer = post(desk, proposal, "reject", CARD, reason_code="wrong_amount", note="Too much.")
    assert answer.status_code == 409
    assert "Somebody changed reason." in text(answer)
    assert "Too much.</textarea>" in text(answer)
    assert "Asked for by the customer" in text(answer).split("was-value")[1]
    assert status(proposal) == "pending"


@pytest.mark.parametrize("headers", [None, CARD])
def test_what_the_allowlist_denies_by_now_says_so_and_keeps_the_note(
    proposal: Proposal, desk: Client, headers: dict[str, str] | None
) -> None:
    AllowlistEntry.objects.filter(tool=proposal.tool).update(state="denied")
    answer = post(desk, proposal, "approve", headers, note="The tent was torn when it came.")
    assert answer.status_code == 422
    assert "This task type may not use shop.issue_refund." in text(answer)
    assert "The tent was torn when it came." in text(answer)
    assert status(proposal) == "pending"


def test_a_missed_deadline_is_gone_and_nothing_runs(proposal: Proposal, desk: Client) -> None:
    Proposal.objects.filter(pk=proposal.pk).update(decide_by=timezone.now() - timedelta(seconds=1))
    answer = post(desk, proposal, "approve", CARD)
    assert answer.status_code == 410
    assert "The deadline has passed." in text(answer)
    assert status(proposal) == "expired"


def test_a_proposal_of_a_cancelled_run_is_gone(proposal: Proposal, desk: Client, reviewer: Actor) -> None:
    cancel_run(run_id=proposal.run_id, actor=reviewer, reason="")
    answer = post(desk, proposal, "approve")
    assert answer.status_code == 410
    assert "<html" in text(answer)
    assert "The run was cancelled." in text(answer)


def test_a_rejection_needs_a_reason_and_at_high_risk_a_note(proposal: Proposal, desk: Client) -> None:
    answer = post(desk, proposal, "reject", CARD, reason_code="", note="Because.")
    assert answer.status_code == 422
    assert "Choose a reason." in text(answer)
    assert "Because.</textarea>" in text(answer)
    bare = post(desk, proposal, "reject", CARD, reason_code="duplicate")
    assert bare.status_code == 422
    assert 'value="duplicate" selected' in text(bare)
    assert 'id="note-error"' in text(bare)
    assert status(proposal) == "pending"


@pytest.mark.parametrize("typed", ["12,40", "1.234.567", "12.345", "", "1e3", "a lot", "NaN", "99999999999999999999"])
def test_an_amount_that_cannot_be_read_stays_in_its_field_with_the_reason(
    proposal: Proposal, desk: Client, typed: str
) -> None:
    answer = post(desk, proposal, "edit", CARD, **{"arg:/amount_minor": typed})
    assert answer.status_code == 422
    amount = next(one for one in answer.context["card"]["arguments"] if one["name"] == "amount_minor")
    assert amount["field"]["value"] == typed
    assert amount["field"]["error"]
    assert answer.context["card"]["open"] == "edit"
    assert status(proposal) == "pending"


@pytest.mark.parametrize(
    ("field", "typed"), [("amount_minor", "-5.00"), ("currency", "EURO"), ("order_ref", ""), ("reason", "x" * 5_000)]
)
def test_an_edit_the_schema_refuses_is_told_beside_the_field(
    proposal: Proposal, desk: Client, field: str, typed: str
) -> None:
    answer = post(desk, proposal, "edit", CARD, **{f"arg:/{field}": typed})
    assert answer.status_code == 422
    shown = {one["name"]: one["field"] for one in answer.context["card"]["arguments"]}
    assert shown[field]["error"]
    assert shown[field]["value"] == typed
    assert status(proposal) == "pending"


@pytest.mark.parametrize(
    "broken", [{"version": "x"}, {"version": "0"}, {"args_digest": "abc"}, {"decision": "escalate"}]
)
def test_a_form_that_is_no_verdict_decides_nothing(proposal: Proposal, desk: Client, broken: dict[str, str]) -> None:
    answer = desk.post(f"/t/acme/proposals/{proposal.pk}/decide", form(proposal, "approve") | broken)
    assert answer.status_code == 422
    assert status(proposal) == "pending"


def test_nobody_approves_what_they_asked_for_but_may_reject_it(
    scoped: Tenant, bob: User, desk: Client, actor_of: Callable[[User, Tenant], Actor]
) -> None:
    open_shop(scoped)
    run = drive(start("support-email", {"message_id": "M-0001"}, actor=actor_of(bob, scoped)).id)
    proposal = only_proposal()
    card = text(desk.get(f"/t/acme/proposals/{proposal.pk}"))
    assert "data-approve" not in card
    assert "nobody approves what they asked for" in card
    answer = post(desk, proposal, "approve", CARD)
    assert answer.status_code == 403
    assert "nobody approves what they asked for" in text(answer)
    assert post(desk, proposal, "reject", reason_code="duplicate", note="My mistake.").status_code == 302
    assert Run.objects.get(pk=run.pk).state == "queued"


def test_self_approval_can_be_allowed_for_a_task_type(
    scoped: Tenant, bob: User, desk: Client, actor_of: Callable[[User, Tenant], Actor]
) -> None:
    open_shop(scoped)
    TaskType.objects.update(allow_self_approval=True)
    drive(start("support-email", {"message_id": "M-0001"}, actor=actor_of(bob, scoped)).id)
    assert post(desk, only_proposal(), "approve").status_code == 302


def test_an_admin_is_told_that_the_role_does_not_decide(
    proposal: Proposal, alice: User, signed_in: Callable[[User], Client]
) -> None:
    answer = post(signed_in(alice), proposal, "approve", CARD)
    assert answer.status_code == 403
    assert "operators and seniors do" in text(answer)
    assert status(proposal) == "pending"


def test_deciding_is_a_post_and_an_unknown_proposal_is_not_found(proposal: Proposal, desk: Client) -> None:
    assert desk.get(f"/t/acme/proposals/{proposal.pk}/decide").status_code == 405
    assert desk.post(f"/t/acme/proposals/{uuid7()}/decide", form(proposal, "approve")).status_code == 404


def test_a_form_from_another_site_is_refused(proposal: Proposal, bob: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(bob, backend="allauth.account.auth_backends.AuthenticationBackend")
    assert client.post(f"/t/acme/proposals/{proposal.pk}/decide", form(proposal, "approve")).status_code == 403
    assert status(proposal) == "pending"


# --- what the card shows --------------------------------------------------------------------------------------------


def open_mail(order: str) -> str:
    return (
        "From: Wilma Brook <wilma@example.com>\nTo: support@harbor.example\nSubject: Refund\n"
        f"Date: Fri, 20 Nov 2026 09:00:00 +0000\n\nPlease refund my order {order}, it arrived torn.\n"
    )


def test_evidence_is_the_recorded_text_at_the_place_an_argument_came_from(proposal: Proposal, desk: Client) -> None:
    evidence = desk.get(f"/t/acme/proposals/{proposal.pk}").context["card"]["evidence"]
    letter = next(one for one in evidence if one["source"].startswith("mail.read (text)"))
    assert letter["text"].startswith("Hello, please refund my order A-1001")
    assert letter["trust"] == "untrusted"
    assert [one["trust"] for one in evidence] == sorted((one["trust"] for one in evidence), reverse=True)
    amount = next(one for one in evidence if one["source"].startswith("shop.find_order (refundable_minor)"))
    assert (amount["text"], amount["trust"]) == ("12400", "trusted")


def test_long_evidence_is_cut_and_says_by_how_much(scoped: Tenant, desk: Client) -> None:
    open_shop(scoped)
    receive(open_mail("A-1001") + "padding " * 1_000, "M-0009")
    drive(start("support-email", {"message_id": "M-0009"}).id)
    evidence = desk.get(f"/t/acme/proposals/{only_proposal().pk}").context["card"]["evidence"]
    letter = next(one for one in evidence if one["source"].startswith("mail.read (text)"))
    assert len(letter["text"]) < 2_100
    assert "more characters in the run's record" in letter["text"]


def test_every_argument_says_where_it_comes_from_and_which_one_was_attacked(proposal: Proposal, desk: Client) -> None:
    arguments = {one["name"]: one for one in desk.get(f"/t/acme/proposals/{proposal.pk}").context["card"]["arguments"]}
    labels = {name: one["provenance"]["label"] for name, one in arguments.items()}
    assert labels == {"amount_minor": "tool", "currency": "tool", "order_ref": "untrusted", "reason": "operator"}
    assert [name for name, one in arguments.items() if one["attacked"]] == ["order_ref"]
    assert arguments["order_ref"]["provenance"]["sources"][0] == "shop.find_order (order_ref)"
    assert arguments["amount_minor"]["type"] == "money"


def test_markup_and_hidden_characters_of_a_sender_are_drawn_not_rendered(scoped: Tenant, desk: Client) -> None:
    open_shop(scoped)
    receive(open_mail("A-1001").replace("torn.", "<b>torn</b> \N{ZERO WIDTH SPACE}<img src=x>"), "M-0009")
    drive(start("support-email", {"message_id": "M-0009"}).id)
    page = text(desk.get(f"/t/acme/proposals/{only_proposal().pk}"))
    assert "<img src=x>" not in page
    assert "&lt;b&gt;torn&lt;/b&gt;" in page
    assert "ZERO WIDTH SPACE" in page


def test_the_history_tells_what_happened_to_the_call_and_who_did_it(proposal: Proposal, desk: Client) -> None:
    post(desk, proposal, "approve")
    drive(proposal.run_id)
    told = [entry["text"] for entry in desk.get(f"/t/acme/proposals/{proposal.pk}").context["card"]["history"]]
    assert told[-2].startswith("shop.issue_refund succeeded")
    assert told[-1] == "Read back: the effect of shop.issue_refund is there"
    assert any("approved by Bob" in line for line in told)
    assert not any("mail.read" in line for line in told)


def test_a_viewer_sees_the_card_of_another_persons_decision(
    proposal: Proposal, desk: Client, acme: Tenant, signed_in: Callable[[User], Client]
) -> None:
    post(desk, proposal, "reject", reason_code="duplicate", note="Refunded by phone.")
    page = text(signed_in(person("vera", acme, "viewer")).get(f"/t/acme/proposals/{proposal.pk}"))
    assert "rejected by Bob, duplicate: Refunded by phone." in page


# --- gates in the browser -------------------------------------------------------------------------------------------


def test_a_section_is_opened_on_the_record_and_the_gates_say_so(proposal: Proposal, desk: Client) -> None:
    page = desk.get(f"/t/acme/proposals/{proposal.pk}")
    bar = page.context["card"]["bar"]
    assert bar["unseen"] == ["arguments", "evidence"]
    seen = {"view_token": bar["token"], "section": "arguments"}
    gates = desk.post(f"/t/acme/proposals/{proposal.pk}/seen", seen, headers=CARD)
    assert gates.status_code == 200
    assert 'id="gates"' in text(gates)
    assert [one["done"] for one in gates.context["gates"]] == [False, True, False]
    again = desk.post(f"/t/acme/proposals/{proposal.pk}/seen", seen | {"section": "evidence"})
    assert read_sight(again.context["card"]["bar"]["token"]) == read_sight(bar["token"])
    assert again.context["card"]["bar"]["unseen"] == []


@pytest.mark.parametrize("broken", [{"section": "history"}, {"view_token": "x"}, {"view_token": ""}])
def test_a_section_that_is_none_or_somebody_elses_card_is_not_recorded(
    proposal: Proposal, desk: Client, broken: dict[str, str]
) -> None:
    token = desk.get(f"/t/acme/proposals/{proposal.pk}").context["card"]["bar"]["token"]
    fields = {"view_token": token, "section": "arguments"} | broken
    assert desk.post(f"/t/acme/proposals/{proposal.pk}/seen", fields, headers=CARD).status_code in (409, 422)
    assert not Viewing.objects.exists()


def test_a_refused_approval_keeps_the_card_its_time_and_what_was_typed(proposal: Proposal, desk: Client) -> None:
    token = desk.get(f"/t/acme/proposals/{proposal.pk}").context["card"]["bar"]["token"]
    fields = form(proposal, "approve") | {"view_token": token, "note": "Too early, but my words."}
    answer = desk.post(f"/t/acme/proposals/{proposal.pk}/decide", fields, headers=CARD)
    assert answer.status_code == 422
    card = answer.context["card"]
    # Signed again, it may carry another second.
    assert card["bar"]["token"].partition(":")[0] == token.partition(":")[0]
    assert card["open"] == "approve"
    assert "Too early, but my words.</textarea>" in text(answer)
    assert "Read it first" in text(answer)


def test_the_password_is_asked_for_and_the_verdict_goes_on_as_it_was_sent(proposal: Proposal, desk: Client) -> None:
    session = desk.session
    session["account_authentication_methods"] = []
    session.save()
    asked = post(desk, proposal, "approve", CARD, note="The parcel arrived broken.")
    assert asked.status_code == 428
    assert status(proposal) == "pending"
    intent = asked.context["card"]["intent"]
    address = f"/t/acme/proposals/{proposal.pk}/step-up"
    wrong = desk.post(address, {"intent": intent, "password": "guess"}, headers=CARD)
    assert wrong.status_code == 428
    assert "That is not your password." in text(wrong)
    forged = desk.post(address, {"intent": intent[:-2] + "xx", "password": PASSWORD}, headers=CARD)
    assert forged.status_code == 422
    right = desk.post(address, {"intent": intent, "password": PASSWORD}, headers=CARD)
    assert right.status_code == 200
    decision = Decision.objects.get()
    assert (decision.verdict, decision.note) == ("approve", "The parcel arrived broken.")


def test_another_persons_intent_is_nobodys(
    proposal: Proposal, desk: Client, sam: User, signed_in: Callable[[User], Client]
) -> None:
    session = desk.session
    session["account_authentication_methods"] = []
    session.save()
    intent = post(desk, proposal, "approve", CARD).context["card"]["intent"]
    hers = signed_in(sam).post(
        f"/t/acme/proposals/{proposal.pk}/step-up", {"intent": intent, "password": PASSWORD}, headers=CARD
    )
    assert hers.status_code == 422
    assert status(proposal) == "pending"


def signed_in_before(client: Client) -> None:
    """Say that somebody signed in ten minutes ago, before they opened the card."""
    session = client.session
    session["account_authentication_methods"] = [{"method": "password", "at": time.time() - 600}]
    session.save()


def test_the_first_of_two_approvals_counts_and_the_second_person_does_not_see_it(
    proposal: Proposal, desk: Client, sam: User, signed_in: Callable[[User], Client]
) -> None:
    Proposal.objects.filter(pk=proposal.pk).update(band_rank=3, risk_band="critical")
    proposal.refresh_from_db()
    secret = "Bob looked at the order and at the parcel."
    signed_in_before(desk)
    first = post(desk, proposal, "approve", CARD, note=secret)
    assert first.status_code == 428  # critical asks for the password every time
    address = f"/t/acme/proposals/{proposal.pk}/step-up"
    counted = desk.post(address, {"intent": first.context["card"]["intent"], "password": PASSWORD}, headers=CARD)
    assert counted.status_code == 202
    assert "1 of 2" in text(counted)
    hers = signed_in(sam)
    signed_in_before(hers)
    card = text(hers.get(f"/t/acme/proposals/{proposal.pk}"))
    assert secret not in card
    assert "1 of 2" not in card
    # Whom it could be given to says nothing about what anybody has said.
    assert not re.search(r"\bbob\b", re.sub(r"<option[^>]*>[^<]*</option>", "", card.lower()))
    assert secret not in text(hers.get(f"/t/acme/runs/{proposal.run_id}"))
    second = post(hers, proposal, "approve", CARD, note="I called the customer and checked the order.")
    done = hers.post(address, {"intent": second.context["card"]["intent"], "password": PASSWORD}, headers=CARD)
    assert done.status_code == 200
    assert status(proposal) == "approved"


def test_when_nothing_can_be_recorded_nothing_is_decided_and_the_draft_is_kept(
    proposal: Proposal, desk: Client
) -> None:
    person_id = int(desk.session["_auth_user_id"])
    brought = posted(proposal, Actor("user", str(person_id), "", user_id=person_id))
    broken = "create trigger no_record before insert on audit_event begin select raise(abort, 'disk full'); end"
    if connection.vendor == "postgresql":
        broken = (
            "create function no_record() returns trigger language plpgsql as $$ begin raise 'disk full'; end $$;"
            "create trigger no_record before insert on audit_event for each row execute function no_record()"
        )
    with connection.cursor() as cursor:
        cursor.execute(broken)
    fields = form(proposal, "approve") | brought | {"note": "Nobody will ever know."}
    answer = desk.post(f"/t/acme/proposals/{proposal.pk}/decide", fields, headers=CARD)
    assert answer.status_code == 503
    assert "Nobody will ever know.</textarea>" in text(answer)
    assert status(proposal) == "pending"
    assert not Decision.objects.exists()
