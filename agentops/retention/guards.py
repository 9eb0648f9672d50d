"""The narrow door in the triggers that keep the record, on both databases.

A row of the record, or a text beside it, is deleted only if all of this is so, and the database itself looks: a row
names exactly it (`RemovedSegment`, `RemovedText`), which nobody can change or delete; that row names an event
`retention.removed` in the stream `retention`, which is chained and never deleted; it is older than 184 days by the
clock of the database; and no hold covers it as far as its columns tell. Holds on people are also looked up in the
program (`holds`), where the rest of a run is known.
"""

from agentops.audit.guards import Executor

_DAYS = 184
_HOLDS = """
    select 1 from retention_hold h where h.tenant_id = old.tenant_id and h.lifted_at is null and (
        h.kind = 'tenant'
        or (h.kind = 'period' and old.at >= h.since and old.at < h.until)
        or (h.run_id is not null and h.run_id = old.run_id)
        or (h.kind = 'person' and old.actor_kind = 'user' and old.actor_id = cast(h.person_id as {text}))
    )"""
_TEXT_HOLDS = """
    select 1 from retention_hold h where h.tenant_id = old.tenant_id and h.lifted_at is null and (
        h.kind = 'tenant'
        or (h.kind = 'period' and old.created_at < h.until and coalesce(old.used_at, old.created_at) >= h.since)
        or exists (
            select 1 from payloads_payloaduse u
            where u.tenant_id = old.tenant_id and u.sha256 = old.sha256 and u.run_id = h.run_id
        )
    )"""
_TOLD = """
    join audit_event e on e.id = r.event_id and e.tenant_id = r.tenant_id and e.type = 'retention.removed'
    join audit_stream s on s.id = e.stream_id and s.name = 'retention'"""
_DOOR = (
    f"select 1 from audit_removedsegment r {_TOLD}"  # noqa: S608
    " where r.tenant_id = old.tenant_id and r.stream_id = old.stream_id and r.upto >= old.seq"
)
_TEXT_DOOR = (
    f"select 1 from payloads_removedtext r {_TOLD}"  # noqa: S608
    " where r.tenant_id = old.tenant_id and r.payload_id = old.id and r.sha256 = old.sha256"
)
_OWN = "select 1 from audit_stream s where s.id = old.stream_id and s.name = 'retention'"
_KEPT_FOR_EVER = ("audit_removedsegment", "payloads_removedtext")
_HOLD_SAME = " or ".join(
    f"new.{name} is distinct from old.{name}"
    for name in (
        *("id", "tenant_id", "kind", "run_id", "proposal_id", "person_id", "since", "until"),
        *("matter", "reason", "placed_by_id", "placed_at"),
    )
)
_RAISE = "raise insufficient_privilege using message ="

