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
