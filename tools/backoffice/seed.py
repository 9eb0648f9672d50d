"""Load the two demo businesses: an outdoor shop and a dental clinic. Loading again changes nothing."""

import base64
import hashlib
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

from django.db import transaction
from django.utils import timezone

from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from tools.builtin.message import parse_message

from .models import (
    Colleague,
    Customer,
    InboxMessage,
    Mailbox,
    Order,
    Refund,
    SentMessage,
    SentState,
    SystemRole,
)

FIXTURES = Path(__file__).parent / "fixtures"
_FILLER = re.compile(rb"@@BYTES:(\d{1,8})@@")
_JPEG_HEAD = bytes.fromhex("ffd8ffe000104a46494600010100000100010000")


def seed_shop(tenant: Tenant) -> list[str]:
    """Load "harbor-shop" (outdoor goods, EUR) into a tenant and return the references of its inbox, in order."""
    return _seed(tenant, FIXTURES / "harbor-shop")


def seed_clinic(tenant: Tenant) -> list[str]:
    """Load "lumen-clinic" (patients as customers, invoices as orders, GBP) and return its inbox references."""
    return _seed(tenant, FIXTURES / "lumen-clinic")


def receive(ref: str, raw: bytes) -> InboxMessage:
    """Return an unsaved inbox row for raw message bytes; the header columns are read from them."""
    message = parse_message(raw)
    return InboxMessage(
        ref=ref,
        raw=raw,
        received_at=datetime.fromisoformat(message.date) if message.date else timezone.now(),
        sender=message.from_address,
        reply_to=message.reply_to,
        subject=message.subject[:300],
    )


def _seed(tenant: Tenant, folder: Path) -> list[str]:
    records = json.loads((folder / "records.json").read_text(encoding="utf-8"))
    files = sorted(folder.glob("M-*.eml"))
    with tenant_scope(tenant), transaction.atomic():
        _seed_records(records)
        known = set(InboxMessage.objects.values_list("ref", flat=True))
        InboxMessage.objects.bulk_create(
            [receive(file.stem, with_filler(file.read_bytes())) for file in files if file.stem not in known],
            ignore_conflicts=True,
        )
    return [file.stem for file in files]


def _seed_records(records: dict[str, Any]) -> None:
    currency = records["currency"]
    address, display_name = records["mailbox"]
    Mailbox.objects.bulk_create([Mailbox(address=address, display_name=display_name)], ignore_conflicts=True)
    Colleague.objects.bulk_create(
        [Colleague(account=a, name=n, title=t, active=active) for a, n, t, active in records["colleagues"]],
        ignore_conflicts=True,
    )
    SystemRole.objects.bulk_create(
        [SystemRole(system=s, role=r, allows=a, privileged=p) for s, r, a, p in records["roles"]],
        ignore_conflicts=True,
    )
    Customer.objects.bulk_create(
        [Customer(ref=r, name=n, email=e, address=a, language=lang) for r, n, e, a, lang in records["customers"]],
        ignore_conflicts=True,
    )
    customers = dict(Customer.objects.values_list("ref", "pk"))
    Order.objects.bulk_create(
        [
            Order(
                ref=ref,
                customer_id=customers[customer],
                summary=summary,
                total_minor=total,
                currency=currency,
                card_last4=card,
                placed_at=datetime.fromisoformat(placed),
                status=status,
            )
            for ref, customer, summary, total, card, placed, status in records["orders"]
        ],
        ignore_conflicts=True,
    )
    _seed_history(records, currency)


def _seed_history(records: dict[str, Any], currency: str) -> None:
    """Add what happened before the agents came: earlier refunds and messages."""
    orders = dict(Order.objects.values_list("ref", "pk"))
    Refund.objects.bulk_create(
        [
            Refund(
                order_id=orders[ref],
                ref=f"R-EARLIER{number}",
                amount_minor=amount,
                currency=currency,
                reason=reason,
                idempotency_key=f"seed:refund:{number}",
            )
            for number, (ref, amount, reason) in enumerate(records["refunds"], start=1)
        ],
        ignore_conflicts=True,
    )
    domain = records["mailbox"][0].rpartition("@")[2]
    SentMessage.objects.bulk_create(
        [
            SentMessage(
                idempotency_key=f"seed:sent:{number}",
                to=to,
                subject=subject,
                body=subject,
                state=SentState.SENT,
                message_id=f"<seed-{number}@{domain}>",
                sent_at=datetime.fromisoformat(sent_at),
            )
            for number, (to, subject, sent_at) in enumerate(records["sent"], start=1)
        ],
        ignore_conflicts=True,
    )


def with_filler(raw: bytes) -> bytes:
    """Replace `@@BYTES:n@@` with n deterministic bytes in base64, so that big attachments need not be committed."""

    def fill(match: re.Match[bytes]) -> bytes:
        size = int(match.group(1))
        content = _JPEG_HEAD + hashlib.shake_128(b"a photo of a boot").digest(size - len(_JPEG_HEAD))
        return base64.encodebytes(content).rstrip(b"\n")

    return _FILLER.sub(fill, raw)
