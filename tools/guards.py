"""Triggers that refuse to change a published contract, on both databases."""

_REFUSED = "refused: published contracts do not change"
POSTGRESQL = (
    f"""create function contract_refuse_change() returns trigger language plpgsql as $$
    begin
        raise insufficient_privilege using message = lower(tg_op) || ' on tools_publishedcontract {_REFUSED}';
    end $$""",
    """create trigger contract_no_change before update or delete on tools_publishedcontract
    for each row execute function contract_refuse_change()""",
)
POSTGRESQL_DROP = (
    "drop trigger contract_no_change on tools_publishedcontract",
    "drop function contract_refuse_change()",
)
# Rows are deleted here where a test database is emptied, which on PostgreSQL truncates.
SQLITE = (
    f"""create trigger contract_no_change before update on tools_publishedcontract
    begin select raise(abort, 'update on tools_publishedcontract {_REFUSED}'); end""",
)
SQLITE_DROP = ("drop trigger contract_no_change",)
