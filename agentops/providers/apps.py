from django.apps import AppConfig


class ProvidersConfig(AppConfig):
    name = "agentops.providers"
    label = "providers"
    verbose_name = "Models"
    default_auto_field = "django.db.models.BigAutoField"
