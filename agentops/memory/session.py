"""Session memory: a small scratch area that belongs to one run and dies with it.

Written and read through two tools, so every note is an ordinary recorded call; nothing else writes here, no other run
can name what is here, and nothing leaves except through a call that the gate sees. The rows are the working area and
are deleted in the transaction that ends the run; the record of the calls that wrote and read them stays in the run's
events, because events are append-only.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from agentops.engine.events import Event, SessionDropped
from agentops.engine.state import State
from agentops.engine.transitions import IllegalTransition, RunState
from agentops.guardrails.provenance import Provenance
from agentops.memory.models import SessionNote
from agentops.runs.models import Run
from agentops.runs.recording import record_outside
from agentops.tenancy.access import SYSTEM
from agentops.wire.canonical import canonical
from agentops.wire.canonical import digest as digest_of
from agentops.wire.parse import JSON, JSONObject, clean, parse_json

logger = logging.getLogger(__name__)

NOTE: Final = "session.note"
RECALL: Final = "session.recall"
MAX_NOTES: Final = 32
"""Notes of one run."""

MAX_BYTES: Final = 32 * 1024
"""Bytes of canonical JSON that all notes of one run may have together."""

_ENDED: Final = tuple(state.value for state in RunState if state.terminal)
_KINDS: Final = {bool: "yes_no", int: "number", str: "text"}


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was written. Codes: conflict, budget_exceeded."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Found:
    """A note as a run reads it back; `written_by` is the call whose arguments it is made of."""

    value: JSON
    kind: str
    written_by: str
    untrusted: bool


def write(
    *,
    run_id: UUID,
    call_id: str,
    idempotency_key: str,
    name: str,
    value: bool | int | str,
    provenance: Provenance,
    now: datetime | None = None,
) -> SessionNote | Refused:
    """Put a note into the scratch area of a run, or replace the one of that name; return its row.

    Must run inside `atomic`. The same key gives the note that is there. Refused: a run that has ended, and what would
    be more than `MAX_NOTES` notes or `MAX_BYTES` bytes.
    """
    if not hold(run_id):
        return Refused("conflict", "The run has ended, and its session memory with it.")
    same = SessionNote.objects.filter(run_id=run_id, idempotency_key=idempotency_key).first()
    if same is not None:
        return same
    text = canonical(clean(value))
    size = len(text.encode())
    others = SessionNote.objects.filter(run_id=run_id).exclude(name=name)
    used = others.aggregate(bytes=Sum("size"))["bytes"] or 0
    if others.count() >= MAX_NOTES:
        return Refused("budget_exceeded", f"A run may keep {MAX_NOTES} notes.")
    if used + size > MAX_BYTES:
        return Refused("budget_exceeded", f"The notes of a run may have {MAX_BYTES} bytes; {used} are in use.")
    row, _ = SessionNote.objects.update_or_create(
        run_id=run_id,
        name=name,
        defaults={
            "kind": _KINDS[type(value)],
            "value": text,
            "size": size,
            "digest": digest_of(clean(value)),
            "provenance": provenance.to_json(),
            "untrusted": provenance.untrusted,
            "source_call": call_id,
            "idempotency_key": idempotency_key,
            "written_at": now or timezone.now(),
        },
    )
    return row


def hold(run_id: UUID) -> bool:
    """Keep a run from going on until the transaction ends; False when it has ended already.

    Every event of a run, its end too, writes the run's row before anything of it is cleared.
    """
    run = Run.objects.select_for_update(no_key=True).filter(pk=run_id).first()
    return run is not None and run.state not in _ENDED


def read(run_id: UUID, name: str) -> Found | None:
    """Return a note of this run; None when it has none of that name. One query."""
    row = SessionNote.objects.filter(run_id=run_id, name=name).first()
    return None if row is None else Found(parse_json(row.value), row.kind, row.source_call, row.untrusted)


def find_by_key(run_id: UUID, idempotency_key: str) -> SessionNote | None:
    """Return the note that a call with this key has written and nothing has replaced."""
    return SessionNote.objects.filter(run_id=run_id, idempotency_key=idempotency_key).first()


def drop(run_id: UUID, after: State) -> list[Event]:
    """Delete the notes of a run that has ended and return what to record of that: sizes and digests, no content.

    Must run inside the transaction of the end.
    """
    return _drop(run_id)


def may_have_notes(state: State) -> bool:
    """Whether a run can have notes: its task type has the tool that writes them."""
    return state.submitted is None or NOTE in state.submitted.tools


def sweep(limit: int) -> int:
    """Delete the notes of up to `limit` runs of the open tenant that have ended without it; return how many runs.

    The end of a run does it in its own transaction, so there are some only where an ending was written by hand or by
    an older program. One transaction per run.
    """
    left = SessionNote.objects.filter(run__state__in=_ENDED).order_by("run_id").values_list("run_id", flat=True)
    swept = 0
    for run_id in list(left.distinct()[:limit]):
        try:
            with transaction.atomic():
                if events := _drop(run_id):
                    record_outside(run_id, events, actor=SYSTEM, now=timezone.now())
                    swept += 1
        except IllegalTransition:
            logger.exception("the record of run %s does not say that it has ended", run_id)
    return swept


def _drop(run_id: UUID) -> list[Event]:
    # Of two sweepers the second finds nothing left once the first has committed.
    rows = list(SessionNote.objects.select_for_update().filter(run_id=run_id).order_by("name"))
    if not rows:
        return []
    SessionNote.objects.filter(pk__in=[row.pk for row in rows]).delete()
    return [SessionDropped(list(_described(rows)))]


def _described(rows: Iterable[SessionNote]) -> Iterable[JSONObject]:
    for row in rows:
        yield {
            "name": row.name,
            "kind": row.kind,
            "bytes": row.size,
            "digest": row.digest,
            "untrusted": row.untrusted,
            "call": row.source_call,
        }
