"""Many runs that wait for a person, or that somebody has decided: copies of a few that got there by themselves.

Each copy has its own ids, keys, moments, digests and hash chain, and its own values where the template was told of
them, so that everything that is checked of a run holds for its copies too. PostgreSQL only: rows are read and written
with COPY as its superuser, past policies and foreign keys, because what is measured is how the product finds its way
among them and not how they were made.
"""

import hashlib
import itertools
import json
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any
from uuid import UUID

from django.apps import apps

from agentops.audit.models import genesis, link
from agentops.audit.packing import PackedTextField, pack, unpack
from agentops.audit.terms import DIGEST
from agentops.wire.canonical import canonical

CHUNK = 1_000
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_STAMP = r"(?P<stamp>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)"
_BEFORE = timedelta(minutes=1)
_ESCAPED = str.maketrans({"%": "%%"})
_NUMBERED = ("audit_stream", "audit_event")
"""Tables whose rows others name by number; everywhere else the database gives out the numbers."""

Values = Mapping[str, str]
Vary = Callable[[random.Random], Values]
"""Gives the texts of a template that a copy replaces, and by what; always the same texts."""


@dataclass
class Template:
    """The rows of one run by table, as COPY writes them, but for packed texts, which are plain here.

    `columns` are those that a copy must bring itself. `vary` changes values in all rows alike.
    """

    run_id: UUID
    tenant_id: int
    slug: str
    created_at: datetime
    columns: dict[str, list[str]] = field(default_factory=dict)
    rows: dict[str, list[list[str]]] = field(default_factory=dict)
    packed: set[tuple[str, str]] = field(default_factory=set)
    streams: list[int] = field(default_factory=list)
    events: list[int] = field(default_factory=list)
    vary: Vary = field(default=lambda rng: {})

    def column(self, table: str, name: str) -> list[str]:
        """Return one column of a table's rows; nothing when the table has none."""
        columns = self.columns.get(table, [])
        return [cells[columns.index(name)] for cells in self.rows.get(table, ())] if name in columns else []


def read_template(connection: Any, run_id: UUID, vary: Vary | None = None) -> Template:
    """Return every row that belongs to a run: by its id, by its stream, or by one of its proposals."""
    connection.execute("set timezone to 'UTC'")
    [(tenant_id, slug, created_at)] = connection.execute(
        "select r.tenant_id, t.slug, r.created_at from runs_run r join tenancy_tenant t on t.id = r.tenant_id "
        "where r.id = %s",
        (run_id,),
    ).fetchall()
    template = Template(run_id, tenant_id, slug, created_at, packed=_packed())
    if vary is not None:
        template.vary = vary
    rows = connection.execute("select id from audit_stream where name = %s", (f"run:{run_id}",)).fetchall()
    template.streams = [number for (number,) in rows]
    for table, columns in _tables(connection):
        if table == "runs_run":
            where = f"id = '{run_id}'"
        elif table == "audit_stream":
            where = f"name = 'run:{run_id}'"
        elif "run_id" in columns:
            where = f"run_id = '{run_id}'"
        elif "stream_id" in columns:
            where = f"stream_id = any('{{{','.join(map(str, template.streams))}}}')"
        elif table == "audit_eventterm":
            streams = f"stream_id = any('{{{','.join(map(str, template.streams))}}}')"
            where = f"event_id in (select id from audit_event where {streams})"
        elif columns.get("proposal_id") == "uuid":
            where = f"proposal_id in (select id from approvals_proposal where run_id = '{run_id}')"
        else:
            continue
        kept = [name for name in columns if name != "id" or columns[name] != "bigint" or table in _NUMBERED]
        order = " order by seq" if "seq" in columns else ""
        with connection.cursor().copy(
            f"copy (select {', '.join(kept)} from {table} where {where}{order}) to stdout"
        ) as copy:
            lines = b"".join(copy).decode().splitlines()
        if lines:
            packed = [place for place, name in enumerate(kept) if (table, name) in template.packed]
            template.columns[table] = kept
            template.rows[table] = [_plain(line.split("\t"), packed) for line in lines]
    template.events = [int(number) for number in template.column("audit_event", "id")]
    return template


