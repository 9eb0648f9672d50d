"""Addresses that belong to no tenant. Everything else is below `/t/<tenant>/`, in `agentops.tenant_urls`."""

from allauth.account import views as account
from allauth.mfa.totp.views import activate_totp
from csp.constants import SELF
from csp.decorators import csp_update
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import include, path, re_path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from agentops import views
from agentops.tenancy import views as tenancy
from agentops.theme import choose_theme


@login_not_required
def absent(request: HttpRequest) -> HttpResponse:
    """Answer 404 at an address that allauth wants to name and we do not offer."""
    raise Http404


# Swagger UI draws its icons from data: addresses; nothing else is opened for it.
api_docs = csp_update({"img-src": [SELF, "data:"]})(
    SpectacularSwaggerSplitView.as_view(url_name="api-schema", template_name="api/docs.html")
)

# The code that an authenticator app scans is a picture in a data: address.
new_app = csp_update({"img-src": [SELF, "data:"]})(activate_totp)

handler400 = "agentops.gateway.error_pages.bad_request"
handler404 = "agentops.gateway.error_pages.not_found"
handler500 = "agentops.gateway.error_pages.failed"

urlpatterns = [
    path("", tenancy.tenant_list, name="tenants"),
    path("sign-in", account.login, name="account_login"),
    path("sign-out", account.logout, name="account_logout"),
    path("account/password", account.password_change, name="account_change_password"),
    path("account/password/set", account.password_set, name="account_set_password"),
    path("account/password/reset", account.password_reset, name="account_reset_password"),
    path("account/password/reset/sent", account.password_reset_done, name="account_reset_password_done"),
    re_path(
        r"^account/password/reset/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)$",
        account.password_reset_from_key,
        name="account_reset_password_from_key",
    ),
    path("account/password/changed", account.password_reset_from_key_done, name="account_reset_password_from_key_done"),
    path("account/confirm", account.reauthenticate, name="account_reauthenticate"),
    path("account/factors/totp/activate/", new_app, name="mfa_activate_totp"),
    path("account/factors/", include("allauth.mfa.urls")),
    path("account/inactive", account.account_inactive, name="account_inactive"),
    path("account/sign-up", absent, name="account_signup"),
    path("account/e-mail", absent, name="account_email"),
    path("account/e-mail/sent", absent, name="account_email_verification_sent"),
    path("account/e-mail/<str:key>", absent, name="account_confirm_email"),
    path("theme", choose_theme, name="theme"),
    path("healthz", views.healthz, name="healthz"),
    path("metrics", views.prometheus, name="prometheus"),
    path("api/v1/", include("agentops.gateway.urls")),
    path("api/schema/", SpectacularAPIView.as_view(http_method_names=["get", "head"]), name="api-schema"),
    path("api/docs/", api_docs, name="api-docs"),
    path("favicon.ico", login_not_required(RedirectView.as_view(url="/static/favicon.svg", permanent=True))),
]
