from django.apps import AppConfig


class PayloadsConfig(AppConfig):
    name = "agentops.payloads"
    label = "payloads"
    verbose_name = "Payloads"
    default_auto_field = "django.db.models.BigAutoField"
