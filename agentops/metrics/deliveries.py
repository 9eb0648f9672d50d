"""Tell people about alarms. The rows are the outbox; what could not be sent is tried again, ever later.

Two sweepers do not send the same one, unless one of them dies in the middle: then it is sent twice. Programs hear of
alarms by webhooks (`agentops.webhooks`).
"""

import logging
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.core.mail import send_mail
from django.db.models import F

from agentops.metrics.models import Alarm, Delivery
from agentops.tenancy.links import tenant_url, told_outside
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import current_tenant_id

logger = logging.getLogger(__name__)

TRIES: Final = 8
FIRST_AGAIN: Final = timedelta(minutes=1)


def send_due(now: datetime, limit: int) -> int:
    """Send up to `limit` e-mails of the open tenant scope that are due; return how many were sent."""
    waiting = Delivery.objects.filter(sent_at__isnull=True, next_at__lte=now, attempts__lt=TRIES).order_by("next_at")
    rows = list(waiting.select_related("alarm", "user")[:limit])
    if not rows:
        return 0
    tenant = Tenant.objects.get(pk=current_tenant_id())
    sent = 0
    for one in rows:
        mine = Delivery.objects.filter(pk=one.pk, sent_at__isnull=True, attempts=one.attempts)
        if not mine.update(attempts=F("attempts") + 1, next_at=now + FIRST_AGAIN * 2**one.attempts):
            continue
        try:
            problem = _mail(one, tenant)
        except (OSError, UnicodeError) as error:
            problem = type(error).__name__
        if problem:
            logger.warning("delivery %s of an alarm failed: %s", one.pk, problem)
            Delivery.objects.filter(pk=one.pk).update(problem=problem[:200])
            continue
        Delivery.objects.filter(pk=one.pk).update(sent_at=now, problem="")
        sent += 1
    return sent


def _mail(one: Delivery, tenant: Tenant) -> str:
    if not one.user.is_active or not one.user.email:
        return "The person has no address any more."
    alarm = one.alarm
    send_mail(
        f"[{tenant.name}] Alarm: {alarm.task_type}",
        f"{alarm.get_kind_display()}: {alarm.task_type}.\n\n"
        f"It seems to have begun about {alarm.started_at:%Y-%m-%d %H:%M} UTC.\n\n{address_of(alarm, tenant.slug)}\n\n"
        "Somebody has to own it; it stays until it is reset with a reason.\n",
        settings.DEFAULT_FROM_EMAIL,
        [one.user.email],
    )
    return ""


def address_of(alarm: Alarm, slug: str) -> str:
    """Return where an alarm is handled, as people and programs outside are told."""
    return told_outside(tenant_url(slug, "alarm", alarm.pk))
