"""How a handler changes something: one transaction of its own, inside its deadline, keyed by idempotency key."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import OperationalError, connection, transaction

from agentops import clock
from tools.contracts import CallContext, ErrorCode, ToolError

LOCK_TIMEOUT_MS = 5000


@contextmanager
def effect(ctx: CallContext) -> Iterator[None]:
    """Run the body in one outermost transaction that cannot commit after the call's deadline.

    Raises `ToolError` timeout when the deadline passed (before or while waiting for a lock) and unavailable when the
    database was busy: in both cases nothing was written. An error of the COMMIT itself is let through, because then
    nobody knows. Raises RuntimeError inside another transaction.
    """
    started = False
    try:
        with transaction.atomic(durable=True):
            started = True
            check_deadline(ctx)
            _limit_lock_waits(ctx)
            try:
                yield
            except OperationalError as error:
                raise _busy() from error
            check_deadline(ctx)
    except OperationalError as error:
        if started:
            raise
        raise _busy() from error


def check_deadline(ctx: CallContext) -> None:
    """Raise `ToolError` timeout when the call's deadline has passed."""
    if clock.now() >= ctx.deadline:
        raise ToolError(ErrorCode.TIMEOUT, "The deadline passed; nothing was changed.")


def reference(prefix: str, ctx: CallContext) -> str:
    """Return a short reference that a repeat of the same call gets again, such as "R-4F2A91C07B"."""
    return f"{prefix}-{hashlib.sha256(f'{ctx.tenant_id}:{ctx.idempotency_key}'.encode()).hexdigest()[:10].upper()}"


def another_action() -> ToolError:
    """Return the error for a key that already stands for a different action."""
    return ToolError(ErrorCode.CONFLICT, "This idempotency key was used for a different action.")


def _busy() -> ToolError:
    return ToolError(ErrorCode.UNAVAILABLE, "The database is busy; nothing was changed.", retry_after=1.0)


def _limit_lock_waits(ctx: CallContext) -> None:
    if connection.vendor == "postgresql":
        left_ms = (ctx.deadline - clock.now()).total_seconds() * 1000
        with connection.cursor() as cursor:
            cursor.execute(
                "select set_config('lock_timeout', %s, true)", [f"{max(1, round(min(LOCK_TIMEOUT_MS, left_ms)))}ms"]
            )
