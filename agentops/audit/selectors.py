"""Read the record for people: filtered lists by keyset, one event with its neighbours."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Exists, Max, Min, OuterRef, Q, QuerySet
from django.urls import reverse

from agentops.audit.models import Event, EventTerm, Hour, Stream, hour_of
from agentops.audit.services import Recorded, first_seq, headline, read
from agentops.payloads.references import references
from agentops.payloads.services import PayloadDamaged, PayloadMissing
from agentops.payloads.services import read as read_text
from agentops.tenancy.models import Membership
from agentops.tenancy.people import who_acted
from agentops.tenancy.scope import current_tenant_id

PAGE = 50
FACT = 160
_FIRST = ("verdict", "outcome", "state", "band", "score", "rule", "reason_code", "reason", "note")
UNINDEXED = ("", "run", "call", "step")
"""Kinds of subjects that the index of subjects leaves out, because there are so many."""
_DIGEST = re.compile(r"[0-9a-f]{32,}")
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?(?:Z|\+00:00)")
_UUID = re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}([0-9a-f]{12})\b")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a list: the event's row id, its stream and seq, and what was recorded, as texts.

    `actor` is what a page calls whoever acted, `account` what the event calls them, `subject` "kind id" or empty, `run`
    the run's id or empty, `fact` one line made of the data, `also` the types of the events that were recorded together
    with this one, with how many of each.
    """

    id: int
    stream: str
    seq: int
    type: str
    at: datetime
    actor_kind: str
    actor: str
    account: str
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
    search = Search(filters)
    if after is not None:
        found = search.ids(above=after, newest_first=False, limit=PAGE + 1)
        ids, more_newer = found[:PAGE][::-1], len(found) > PAGE
        more_older = bool(ids and search.ids(below=after + 1, limit=1))
    else:
        found = search.ids(below=before, limit=PAGE + 1)
        ids, more_older = found[:PAGE], len(found) > PAGE
        more_newer = bool(ids and before is not None and search.ids(above=before - 1, newest_first=False, limit=1))
    rows = events_of(ids)
    return Page(
        rows=tuple(_rows(rows)),
        older=ids[-1] if ids and more_older else None,
        newer=ids[0] if ids and more_newer else None,
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
    rows = _rows([*reversed(earlier), *later])
    return rows[: len(earlier)], rows[len(earlier) :], previous


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


def _rows(events: Sequence[Event]) -> list[Row]:
    """Put events into rows; one query for the names of all people at most."""
    written = [recorded(event) for event in events]
    who = who_acted(one.actor for one in written)
    return [_row(event, told, name) for event, told, name in zip(events, written, who, strict=True)]


def _row(event: Event, written: Recorded, who: str) -> Row:
    return Row(
        id=event.pk,
        stream=event.stream.name,
        seq=event.seq,
        type=written.type,
        at=written.at,
        actor_kind=str(written.actor.get("kind", "")),
        actor=who,
        account=str(written.actor.get("name", "")),
        subject=" ".join(written.subject) if written.subject else "",
        run=str(written.run_id or ""),
        tool=written.tool,
        fact=_fact(written.data, known={"", written.tool, written.subject[1] if written.subject else ""}),
        also=_counted(one.type for one in together(event) if one.seq != written.seq),
    )


def _counted(types: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{kind} x{times}" if times > 1 else kind for kind, times in Counter(types).items())


def _fact(data: Mapping[str, Any], known: Collection[str]) -> str:
    """Return the simple values of an event's data on one line, without those that are `known` beside it.

    What was decided comes first and names of other rows last, so that a long line is cut where it says least. Lists and
    objects are left to the event's page, and all but the beginning of a digest and the end of an id.
    """
    simple = (
        _named(name, data[name])
        for name in sorted(data, key=_rank)
        if isinstance(data[name], str | int | float) and data[name] not in known
    )
    line = " · ".join(simple)
    return line if len(line) <= FACT else f"{line[: FACT - 1]}…"


def _rank(name: str) -> int:
    return _FIRST.index(name) if name in _FIRST else len(_FIRST) + name.endswith("_id")


def _named(name: str, value: str | float) -> str:
    """Return a value with its name in words; a time with its unit behind it, where people look for it."""
    what, _, unit = name.rpartition("_")
    if what and unit in {"ms", "s"} and not isinstance(value, bool | str):
        return f"{what.replace('_', ' ')} {value} {unit}"
    return f"{name.replace('_', ' ')} {_brief(value)}"


def _brief(value: str | float) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = " ".join(str(value).split())
    return f"{text[:12]}…" if _DIGEST.fullmatch(text) else _UUID.sub(r"…\1", _MOMENT.sub(r"\1 \2", text))


def events_of(ids: Sequence[int]) -> list[Event]:
    """Return the rows with these ids, in this order, with their streams. One query.

    What retention has removed meanwhile, or left behind in an index, is not among them.
    """
    found = {row.pk: row for row in Event.objects.filter(pk__in=ids).select_related("stream")}
    return [found[pk] for pk in ids if pk in found]


class Search:
    """What `forms.AuditFilter` (its cleaned values) asks for.

    Only ids are looked for, along an index that is in their order, so that what a page costs does not grow with the
    record: rows are fetched once it is known which.
    """

    def __init__(self, filters: Mapping[str, Any]) -> None:
        self._terms: Sequence[str] = filters.get("terms") or ()
        self._facets, self._rest = _columns(filters)
        self._spans = _spans(filters.get("since"), filters.get("until"))

    def ids(
        self, *, above: int | None = None, below: int | None = None, newest_first: bool = True, limit: int
    ) -> list[int]:
        """Return the ids of the matching events between two ids (not included), so many at most. One or two queries."""
        found: list[int] = []
        for first, last in self._spans if newest_first else reversed(self._spans):
            low = max((one for one in (first, above) if one is not None), default=None)
            high = min((one for one in (last, below) if one is not None), default=None)
            if low is None or high is None or high - low > 1:
                found += self._between(low, high, newest_first=newest_first, limit=limit - len(found))
            if len(found) == limit:
                break
        return found

    def _between(self, low: int | None, high: int | None, *, newest_first: bool, limit: int) -> list[int]:
        def within(rows: QuerySet[Any], name: str = "pk") -> QuerySet[Any]:
            # Said of every index: a database does not conclude the bounds of one from those of another.
            rows = rows if low is None else rows.filter(**{f"{name}__gt": low})
            return rows if high is None else rows.filter(**{f"{name}__lt": high})

        facets = list(self._facets)
        found: QuerySet[Any]
        if self._terms:
            name, found = "event_id", within(EventTerm.objects.filter(term=self._terms[0]), "event_id")
            facets += [self._rest] if self._rest else []
        else:
            name, found = "pk", within(Event.objects.filter(self._rest, *facets[:1]))
            facets = facets[1:]
        for term in self._terms[1:]:
            found = found.filter(
                Exists(within(EventTerm.objects.filter(term=term), "event_id").filter(event_id=OuterRef(name)))
            )
        for facet in facets:
            found = found.filter(Exists(within(Event.objects.filter(facet)).filter(pk=OuterRef(name))))
        return list(found.order_by(f"-{name}" if newest_first else name).values_list(name, flat=True)[:limit])


def _columns(filters: Mapping[str, Any]) -> tuple[list[Q], Q]:
    """Return what is asked of the columns of events: each that an index in the order of ids answers, and the rest.

    One query for a prefix of types, one for a person's name, one for a run.
    """
    facets: list[Q] = []
    rest = Q()
    if kind := filters.get("type"):
        types = _types(kind.rstrip("*")) if kind.endswith((".", "*")) else [kind]
        if len(types) > 1:
            rest &= Q(type__in=types)
        else:
            facets.append(Q(type="".join(types)))
    if actor := filters.get("actor"):
        asked, alone = _actor(actor)
        facets += [asked] if alone else []
        rest &= Q() if alone else asked
    if tool := filters.get("tool"):
        facets.append(Q(tool=tool))
    if run := filters.get("run"):
        stream = Stream.objects.filter(name=f"run:{run}").values_list("pk", flat=True).first()
        rest &= Q(stream_id=stream or 0)
    if proposal := filters.get("proposal"):
        facets.append(Q(subject_kind="proposal", subject_id=str(proposal)))
    if subject := filters.get("subject"):
        subject_kind, _, subject_id = subject.partition(":")
        asked = Q(subject_kind=subject_kind, subject_id=subject_id)
        facets += [] if subject_kind in UNINDEXED else [asked]
        rest &= asked if subject_kind in UNINDEXED else Q()
    if since := filters.get("since"):
        rest &= Q(at__gte=since)
    if until := filters.get("until"):
        rest &= Q(at__lt=until)
    return facets, rest


def _types(prefix: str) -> list[str]:
    """Return the types of the tenant's events that begin so: one probe of the index for each type there is."""
    tenant = current_tenant_id()
    with connection.cursor() as cursor:
        cursor.execute(
            "with recursive known(type) as (select min(type) from audit_event where tenant_id = %s union all "
            "select (select min(e.type) from audit_event e where e.tenant_id = %s and e.type > known.type) "
            "from known where known.type is not null) select type from known where type is not null",
            [tenant, tenant],
        )
        return [kind for (kind,) in cursor.fetchall() if kind.startswith(prefix)]


def _spans(since: datetime | None, until: datetime | None) -> list[tuple[int | None, int | None]]:
    """Return between which ids (not included) the events of a time are, newest first, so that few others are looked at.

    Hours are known of what has been indexed. What has not has higher ids than all of that, and may have happened at any
    time (its writer may have waited, or its clock be slow), so it is a span of its own. At most one query.
    """
    if since is None and until is None:
        return [(None, None)]
    found = Hour.objects.aggregate(
        low=Min("first", filter=Q(start__gte=hour_of(since)) if since else None),
        high=Max("last", filter=Q(start__lt=until) if until else None),
        newest=Max("start"),
        end=Max("last"),
    )
    low = None
    if since is not None:
        low = found["low"] - 1 if found["low"] is not None else found["end"]
    if until is None or found["newest"] is None or until > found["newest"]:
        return [(low, None)]
    return [(found["end"], None), (low, (found["high"] or 0) + 1)]


def _actor(text: str) -> tuple[Q, bool]:
    """Return who is asked for, and whether an index has their events in the order of ids."""
    kind, _, actor_id = text.partition(":")
    if kind in {"user", "token"} and actor_id:
        return Q(actor_kind=kind, actor_id=actor_id), True
    if text in {"worker", "system"}:
        return Q(actor_kind=text), False
    # Former members keep their events; their id still finds them (user:<id>).
    people = Membership.objects.filter(Q(user__username__iexact=text) | Q(user__email__iexact=text))
    ids = [str(user_id) for user_id in people.values_list("user_id", flat=True).distinct()]
    alone = Q(actor_kind="user", actor_id=ids[0]) if len(ids) == 1 else Q(actor_kind="user", actor_id__in=ids)
    return alone, len(ids) == 1
