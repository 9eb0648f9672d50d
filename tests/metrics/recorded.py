"""Put histories into the record of the open tenant, in any order and in pieces."""

from collections.abc import Sequence
from uuid import UUID

from django.db import transaction

from agentops.audit.services import NewEvent, append
from agentops.engine.codec import encode
from agentops.engine.events import Stamped
from agentops.runs.recording import stream_of
from agentops.tenancy.access import WORKER


def put(run_id: UUID, events: Sequence[Stamped]) -> None:
    """Append events of one run to its stream, each with the time it has."""
    with transaction.atomic():
        append(
            stream_of(run_id),
            [NewEvent(one.event.type, encode(one.event), at=one.at) for one in events],
            actor=WORKER,
            run_id=run_id,
        )