def _tables(connection: Any) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield every table with its columns and their types; streams before what stands in them."""
    rows = connection.execute(
        "select c.table_name, c.column_name, c.data_type from information_schema.columns c "
        "join information_schema.tables t using (table_schema, table_name) "
        "where c.table_schema = 'public' and t.table_type = 'BASE TABLE' and c.is_generated = 'NEVER' "
        "order by c.table_name <> 'audit_stream', c.table_name, c.ordinal_position"
    ).fetchall()
    tables: dict[str, dict[str, str]] = {}
    for table, column, kind in rows:
        tables.setdefault(table, {})[column] = kind
    yield from tables.items()


def _packed() -> set[tuple[str, str]]:
    return {
        (model._meta.db_table, str(column.column))
        for model in apps.get_models()
        for column in model._meta.concrete_fields
        if isinstance(column, PackedTextField)
    }


def _plain(cells: list[str], packed: Sequence[int]) -> list[str]:
    for place in packed:
        cells[place] = unpack(bytes.fromhex(cells[place].removeprefix(r"\\x")))
    return cells


# --- what of a template is a copy's own ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Text:
    """A text with places for a copy's own values."""

    form: str
    values: Callable[[Sequence[str]], tuple[str, ...]]

    def of(self, own: Sequence[str]) -> str:
        return self.form % self.values(own)


