from django.apps import AppConfig


class AuditConfig(AppConfig):
    name = "agentops.audit"
    label = "audit"
    verbose_name = "Audit"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Offer the log to the layer below, which changes tenants and people and must not import it."""
        from agentops.audit.services import record_in_tenant_stream
        from agentops.tenancy import journal

        journal.use(record_in_tenant_stream)
