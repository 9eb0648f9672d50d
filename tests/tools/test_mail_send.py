"""Sending mail: one message per key, no header injection, and an interrupted call can be looked up."""

import re
import smtplib
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any, ClassVar

import pytest
from django.core import mail
from django.core.mail.backends.base import BaseEmailBackend

from agentops.tenancy.models import Tenant
from tools.backoffice.models import Customer, InboxMessage, Mailbox, SentMessage
from tools.contracts import CannotTell, DidNotHappen, ErrorCode, Happened
from tools.executor import Failed, Succeeded, Unknown, reconcile
from tools.registry import registry

from .conftest import Call, request_for

pytestmark = pytest.mark.django_db

MESSAGE = {"to": "mia@example.com", "subject": "Your refund", "body": "Dear Mia,\nit is on its way.\n"}


class StubbornServer(BaseEmailBackend):
    """A mail server that answers with the error the test names; the edge of the system, not our code."""

    error: ClassVar[Exception | None] = None

    def send_messages(self, email_messages: Any) -> int:
        if self.error:
            raise self.error
        return 0


@pytest.fixture
def stubborn(settings: Any) -> type[StubbornServer]:
    settings.EMAIL_BACKEND = f"{__name__}.StubbornServer"
    StubbornServer.error = None
    return StubbornServer


@pytest.fixture
def mail_files(settings: Any, tmp_path: Path) -> Path:
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    settings.EMAIL_FILE_PATH = str(tmp_path / "mail")
    return tmp_path / "mail"


def test_a_message_is_sent_from_the_tenants_mailbox(call: Call) -> None:
    Mailbox.objects.create(address="support@acme.example", display_name="Acme Support")
    outcome = call("mail.send", **MESSAGE)
    assert isinstance(outcome, Succeeded)
    (sent,) = mail.outbox
    assert (sent.to, sent.subject, sent.body) == (["mia@example.com"], "Your refund", MESSAGE["body"])
    assert sent.from_email == '"Acme Support" <support@acme.example>'
    assert sent.message()["Message-ID"] == outcome.output["message_id"]
    assert str(outcome.output["message_id"]).endswith("@acme.example>")
    row = SentMessage.objects.get()
    assert (row.state, row.message_id) == ("sent", outcome.output["message_id"])
    assert row.sent_at is not None


def test_the_same_key_sends_nothing_again(call: Call) -> None:
    first, second = call("mail.send", **MESSAGE), call("mail.send", **MESSAGE)
    assert isinstance(first, Succeeded)
    assert isinstance(second, Succeeded)
    assert first.output == second.output
    assert len(mail.outbox) == 1


def test_the_same_key_for_another_text_is_a_conflict(call: Call) -> None:
    call("mail.send", **MESSAGE)
    outcome = call("mail.send", **MESSAGE | {"body": "Something else."})
    assert isinstance(outcome, Failed)
    assert outcome.code is ErrorCode.CONFLICT
    assert len(mail.outbox) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"to": "mia@example.com\nBcc: spy@evil.example"},
        {"to": "mia@example.com\r\n"},
        {"subject": "Hi\r\nBcc: spy@evil.example"},
        {"subject": "Hi\nX: y"},
        {"subject": "Hi\u2028X: y"},
        {"to": "mia@example.com, spy@evil.example"},
        {"to": "mia@example.com;spy@evil.example"},
        {"to": "Mia <mia@example.com>"},
        {"to": "mia"},
        {"to": "mia@"},
        {"to": "m" * 300 + "@example.com"},
        {"subject": ""},
        {"body": ""},
        {"body": "x" * 20_001},
    ],
)
def test_exactly_one_recipient_and_no_extra_headers(call: Call, change: dict[str, str]) -> None:
    outcome = call("mail.send", **MESSAGE | change)
    several = sum(1 for part in re.split("[,;\n]", change.get("to", "")) if part.strip()) > 1
    assert isinstance(outcome, Failed)
    assert outcome.code is (ErrorCode.POLICY_BLOCKED if several else ErrorCode.INVALID_INPUT)
    assert mail.outbox == []
    assert not SentMessage.objects.exists()


def test_the_message_on_disk_is_the_one_approved(call: Call, mail_files: Path) -> None:
    outcome = call("mail.send", **MESSAGE | {"subject": "Rückerstattung 返金"})
    assert isinstance(outcome, Succeeded)
    (file,) = mail_files.glob("*.log")
    message = message_from_bytes(file.read_bytes().rpartition(b"\n---")[0], policy=policy.default)
    assert message["To"] == "mia@example.com"
    assert message["Subject"] == "Rückerstattung 返金"
    assert message["Message-ID"] == outcome.output["message_id"]


# --- Interrupted calls -----------------------------------------------------------------------------------------------


def interrupted(tenant: Tenant, call: Call) -> SentMessage:
    """Leave a row as a crash between hand-over and answer does."""
    outcome = call("mail.send", **MESSAGE)
    assert isinstance(outcome, Succeeded)
    SentMessage.objects.update(state="sending", sent_at=None)
    return SentMessage.objects.get()