class _Pattern:
    """One template, prepared: which texts are a copy's own, and every row as a form to fill in."""

    def __init__(self, template: Template) -> None:
        self.template = template
        self.slots: dict[str, int] = {}
        self.varied = list(template.vary(random.Random(0)))
        everything = "\n".join(cell for rows in template.rows.values() for cells in rows for cell in cells)
        self.ids = sorted(set(_UUID.findall(everything)))
        self.told = [json.loads(body) for body in template.column("audit_event", "body")]
        self.keys = sorted(set(self._keys()) - set(self.ids))
        self.digested = dict(self._digested())
        # As the terms of events have them: of a digest the beginning, of anything else small letters.
        self.derived: dict[str, tuple[str, int | None]] = {one[:DIGEST]: (one, DIGEST) for one in self.digested}
        self.derived |= {one.casefold(): (one, None) for one in self.varied if one.casefold() != one}
        literals = sorted(
            {*self.ids, *self.keys, *self.varied, *self.digested, *self.derived}, key=lambda one: (-len(one), one)
        )
        # A number is not a part of a longer one.
        words = (rf"(?<!\d){re.escape(one)}(?!\d)" if one.isdigit() else re.escape(one) for one in literals)
        self.search = re.compile("|".join([*words, _STAMP]))
        self.earliest = template.created_at - _BEFORE
        self.digests = {digest: self._text(text) for digest, text in self.digested.items()}
        self.rows = {
            table: [self._row(table, columns, cells) for cells in template.rows[table]]
            for table, columns in template.columns.items()
        }
        self._makers = self._prepare()

    def _keys(self) -> Iterator[str]:
        """Yield the idempotency keys of its calls."""
        for one in _objects(self.told):
            if key := one.get("idempotency_key"):
                yield str(key)

    def _digested(self) -> Iterator[tuple[str, str]]:
        """Yield the digest of each call with the canonical text it is of."""
        for one in _objects(self.told):
            if {"tool", "version", "digest", "arguments"} <= set(one):
                about = {name: one[name] for name in ("tool", "version", "arguments")}
                text = canonical(about | {"tenant": self.template.tenant_id})
                digest = hashlib.sha256(text.encode()).hexdigest()
                assert digest == one["digest"], f"{one['tool']}: not the digest of its arguments"
                yield digest, text

    def _text(self, text: str) -> _Text:
        form: list[str] = []
        places: list[int] = []
        end = 0
        for found in self.search.finditer(text):
            if found["stamp"] and datetime.fromisoformat(f"{found['stamp']}+00:00") < self.earliest:
                continue
            form += [text[end : found.start()].translate(_ESCAPED), "%s"]
            if found.group() in self.derived:
                self.slots.setdefault(self.derived[found.group()][0], len(self.slots))
            places.append(self.slots.setdefault(found.group(), len(self.slots)))
            end = found.end()
        form.append(text[end:].translate(_ESCAPED))
        return _Text("".join(form), _getter(places))

    def _row(self, table: str, columns: Sequence[str], cells: Sequence[str]) -> "_Row":
        place = {name: number for number, name in enumerate(columns)}
        made = {number for name, number in place.items() if (table, name) in self.template.packed}
        if "stream_id" in place:
            made |= {place[name] for name in ("stream_id", "hash") if name in place}
        if table == "audit_event":
            made.add(place["id"])
        if table == "audit_eventterm":
            made = {place["event_id"]}
        if table == "audit_stream":
            made = {place["id"], place["head"]}
        kept = "\t".join("\0" if number in made else cell for number, cell in enumerate(cells))
        named = {number: columns[number] for number in sorted(made)}
        texts = {
            number: self._text(cells[number]) for number in made if (table, columns[number]) in self.template.packed
        }
        stream = (
            cells[place["id"]] if table == "audit_stream" else cells[place["stream_id"]] if "stream_id" in place else ""
        )
        about = (
            cells[place["id"]] if table == "audit_event" else cells[place["event_id"]] if "event_id" in place else ""
        )
        numbers = int(stream) if stream else 0, int(about) if table in ("audit_event", "audit_eventterm") else 0
        return _Row(self._text(kept), tuple(named.values()), texts, *numbers, tuple(named))

    # --- making one copy ---------------------------------------------------------------------------------------------

    def _prepare(self) -> list[tuple[int, str, Any]]:
        """Return for each slot how a copy fills it in; last what is made of what others hold."""
        makers: list[tuple[int, str, Any]] = []
        for text, slot in self.slots.items():
            if text in self.digests:
                makers.append((slot, "digest", self.digests[text]))
            elif text in self.derived:
                of, length = self.derived[text]
                makers.append((slot, "derived", (self.slots[of], length)))
            elif text in self.varied:
                makers.append((slot, "varied", text))
            elif text in self.keys:
                makers.append((slot, "key", len(text)))
            elif _UUID.fullmatch(text):
                number = UUID(text)
                lag = (number.int >> 80) / 1000 - self.template.created_at.timestamp() if number.version == 7 else 0.0
                makers.append((slot, "id", lag))
            else:
                lag_of = datetime.fromisoformat(f"{text}+00:00") - self.template.created_at.replace(microsecond=0)
                makers.append((slot, "stamp", (lag_of, text[10])))
        return sorted(makers, key=lambda one: {"digest": 1, "derived": 2}.get(one[1], 0))

    def own(self, created_at: datetime, rng: random.Random) -> list[str]:
        """Return the values of one copy. `created_at` counts in whole seconds: fractions stay as they were."""
        values = [""] * len(self.slots)
        varied = self.template.vary(rng)
        whole, began = created_at.replace(microsecond=0), created_at.timestamp()
        for slot, kind, given in self._makers:
            if kind == "id":
                values[slot] = _uuid7(began + given, rng)
            elif kind == "stamp":
                values[slot] = (whole + given[0]).isoformat(given[1], "seconds")[:19]
            elif kind == "varied":
                values[slot] = varied[given]
            elif kind == "derived":
                values[slot] = values[given[0]].casefold()[: given[1]]
            elif kind == "key":
                values[slot] = f"{rng.getrandbits(4 * given):0{given}x}"
            else:
                values[slot] = hashlib.sha256(given.of(values).encode()).hexdigest()
        return values

    def run_id(self, values: Sequence[str]) -> str:
        return values[self.slots[str(self.template.run_id)]]


@dataclass(frozen=True, slots=True)
class _Row:
    """One row: its text with a zero byte where something is made for each copy, and what that is, left to right."""

    text: _Text
    made: tuple[str, ...]
    packed: dict[int, _Text]
    stream: int
    event: int
    places: tuple[int, ...]


def _getter(places: Sequence[int]) -> Callable[[Sequence[str]], tuple[str, ...]]:
    if len(places) > 1:
        return itemgetter(*places)
    return (lambda own: (own[places[0]],)) if places else (lambda own: ())


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _objects(one)


def _uuid7(at: float, rng: random.Random) -> str:
    """Return a version 7 UUID of a moment, in seconds since 1970."""
    bits = int(at * 1000) << 80 | 0x7 << 76 | rng.getrandbits(12) << 64 | 0b10 << 62 | rng.getrandbits(62)
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


# --- writing copies --------------------------------------------------------------------------------------------------


