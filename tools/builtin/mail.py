"""mail.read and mail.send."""

import hashlib
import smtplib
import socket
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.core.validators import validate_email
from django.utils import timezone
from django.utils.encoding import punycode

from agentops.wire.parse import JSON, JSONObject
from tools.backoffice.models import Customer, InboxMessage, Mailbox, SentMessage, SentState
from tools.contracts import (
    ArgumentRole,
    Blast,
    CallContext,
    CannotTell,
    Confirmed,
    Consequence,
    Contradicted,
    DidNotHappen,
    Effect,
    ErrorCode,
    Fact,
    Happened,
    ReadBack,
    Reconciled,
    Reversal,
    Reversibility,
    Sensitivity,
    ToolContract,
    ToolError,
    Trust,
)
from tools.promises import Bounds, CountBound, Promises, Sink

from .effects import another_action, effect
from .message import parse_message
from .shapes import ADDRESS, YES_NO, choice, closed, nullable, number, rows, text

READ = ToolContract(
    name="mail.read",
    version="1.0.0",
    title="Read e-mail",
    description=(
        "Read one message of the inbox. `text` is what a person sees; `hidden_text` and `findings` hold what the "
        "message hides. Everything but the reference was written by the sender."
    ),
    input_schema=closed(message_id=text(20, minimum=1, note="Reference in our inbox, such as M-0001.")),
    output_schema=closed(
        message_id=text(20),
        from_address=text(320),
        from_name=text(120),
        reply_to=text(320),
        to=text(998),
        subject=text(998),
        date=nullable(text(40)),
        text=text(65536),
        html_text=text(65536),
        hidden_text=text(16384),
        attachments=rows(closed(name=text(120), type=text(100), size=number(0, 64 * 1024 * 1024), sha256=text(64)), 50),
        findings=rows(closed(code=text(40), where=text(20), offset=number(0, 10_000_000), sample=text(160)), 50),
        truncated=YES_NO,
    ),
    effect=Effect.READ,
    roles={"message_id": ArgumentRole.AUTHORITY},
    output_trust={"": Trust.UNTRUSTED, "message_id": Trust.TRUSTED},
    error_codes=frozenset({ErrorCode.NOT_FOUND}),
    sentence="Read the e-mail {message_id}",
    reversible=Reversibility(Reversal.NONE_NEEDED, "Only reads."),
    timeout_s=20.0,
)

SEND = ToolContract(
    name="mail.send",
    version="1.0.0",
    title="Send e-mail",
    description="Send one plain-text e-mail to one address, from our mailbox.",
    input_schema=closed(to=ADDRESS, subject=text(200, minimum=1), body=text(20_000, minimum=1)),
    output_schema=closed(message_id=text(320), status=choice("sent")),
    effect=Effect.UNSAFE_WRITE,
    sensitivity=frozenset({Sensitivity.EXTERNAL_COMMUNICATION}),
    roles={
        "to": ArgumentRole.AUTHORITY,
        "subject": ArgumentRole.CONTENT,
        "body": ArgumentRole.CONTENT,
    },
    output_trust={"": Trust.TRUSTED},
    error_codes=frozenset(
        {
            ErrorCode.INVALID_INPUT,
            ErrorCode.CONFLICT,
            ErrorCode.PERMISSION_DENIED,
            ErrorCode.TIMEOUT,
            ErrorCode.UNAVAILABLE,
            ErrorCode.OUTCOME_UNKNOWN,
        }
    ),
    sentence="Send an e-mail to {to} with the subject {subject}",
    reversible=Reversibility(Reversal.IRREVERSIBLE, "A sent e-mail cannot be called back."),
    must_see=("to", "subject", "body"),
    egress=("subject", "body"),
    timeout_s=30.0,
    promises=Promises(sinks=frozenset({Sink.EMAIL}), bounds=Bounds(recipients=CountBound(("to",), 1))),
)

FILE_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
_NOT_TAKEN = (
    ConnectionRefusedError,
    socket.gaierror,
    smtplib.SMTPConnectError,
    smtplib.SMTPHeloError,
    smtplib.SMTPSenderRefused,
    smtplib.SMTPDataError,
    smtplib.SMTPNotSupportedError,
)


