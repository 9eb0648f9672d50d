"""Row-level security: PostgreSQL refuses other tenants' rows even when the code forgets to ask.

Policies are permissive and compare with two session settings: `app.tenant` (opened by `scope.tenant_scope`) and, for
a person's own memberships, `app.user`. The scalar sub-select lets the planner evaluate the setting once per
statement. FORCE makes the policies bind the table owner too; only superusers and BYPASSRLS roles escape, which the
runtime role is not.
"""

from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState


def _setting(name: str) -> str:
    return f"(select nullif(current_setting('{name}', true), '')::bigint)"


class EnableRowSecurity(Operation):
    """Show and accept only rows of the open tenant (nothing happens on other databases than PostgreSQL)."""

    reversible = True
    reduces_to_sql = True

    def __init__(self, table: str, column: str = "tenant_id", own_user_column: str = "") -> None:
        self.table = table
        self.column = column
        self.own_user_column = own_user_column

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Leave the models as they are."""

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Enable and force row-level security and add the policies."""
        if schema_editor.connection.vendor != "postgresql":
            return
        quote = schema_editor.quote_name
        table, rule = quote(self.table), f"{quote(self.column)} = {_setting('app.tenant')}"
        schema_editor.execute(f"alter table {table} enable row level security")
        schema_editor.execute(f"alter table {table} force row level security")
        schema_editor.execute(f"create policy tenant_rows on {table} using ({rule}) with check ({rule})")
        if self.own_user_column:
            own = f"{quote(self.own_user_column)} = {_setting('app.user')}"
            schema_editor.execute(f"create policy own_rows on {table} for select using ({own})")

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Remove the policies and switch row-level security off."""
        if schema_editor.connection.vendor != "postgresql":
            return
        table = schema_editor.quote_name(self.table)
        schema_editor.execute(f"drop policy if exists own_rows on {table}")
        schema_editor.execute(f"drop policy tenant_rows on {table}")
        schema_editor.execute(f"alter table {table} no force row level security")
        schema_editor.execute(f"alter table {table} disable row level security")

    def describe(self) -> str:
        """Say what the migration does."""
        return f"Limit {self.table} to the rows of the open tenant"

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Return how to write this operation into a migration."""
        kwargs = {"table": self.table, "column": self.column, "own_user_column": self.own_user_column}
        return self.__class__.__name__, [], kwargs


def enable_rls(table: str, column: str = "tenant_id", *, own_user_column: str = "") -> Operation:
    """Return the operation that limits `table` to the open tenant; people may also read rows with their own user id."""
    return EnableRowSecurity(table, column, own_user_column)
