"""A PostgreSQL database as the README says: one role owns the tables, another one works in them."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.proof.processes import database_url, environment, manage


@dataclass(frozen=True)
class Database:
    """A database that one role owns and another one works in; `rows` reads it as a superuser, past every policy."""

    owner: str
    runtime: str
    superuser: str

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        import psycopg

        with psycopg.connect(self.superuser, autocommit=True) as connection:
            cursor = connection.execute(query, values or None)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def own_database(server_url: str, files: Path, *, keep: str = "") -> Iterator[Database]:
    """Make a database on this server: the owner migrates, `dbrole` makes the role that the processes have.

    It is gone afterwards, unless it has a name to `keep` it under: then it is used as it is when it is there already.
    """
    import psycopg

    name, password = keep or f"agentops_proof_{secrets.token_hex(4)}", secrets.token_hex(8)
    owner, runtime = f"{name}_owner", f"{name}_runtime"
    database = Database(
        database_url(name, user=owner, password=password, server=server_url),
        database_url(name, user=runtime, password=password, server=server_url),
        database_url(name, server=server_url),
    )
    with psycopg.connect(server_url, autocommit=True) as server:
        if server.execute("select 1 from pg_database where datname = %s", (name,)).fetchone():
            server.execute(f"alter role {owner} password '{password}'")
        else:
            server.execute(f"create role {owner} login createrole password '{password}'")
            server.execute(f"create database {name} owner {owner}")
        try:
            env = environment(files, {"DATABASE_URL": database.owner, "RUNTIME_ROLE_PASSWORD": password})
            for words in (["migrate", "--verbosity", "0"], ["dbrole", runtime]):
                done = manage(*words, env=env, within_s=600 if not keep else 1800)
                assert done.returncode == 0, done.stderr
            yield database
        finally:
            if not keep:
                drop_database(server, name)


def drop_database(server: Any, name: str) -> None:
    """Remove a database of `own_database` with its roles; nothing happens when it is not there."""
    server.execute(f"drop database if exists {name} with (force)")
    server.execute(f"drop role if exists {name}_runtime")
    server.execute(f"drop role if exists {name}_owner")


def server_of_the_tests() -> str:
    """Return the URL of the PostgreSQL server that tests were given, or nothing."""
    given = os.environ.get("DATABASE_URL", "")
    return given if given.startswith("postgres") else ""
