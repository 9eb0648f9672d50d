"""The hosts that the network tools of a tenant may ask."""

import re
from typing import Final

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models

from agentops.changes.models import Change, two_admins
from agentops.tenancy.scope import TenantModel

from .refusals import Refused
from .urls import parse_host

HEADER: Final = re.compile(r"(?:Authorization|X-[A-Za-z0-9-]{1,40}|Api-Key|PRIVATE-TOKEN)\Z")


def check_host(text: str) -> None:
    """Raise `ValidationError` unless the text is a host name in the one spelling that is compared."""
    try:
        if parse_host(text) != text:
            raise ValidationError("Write the host in lower case.", code="not_lower_case")
    except Refused as refused:
        raise ValidationError(refused.message, code=refused.reason) from None


class HostAccess(models.TextChoices):
    """What may be asked of a host."""

    READ = "read", "Read (GET, HEAD)"
    WRITE = "write", "Read and write (POST, PUT, PATCH too)"


class AllowedHost(TenantModel):
    """A host that `web.fetch` and `http.request` may ask; what is not listed is refused.

    The credential is stored sealed (`tools.network.sealing`) and only ever sent to `host` itself, over https.
    Written by `tools.network.hosts` alone, which lets nobody widen it without a second admin.
    """

    host = models.CharField(max_length=253, validators=[check_host], help_text="Such as api.example.com; no address.")
    subdomains = models.BooleanField(default=False, help_text="Hosts below it as well (never with the credential).")
    access = models.CharField(max_length=5, choices=HostAccess, default=HostAccess.READ)
    plain_http = models.BooleanField("http as well", default=False, help_text="Without encryption, on port 80.")
    credential_header = models.CharField(
        max_length=60,
        blank=True,
        validators=[RegexValidator(HEADER, "Authorization, Api-Key, PRIVATE-TOKEN or a name that begins with X-.")],
        help_text="Header that the desk adds for this host, such as Authorization.",
    )
    credential = models.TextField(blank=True, editable=False)
    note = models.CharField(max_length=300, blank=True, help_text="Why this host may be asked.")
    updated_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        app_label = "tools"
        ordering = ["host"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "host"], name="allowedhost_once"),
            models.CheckConstraint(condition=models.Q(access__in=["read", "write"]), name="allowedhost_access_known"),
        ]

    def __str__(self) -> str:
        return self.host


class HostChange(Change):
    """One change of the list of hosts: one that narrows, in force at once, or one that widens, for a second admin."""

    body = models.JSONField(help_text="The rule before and after, and what makes it wider.")
    narrows = models.BooleanField(help_text="It allows nothing that was not allowed before.")
    credential = models.TextField(blank=True, editable=False, help_text="Sealed, while it waits; never shown.")

    class Meta:
        app_label = "tools"
        verbose_name = "change of the list of hosts"
        verbose_name_plural = "changes of the list of hosts"
        constraints = [*two_admins("hostchange", alone=models.Q(narrows=True))]
        indexes = [
            models.Index(fields=["tenant", "version"], condition=models.Q(status="proposed"), name="hostchange_waiting")
        ]
