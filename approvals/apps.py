from django.apps import AppConfig


class ApprovalsConfig(AppConfig):
    name = "approvals"
    label = "approvals"
    verbose_name = "Approvals"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Let the database keep the index of what proposals are found by, whatever a migration does to its tables."""
        from django.db.models.signals import post_migrate

        from approvals import search

        post_migrate.connect(search.keep_index, sender=self)
