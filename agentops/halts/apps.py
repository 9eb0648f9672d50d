from django.apps import AppConfig


class HaltsConfig(AppConfig):
    name = "agentops.halts"
    label = "halts"
    verbose_name = "Stops of the line"
    default_auto_field = "django.db.models.BigAutoField"
