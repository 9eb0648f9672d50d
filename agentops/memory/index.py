"""The full-text index over `Fact.words` on either database.

PostgreSQL: a stored `tsvector` (configuration `simple`: no stemming, no stop words, because a tenant writes in any
language) with a GIN index. Row-level security only lets leakproof operators near an index, and `@@` is not one: the
runtime role reads the tenant's approved facts by `fact_list` and compares their stored vectors, which takes
milliseconds for thousands of facts. A superuser who declares `ts_match_vq` leakproof gives it the GIN index.

SQLite: an FTS5 table beside `memory_fact`, kept in step by triggers. A migration that makes Django rebuild
`memory_fact` on SQLite drops the triggers with the old table and has to install them again.
"""

from typing import Protocol


class Executor(Protocol):
    """Anything that runs one statement: a schema editor or a cursor."""

    def execute(self, sql: str, /) -> object: ...


_POSTGRESQL = (
    "alter table memory_fact add column search tsvector generated always as (to_tsvector('simple', words)) stored",
    "create index fact_search on memory_fact using gin (search)",
)
_POSTGRESQL_DROP = (
    "drop index fact_search",
    "alter table memory_fact drop column search",
)
_REMOVE_OLD = "insert into memory_fact_words (memory_fact_words, rowid, words) values ('delete', old.id, old.words);"
_ADD_NEW = "insert into memory_fact_words (rowid, words) values (new.id, new.words);"
_SQLITE = (
    """create virtual table memory_fact_words using fts5 (
        words, content='memory_fact', content_rowid='id', tokenize='unicode61 remove_diacritics 0'
    )""",
    "insert into memory_fact_words (memory_fact_words) values ('rebuild')",
    f"create trigger fact_words_added after insert on memory_fact begin {_ADD_NEW} end",
    f"create trigger fact_words_removed after delete on memory_fact begin {_REMOVE_OLD} end",
    f"create trigger fact_words_changed after update of words on memory_fact begin {_REMOVE_OLD} {_ADD_NEW} end",
)
_SQLITE_DROP = (
    "drop trigger fact_words_added",
    "drop trigger fact_words_removed",
    "drop trigger fact_words_changed",
    "drop table memory_fact_words",
)


def install(executor: Executor, vendor: str) -> None:
    """Create the index for one database vendor (postgresql or sqlite) and fill it."""
    for statement in _POSTGRESQL if vendor == "postgresql" else _SQLITE:
        executor.execute(statement)


def remove(executor: Executor, vendor: str) -> None:
    """Drop what `install` creates."""
    for statement in _POSTGRESQL_DROP if vendor == "postgresql" else _SQLITE_DROP:
        executor.execute(statement)
