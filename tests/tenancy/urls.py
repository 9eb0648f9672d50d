"""Addresses outside of every tenant, for the tests of the tenant border."""

from django.urls import path

from agentops.tenancy.views import tenant_list

urlpatterns = [path("", tenant_list, name="tenants")]
