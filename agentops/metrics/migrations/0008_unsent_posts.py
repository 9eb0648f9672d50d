from datetime import timedelta

from django.conf import settings
from django.db import migrations
from django.utils import timezone

from agentops.tenancy.scope import tenant_scope

TRIES = 8


def move(apps, schema_editor):
    """Put what was not posted yet into the outbox of the webhooks, and forget what was."""
    delivery, message = apps.get_model("metrics", "Delivery"), apps.get_model("webhooks", "Message")
    now = timezone.now()
    for tenant_id, slug in list(apps.get_model("tenancy", "Tenant").objects.values_list("pk", "slug")):
        with tenant_scope(tenant_id):
            posts = delivery.objects.filter(tenant_id=tenant_id, webhook__isnull=False)
            unsent = posts.filter(sent_at__isnull=True, attempts__lt=TRIES).select_related("alarm").order_by("pk")
            message.objects.bulk_create([_message(message, one, slug, now) for one in unsent])
            posts.delete()


def _message(message, one, slug, now):
    alarm = one.alarm
    data = {
        "id": str(alarm.pk),
        "tenant": slug,
        "task_type": alarm.task_type,
        "kind": alarm.kind,
        "started_at": alarm.started_at.isoformat(),
        "url": f"{settings.SITE_URL.rstrip('/')}/t/{slug}/metrics/alarms/{alarm.pk}",
    }
    return message(
        tenant_id=one.tenant_id,
        endpoint_id=one.webhook_id,
        name=f"alarm-{alarm.pk}",
        kind="alarm.raised",
        at=alarm.raised_at,
        body={"type": "alarm.raised", "timestamp": alarm.raised_at.isoformat(), "data": data},
        next_at=now,
        until=now + timedelta(days=1),
    )


class Migration(migrations.Migration):
    dependencies = [("metrics", "0007_posts_move_out"), ("webhooks", "0002_row_security")]

    operations = [migrations.RunPython(move, migrations.RunPython.noop)]
