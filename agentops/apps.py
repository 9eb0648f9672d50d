"""Application configurations of the project itself."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class ProjectConfig(AppConfig):
    """The project: registers its deployment checks."""

    name = "agentops"
    verbose_name = "AgentOps"

    def ready(self) -> None:
        """Register the checks of `agentops.checks`."""
        from agentops import checks

        checks.register()


class TenantAdminConfig(AdminConfig):
    """Make `TenantAdminSite` the default site, so that `@admin.register` finds it."""

    default_site = "agentops.admin.TenantAdminSite"
