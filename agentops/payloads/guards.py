"""Triggers that refuse to change a stored text, on both databases."""

POSTGRESQL = (
    """create function payload_refuse_change() returns trigger language plpgsql as $$
    begin
        raise insufficient_privilege using message = 'update on payloads_payload refused: texts do not change';
    end $$""",
    """create trigger payload_no_update before update on payloads_payload
    for each row execute function payload_refuse_change()""",
)
POSTGRESQL_DROP = ("drop trigger payload_no_update on payloads_payload", "drop function payload_refuse_change()")
SQLITE = (
    """create trigger payload_no_update before update on payloads_payload
    begin select raise(abort, 'update on payloads_payload refused: texts do not change'); end""",
)
SQLITE_DROP = ("drop trigger payload_no_update",)

# Since retention: when a text was named last may grow, and nothing else of a row changes.
TOUCH_POSTGRESQL = (
    """create or replace function payload_refuse_change() returns trigger language plpgsql as $$
    begin
        if new.id <> old.id or new.tenant_id <> old.tenant_id or new.sha256 <> old.sha256 or new.size <> old.size
            or new.created_at <> old.created_at or new.body is distinct from old.body
        then
            raise insufficient_privilege using message = 'update on payloads_payload refused: texts do not change';
        end if;
        -- Who was slower does not turn the time back.
        new.used_at = greatest(new.used_at, old.used_at);
        return new;
    end $$""",
)
TOUCH_POSTGRESQL_DROP = (
    """create or replace function payload_refuse_change() returns trigger language plpgsql as $$
    begin
        raise insufficient_privilege using message = 'update on payloads_payload refused: texts do not change';
    end $$""",
)
TOUCH_SQLITE = (
    "drop trigger payload_no_update",
    """create trigger payload_no_update before update on payloads_payload
    when new.id <> old.id or new.tenant_id <> old.tenant_id or new.sha256 <> old.sha256 or new.size <> old.size
        or new.created_at <> old.created_at or new.body is not old.body
        or new.used_at is null
    begin select raise(abort, 'update on payloads_payload refused: texts do not change'); end""",
    # Who was slower does not turn the time back.
    """create trigger payload_use_grows after update on payloads_payload when new.used_at < old.used_at
    begin update payloads_payload set used_at = old.used_at where id = new.id; end""",
)
TOUCH_SQLITE_DROP = ("drop trigger payload_use_grows", *SQLITE_DROP, *SQLITE)
