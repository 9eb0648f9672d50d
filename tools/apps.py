from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error
from django.db import DatabaseError, connections


class ToolsConfig(AppConfig):
    name = "tools"
    label = "tools"
    verbose_name = "Tools"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Let the executor claim the handlers, register the tools, and write down after migrations which there are."""
        from django.core import checks
        from django.db.models.signals import post_migrate

        from . import executor
        from .builtin import register_all
        from .registry import registry

        assert executor.execute is not None
        register_all(registry)
        post_migrate.connect(_record_contracts, sender=self)
        checks.register(_contracts_unchanged, checks.Tags.database)


def _record_contracts(**kwargs: Any) -> None:
    """Write down which contracts run here; one that was published with another content ends the migration."""
    from . import publishing
    from .models import PublishedContract
    from .registry import registry

    using = kwargs.get("using", "default")
    if PublishedContract._meta.db_table in connections[using].introspection.table_names():
        publishing.record(registry.all_versions())


def _contracts_unchanged(app_configs: Any, databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Say at `check --database default` which contracts have run here with another content."""
    from . import publishing
    from .registry import registry

    if not databases:
        return []
    try:
        changed = publishing.changed_here(registry.all_versions())
    except DatabaseError:
        return []
    return [
        Error(f"The contract {one} was published here with another content.", "Give it a new version.", id="tools.E001")
        for one in changed
    ]
