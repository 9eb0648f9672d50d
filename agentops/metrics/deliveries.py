"""Tell people and programs about alarms. The rows are the outbox; what could not be sent is tried again, ever later.

Two sweepers do not send the same one, unless one of them dies in the middle: then it is sent twice, and a receiver
knows it by its id.
"""

import http.client
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.core.mail import send_mail
from django.db.models import F

from agentops.metrics.models import Delivery
from agentops.metrics.webhook import Refused, Target, checked, post, resolve, secret_of, signature
from agentops.tenancy.links import tenant_url
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import current_tenant_id
from agentops.wire.canonical import canonical

logger = logging.getLogger(__name__)

TRIES: Final = 8
FIRST_AGAIN: Final = timedelta(minutes=1)

Post = Callable[[Target, bytes, dict[str, str]], int]
Check = Callable[[str], Target]


def _checked(url: str) -> Target:
    return checked(url, lookup=resolve)


def send_due(now: datetime, limit: int, *, send: Post = post, check: Check = _checked) -> int:
    """Send up to `limit` messages of the open tenant scope that are due; return how many were sent."""
    waiting = Delivery.objects.filter(sent_at__isnull=True, next_at__lte=now, attempts__lt=TRIES).order_by("next_at")
    rows = list(waiting.select_related("alarm", "user", "webhook")[:limit])
    if not rows:
        return 0
    tenant = Tenant.objects.get(pk=current_tenant_id())
    sent = 0
    for one in rows:
        mine = Delivery.objects.filter(pk=one.pk, sent_at__isnull=True, attempts=one.attempts)
        if not mine.update(attempts=F("attempts") + 1, next_at=now + FIRST_AGAIN * 2**one.attempts):
            continue
        try:
            problem = _mail(one, tenant) if one.webhook is None else _post(one, tenant, now, send, check)
        except (OSError, UnicodeError, http.client.HTTPException, Refused) as error:
            problem = str(error) if isinstance(error, Refused) else type(error).__name__
        if problem:
            logger.warning("delivery %s of an alarm failed: %s", one.pk, problem)
            Delivery.objects.filter(pk=one.pk).update(problem=problem[:200])
            continue
        Delivery.objects.filter(pk=one.pk).update(sent_at=now, problem="")
        sent += 1
    return sent


def _mail(one: Delivery, tenant: Tenant) -> str:
    assert one.user is not None
    if not one.user.is_active or not one.user.email:
        return "The person has no address any more."
    alarm = one.alarm
    send_mail(
        f"[{tenant.name}] Alarm: {alarm.task_type}",
        f"{alarm.get_kind_display()}: {alarm.task_type}.\n\n"
        f"It seems to have begun about {alarm.started_at:%Y-%m-%d %H:%M} UTC.\n\n{_address(one, tenant)}\n\n"
        "Somebody has to own it; it stays until it is reset with a reason.\n",
        settings.DEFAULT_FROM_EMAIL,
        [one.user.email],
    )
    return ""


def _post(one: Delivery, tenant: Tenant, now: datetime, send: Post, check: Check) -> str:
    assert one.webhook is not None
    if not one.webhook.enabled:
        return "The webhook is switched off."
    alarm, stamp = one.alarm, int(now.timestamp())
    body = canonical(
        {
            "type": "alarm.raised",
            "timestamp": now.isoformat(),
            "data": {
                "id": str(alarm.pk),
                "tenant": tenant.slug,
                "task_type": alarm.task_type,
                "kind": alarm.kind,
                "started_at": alarm.started_at.isoformat(),
                "url": _address(one, tenant),
            },
        }
    ).encode()
    message_id = f"alarm-{alarm.pk}-{one.pk}"
    secret = secret_of(one.webhook.pk, tenant.pk, one.webhook.secret_version)
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": str(stamp),
        "webhook-signature": signature(secret, message_id, stamp, body),
    }
    status = send(check(one.webhook.url), body, headers)
    return "" if 200 <= status < 300 else f"It answered {status}."


def _address(one: Delivery, tenant: Tenant) -> str:
    return f"{settings.SITE_URL.rstrip('/')}{tenant_url(tenant.slug, 'alarm', one.alarm.pk)}"
