"""Addresses of one tenant, below `/t/<tenant>/`, which the tenant middleware makes the script prefix."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("approvals.urls")),
    path("", include("agentops.runs.urls")),
    path("", include("agentops.regression.urls")),
    path("", include("agentops.memory.urls")),
    path("", include("agentops.audit.urls")),
    path("", include("agentops.metrics.urls")),
    path("", include("agentops.retention.urls")),
    path("", include("agentops.webhooks.urls")),
    path("admin/", admin.site.urls),
]
