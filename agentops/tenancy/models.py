"""Tenants, the people in them, and the tokens other programs use. Every other row belongs to a tenant."""

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models

from agentops.tenancy.scope import TenantModel

SLUG_PATTERN = r"\A[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?\Z"
SLUG = RegexValidator(SLUG_PATTERN, "Use 1 to 40 lower-case letters, digits and hyphens.")


class Environment(models.TextChoices):
    """Whether mistakes here are real."""

    PRODUCTION = "production", "Production"
    TEST = "test", "Test"


class Tenant(models.Model):
    """The owner of every row. The slug is part of every address and of every event, so it never changes."""

    slug = models.CharField(max_length=40, unique=True, validators=[SLUG])
    name = models.CharField(max_length=120)
    environment = models.CharField(max_length=16, choices=Environment, default=Environment.PRODUCTION)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(name="tenant_environment", condition=models.Q(environment__in=Environment.values))
        ]

    def __str__(self) -> str:
        return self.name


class Role(models.TextChoices):
    """What a person does in a tenant; what each may do is in `access.py`."""

    OPERATOR = "operator", "Operator"
    SENIOR = "senior", "Senior"
    ADMIN = "admin", "Admin"
    AUDITOR = "auditor", "Auditor"
    ENGINEER = "engineer", "Engineer"
    VIEWER = "viewer", "Viewer"


class Membership(TenantModel):
    """One role of one person in one tenant; several roles are several rows."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "user", "role"], name="membership_once"),
            models.CheckConstraint(name="membership_role", condition=models.Q(role__in=Role.values)),
        ]

    def __str__(self) -> str:
        return f"{self.user} as {self.get_role_display()}"


class ServiceToken(TenantModel):
    """What another program shows to act in one tenant. Only the hash of the secret is kept."""

    name = models.CharField(max_length=80)
    prefix = models.CharField(max_length=12, unique=True)
    secret_hash = models.CharField(max_length=64)
    scopes = models.JSONField(default=list)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix})"
