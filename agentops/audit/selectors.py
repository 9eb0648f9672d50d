"""Read the record for people: filtered lists by keyset, one event with its neighbours."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet
from django.urls import reverse

from agentops.audit.models import Event
from agentops.audit.services import Recorded, first_seq, headline, read
from agentops.payloads.references import references
from agentops.payloads.services import PayloadDamaged, PayloadMissing
from agentops.payloads.services import read as read_text
from agentops.tenancy.models import Membership
from agentops.tenancy.scope import current_tenant_id

PAGE = 50
FACT = 160
_DIGEST = re.compile(r"[0-9a-f]{32,}")
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?(?:Z|\+00:00)")
_UUID = re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}([0-9a-f]{12})\b")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a list: the event's row id, its stream and seq, and what was recorded, as texts.

    `actor` is a name, `subject` "kind id" or empty, `run` the run's id or empty, `fact` one line made of the data,
    `also` the types of the events that were recorded together with this one, with how many of each.
    """

    id: int
    stream: str
    seq: int
    type: str
    at: datetime
    actor_kind: str
    actor: str
    subject: str
    run: str
    tool: str
    fact: str
    also: tuple[str, ...] = ()

    @property
    def brief_subject(self) -> str:
        """The subject, of a UUID only the last block: the one that differs between rows made at the same time."""
        return _UUID.sub(r"…\1", self.subject)

    @property
    def url(self) -> str:
        """Return the path of the event's page in the tenant of this request."""
        return reverse("audit_event", args=[self.id])


@dataclass(frozen=True, slots=True)
class Page:
    """At most 50 events, newest first. `older` and `newer` are the ids to continue from, None at the ends."""

    rows: tuple[Row, ...]
    older: int | None
    newer: int | None


def audit_page(filters: Mapping[str, Any], *, before: int | None = None, after: int | None = None) -> Page:
    """Return the newest matching events, or those just before or just after an event id.

    `filters` are the cleaned values of `forms.AuditFilter`. Nothing is counted: the cost does not grow with the log.
    """
    found_by = matching(filters)
    if after is not None:
        found = list(found_by.filter(pk__gt=after).order_by("pk")[: PAGE + 1])
        rows, more_newer = found[:PAGE][::-1], len(found) > PAGE
        more_older = found_by.filter(pk__lte=after).exists()
    else:
        found = list((found_by.filter(pk__lt=before) if before else found_by).order_by("-pk")[: PAGE + 1])
        rows, more_older = found[:PAGE], len(found) > PAGE
        more_newer = bool(before) and found_by.filter(pk__gte=before).exists()
    return Page(
        rows=tuple(_row(event) for event in rows),
        older=rows[-1].pk if rows and more_older else None,
        newer=rows[0].pk if rows and more_newer else None,
    )


def neighbours(event: Event, count: int = 5) -> tuple[list[Row], list[Row], bytes]:
    """Return up to `count` events of the same stream before and after this one, oldest first, and the hash before it.

    The hash is empty when the event before is missing or there is none.
    """
    stream = Event.objects.filter(stream_id=event.stream_id).select_related("stream")
    earlier = list(stream.filter(seq__lt=event.seq).order_by("-seq")[:count])
    later = list(stream.filter(seq__gt=event.seq).order_by("seq")[:count])
    before = first_seq(event.seq, event.body) - 1
    previous = bytes(earlier[0].hash) if earlier and earlier[0].seq == before else b""
    return [_row(row) for row in reversed(earlier)], [_row(row) for row in later], previous


def recorded(event: Event) -> Recorded:
    """Return what a row's text says of its headline; for a text somebody has made unreadable, what its columns say."""
    try:
        return headline(event.body, bytes(event.hash))
    except (KeyError, TypeError, ValueError, RecursionError):
        return Recorded(
            seq=event.seq,
            type=event.type,
            at=event.at,
            actor={"kind": event.actor_kind, "id": event.actor_id, "name": event.actor_id, "roles": []},
            data={"unreadable": event.body},
            subject=(event.subject_kind, event.subject_id) if event.subject_kind else None,
            hash=bytes(event.hash),
            tool=event.tool,
            run_id=event.run_id,
        )


