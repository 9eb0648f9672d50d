"""One request, one effect: the `Idempotency-Key` header (draft-ietf-httpapi-idempotency-key-header).

The key is inserted first, in the transaction of what the request does. Two racing requests therefore meet at the
unique constraint: the second waits for the first to commit and then gets its answer.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from django.conf import settings
from django.db import OperationalError, connection, transaction

from agentops.gateway.models import IdempotencyKey
from agentops.runs.models import Run
from agentops.tenancy.access import Actor
from agentops.wire.canonical import digest
from agentops.wire.parse import JSON

LIFE: Final = timedelta(hours=24)
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_QUOTED: Final = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_PURGED_AT_ONCE: Final = 20
_LOCK_NOT_AVAILABLE: Final = "55P03"


@dataclass(frozen=True, slots=True)
class Claimed:
    """The request is new; `keep_run` must follow in the same transaction, or `give_up`."""

    row: IdempotencyKey


@dataclass(frozen=True, slots=True)
class Replayed:
    """The request was taken before, and this is its run as it is now."""

    run: Run


@dataclass(frozen=True, slots=True)
class Reused:
    """The key belongs to another request."""


@dataclass(frozen=True, slots=True)
class InProgress:
    """The first request with this key has not been answered yet."""


Claim: TypeAlias = Claimed | Replayed | Reused | InProgress


def read_key(header: str) -> str | None:
    """Return the key of a header value, bare or a quoted string (RFC 9651); None for a bad one.

    A key is 1 to 255 visible ASCII characters.
    """
    value = header.strip()
    if value.startswith('"'):
        quoted = _QUOTED.fullmatch(value)
        value = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else ""
    return value if _KEY.fullmatch(value) else None


def fingerprint_of(method: str, path: str, body: JSON) -> str:
    """Return what makes two requests the same: SHA-256 (hex) over method, path and canonical body."""
    return digest({"method": method, "path": path, "body": body})


def claim(*, key: str, actor: Actor, fingerprint: str, now: datetime) -> Claim:
    """Take a key for a request, or say what became of the request that has it.

    Must run inside `atomic`, before anything else is written. A racing request is waited for until
    `settings.API_IDEMPOTENCY_WAIT_MS` are over (PostgreSQL; SQLite has one writer at a time anyway).
    """
    who = f"{actor.kind}:{actor.id}"
    fresh = {"fingerprint": fingerprint, "created_at": now, "expires_at": now + LIFE}
    try:
        with transaction.atomic():
            _wait_at_most(str(settings.API_IDEMPOTENCY_WAIT_MS))
            _forget_expired(now)
            IdempotencyKey.objects.filter(actor=who, key=key, expires_at__lte=now).delete()
            row, created = IdempotencyKey.objects.get_or_create(actor=who, key=key, defaults=fresh)
            _wait_at_most("default")
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", "") == _LOCK_NOT_AVAILABLE:
            return InProgress()
        raise
    if created:
        return Claimed(row)
    if row.fingerprint != fingerprint:
        return Reused()
    return InProgress() if row.run is None else Replayed(row.run)


def keep_run(claimed: Claimed, run: Run) -> None:
    """Say to the next request with the same key which run it is about."""
    claimed.row.run = run
    claimed.row.save(update_fields=["run"])


def give_up(claimed: Claimed) -> None:
    """Free the key: the request was refused and changed nothing, so it may be corrected and sent again."""
    claimed.row.delete()


def _forget_expired(now: datetime) -> None:
    """Delete a few expired keys of the tenant, so that the table stays as large as a day."""
    expired = IdempotencyKey.objects.select_for_update(skip_locked=True).filter(expires_at__lte=now)
    rows = list(expired.order_by("pk").values_list("pk", flat=True)[:_PURGED_AT_ONCE])
    if rows:
        IdempotencyKey.objects.filter(pk__in=rows).delete()


def _wait_at_most(milliseconds: str) -> None:
    """Bound every wait for a lock in this transaction; "default" goes back to the bound of the session."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"set local lock_timeout to {milliseconds}")
