"""Have due messages posted, and write down what became of them. At least once each, in no promised order.

A message that is being posted belongs to whoever took it until `TAKEN_FOR` is over. A process that dies before it has
written down what became of it leaves it to the next one: it is sent twice then, under the same id.
"""

import logging
import random
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import F, Q

from agentops.tenancy.access import SYSTEM
from agentops.tenancy.journal import record
from agentops.tenancy.scope import current_tenant_id
from agentops.webhooks.couriers import COURIERS, Couriers, Done, Parcel, Round
from agentops.webhooks.models import Endpoint, Message, MessageState
from agentops.webhooks.signing import secrets_of
from agentops.wire.canonical import canonical

logger = logging.getLogger(__name__)

FIRST_AGAIN: Final = timedelta(seconds=30)
LONGEST: Final = timedelta(hours=1)
TAKEN_FOR: Final = timedelta(minutes=5)
"""Longer than any round lasts."""
REST_AFTER: Final = 3
"""Failures in a row after which an endpoint is left alone for a while, whatever waits for it."""
ROUND: Final = 100
"""Messages of one endpoint that are taken at once."""
KEPT: Final = timedelta(days=7)
"""How long a message is shown after its end."""
BATCH: Final = 500
_NAMED: Final = 20
_GONE: Final = 410


def send_due(now: datetime, *, couriers: Couriers = COURIERS) -> int:
    """Write down what became of messages of the open tenant scope, and begin to post what is due.

    Returns how many messages were taken. Waits for nobody.
    """
    write_down(now, couriers=couriers)
    if not Endpoint.objects.exists():
        return 0
    _give_up(now)
    _tidy(now)
    taken = 0
    room = couriers.room(current_tenant_id())
    for endpoint in _due(now, couriers)[:room]:
        parcels = _take(endpoint, now)
        if parcels:
            taken += len(parcels)
            couriers.begin(
                Round(endpoint.tenant_id, endpoint.pk, endpoint.url, secrets_of(endpoint, now), tuple(parcels))
            )
    return taken


def write_down(now: datetime, *, couriers: Couriers = COURIERS) -> None:
    """Write down what became of the rounds that have ended."""
    for done in couriers.done(current_tenant_id()):
        with transaction.atomic():
            _write(done, now)


def wait_before(failures: int, rng: random.Random) -> timedelta:
    """Return how long to wait after so many failures: twice as long each time, less up to a half by chance."""
    full = min(LONGEST, FIRST_AGAIN * 2 ** min(max(failures, 1) - 1, 16))
    return timedelta(seconds=full.total_seconds() * rng.uniform(0.5, 1))


def _due(now: datetime, couriers: Couriers) -> list[Endpoint]:
    """Return the endpoints with messages that are due, whoever waits longest first."""
    due = Message.objects.filter(state=MessageState.WAITING, next_at__lte=now)
    rested = Q(resting_until__isnull=True) | Q(resting_until__lte=now)
    ready = Endpoint.objects.filter(rested, enabled=True).exclude(pk__in=couriers.busy(current_tenant_id()))
    found = {one.pk: one for one in ready}
    oldest: dict[int, datetime] = {}
    for pk in found:
        first = due.filter(endpoint_id=pk).order_by("next_at", "id").values_list("next_at", flat=True).first()
        if first is not None:
            oldest[pk] = first
    return [found[pk] for pk in sorted(oldest, key=lambda pk: oldest[pk])]


def _take(endpoint: Endpoint, now: datetime) -> list[Parcel]:
    """Take the messages that have waited longest; who is behind takes none that somebody else has taken."""
    due = Message.objects.filter(endpoint=endpoint, state=MessageState.WAITING, next_at__lte=now)
    parcels = []
    for row in due.order_by("next_at", "id")[:ROUND]:
        mine = Message.objects.filter(pk=row.pk, turn=row.turn, state=MessageState.WAITING)
        if mine.update(turn=F("turn") + 1, next_at=now + TAKEN_FOR):
            parcels.append(Parcel(row.pk, row.turn + 1, row.name, canonical(row.body).encode()))
    return parcels


def _write(done: Done, now: datetime) -> None:
    endpoint = Endpoint.objects.select_for_update().filter(pk=done.round.endpoint).first()
    if endpoint is None:
        return
    rng = random.Random()  # noqa: S311 - when to try again is no secret
    for one in done.told:
        waiting = Message.objects.filter(pk=one.parcel.row, state=MessageState.WAITING)
        if not one.problem:
            endpoint.failures, endpoint.resting_until = 0, None
            waiting.update(state=MessageState.SENT, ended_at=now, attempts=F("attempts") + 1, problem="")
            continue
        logger.warning("webhook message %s to endpoint %s failed: %s", one.parcel.name, endpoint.pk, one.problem)
        endpoint.failures += 1
        if endpoint.failures >= REST_AFTER:
            endpoint.resting_until = now + wait_before(endpoint.failures - REST_AFTER + 1, rng)
        if (row := waiting.filter(turn=one.parcel.turn).first()) is not None:
            row.attempts, row.problem = row.attempts + 1, one.problem[:200]
            row.next_at = min(now + wait_before(row.attempts, rng), max(row.until, now))
            row.save(update_fields=["attempts", "problem", "next_at"])
    left = [one for one in done.round.parcels if one not in {told.parcel for told in done.told}]
    for parcel in left:
        Message.objects.filter(pk=parcel.row, turn=parcel.turn, state=MessageState.WAITING).update(next_at=now)
    fields = ["failures", "resting_until"]
    if endpoint.enabled and endpoint.url == done.round.url and any(one.status == _GONE for one in done.told):
        endpoint.enabled, endpoint.disabled_why = False, "It answered 410: it is gone."
        fields += ["enabled", "disabled_why"]
        record(
            "webhook.disabled",
            {"name": endpoint.name, "why": endpoint.disabled_why},
            subject=("webhook", str(endpoint.pk)),
            actor=SYSTEM,
        )
    endpoint.save(update_fields=fields)


def _give_up(now: datetime) -> None:
    """Give up what could not be sent in a day: one event for each endpoint says so."""
    late = Message.objects.filter(state=MessageState.WAITING, until__lte=now, next_at__lte=now)
    rows = list(late.order_by("endpoint_id", "id").select_related("endpoint")[:BATCH])
    by_endpoint: dict[Endpoint, list[Message]] = defaultdict(list)
    for row in rows:
        by_endpoint[row.endpoint].append(row)
    for endpoint, messages in by_endpoint.items():
        with transaction.atomic():
            gone = [one for one in messages if _given_up(one, now)]
            if gone:
                record(
                    "webhook.given_up",
                    {"name": endpoint.name, "messages": len(gone), "ids": [one.name for one in gone[:_NAMED]]},
                    subject=("webhook", str(endpoint.pk)),
                    actor=SYSTEM,
                )


def _given_up(one: Message, now: datetime) -> bool:
    mine = Message.objects.filter(pk=one.pk, turn=one.turn, state=MessageState.WAITING)
    return bool(mine.update(state=MessageState.GIVEN_UP, ended_at=now, turn=F("turn") + 1))


def _tidy(now: datetime) -> None:
    old = Message.objects.filter(ended_at__lt=now - KEPT).order_by("ended_at").values_list("pk", flat=True)[:BATCH]
    rows: Sequence[int] = list(old)
    if rows:
        Message.objects.filter(pk__in=rows).delete()
