"""The list of hosts in the admin of a tenant."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db import models
from django.http import HttpRequest

from agentops.tenancy.admin_base import TenantModelAdmin, TenantModelForm, actor_of

from . import hosts
from .models import AllowedHost, HostAccess


class AllowedHostForm(TenantModelForm):
    """Takes a new credential, and never shows the one there is."""

    new_credential = forms.CharField(
        required=False,
        max_length=2000,
        strip=True,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text="The whole value of the header, such as Bearer …. Empty keeps the one there is.",
    )

    def clean_host(self) -> str:
        """Keep the host as it is compared."""
        return str(self.cleaned_data["host"]).strip()

    def clean_new_credential(self) -> str:
        """Refuse what no header can hold."""
        secret = str(self.cleaned_data.get("new_credential") or "")
        if not all(0x20 <= ord(c) < 0x7F for c in secret):
            raise forms.ValidationError("Only printable ASCII characters fit into a header.", code="bad_character")
        return secret

    def clean(self) -> dict[str, Any]:
        """Check that header and credential come together."""
        cleaned = super().clean() or self.cleaned_data
        secret, header = cleaned.get("new_credential"), cleaned.get("credential_header")
        if secret and not header:
            self.add_error("credential_header", "Name the header that the credential goes into.")
        if header and not secret and not self.instance.credential and "new_credential" not in self.errors:
            self.add_error("new_credential", "There is no credential yet for this header.")
        return cleaned


@admin.register(AllowedHost)
class AllowedHostAdmin(TenantModelAdmin):
    """Hosts that the network tools may ask. Rows change only through `tools.network.hosts`, which records it."""

    form = AllowedHostForm
    fields = ("host", "subdomains", "access", "plain_http", "credential_header", "new_credential", "note")
    list_display = ("host", "subdomains", "access", "plain_http", "has_credential", "updated_by", "updated_at")
    list_filter = ("access",)
    list_select_related = ("updated_by",)
    search_fields = ("host", "note")
    secret_fields = ("credential",)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Keep the host: another one is another row."""
        return ("host",) if obj else ()

    @admin.display(description="credential", boolean=True)
    def has_credential(self, obj: AllowedHost) -> bool:
        """Say whether the desk adds one."""
        return bool(obj.credential)

    def _save(self, request: HttpRequest, row: models.Model, *, change: bool) -> None:
        raise TypeError("A host is written by `tools.network.hosts`.")

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Put the host on the list, or change what it may be asked."""
        rule = hosts.HostRule(
            host=obj.host,
            subdomains=obj.subdomains,
            access=HostAccess(obj.access),
            plain_http=obj.plain_http,
            credential_header=obj.credential_header,
        )
        secret = form.cleaned_data["new_credential"] or None
        obj.pk = hosts.put(rule, actor=actor_of(request), note=obj.note, secret=secret).pk

    def _delete(self, request: HttpRequest, row: models.Model) -> None:
        assert isinstance(row, AllowedHost)
        hosts.remove(row, actor=actor_of(request))