_POSTGRESQL = (
    f"""create function audit_refuse_removal() returns trigger language plpgsql as $$
    begin
        if not exists ({_DOOR}) or exists ({_OWN}) then
            {_RAISE} 'delete on audit_event refused: events are append-only';
        end if;
        if old.at > now() - interval '{_DAYS} days' then
            {_RAISE} 'delete on audit_event refused: younger than {_DAYS} days';
        end if;
        if exists ({_HOLDS.format(text="text")}) then
            {_RAISE} 'delete on audit_event refused: a hold covers it';
        end if;
        return old;
    end $$""",
    f"""create function payload_refuse_removal() returns trigger language plpgsql as $$
    begin
        if not exists ({_TEXT_DOOR}) then
            {_RAISE} 'delete on payloads_payload refused: texts stay';
        end if;
        if coalesce(old.used_at, old.created_at) > now() - interval '{_DAYS} days' then
            {_RAISE} 'delete on payloads_payload refused: younger than {_DAYS} days';
        end if;
        if exists ({_TEXT_HOLDS}) then
            {_RAISE} 'delete on payloads_payload refused: a hold covers it';
        end if;
        return old;
    end $$""",
    f"""create function hold_refuse_change() returns trigger language plpgsql as $$
    begin
        if {_HOLD_SAME} or old.lifted_at is not null then
            {_RAISE} 'update on retention_hold refused: a hold is only lifted';
        end if;
        return new;
    end $$""",
    "drop trigger event_append_only on audit_event",
    """create trigger event_append_only before update on audit_event
    for each row execute function audit_refuse_change()""",
    """create trigger event_narrow_door before delete on audit_event
    for each row execute function audit_refuse_removal()""",
    """create trigger payload_narrow_door before delete on payloads_payload
    for each row execute function payload_refuse_removal()""",
    """create trigger payload_no_truncate before truncate on payloads_payload
    for each statement execute function audit_refuse_change()""",
    """create trigger hold_only_lifted before update on retention_hold
    for each row execute function hold_refuse_change()""",
    """create trigger hold_no_delete before delete on retention_hold
    for each row execute function audit_refuse_change()""",
    """create trigger hold_no_truncate before truncate on retention_hold
    for each statement execute function audit_refuse_change()""",
    *(
        f"create trigger removed_kept before update or delete on {table} for each row"
        " execute function audit_refuse_change()"
        for table in _KEPT_FOR_EVER
    ),
    *(
        f"create trigger removed_no_truncate before truncate on {table} for each statement"
        " execute function audit_refuse_change()"
        for table in _KEPT_FOR_EVER
    ),
)
# Without it temporary tables, which anybody may make, come before those of the same name that are meant.
_PINNED = tuple(
    f"""do $$ begin
        execute 'alter function {name}() set search_path = ' || quote_ident(current_schema()) || ', pg_temp';
    end $$"""
    for name in ("audit_refuse_removal", "payload_refuse_removal")
)
_PINNED_DROP = (
    "alter function audit_refuse_removal() reset search_path",
    "alter function payload_refuse_removal() reset search_path",
)
_POSTGRESQL_DROP = (
    *(
        f"drop trigger {name} on {table}"
        for table in _KEPT_FOR_EVER
        for name in ("removed_kept", "removed_no_truncate")
    ),
    "drop trigger hold_only_lifted on retention_hold",
    "drop trigger hold_no_delete on retention_hold",
    "drop trigger hold_no_truncate on retention_hold",
    "drop trigger payload_no_truncate on payloads_payload",
    "drop trigger payload_narrow_door on payloads_payload",
    "drop trigger event_narrow_door on audit_event",
    "drop trigger event_append_only on audit_event",
    """create trigger event_append_only before update or delete on audit_event
    for each row execute function audit_refuse_change()""",
    "drop function hold_refuse_change()",
    "drop function payload_refuse_removal()",
    "drop function audit_refuse_removal()",
)

_OLD = f"strftime('%Y-%m-%d %H:%M:%f', 'now', '-{_DAYS} days')"
_REPLACED = {
    "audit_removedsegment": "id = new.id or (stream_id = new.stream_id and upto = new.upto)",
    "payloads_removedtext": "id = new.id or (tenant_id = new.tenant_id and payload_id = new.payload_id)",
    "payloads_payload": "id = new.id",
    "retention_hold": "id = new.id",
}
_NO_REPLACE = """create trigger {table}_no_replace before insert on {table}
    when exists (select 1 from {table} where {same})
    begin select raise(abort, 'replace in {table} refused'); end"""
