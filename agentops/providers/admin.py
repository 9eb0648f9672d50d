"""Own prices of models, in the admin of a tenant."""

from django.contrib import admin

from agentops.providers.models import ModelPrice
from agentops.tenancy.admin_base import TenantModelAdmin


@admin.register(ModelPrice)
class ModelPriceAdmin(TenantModelAdmin):
    """What models cost where the price table is wrong, late or silent."""

    list_display = ("pattern", "input_micros", "output_micros", "cached_micros", "valid_from")
    search_fields = ("pattern",)
