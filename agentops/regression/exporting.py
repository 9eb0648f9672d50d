"""Write runs of the open tenant scope as files, and take files in. Reading a whole record is recorded as well."""

import secrets
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from django.db import transaction

from agentops import clock
from agentops.audit.services import Recorded, load, record_in_tenant_stream
from agentops.payloads.services import PayloadDamaged, PayloadMissing, resolve_exchange
from agentops.regression.masking import Masker
from agentops.regression.models import ImportedRun
from agentops.regression.recordings import BadRecording, Entry, Masked, Recording, read_recording, stamped
from agentops.regression.verdicts import Outcome, verdict_of_recording
from agentops.runs.models import Origin, Run
from agentops.runs.recording import stream_of
from agentops.tenancy.access import Actor, demand
from agentops.tenancy.scope import current_tenant_slug
from agentops.wire.parse import JSON, JSONObject, clean_text


@dataclass(frozen=True, slots=True)
class Mask:
    """What to hide. `key` makes the tokens; without one every file has its own."""

    secrets: bool = True
    personal: bool = True
    key: bytes = b""


def recording_of(run: Run, *, now: datetime) -> Recording:
    """Return the whole record of a run, with the texts that are kept beside its events. One query, and one a text."""
    return Recording(
        about={
            "id": str(run.id),
            "task_type": run.task_type.slug,
            "title": run.title,
            "origin": run.origin,
            "state": run.state,
            "tenant": current_tenant_slug(),
        },
        entries=tuple(_entry(one) for one in load(stream_of(run.id))),
        exported_at=now.isoformat(timespec="seconds"),
    )


def masked(recording: Recording, mask: Mask) -> Recording:
    """Hide what is to be hidden, replay what is left, and say in the file what cannot be compared any more."""
    hidden = Masker(mask.key or secrets.token_bytes(32), secrets=mask.secrets, personal=mask.personal).mask(recording)
    was, now = verdict_of_recording(recording), verdict_of_recording(hidden)
    if was.outcome is Outcome.IDENTICAL and now.outcome is not Outcome.IDENTICAL:
        assert hidden.masked is not None
        more = f"from event {now.seq} on, because a condition or a join depends on what is hidden"
        return replace(hidden, masked=replace(hidden.masked, unchecked=(*hidden.masked.unchecked, more)))
    return hidden


def export_run(*, run: Run, actor: Actor, mask: Mask | None = None, now: datetime | None = None) -> Recording:
    """Return the record of a run as a file, masked if asked, and record who took it. Raises PermissionDenied."""
    demand(actor, "run.export")
    moment = now or clock.now()
    with transaction.atomic():
        whole = recording_of(run, now=moment)
        found = masked(whole, mask) if mask is not None else whole
        data: JSONObject = {
            "events": len(found.entries),
            "masked": list[JSON](found.masked.kinds if found.masked else ()),
        }
        record_in_tenant_stream("run.exported", data, subject=("run", str(run.id)), actor=actor)
    return found


def import_run(*, raw: bytes, actor: Actor, now: datetime | None = None) -> ImportedRun:
    """Keep a file that somebody brought, to be looked at and replayed; the same file twice is one row.

    Nothing of it becomes a run, an event of ours, or work: it is shown, compared with the engine, and that is all.
    Raises BadRecording and PermissionDenied.
    """
    demand(actor, "run.import")
    recording = read_recording(raw)
    stamped(recording.entries)
    text = recording.text()
    body = recording.to_json()
    with transaction.atomic():
        made, new = ImportedRun.objects.get_or_create(
            digest=str(body["digest"]),
            defaults={
                "origin": Origin.REPLAY,
                "title": clean_text(recording.about["title"])[:200],
                "task_type": clean_text(recording.about["task_type"])[:64],
                "source": clean_text(f"{recording.about['tenant']} {recording.about['id']}")[:120],
                "body": text,
                "imported_by_id": actor.user_id,
                "imported_at": now or clock.now(),
            },
        )
        if new:
            data: JSONObject = {"digest": made.digest, "source": made.source, "events": len(recording.entries)}
            record_in_tenant_stream("recording.imported", data, subject=("recording", str(made.pk)), actor=actor)
    return made


def recording_of_import(row: ImportedRun) -> Recording:
    """Read what was imported."""
    return read_recording(row.body)


def _entry(one: Recorded) -> Entry:
    data: JSONObject = dict(one.data)
    exchange = data.get("exchange")
    if isinstance(exchange, dict):
        with suppress(PayloadMissing, PayloadDamaged):  # the reference and the first words stay
            data["exchange"] = resolve_exchange(exchange)
    return Entry(one.seq, one.at, one.type, data, dict(one.actor))


__all__ = [
    "BadRecording",
    "Mask",
    "Masked",
    "export_run",
    "import_run",
    "masked",
    "recording_of",
    "recording_of_import",
]