_SQLITE = (
    "drop trigger event_no_delete",
    f"""create trigger event_no_delete before delete on audit_event
    begin
        select raise(abort, 'delete on audit_event refused: events are append-only')
        where not exists ({_DOOR}) or exists ({_OWN});
        select raise(abort, 'delete on audit_event refused: younger than {_DAYS} days') where old.at > {_OLD};
        select raise(abort, 'delete on audit_event refused: a hold covers it')
        where exists ({_HOLDS.format(text="text")});
    end""",
    f"""create trigger payload_narrow_door before delete on payloads_payload
    begin
        select raise(abort, 'delete on payloads_payload refused: texts stay') where not exists ({_TEXT_DOOR});
        select raise(abort, 'delete on payloads_payload refused: younger than {_DAYS} days')
        where coalesce(old.used_at, old.created_at) > {_OLD};
        select raise(abort, 'delete on payloads_payload refused: a hold covers it') where exists ({_TEXT_HOLDS});
    end""",
    f"""create trigger hold_only_lifted before update on retention_hold
    when {_HOLD_SAME.replace("is distinct from", "is not")} or old.lifted_at is not null
    begin select raise(abort, 'update on retention_hold refused: a hold is only lifted'); end""",
    """create trigger hold_no_delete before delete on retention_hold
    begin select raise(abort, 'delete on retention_hold refused: holds stay'); end""",
    *(
        f"create trigger {table}_no_{verb} before {verb} on {table}"
        f" begin select raise(abort, '{verb} on {table} refused: events are append-only'); end"
        for table in _KEPT_FOR_EVER
        for verb in ("update", "delete")
    ),
    # INSERT OR REPLACE deletes without a delete trigger.
    *(_NO_REPLACE.format(table=table, same=same) for table, same in _REPLACED.items()),
)
_SQLITE_DROP = (
    *(f"drop trigger {table}_no_replace" for table in _REPLACED),
    *(f"drop trigger {table}_no_{verb}" for table in _KEPT_FOR_EVER for verb in ("update", "delete")),
    "drop trigger hold_no_delete",
    "drop trigger hold_only_lifted",
    "drop trigger payload_narrow_door",
    "drop trigger event_no_delete",
    """create trigger event_no_delete before delete on audit_event
    begin select raise(abort, 'delete on audit_event refused: events are append-only'); end""",
)


# Since `ask_the_record`: what the tokens of a person did is held with what the person did, and a hold is
# lifted only by two people of whom the record says that they asked and that they lifted.
_TOKENS = """
        or (h.kind = 'person' and old.actor_kind = 'token' and exists (
            select 1 from tenancy_servicetoken t
            where t.tenant_id = old.tenant_id and t.created_by_id = h.person_id and cast(t.id as text) = old.actor_id
        ))
    )"""
_WIDER_HOLDS = _HOLDS.rstrip().removesuffix(")").rstrip() + _TOKENS
_ON_RECORD = """select 1 from audit_event e join audit_stream s on s.id = e.stream_id and s.name = 'tenant'
            where e.tenant_id = new.tenant_id and e.type = 'hold.{verb}' and e.subject_kind = 'hold'
                and e.subject_id = {hold} and e.actor_kind = 'user' and e.actor_id = cast(new.{who}_id as {text})
                and not exists (
                    select 1 from audit_event k where k.tenant_id = e.tenant_id and k.type = 'hold.kept'
                        and k.subject_kind = 'hold' and k.subject_id = e.subject_id and k.id > e.id
                )"""
_ANOTHER = (
    "(old.lift_asked_by_id is null or new.lift_asked_by_id is null or old.lift_asked_by_id <> new.lift_asked_by_id)"
)
_REFUSED_LIFTS = (
    ("new.lift_asked_by_id is not null and " + _ANOTHER, "lift_asked", "lift_asked_by", "no event says who asked"),
    ("new.lifted_at is not null and old.lifted_at is null", "lifted", "lifted_by", "no event says who lifted it"),
)
_IN_ONE = ("new.lifted_at is not null and " + _ANOTHER, "nobody had asked")
_PARTS = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))
_DASHED = "lower(" + " || '-' || ".join(f"substr(new.id, {first}, {count})" for first, count in _PARTS) + ")"


def _refused_lifts(hold: str) -> list[tuple[str, str]]:
    """Return when an update of a hold is refused, as SQL, and why."""
    found = [
        (f"{when} and not exists ({_ON_RECORD.format(verb=verb, who=who, hold=hold, text='text')})", why)
        for when, verb, who, why in _REFUSED_LIFTS
    ]
    return [_IN_ONE, *found]


