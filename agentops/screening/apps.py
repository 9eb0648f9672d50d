from django.apps import AppConfig


class ScreeningConfig(AppConfig):
    name = "agentops.screening"
    label = "screening"
    verbose_name = "Guardrails"
    default_auto_field = "django.db.models.BigAutoField"
