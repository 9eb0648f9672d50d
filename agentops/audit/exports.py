"""Write filtered events into files for people, behind the scenes: asked for, written in pieces, fetched, forgotten.

Asking and fetching are events. A file holds at most `MOST` rows; the next export goes on behind the last one. Rows keep
the order of the list's ids, oldest first, and JSONL holds the canonical text that was hashed, so that whoever has the
file can walk the chains.
"""

import csv
import io
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F, Max
from django.utils import timezone

from agentops.audit.forms import AuditFilter
from agentops.audit.models import Event, Export, ExportPiece
from agentops.audit.selectors import Search, events_of, recorded
from agentops.audit.services import record_in_tenant_stream
from agentops.tenancy.access import Actor

MOST: Final = 200_000
PIECE: Final = 2_000
KEPT_FOR: Final = timedelta(days=7)
AT_ONCE: Final = 3
"""Exports of one person that may be under way."""
COLUMNS: Final = (
    "id", "stream", "seq", "time", "type", "actor_kind", "actor_id", "actor_name", "subject", "tool", "run", "data",
    "hash", "exported_by",
)  # fmt: skip
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "|", "%")


class TooMany(Exception):
    """This person has as many exports under way as one may have."""


def ask(filters: Mapping[str, str], kind: str, *, person: User, actor: Actor, now: datetime) -> Export:
    """Note that somebody wants what these filters show, as it stands now. The filters were checked by `AuditFilter`.

    Raises `TooMany`.
    """
    with transaction.atomic():
        if Export.objects.filter(requested_by=person, ended_at=None).count() >= AT_ONCE:
            raise TooMany
        export = Export(
            format=Export.Format(kind),
            filters=dict(filters),
            requested_by=person,
            requested_at=now,
            upto=Event.objects.aggregate(newest=Max("pk"))["newest"] or 0,
            expires_at=now + KEPT_FOR,
        )
        after = filters.get("after")
        export.position = int(after) if after else 0
        export.save()
        told: dict[str, Any] = {"format": kind, "filters": dict(filters)}
        record_in_tenant_stream("audit.exported", told, subject=("export", str(export.pk)), actor=actor)
    return export


def go_on(now: datetime) -> int:
    """Write the next piece of the oldest export under way, forget what is too old; return how many rows it was."""
    for old in Export.objects.filter(expires_at__lte=now)[:1]:
        old.delete()
    export = Export.objects.filter(ended_at=None).order_by("pk").select_related("requested_by").first()
    if export is None:
        return 0
    with transaction.atomic():
        export = Export.objects.select_for_update(of=("self",)).select_related("requested_by").get(pk=export.pk)
        if export.ended_at is not None:
            return 0
        form = AuditFilter({name: text for name, text in export.filters.items() if name not in ("before", "after")})
        ahead: list[int] = []
        rows: list[Event] = []
        if form.is_valid():
            search = Search(form.cleaned_data)
            ahead = search.ids(above=export.position, below=export.upto + 1, newest_first=False, limit=PIECE)
            rows = events_of(ahead)
        first = export.rows == 0
        text = _jsonl(rows) if export.format == Export.Format.JSONL else _csv(rows, export.requested_by, header=first)
        if text:
            raw = text.encode()
            number = export.pieces.count()
            ExportPiece.objects.create(export=export, number=number, body=zlib.compress(raw, 6))
            export.size += len(raw)
        export.rows += len(rows)
        export.position = ahead[-1] if ahead else export.position
        export.cut = len(ahead) == PIECE and export.rows >= MOST
        if len(ahead) < PIECE or export.cut:
            export.ended_at = now
        export.save()
    return len(rows)


def fetch(export: Export, *, actor: Actor) -> Iterator[bytes]:
    """Record that somebody takes the file with them; return its parts."""
    with transaction.atomic():
        told: dict[str, Any] = {"rows": export.rows, "format": export.format}
        record_in_tenant_stream("audit.export_fetched", told, subject=("export", str(export.pk)), actor=actor)
    bodies = list(export.pieces.order_by("number").values_list("body", flat=True))
    return (zlib.decompress(bytes(body)) for body in bodies)


def listed(limit: int = 50) -> list[Export]:
    """Return the newest exports that are still kept. One query."""
    kept = Export.objects.filter(expires_at__gt=timezone.now()).select_related("requested_by")
    return list(kept.order_by(F("pk").desc())[:limit])


def defanged(text: str) -> str:
    """Return a cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _jsonl(rows: Sequence[Event]) -> str:
    # The text itself is JSON on one line: control characters are escaped in it.
    return "".join(f"{row.body}\n" for row in rows)


def _csv(rows: Sequence[Event], person: User, *, header: bool) -> str:
    out = io.StringIO()
    sheet = csv.writer(out)
    if header:
        sheet.writerow(COLUMNS)
    for row in rows:
        told = recorded(row)
        cells = (
            row.pk, row.stream.name, told.seq, told.at.isoformat(), told.type, told.actor.get("kind", ""),
            told.actor.get("id", ""), told.actor.get("name", ""), ":".join(told.subject) if told.subject else "",
            told.tool, told.run_id or "", json.dumps(told.data, ensure_ascii=False, sort_keys=True),
            bytes(row.hash).hex(), person.get_username(),
        )  # fmt: skip
        sheet.writerow([defanged(str(cell)) for cell in cells])
    return out.getvalue()