def read(ctx: CallContext, arguments: JSONObject) -> JSONObject:
    """Parse one message of the inbox."""
    row = InboxMessage.objects.filter(ref=str(arguments["message_id"])).first()
    if row is None or row.erased_at:
        raise ToolError(ErrorCode.NOT_FOUND, "There is no such message" + (" any more." if row else "."))
    message = parse_message(bytes(row.raw))
    attachments: list[JSON] = [
        {"name": a.name, "type": a.type, "size": a.size, "sha256": a.sha256} for a in message.attachments
    ]
    findings: list[JSON] = [
        {"code": f.code, "where": f.where, "offset": f.offset, "sample": f.sample} for f in message.findings
    ]
    return {
        "message_id": row.ref,
        "from_address": message.from_address,
        "from_name": message.from_name,
        "reply_to": message.reply_to,
        "to": message.to,
        "subject": message.subject,
        "date": message.date,
        "text": message.text,
        "html_text": message.html_text,
        "hidden_text": message.hidden_text,
        "attachments": attachments,
        "findings": findings,
        "truncated": message.truncated,
    }


def send(ctx: CallContext, arguments: JSONObject) -> JSONObject:
    """Hand one message to the mail server, once per key.

    The row is committed as `sending` before the server is asked, so that an interrupted call leaves a trace.
    """
    to, subject, body = _message_of(arguments)
    mailbox = Mailbox.objects.first()
    with effect(ctx):
        row, created = SentMessage.objects.get_or_create(
            idempotency_key=ctx.idempotency_key,
            defaults={"to": to, "subject": subject, "body": body, "message_id": _message_id(ctx, mailbox)},
        )
    if not created:
        if (row.to, row.subject, row.body) not in {(to, subject, body), ("", "", "")}:
            raise another_action()
        if row.state == SentState.SENT:
            return _output(row)
        # Somebody else is between the two commits, or died there.
        match _look_up(row):
            case Happened(output):
                _mark_sent(row)
                return output
            case CannotTell(message):
                raise ToolError(ErrorCode.OUTCOME_UNKNOWN, message)
            case DidNotHappen():
                pass
    _deliver(row, mailbox)
    _mark_sent(row)
    return _output(row)


def reconcile_send(ctx: CallContext, arguments: JSONObject) -> Reconciled:
    """Look the message up by key; one that was handed over without an answer is looked for in the mail directory."""
    row = SentMessage.objects.filter(idempotency_key=ctx.idempotency_key).first()
    if row is None:
        return DidNotHappen()
    if row.state == SentState.SENT:
        return Happened(_output(row))
    return _look_up(row)


def read_sent_back(ctx: CallContext, arguments: JSONObject, output: JSONObject) -> ReadBack:
    """Look whether our record says that the mail server took this message. What became of it there nobody can tell."""
    row = SentMessage.objects.filter(idempotency_key=ctx.idempotency_key).first()
    if row is None or row.state != SentState.SENT:
        return Contradicted("There is no such message among those sent.")
    if (row.to, row.subject, row.body) == ("", "", ""):
        return CannotTell("The message has been erased since.")
    asked = (str(arguments["to"]), str(arguments["subject"]), str(arguments["body"]), output.get("message_id"))
    found = (row.to, row.subject, row.body, row.message_id)
    return Confirmed() if found == asked else Contradicted("The message sent under this key is another one.")


def describe_read(arguments: JSONObject) -> Consequence:
    """Say that one message is read."""
    return Consequence("Reads one message of the inbox", blast=(Blast("messages read", 1),))