def _pinned(name: str, body: str) -> str:
    # Replacing a function forgets which tables it looks at (`pin`).
    return f"""do $do$ begin
        execute 'create or replace function {name}() returns trigger language plpgsql set search_path = '
            || quote_ident(current_schema()) || ', pg_temp as ' || quote_literal($body${body}$body$);
    end $do$"""


def _postgresql_functions(holds: str, lifts: list[tuple[str, str]]) -> tuple[str, ...]:
    said = "".join(
        f"""
        if {when} then
            {_RAISE} 'update on retention_hold refused: {why}';
        end if;"""
        for when, why in lifts
    )
    return (
        _pinned(
            "audit_refuse_removal",
            f"""
    begin
        if not exists ({_DOOR}) or exists ({_OWN}) then
            {_RAISE} 'delete on audit_event refused: events are append-only';
        end if;
        if old.at > now() - interval '{_DAYS} days' then
            {_RAISE} 'delete on audit_event refused: younger than {_DAYS} days';
        end if;
        if exists ({holds.format(text="text")}) then
            {_RAISE} 'delete on audit_event refused: a hold covers it';
        end if;
        return old;
    end """,
        ),
        _pinned(
            "hold_refuse_change",
            f"""
    begin
        if {_HOLD_SAME} or old.lifted_at is not null then
            {_RAISE} 'update on retention_hold refused: a hold is only lifted';
        end if;{said}
        return new;
    end """,
        ),
    )


def _sqlite_triggers(holds: str) -> tuple[str, ...]:
    return (
        "drop trigger event_no_delete",
        f"""create trigger event_no_delete before delete on audit_event
        begin
            select raise(abort, 'delete on audit_event refused: events are append-only')
            where not exists ({_DOOR}) or exists ({_OWN});
            select raise(abort, 'delete on audit_event refused: younger than {_DAYS} days') where old.at > {_OLD};
            select raise(abort, 'delete on audit_event refused: a hold covers it')
            where exists ({holds.format(text="text")});
        end""",
    )


def ask_the_record(executor: Executor, vendor: str) -> None:
    """Let the door know what the tokens of people did, and let holds be lifted only by who is on record for it."""
    if vendor == "postgresql":
        for statement in _postgresql_functions(_WIDER_HOLDS, _refused_lifts("cast(new.id as text)")):
            executor.execute(statement)
        return
    for statement in _sqlite_triggers(_WIDER_HOLDS):
        executor.execute(statement)
    # One trigger: the order of several is not said.
    said = "".join(
        f" select raise(abort, 'update on retention_hold refused: {why}') where {when};"
        for when, why in _refused_lifts(_DASHED)
    )
    executor.execute(f"create trigger hold_lift_on_record before update on retention_hold begin{said} end")


def ask_no_more(executor: Executor, vendor: str) -> None:
    """Undo `ask_the_record`."""
    if vendor == "postgresql":
        for statement in _postgresql_functions(_HOLDS, []):
            executor.execute(statement)
        return
    executor.execute("drop trigger hold_lift_on_record")
    for statement in _sqlite_triggers(_HOLDS):
        executor.execute(statement)


def install(executor: Executor, vendor: str) -> None:
    """Put the door into the triggers of one database vendor (postgresql or sqlite)."""
    for statement in _POSTGRESQL if vendor == "postgresql" else _SQLITE:
        executor.execute(statement)


def pin(executor: Executor, vendor: str) -> None:
    """Let the door look at the tables of the schema it is in, and at no others of the same name."""
    for statement in _PINNED if vendor == "postgresql" else ():
        executor.execute(statement)


def unpin(executor: Executor, vendor: str) -> None:
    """Undo `pin`."""
    for statement in _PINNED_DROP if vendor == "postgresql" else ():
        executor.execute(statement)


def remove(executor: Executor, vendor: str) -> None:
    """Close the door for good: nothing is ever deleted again."""
    for statement in _POSTGRESQL_DROP if vendor == "postgresql" else _SQLITE_DROP:
        executor.execute(statement)
