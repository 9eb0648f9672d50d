"""Store long texts once, and read them back as what they were."""

import hashlib
import zlib
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from django.utils import timezone

from agentops.payloads.models import Payload, PayloadUse, RemovedText
from agentops.payloads.references import MARK, Kept, reference, references, slim_event
from agentops.wire.parse import JSON, JSONObject, WireError, as_object, parse_json

MAX_TEXT: Final = 32 * 1024 * 1024
"""Bytes a stored text may have; a compressed one that claims to be longer is not unpacked."""


class PayloadMissing(LookupError):
    """There is no such text in the open tenant scope."""


class PayloadRemoved(PayloadMissing):
    """The text was kept for its period, and retention has removed it since; `removed` is what is left of it."""

    def __init__(self, message: str, removed: RemovedText) -> None:
        super().__init__(message)
        self.removed = removed


class PayloadDamaged(ValueError):
    """The stored text is not the one that was recorded."""


def keep(data: Sequence[JSONObject], *, run_id: UUID | None = None, now: datetime | None = None) -> list[JSONObject]:
    """Store the long texts in the exchanges of these events' data; return the data with references in their place.

    To be called in the transaction that appends the events; `run_id` is whose they are. No query where nothing is long.
    """
    lean: list[JSONObject] = []
    kept: list[Kept] = []
    for one in data:
        slimmed, more = slim_event(one)
        lean.append(slimmed)
        kept += more
    store(kept, run_id=run_id, now=now)
    return lean


def store(kept: Iterable[Kept], *, run_id: UUID | None = None, now: datetime | None = None) -> None:
    """Insert texts that are not there yet, and note that this run names them. None for an empty list.

    Races are harmless: a text that retention removes at this moment is inserted again.
    """
    # In one order, so that two writers of the same texts cannot wait for each other.
    unique = sorted({one.sha256: one for one in kept}.values(), key=lambda one: one.sha256)
    if not unique:
        return
    moment = now or timezone.now()
    Payload.objects.bulk_create(
        [Payload(sha256=one.sha256, body=one.body, size=one.size, created_at=moment, used_at=moment) for one in unique],
        update_conflicts=True,
        update_fields=["used_at"],
        unique_fields=["tenant", "sha256"],
    )
    if run_id is not None:
        uses = [PayloadUse(sha256=one.sha256, run_id=run_id) for one in unique]
        PayloadUse.objects.bulk_create(uses, ignore_conflicts=True)


def read(sha256: str) -> str:
    """Return a stored text of the open tenant scope after comparing it with its name.

    Raises PayloadRemoved where retention has removed it, PayloadMissing, PayloadDamaged.
    """
    row = Payload.objects.filter(sha256=sha256).first()
    if row is None:
        removed = RemovedText.objects.filter(sha256=sha256).order_by("-pk").first()
        if removed is None:
            raise PayloadMissing(f"There is no text sha256:{sha256[:12]}.")
        raise PayloadRemoved(
            f"The text sha256:{sha256[:12]} ({removed.size} bytes) was removed on {removed.removed_at:%Y-%m-%d}, "
            "because its retention period had ended.",
            removed,
        )
    unpacked = zlib.decompressobj()
    try:
        raw = unpacked.decompress(bytes(row.body), MAX_TEXT)
    except zlib.error:
        raw = b""
    if not unpacked.eof or len(raw) != row.size or hashlib.sha256(raw).hexdigest() != sha256:
        raise PayloadDamaged(f"The text sha256:{sha256[:12]} is not what was recorded.")
    return raw.decode()


def resolve(value: JSON) -> JSON:
    """Return what a reference stands for; any other value as it is. Raises PayloadMissing, PayloadDamaged."""
    sha256 = reference(value)
    if not sha256:
        return value
    try:
        return parse_json(read(sha256), max_bytes=MAX_TEXT)
    except WireError as error:
        raise PayloadDamaged(f"The text sha256:{sha256[:12]} is not canonical JSON.") from error


def resolve_exchange(exchange: JSONObject) -> JSONObject:
    """Return an exchange, earlier attempts included, with every reference resolved.

    Raises PayloadMissing, PayloadDamaged.
    """
    whole: JSONObject = dict(exchange)
    for name in ("request", "response"):
        if name in whole:
            whole[name] = resolve(whole[name])
    if isinstance(earlier := whole.get("earlier"), list):
        whole["earlier"] = [resolve_exchange(one) if isinstance(one, dict) else one for one in earlier]
    return whole


def what_became_of(sha256: str) -> str:
    """Say in a sentence why a text cannot be read; empty where it can."""
    try:
        read(sha256)
    except (PayloadMissing, PayloadDamaged) as error:
        return str(error)
    return ""


def damage(body: str, told: Callable[[RemovedText], bool]) -> str:
    """Say what is wrong with the texts that a row's canonical text names; empty when nothing is.

    A text that retention has removed is no damage where the record tells of it (`told`): its hash still stands in the
    event.
    """
    if MARK not in body:
        return ""
    envelope = as_object(parse_json(body, max_bytes=MAX_TEXT))
    packed = envelope.get("events")
    members = [one.get("data") for one in packed if isinstance(one, dict)] if isinstance(packed, list) else []
    for data in [envelope.get("data"), *members]:
        for sha256 in references(data) if isinstance(data, dict) else ():
            try:
                read(sha256)
            except PayloadRemoved as error:
                if not told(error.removed):
                    return f"The text sha256:{sha256[:12]} is gone, and no event of the record tells of it."
            except (PayloadMissing, PayloadDamaged) as error:
                return str(error)
    return ""