def test_without_a_row_it_did_not_happen(scoped: Tenant) -> None:
    assert reconcile(request_for(scoped, "mail.send", MESSAGE)) == DidNotHappen()


def test_with_a_sent_row_it_happened(scoped: Tenant, call: Call) -> None:
    outcome = call("mail.send", **MESSAGE)
    assert isinstance(outcome, Succeeded)
    assert reconcile(request_for(scoped, "mail.send", MESSAGE)) == Happened(outcome.output)


def test_a_hand_over_without_an_answer_cannot_be_told(scoped: Tenant, call: Call) -> None:
    interrupted(scoped, call)
    assert isinstance(reconcile(request_for(scoped, "mail.send", MESSAGE)), CannotTell)
    assert isinstance(call("mail.send", **MESSAGE), Unknown)
    assert len(mail.outbox) == 1


def test_the_mail_directory_settles_that_it_happened(scoped: Tenant, call: Call, mail_files: Path) -> None:
    row = interrupted(scoped, call)
    request = request_for(scoped, "mail.send", MESSAGE)
    assert reconcile(request) == Happened({"message_id": row.message_id, "status": "sent"})
    assert isinstance(call("mail.send", **MESSAGE), Succeeded)
    assert len(list(mail_files.glob("*.log"))) == 1
    row.refresh_from_db()
    assert row.state == "sent"


def test_the_mail_directory_settles_that_it_did_not_happen(scoped: Tenant, call: Call, mail_files: Path) -> None:
    interrupted(scoped, call)
    for file in mail_files.glob("*.log"):
        file.unlink()
    assert reconcile(request_for(scoped, "mail.send", MESSAGE)) == DidNotHappen()
    assert isinstance(call("mail.send", **MESSAGE), Succeeded)
    assert len(list(mail_files.glob("*.log"))) == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (smtplib.SMTPRecipientsRefused({"mia@example.com": (550, b"no")}), ErrorCode.INVALID_INPUT),
        (smtplib.SMTPAuthenticationError(535, b"no"), ErrorCode.PERMISSION_DENIED),
        (smtplib.SMTPSenderRefused(550, b"no", "x"), ErrorCode.UNAVAILABLE),
        (smtplib.SMTPDataError(554, b"no"), ErrorCode.UNAVAILABLE),
        (ConnectionRefusedError(), ErrorCode.UNAVAILABLE),
        (None, ErrorCode.UNAVAILABLE),
    ],
)
def test_a_server_that_did_not_take_it_leaves_no_trace(
    scoped: Tenant, call: Call, stubborn: type[StubbornServer], error: Exception | None, code: ErrorCode
) -> None:
    stubborn.error = error
    outcome = call("mail.send", **MESSAGE)
    assert isinstance(outcome, Failed)
    assert outcome.code is code
    assert reconcile(request_for(scoped, "mail.send", MESSAGE)) == DidNotHappen()


@pytest.mark.parametrize("error", [TimeoutError(), smtplib.SMTPServerDisconnected("gone"), OSError("broken pipe")])
def test_a_server_that_goes_silent_leaves_the_outcome_unknown(
    scoped: Tenant, call: Call, stubborn: type[StubbornServer], error: Exception
) -> None:
    stubborn.error = error
    assert isinstance(call("mail.send", **MESSAGE), Unknown)
    assert isinstance(reconcile(request_for(scoped, "mail.send", MESSAGE)), CannotTell)


# --- The card --------------------------------------------------------------------------------------------------------


def describe(to: str) -> tuple[str, tuple[str, ...]]:
    consequence = registry.describe("mail.send", "1.0.0", {**MESSAGE, "to": to})
    return consequence.summary, consequence.warnings


def test_the_card_tells_inside_from_outside_and_known_from_new(call: Call) -> None:
    Mailbox.objects.create(address="support@acme.example", display_name="Acme Support")
    Customer.objects.create(ref="C-1", name="Mia", email="mia@example.com")
    assert describe("jo@acme.example") == ("Sends one e-mail to 1 internal recipient", ())
    assert describe("mia@example.com") == ("Sends one e-mail to 1 external recipient", ())
    assert "First contact" in describe("new@elsewhere.example")[1][0]
    call("mail.send", **MESSAGE | {"to": "new@elsewhere.example"})
    assert describe("new@elsewhere.example")[1] == ()


def test_the_card_warns_when_the_address_came_from_a_reply_to(scoped: Tenant) -> None:
    InboxMessage.objects.create(
        ref="M-7", raw=b"", received_at="2026-11-01T00:00:00Z", sender="mia@example.com", reply_to="spy@evil.example"
    )
    warnings = " ".join(describe("spy@evil.example")[1])
    assert "Reply-To of M-7, which came from mia@example.com" in warnings
    assert "First contact" in warnings


def test_the_card_spells_out_domains_that_are_not_ascii(scoped: Tenant) -> None:
    assert "xn--" in " ".join(describe("mia@ex\u0430mple.com")[1])
