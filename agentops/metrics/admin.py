"""Where alarms are posted to, in a tenant's admin."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError

from agentops.metrics.models import Webhook
from agentops.metrics.webhook import Refused, checked, secret_of
from agentops.tenancy.admin_base import TenantModelAdmin, TenantModelForm


class WebhookForm(TenantModelForm):
    """Refuses addresses that nothing is posted to; whether the name is a public one is looked up when it is used."""

    def clean_url(self) -> str:
        """Check the form of the address."""
        url = str(self.cleaned_data["url"])
        try:
            checked(url)
        except Refused as error:
            raise ValidationError(str(error), code="refused") from None
        return url


@admin.register(Webhook)
class WebhookAdmin(TenantModelAdmin):
    """Addresses that alarms are posted to, signed as Standard Webhooks say."""

    form = WebhookForm
    fields = ("name", "url", "enabled", "secret_version", "secret")
    readonly_fields = ("secret",)
    list_display = ("name", "url", "enabled")
    address_fields = ("url",)

    @admin.display(description="signing secret")
    def secret(self, obj: Any) -> str:
        """Return what the receiver checks signatures with."""
        if obj is None or obj.pk is None:
            return "shown here once it is saved"
        return secret_of(obj.pk, obj.tenant_id, obj.secret_version)
