from django.apps import AppConfig


class GatewayConfig(AppConfig):
    """The API: registers how its authentication is described in the schema."""

    name = "agentops.gateway"
    label = "gateway"
    verbose_name = "Gateway"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the schema extensions."""
        from agentops.gateway import openapi  # noqa: F401 - registered by being defined
