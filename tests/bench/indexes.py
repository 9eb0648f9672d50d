"""Indexes that are in the way while tables grow by millions of rows: made again afterwards is much faster."""

from typing import Any


def drop_indexes(sql: Any, tables: str) -> list[str]:
    """Drop what serves no constraint on tables of these names (SIMILAR TO); return how to make it again."""
    rows = sql.execute(
        "select i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) from pg_index i "
        "join pg_class c on c.oid = i.indrelid join pg_namespace n on n.oid = c.relnamespace "
        "where n.nspname = 'public' and not i.indisunique and c.relname similar to %s "
        "and not exists (select 1 from pg_constraint k where k.conindid = i.indexrelid)",
        (tables,),
    ).fetchall()
    for name, _ in rows:
        sql.execute(f"drop index {name}")
    return [definition for _, definition in rows]
