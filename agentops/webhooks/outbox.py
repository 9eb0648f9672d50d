"""Put messages into the outbox: one for every endpoint that wants to hear of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from agentops.webhooks.models import Endpoint, Message
from agentops.wire.parse import JSONObject

TRIED_FOR: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Notice:
    """What is to be told: `name` is the message's id, `data` holds ids and states only, `event` a row of the record.

    `event` is 0 for what every endpoint hears of that is there.
    """

    kind: str
    name: str
    at: datetime
    task_type: str
    data: JSONObject
    event: int = 0


def put(notices: Iterable[Notice], now: datetime, *, endpoints: Sequence[Endpoint] | None = None) -> int:
    """Write the messages of notices, inside the transaction of what they tell of; return how many endpoints are told.

    A message that is there already is not written again.
    """
    found = list(Endpoint.objects.filter(enabled=True)) if endpoints is None else endpoints
    messages = [message(one, endpoint, now) for one in notices for endpoint in found if wants(endpoint, one)]
    Message.objects.bulk_create(messages, batch_size=500, ignore_conflicts=True)
    return len(messages)


def wants(endpoint: Endpoint, notice: Notice) -> bool:
    """Whether an endpoint hears of it."""
    if endpoint.task_type and endpoint.task_type != notice.task_type:
        return False
    return notice.kind in endpoint.kinds and (not notice.event or notice.event > endpoint.from_event)


def message(notice: Notice, endpoint: Endpoint, now: datetime) -> Message:
    """Return the message of a notice to one endpoint, not stored yet."""
    body: JSONObject = {"type": str(notice.kind), "timestamp": notice.at.isoformat(), "data": notice.data}
    return Message(
        endpoint=endpoint,
        name=notice.name,
        kind=str(notice.kind),
        at=notice.at,
        body=body,
        next_at=now,
        until=now + TRIED_FOR,
    )
