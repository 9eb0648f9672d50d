from django.apps import AppConfig


class WorkerConfig(AppConfig):
    name = "agentops.worker"
    label = "worker"
    verbose_name = "Worker"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Have the metrics keep what runs contributed before retention removes their records."""
        from agentops.metrics.rollup import set_aside
        from agentops.retention.removal import tell_before

        tell_before(set_aside)