def together(event: Event) -> tuple[Recorded, ...]:
    """Return all events of a row, oldest first; none for a text somebody has made unreadable."""
    try:
        return read(event.body, bytes(event.hash))
    except (KeyError, TypeError, ValueError, RecursionError):
        return ()


@dataclass(frozen=True, slots=True)
class Text:
    """A long text that an event names by its SHA-256 (hex). `problem` says why it cannot be shown."""

    sha256: str
    text: str
    problem: str = ""


def texts(events: Iterable[Recorded]) -> list[Text]:
    """Return the texts kept beside events, each compared with its name. One query for each."""
    found: list[Text] = []
    for sha256 in dict.fromkeys(name for event in events for name in references(event.data)):
        try:
            found.append(Text(sha256, read_text(sha256)))
        except (PayloadMissing, PayloadDamaged) as error:
            found.append(Text(sha256, "", str(error)))
    return found


def _row(event: Event) -> Row:
    written = recorded(event)
    return Row(
        id=event.pk,
        stream=event.stream.name,
        seq=event.seq,
        type=written.type,
        at=written.at,
        actor_kind=str(written.actor.get("kind", "")),
        actor=str(written.actor.get("name", "")),
        subject=" ".join(written.subject) if written.subject else "",
        run=str(written.run_id or ""),
        tool=written.tool,
        fact=_fact(written.data, written.subject[1] if written.subject else ""),
        also=_counted(one.type for one in together(event) if one.seq != written.seq),
    )


def _counted(types: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{kind} x{times}" if times > 1 else kind for kind, times in Counter(types).items())


def _fact(data: Mapping[str, Any], subject: str) -> str:
    """Return the simple values of an event's data on one line, without what its subject says already.

    Lists and objects are left to the event's page, and all but the beginning of a digest.
    """
    simple = (
        f"{name.replace('_', ' ')} {_brief(value)}"
        for name, value in data.items()
        if isinstance(value, str | int | float) and value not in ("", subject)
    )
    line = " · ".join(simple)
    return line if len(line) <= FACT else f"{line[: FACT - 1]}…"


def _brief(value: str | float) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = " ".join(str(value).split())
    return f"{text[:12]}…" if _DIGEST.fullmatch(text) else _MOMENT.sub(r"\1 \2", text)


def matching(filters: Mapping[str, Any]) -> QuerySet[Event]:
    """Return what `forms.AuditFilter` (its cleaned values) asks for, in no order, with the streams."""
    events = Event.objects.select_related("stream")
    if kind := filters.get("type"):
        prefix = kind.rstrip("*")
        events = events.filter(type__startswith=prefix) if kind.endswith((".", "*")) else events.filter(type=kind)
    if actor := filters.get("actor"):
        events = events.filter(_actor(actor))
    if tool := filters.get("tool"):
        events = events.filter(tool=tool)
    if run := filters.get("run"):
        events = events.filter(stream__name=f"run:{run}")
    if proposal := filters.get("proposal"):
        events = events.filter(subject_kind="proposal", subject_id=str(proposal))
    if subject := filters.get("subject"):
        subject_kind, _, subject_id = subject.partition(":")
        events = events.filter(subject_kind=subject_kind, subject_id=subject_id)
    for one in filters.get("terms") or ():
        events = events.filter(terms__tenant_id=current_tenant_id(), terms__term=one)
    if since := filters.get("since"):
        events = events.filter(at__gte=since)
    if until := filters.get("until"):
        events = events.filter(at__lt=until)
    return events


def _actor(text: str) -> Q:
    kind, _, actor_id = text.partition(":")
    if kind in {"user", "token"} and actor_id:
        return Q(actor_kind=kind, actor_id=actor_id)
    if text in {"worker", "system"}:
        return Q(actor_kind=text)
    # Former members keep their events; their id still finds them (user:<id>).
    people = Membership.objects.filter(Q(user__username__iexact=text) | Q(user__email__iexact=text))
    ids = people.values_list("user_id", flat=True)
    return Q(actor_kind="user", actor_id__in=[str(user_id) for user_id in ids.distinct()])
