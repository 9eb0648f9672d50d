from django.apps import AppConfig


class ApprovalsConfig(AppConfig):
    name = "approvals"
    label = "approvals"
    verbose_name = "Approvals"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Let the database keep the index of what proposals are found by, and say what their events are found by."""
        from django.db.models.signals import post_migrate

        from agentops.audit import terms
        from approvals.proposals import record_terms, search

        terms.describe_with(record_terms.describe)
        post_migrate.connect(search.keep_index, sender=self)
