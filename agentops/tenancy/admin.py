"""People and service tokens in the admin of a tenant."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from agentops.tenancy import services
from agentops.tenancy.access import SCOPES
from agentops.tenancy.admin_base import TenantModelAdmin, TenantModelForm, actor_of
from agentops.tenancy.models import Membership, ServiceToken, Tenant
from agentops.tenancy.scope import current_tenant_id


def _tenant() -> Tenant:
    return Tenant.objects.get(pk=current_tenant_id())


class MembershipForm(TenantModelForm):
    """A role for somebody who has an account.

    Accounts are named, not listed: other tenants' people are no business of this tenant's admin.
    """

    person = forms.CharField(max_length=254, help_text="User name or e-mail address of an existing account.")

    class Meta:
        model = Membership
        fields = ("role",)

    def clean_person(self) -> str:
        """Find the account."""
        text = str(self.cleaned_data["person"]).strip()
        named = Q(username__iexact=text) | Q(email__iexact=text)
        found = get_user_model()._default_manager.filter(named, is_active=True)[:2]
        if len(found) != 1:
            raise ValidationError("There is no such account.")
        self.instance.user = found[0]
        return text

    def clean(self) -> dict[str, Any]:
        """Refuse a role that excludes one the person has, and a role they have already."""
        cleaned = super().clean() or self.cleaned_data
        role, user_id = cleaned.get("role"), self.instance.user_id
        if role and user_id:
            if reason := services.role_conflict(user_id=user_id, role=role):
                self.add_error("role", reason)
            if Membership.objects.filter(user_id=user_id, role=role).exists():
                self.add_error("role", "This person has this role already.")
        return cleaned


@admin.register(Membership)
class MembershipAdmin(TenantModelAdmin):
    """Give and take roles. A role is not edited: it is taken and another one given."""

    form = MembershipForm
    fields = ("person", "role")
    list_display = ("user", "account", "role", "created_at")
    list_filter = ("role",)
    search_fields = ("user__username", "user__email", "user__first_name", "user__last_name")
    list_select_related = ("user",)
    ordering = ("user__username", "role")

    @admin.display(ordering="user__username")
    def account(self, obj: Membership) -> str:
        """Return what the person signs in with."""
        return obj.user.get_username()

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show what there is for an existing row."""
        return ("user", "role", "created_at") if obj else self.fields

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Make an existing row read-only."""
        return ("user", "role", "created_at") if obj else ()

    def save_model(self, request: HttpRequest, obj: Membership, form: Any, change: bool) -> None:
        """Give the role."""
        given = services.add_member(tenant=_tenant(), user=obj.user, role=obj.role, actor=actor_of(request))
        obj.pk = given.pk

    def delete_model(self, request: HttpRequest, obj: Membership) -> None:
        """Take the role away."""
        services.remove_member(tenant=_tenant(), user=obj.user, role=obj.role, actor=actor_of(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Membership]) -> None:
        """Take the selected roles away."""
        for row in queryset.select_related("user"):
            self.delete_model(request, row)


def _in_ninety_days() -> Any:
    return timezone.now() + services.TOKEN_LIFE


class ServiceTokenForm(TenantModelForm):
    """A name, what the token may do, and until when."""

    scopes = forms.MultipleChoiceField(
        choices=[(scope, f"{words} ({scope})") for scope, words in SCOPES.items()], widget=forms.CheckboxSelectMultiple
    )

    class Meta:
        model = ServiceToken
        fields = ("name", "scopes", "expires_at")

    def clean_expires_at(self) -> Any:
        """Keep to the longest life a token may have."""
        expires_at, now = self.cleaned_data["expires_at"], timezone.now()
        if not now < expires_at <= now + services.MAX_TOKEN_LIFE:
            raise ValidationError(f"Choose a time within the next {services.MAX_TOKEN_LIFE // timedelta(days=1)} days.")
        return expires_at


@admin.register(ServiceToken)
class ServiceTokenAdmin(TenantModelAdmin):
    """Issue and revoke tokens. The text of a new token is shown once, on the answer to the form, and kept nowhere."""

    action_right = "token.manage"
    form = ServiceTokenForm
    list_display = ("name", "prefix", "created_by", "created_at", "expires_at", "last_used_at", "revoked_at")
    list_select_related = ("created_by",)
    ordering = ("-created_at",)
    actions = ("revoke",)
    _shown = ("name", "prefix", "scopes", "created_by", "created_at", "expires_at", "last_used_at", "revoked_at")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: a token is revoked and another one issued."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: a revoked token stays in the list."""
        return False

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Allow whoever may manage tokens."""
        return self._allowed(request)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show what there is for an existing row."""
        return self._shown if obj else ("name", "scopes", "expires_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Make an existing row read-only."""
        return self._shown if obj else ()

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Propose a life of ninety days."""
        return {"expires_at": _in_ninety_days(), **super().get_changeform_initial_data(request)}

    def save_model(self, request: HttpRequest, obj: ServiceToken, form: Any, change: bool) -> None:
        """Issue the token and keep its text for this one answer."""
        issued, plain = services.issue_token(
            tenant=_tenant(), name=obj.name, scopes=obj.scopes, expires_at=obj.expires_at, actor=actor_of(request)
        )
        obj.pk = issued.pk
        request.issued = (issued, plain)  # type: ignore[attr-defined]

    def response_add(
        self, request: HttpRequest, obj: ServiceToken, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the text of the token once. Context: `token` (ServiceToken), `plain` (its text), and the site's own."""
        issued, plain = request.issued  # type: ignore[attr-defined]
        context = {**self.admin_site.each_context(request), "title": "Token issued", "token": issued, "plain": plain}
        response = render(request, "admin/tenancy/servicetoken/issued.html", context)
        response["Cache-Control"] = "no-store"
        return response

    @admin.action(description="Revoke selected tokens", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ServiceToken]) -> None:
        """Revoke, and say how many were still usable."""
        tenant, actor = _tenant(), actor_of(request)
        ids = list(queryset.values_list("pk", flat=True))
        revoked = sum(services.revoke_token(tenant=tenant, token_id=pk, actor=actor) for pk in ids)
        self.message_user(request, f"{revoked} of {len(ids)} selected tokens revoked.")
