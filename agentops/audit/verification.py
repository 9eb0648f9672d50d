"""Walk every chain of a tenant in pieces, behind the scenes, and say in one of three words how it stands.

*Intact*: every event of the last walk is what was written. *Tampered*: it is not, and the first bad event is named.
*Pending*: newer than the last walk.
"""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from django.db import transaction
from django.db.models import Max

from agentops.audit.models import Event, Stream, Verification
from agentops.audit.services import record_in_tenant_stream
from agentops.audit.verify import Finding, verify_some, verify_stream
from agentops.tenancy.access import SYSTEM, Actor
from agentops.wire import JSONObject

EVERY: Final = timedelta(hours=24)
PIECE: Final = 20_000
"""Events of one stream that are walked at once."""
STREAMS: Final = 500
KEPT: Final = 100
COUNTED: Final = 1_000


@dataclass(frozen=True, slots=True)
class Standing:
    """How the record stands: the last walk that ended, the one under way, how many rows are newer (1,000: or more)."""

    word: Literal["intact", "tampered", "pending"]
    last: Verification | None
    running: Verification | None
    newer: int

    @property
    def findings(self) -> list[dict[str, Any]]:
        """What the last walk found, and what the one under way has found so far."""
        return [one for walk in (self.running, self.last) if walk is not None for one in walk.findings]


def standing() -> Standing:
    """Return how the record of the open tenant scope stands. Three queries."""
    running = Verification.objects.filter(ended_at=None).order_by("-pk").first()
    last = Verification.objects.filter(ended_at__isnull=False).order_by("-pk").first()
    after = last.upto if last is not None else 0
    newer = Event.objects.filter(pk__gt=after).order_by("pk").values("pk")[:COUNTED].count()
    broken = any(walk is not None and walk.broken for walk in (running, last))
    return Standing("tampered" if broken else "intact" if last is not None else "pending", last, running, newer)


def begin(*, now: datetime, actor: Actor | None = None) -> bool:
    """Begin a walk unless one is under way; return whether it began. A person's is on record."""
    with transaction.atomic():
        if Verification.objects.filter(ended_at=None).exists():
            return False
        upto = Event.objects.aggregate(newest=Max("pk"))["newest"] or 0
        walk = Verification(started_at=now, upto=upto, requested_by=actor.name if actor is not None else "")
        Verification.objects.bulk_create([walk], ignore_conflicts=True)
        if actor is not None:
            record_in_tenant_stream("audit.verify_requested", {}, subject=("audit", "chains"), actor=actor)
    return True


def go_on(now: datetime) -> int:
    """Walk one piece of the open tenant's chains where a walk is under way or due; return how many events."""
    walk = Verification.objects.filter(ended_at=None).order_by("-pk").first()
    if walk is None:
        last = Verification.objects.order_by("-pk").values_list("started_at", flat=True).first()
        if last is not None and last > now - EVERY:
            return 0
        begin(now=now)
        return 0
    with transaction.atomic():
        walk = Verification.objects.select_for_update().filter(ended_at=None, pk=walk.pk).first()
        if walk is None:
            return 0
        events, findings, removed = _piece(walk)
        walk.events += events
        walk.removed += removed
        walk.broken += len(findings)
        walk.findings = [*walk.findings, *(asdict(one) for one in findings)][:KEPT]
        if not Stream.objects.filter(pk__gte=walk.stream_from).exists():
            walk.ended_at = now
            if walk.broken:
                first = walk.findings[0]
                told: JSONObject = {"broken": walk.broken, "first": {n: first[n] for n in ("stream", "seq", "reason")}}
                record_in_tenant_stream("audit.tampered", told, subject=("audit", "chains"), actor=SYSTEM)
        walk.save()
    return events


def _piece(walk: Verification) -> tuple[int, list[Finding], int]:
    """Walk the next streams, or the next part of a long one; move the walk on."""
    stream = Stream.objects.filter(pk__gte=walk.stream_from).order_by("pk").first()
    if stream is None:
        return 0, [], 0
    if stream.seq <= PIECE:
        report, following = verify_some(stream.pk, STREAMS, longest=PIECE)
        walk.streams += report.streams
        walk.stream_from, walk.seq_from = following, 1
        return report.events, list(report.findings), report.removed
    if walk.stream_from != stream.pk:
        walk.seq_from = 1
    stop = walk.seq_from + PIECE - 1
    last = stop >= stream.seq
    found = verify_stream(stream, start=walk.seq_from, stop=None if last else stop)
    walk.stream_from, walk.seq_from = (stream.pk + 1, 1) if last or found.finding else (stream.pk, stop + 1)
    walk.streams += 1 if last or found.finding else 0
    removed = found.removed.upto if found.removed is not None and walk.stream_from != stream.pk else 0
    return found.events, [found.finding] if found.finding else [], removed
