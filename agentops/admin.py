"""The admin site of one tenant, open to people who may manage it."""

import re
from typing import Any

from django.apps import apps
from django.contrib.admin import AdminSite
from django.contrib.auth import logout
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from agentops.changes.models import Change, ChangeStatus
from agentops.tenancy.access import can
from agentops.tenancy.links import global_url
from agentops.tenancy.scope import TenantModel

_ORDER = (
    "runs",
    "tools",
    "screening",
    "prompts",
    "providers",
    "budgets",
    "approvals",
    "tenancy",
    "metrics",
    "backoffice",
)
_AGREED = frozenset({"tools.AllowedHost", "tools.AllowlistEntry"})
_REFERENCE = re.compile(r" \(`[^`]*`\)|`")


def about(model: type[Model]) -> str:
    """Return what rows of a model are, in a line: the first of its docstring, without references into the code."""
    return _REFERENCE.sub("", (model.__doc__ or "").strip().partition("\n")[0])


def waiting(person: int | None) -> dict[str, dict[str, int]]:
    """Return what two admins have to agree on, by the name of the model: how many of the changes that wait this person
    may decide on (`yours`), and how many they proposed (`own`). One query for each kind.
    """
    found = {}
    for model in apps.get_models():
        if issubclass(model, Change):
            rows = model.objects.filter(status=ChangeStatus.PROPOSED).values_list("proposed_by", flat=True)
            own = [one == person for one in rows]
            found[str(model._meta.model_name)] = {"yours": own.count(False), "own": own.count(True)}
    return found


class TenantAdminSite(AdminSite):
    """Django's admin below `/t/<tenant>/admin/`; the tenant scope of the request limits every list.

    Signing in, signing out and passwords belong to the whole installation, where rate limits hold; the admin's own
    pages for them are not used.
    """

    site_header = "Administration"
    site_title = "AgentOps administration"
    index_title = "Administration"
    index_template = "admin/tenant_index.html"
    site_url = None
    enable_nav_sidebar = False

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        """Take rows of a tenant only: people, groups and e-mail addresses belong to the whole installation."""
        models = [model_or_iterable] if isinstance(model_or_iterable, type) else model_or_iterable
        super().register([one for one in models if issubclass(one, TenantModel)], admin_class, **options)

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """List what agents may do first, then who asks and who is asked, and the records they work on last.

        What the overview links to among the things that two admins agree on is not listed once more.
        """
        found = super().get_app_list(request, app_label)
        for app in found:
            kept = [one for one in app["models"] if app_label or one["model"]._meta.label not in _AGREED]
            app["models"] = [one | {"about": about(one["model"])} for one in kept]
        return sorted(found, key=lambda app: _ORDER.index(app["app_label"]) if app["app_label"] in _ORDER else -1)

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Show the overview, and on top of it what waits for whom."""
        return super().index(request, {"waiting": waiting(request.user.pk), **(extra_context or {})})

    def has_permission(self, request: HttpRequest) -> bool:
        """Allow a person who may manage the tenant in the path."""
        actor = getattr(request, "actor", None)
        return actor is not None and can(actor, "admin.manage")

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Answer 403: whoever gets here is signed in and may not manage the tenant."""
        raise PermissionDenied("This needs the right admin.manage.")

    def logout(  # type: ignore[override]
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Sign out and go to the sign-in page; only a form does, a link does not."""
        if request.method == "POST":
            logout(request)
        return HttpResponseRedirect(global_url("account_login"))

    def password_change(  # type: ignore[override]
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Go to the page that changes a password."""
        return HttpResponseRedirect(global_url("account_change_password"))