def describe_send(arguments: JSONObject) -> Consequence:
    """Say who gets the message, whether we ever wrote there, and whether the address came from a Reply-To."""
    to = str(arguments["to"]).strip()
    mailbox = Mailbox.objects.first()
    internal = mailbox is not None and to.rpartition("@")[2].lower() == mailbox.domain
    customer = Customer.objects.filter(email__iexact=to).first()
    earlier = SentMessage.objects.filter(to__iexact=to, state=SentState.SENT).count()
    received = InboxMessage.objects.filter(sender__iexact=to).count()
    redirecting = InboxMessage.objects.filter(reply_to__iexact=to).exclude(sender__iexact=to).order_by("ref").first()
    warnings = []
    if not internal and not customer and not earlier and not received:
        warnings.append("First contact: no customer, no earlier message from or to this address.")
    if redirecting is not None:
        warnings.append(
            f"This is the Reply-To of {redirecting.ref}, which came from {redirecting.sender or 'an unknown sender'}."
        )
    if not to.isascii():
        warnings.append(f"The domain is not plain ASCII; it is really {punycode(to.rpartition('@')[2])}.")
    recipient = "internal recipient" if internal else "external recipient"
    return Consequence(
        f"Sends one e-mail to 1 {recipient}",
        blast=(Blast(f"{recipient}s", 1, to),),
        egress=() if internal else ("subject", "body"),
        facts=(
            Fact("Recipient", f"{to} ({'internal' if internal else 'external'})"),
            Fact("Customer", f"{customer.name} ({customer.ref})" if customer else "none with this address"),
            Fact("Sent there before", str(earlier)),
            Fact("Received from there", str(received)),
            Fact("From", mailbox.address if mailbox else settings.DEFAULT_FROM_EMAIL),
        ),
        warnings=tuple(warnings),
    )


def _message_of(arguments: JSONObject) -> tuple[str, str, str]:
    to, subject, body = str(arguments["to"]), str(arguments["subject"]), str(arguments["body"])
    if any(char in "\r\n\v\f\x1c\x1d\x1e\x85\u2028\u2029" for char in to + subject):
        raise ToolError(ErrorCode.INVALID_INPUT, "A recipient or subject must not contain a line break.")
    try:
        validate_email(to)
    except ValidationError as error:
        raise ToolError(ErrorCode.INVALID_INPUT, "The recipient must be exactly one e-mail address.") from error
    return to, subject, body


def _message_id(ctx: CallContext, mailbox: Mailbox | None) -> str:
    """Return a Message-ID that every attempt under this key gets again."""
    domain = mailbox.domain if mailbox else settings.DEFAULT_FROM_EMAIL.rpartition("@")[2].strip("> ")
    key = hashlib.sha256(f"{ctx.tenant_id}:{ctx.idempotency_key}".encode()).hexdigest()[:40]
    return f"<{key}@{domain}>"


def _deliver(row: SentMessage, mailbox: Mailbox | None) -> None:
    sender = f'"{mailbox.display_name}" <{mailbox.address}>' if mailbox else settings.DEFAULT_FROM_EMAIL
    message = EmailMessage(row.subject, row.body, sender, [row.to], headers={"Message-ID": row.message_id})
    try:
        taken = message.send()
    except smtplib.SMTPRecipientsRefused as error:
        row.delete()
        raise ToolError(ErrorCode.INVALID_INPUT, "The mail server refused the recipient.") from error
    except smtplib.SMTPAuthenticationError as error:
        row.delete()
        raise ToolError(ErrorCode.PERMISSION_DENIED, "The mail server refused our sign-in.") from error
    except _NOT_TAKEN as error:
        row.delete()
        raise ToolError(ErrorCode.UNAVAILABLE, "The mail server did not take the message.") from error
    if not taken:
        row.delete()
        raise ToolError(ErrorCode.UNAVAILABLE, "The mail server did not take the message.")


def _mark_sent(row: SentMessage) -> None:
    row.state, row.sent_at = SentState.SENT, timezone.now()
    row.save(update_fields=["state", "sent_at"])


def _look_up(row: SentMessage) -> Reconciled:
    if settings.EMAIL_BACKEND != FILE_BACKEND:
        return CannotTell("The message was handed to the mail server, which never answered.")
    directory: Any = settings.EMAIL_FILE_PATH
    if _in_directory(Path(directory), row.message_id):
        return Happened(_output(row))
    return DidNotHappen()


def _in_directory(directory: Path, message_id: str) -> bool:
    """Search the files of Django's file backend, each of which may hold several messages."""
    wanted = message_id.encode()
    return directory.is_dir() and any(wanted in path.read_bytes() for path in sorted(directory.glob("*.log")))


def _output(row: SentMessage) -> JSONObject:
    return {"message_id": row.message_id, "status": "sent"}
