from django.apps import AppConfig


class RegressionConfig(AppConfig):
    name = "agentops.regression"
    label = "regression"
    verbose_name = "Regression"
    default_auto_field = "django.db.models.BigAutoField"
