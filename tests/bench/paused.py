"""Many runs that wait for a person: copies of one that got there by itself, each with its own ids, keys and hash chain.

PostgreSQL only: rows are read and written with COPY as its superuser, past policies and foreign keys, because what is
measured is how the product finds its way among them and not how they were made.
"""

import hashlib
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.apps import apps

from agentops.audit.models import genesis, link
from agentops.audit.packing import PackedTextField, pack, unpack
from agentops.wire.ids import uuid7
from tests.bench.workload import SLUG

CHUNK = 2_000
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass
class Template:
    """The rows of one run by table, as COPY writes them, but for packed texts, which are plain here.

    `columns` are those that a copy must bring itself.
    """

    run_id: UUID
    columns: dict[str, list[str]] = field(default_factory=dict)
    rows: dict[str, list[list[str]]] = field(default_factory=dict)
    packed: set[tuple[str, str]] = field(default_factory=set)
    streams: list[int] = field(default_factory=list)
    own: list[str] = field(default_factory=list)
    """Texts that name this run or something of it, and nothing else."""


def read_template(connection: Any, run_id: UUID) -> Template:
    """Return every row that belongs to a run: by its id, or by its stream."""
    template = Template(run_id, packed=_packed())
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
        else:
            continue
        # Numbers that count rows are given out by the database, except where another row names them.
        kept = [name for name in columns if name != "id" or columns[name] != "bigint" or table == "audit_stream"]
        order = " order by seq" if "seq" in columns else ""
        with connection.cursor().copy(
            f"copy (select {', '.join(kept)} from {table} where {where}{order}) to stdout"
        ) as copy:
            lines = b"".join(copy).decode().splitlines()
        if lines:
            packed = [place for place, name in enumerate(kept) if (table, name) in template.packed]
            template.columns[table] = kept
            template.rows[table] = [_plain(line.split("\t"), packed) for line in lines]
    template.own = _own_names(template)
    return template


def _tables(connection: Any) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield every table with its columns and their types; streams before what stands in them."""
    rows = connection.execute(
        "select table_name, column_name, data_type from information_schema.columns "
        "where table_schema = 'public' order by table_name <> 'audit_stream', table_name, ordinal_position"
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


def _own_names(template: Template) -> list[str]:
    keys = {
        cells[columns.index("idempotency_key")]
        for table, columns in template.columns.items()
        if "idempotency_key" in columns
        for cells in template.rows[table]
    }
    everything = "\n".join(cell for rows in template.rows.values() for cells in rows for cell in cells)
    return sorted({*_UUID.findall(everything), *(key for key in keys if key and key != r"\N")})


class Copies:
    """Writes copies of a template. Their deadlines are spread over a day, from half an hour on."""

    def __init__(self, connection: Any, template: Template, *, seed: int = 1) -> None:
        self.connection = connection
        self.template = template
        self.rng = random.Random(seed)
        self.pattern = re.compile("|".join(map(re.escape, template.own)))

    def write(self, count: int) -> list[UUID]:
        """Insert so many runs that wait; return their ids."""
        self.connection.execute("set session_replication_role = replica")
        made: list[UUID] = []
        while len(made) < count:
            made += self._chunk(min(CHUNK, count - len(made)))
        self.connection.execute("set session_replication_role = origin")
        self.connection.execute("vacuum (analyze)")
        return made

    def _chunk(self, count: int) -> list[UUID]:
        runs = [uuid7() for _ in range(count)]
        first = self._stream_ids(count * len(self.template.streams))
        renamings = [
            {name: str(run) if name == str(self.template.run_id) else self._rename(name) for name in self.template.own}
            for run in runs
        ]
        with self.connection.transaction():
            for table, columns in self.template.columns.items():
                with self.connection.cursor().copy(f"copy {table} ({', '.join(columns)}) from stdin") as copy:
                    for number, names in enumerate(renamings):
                        streams = {
                            str(old): str(first + number * len(self.template.streams) + place)
                            for place, old in enumerate(self.template.streams)
                        }
                        for line in self._lines(table, columns, names, streams, runs[number]):
                            copy.write(line + "\n")
        return runs

    def _stream_ids(self, count: int) -> int:
        rows = self.connection.execute(
            "select setval(s, nextval(s) + %s) from pg_get_serial_sequence('audit_stream', 'id') s", (count,)
        ).fetchall()
        return int(rows[0][0]) - count

    def _rename(self, name: str) -> str:
        if _UUID.fullmatch(name):
            return str(uuid7())
        return hashlib.sha256(f"{name}:{self.rng.random()}".encode()).hexdigest()[: len(name)]

    def _lines(
        self, table: str, columns: Sequence[str], names: Mapping[str, str], streams: Mapping[str, str], run: UUID
    ) -> Iterator[str]:
        place = {name: number for number, name in enumerate(columns)}
        head = genesis(SLUG, f"run:{run}")
        later = timedelta(seconds=self.rng.uniform(1800, 24 * 3600))
        for cells in self._renamed(table, names):
            if table == "audit_stream":
                cells[place["id"]] = streams[cells[place["id"]]]
                cells[place["head"]] = rf"\\x{self._head(names, run).hex()}"
            elif "stream_id" in place:
                cells[place["stream_id"]] = streams[cells[place["stream_id"]]]
                if "hash" in place:
                    head = link(head, cells[place["body"]])
                    cells[place["hash"]] = rf"\\x{head.hex()}"
            elif table == "approvals_proposal":
                moment = datetime.fromisoformat(cells[place["created_at"]]) + later
                cells[place["decide_by"]] = moment.isoformat()
            for name, number in place.items():
                if (table, name) in self.template.packed:
                    cells[number] = rf"\\x{pack(cells[number]).hex()}"
            yield "\t".join(cells)

    def _renamed(self, table: str, names: Mapping[str, str]) -> Iterator[list[str]]:
        for cells in self.template.rows[table]:
            yield [self.pattern.sub(lambda found: names[found.group()], cell) for cell in cells]

    def _head(self, names: Mapping[str, str], run: UUID) -> bytes:
        """Return the hash of the last event of a copied stream."""
        head = genesis(SLUG, f"run:{run}")
        for table, columns in self.template.columns.items():
            if "stream_id" in columns and "hash" in columns:
                for cells in self._renamed(table, names):
                    head = link(head, cells[columns.index("body")])
        return head
