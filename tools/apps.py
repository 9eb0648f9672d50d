from django.apps import AppConfig


class ToolsConfig(AppConfig):
    name = "tools"
    label = "tools"
    verbose_name = "Tools"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Let the executor claim the handlers, then register the tools."""
        from . import executor
        from .builtin import register_all
        from .registry import registry

        assert executor.execute is not None
        register_all(registry)
