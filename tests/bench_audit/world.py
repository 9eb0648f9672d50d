"""What the record is measured on: tenants in which a few runs happened by themselves, with people's part and settings.

The runs are what `seeding` copies. Needs Django.
"""

from collections.abc import Sequence
from typing import Any

from django.test import override_settings
from django.utils import timezone

from agentops.audit.indexing import index_new
from agentops.audit.models import Event, EventTerm
from agentops.audit.services import record_in_tenant_stream
from agentops.metrics.rollup import roll_up
from agentops.tenancy.access import Actor
from agentops.tenancy.scope import tenant_scope
from agentops.wire.parse import JSONObject
from tests.bench.copies import read_template
from tests.bench_ui.world import DECIDED, WAITING, Place, Scene, open_place, play
from tests.proof.processes import eventually

ENDED = tuple(scene for scene in DECIDED if scene.name != "letter approved")
FEW = tuple(scene for scene in DECIDED if scene.name == "note approved")
OPEN = tuple(scene for scene in WAITING if scene.name in {"low note", "medium refund"})
"""What happens in the first tenant, what happens in all of them, and what waits in the first one."""

SETTINGS: Sequence[tuple[str, str, int]] = (
    ("admin.changed", "tasktype", 200),
    ("admin.changed", "playbook", 50),
    ("policy.proposed", "policy", 6),
    ("policy.changed", "policy", 5),
    ("allowlist.proposed", "allowlistchange", 12),
    ("allowlist.changed", "allowlistentry", 12),
    ("trust.given", "trust", 9),
    ("host.allowed", "allowedhost", 4),
    ("audit.searched", "audit", 100),
)
"""Type, kind of subject and number of the events that tell about a tenant and not about one of its runs."""


def make_place(number: int, records: int, sql: Any) -> Place:
    """Make a tenant, its settings' events and its runs, counted and indexed by the product."""
    place = open_place(number, records)
    with tenant_scope(place.tenant):
        _settings(place)
    scenes = (*ENDED, *OPEN) if number == 0 else FEW
    with override_settings(RELEASE_DELAYS_S=(0, 0, 0, 0)):
        play(place, scenes, sql)
    with tenant_scope(place.tenant):
        eventually(_is_read, within_s=60)
    # Once more, with the facts and terms that were made of their ends since.
    place.templates = {name: read_template(sql, one.run_id, one.vary) for name, one in place.templates.items()}
    return place


def _settings(place: Place) -> None:
    from django.db import transaction

    people = [Actor.user(user, ["admin"]) for user in place.operators]
    with transaction.atomic():
        for kind, subject, count in SETTINGS:
            for n in range(count):
                told: JSONObject = {"before": {"name": f"{subject} {n}"}, "after": {"name": f"{subject} {n + 1}"}}
                record_in_tenant_stream(kind, told, subject=(subject, str(n % 40)), actor=people[n % len(people)])


def _is_read() -> bool:
    """Read on; say whether every event of the tenant has been indexed and every run counted."""
    while index_new():
        pass
    counted = roll_up(timezone.now())
    newest = Event.objects.filter(run_id__isnull=False).latest("pk").pk
    return counted == 0 and EventTerm.objects.filter(event_id__gte=newest - 50).exists()


def scenes_of(number: int) -> tuple[Sequence[Scene], Sequence[Scene]]:
    """Return the scenes of a tenant: those that ended and those that wait."""
    return (ENDED, OPEN) if number == 0 else (FEW, ())
