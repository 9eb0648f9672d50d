from django.apps import AppConfig


class RegressionConfig(AppConfig):
    name = "agentops.regression"
    label = "regression"
    verbose_name = "Regression"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Have the sweeper run suites that people ask for, and forget old copies."""
        from agentops.regression import forgetting, rehearsing
        from agentops.worker.sweeper import upkeep_with

        upkeep_with(rehearsing.take_up)
        forgetting.register()
