"""E-mails about what waits: band, tool and a link. Never arguments, because a lock screen shows them; never a decision.

The rows are the outbox. One that could not be sent is tried again; two sweepers do not send the same one, unless one
of them dies in the middle.
"""

import logging
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.core.mail import send_mail
from django.db.models import F, Q

from agentops.tenancy.links import tenant_url, told_outside
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import current_tenant_id
from approvals.models import Notification, Status

logger = logging.getLogger(__name__)

TRIES: Final = 5
AGAIN_AFTER: Final = timedelta(minutes=1)


def send_due(now: datetime, limit: int) -> int:
    """Send up to `limit` e-mails of the open tenant scope; return how many were sent.

    Those about what has been decided meanwhile are dropped.
    """
    free = Q(taken_at__isnull=True) | Q(taken_at__lt=now - AGAIN_AFTER)
    waiting = Notification.objects.filter(free, sent_at__isnull=True, attempts__lt=TRIES).order_by("id")
    rows = list(waiting.select_related("user", "proposal")[:limit])
    if not rows:
        return 0
    tenant = Tenant.objects.get(pk=current_tenant_id())
    sent = 0
    for one in rows:
        if one.proposal.status != Status.PENDING or not one.user.email:
            Notification.objects.filter(pk=one.pk).update(sent_at=now)
            continue
        mine = Notification.objects.filter(free, pk=one.pk, sent_at__isnull=True)
        if not mine.update(taken_at=now, attempts=F("attempts") + 1):
            continue
        try:
            send_mail(*_letter(one, tenant), settings.DEFAULT_FROM_EMAIL, [one.user.email])
        except Exception:
            logger.exception("the e-mail %s could not be sent", one.pk)
            continue
        Notification.objects.filter(pk=one.pk).update(sent_at=now)
        sent += 1
    return sent


def _letter(one: Notification, tenant: Tenant) -> tuple[str, str]:
    proposal = one.proposal
    address = told_outside(tenant_url(tenant.slug, "proposal", proposal.pk))
    band = proposal.get_risk_band_display()
    what = "was escalated to you" if proposal.needs_role else "waits for a decision"
    subject = f"[{tenant.name}] {band} risk: {proposal.tool} {what}"
    text = (
        f"A proposal of {band.lower()} risk to use {proposal.tool} {what}.\n\n{address}\n\n"
        f"Without a decision until {proposal.decide_by:%Y-%m-%d %H:%M} UTC it will not run.\n"
        "Decide it at the desk; this address does not read answers.\n"
    )
    return subject, text