class Copies:
    """Writes copies of templates of one tenant."""

    def __init__(
        self, connection: Any, templates: Sequence[Template], *, seed: int = 1, tables: frozenset[str] | None = None
    ) -> None:
        """Take what is copied; `tables`: only into these, where nothing else is looked at."""
        self.connection = connection
        self.tables = tables
        self.rng = random.Random(seed)
        self.patterns = [_Pattern(template) for template in templates]
        columns = [(table, names) for one in templates for table, names in one.columns.items()]
        self.columns = dict(columns)
        assert all(self.columns[table] == names for table, names in columns)

    def write(self, wanted: Iterable[tuple[int, datetime]]) -> list[UUID]:
        """Insert a run for each pair of a template's number and the moment it was submitted; return their ids."""
        self.connection.execute("set session_replication_role = replica")
        made: list[UUID] = []
        pairs = iter(wanted)
        while chunk := list(itertools.islice(pairs, CHUNK)):
            made += self._chunk(chunk)
        self.connection.execute("set session_replication_role = origin")
        return made

    def _chunk(self, pairs: Sequence[tuple[int, datetime]]) -> list[UUID]:
        lines: dict[str, list[str]] = {table: [] for table in self.columns}
        templates = [self.patterns[number].template for number, _ in pairs]
        streams_free = self._numbers("audit_stream", sum(len(one.streams) for one in templates))
        events_free = self._numbers("audit_event", sum(len(one.events) for one in templates))
        made = []
        for number, created_at in pairs:
            pattern = self.patterns[number]
            values = pattern.own(created_at, self.rng)
            run = pattern.run_id(values)
            made.append(UUID(run))
            streams = {one: next(streams_free) for one in pattern.template.streams}
            events = {one: next(events_free) for one in pattern.template.events}
            _one_copy(pattern, values, run, streams, events, lines, self.tables)
        with self.connection.transaction():
            for table, columns in self.columns.items():
                if lines[table] and (self.tables is None or table in self.tables):
                    with self.connection.cursor().copy(f"copy {table} ({', '.join(columns)}) from stdin") as copy:
                        copy.write("".join(lines[table]))
        return made

    def _numbers(self, table: str, count: int) -> Iterator[int]:
        """Return so many numbers of rows, ascending; others may take some meanwhile."""
        rows = self.connection.execute(
            "select nextval(s) from pg_get_serial_sequence(%s, 'id') s, generate_series(1, %s)", (table, count)
        ).fetchall()
        return iter([number for (number,) in rows])


def _one_copy(
    pattern: _Pattern,
    values: Sequence[str],
    run: str,
    streams: Mapping[int, int],
    events: Mapping[int, int],
    lines: dict[str, list[str]],
    tables: frozenset[str] | None,
) -> None:
    heads = {stream: genesis(pattern.template.slug, f"run:{run}") for stream in streams}
    for table, rows in reversed(pattern.rows.items()):
        if tables is not None and table not in tables:
            continue
        for row in rows:
            texts = {place: text.of(values) for place, text in row.packed.items()}
            cells: list[str] = []
            for name, place in zip(row.made, row.places, strict=True):
                if name == "event_id" or (name == "id" and row.event):
                    cells.append(str(events[row.event]))
                elif name in ("stream_id", "id"):
                    cells.append(str(streams[row.stream]))
                elif name == "hash":
                    heads[row.stream] = link(heads[row.stream], next(iter(texts.values())))
                    cells.append(rf"\\x{heads[row.stream].hex()}")
                elif name == "head":
                    # Streams come last: their events have been linked by now.
                    cells.append(rf"\\x{heads[row.stream].hex()}")
                else:
                    cells.append(rf"\\x{pack(texts[place]).hex()}")
            parts = row.text.of(values).split("\0")
            filled = [text for pair in itertools.zip_longest(parts, cells, fillvalue="") for text in pair]
            lines[table].append("".join(filled) + "\n")


def spread(count: int, *, since: timedelta, until: timedelta, rng: random.Random) -> list[datetime]:
    """Return so many moments between two ages, oldest first."""
    now = datetime.now(UTC)
    return [
        now - timedelta(seconds=age)
        for age in sorted(
            (rng.uniform(until.total_seconds(), since.total_seconds()) for _ in range(count)), reverse=True
        )
    ]
