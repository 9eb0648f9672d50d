"""What every tenant of a person is told when that person gets or loses a second factor."""

from typing import Any

from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authenticator_added, authenticator_removed, authenticator_reset
from django.contrib.auth.models import User
from django.db import transaction
from django.dispatch import receiver

from agentops.tenancy.access import Actor
from agentops.tenancy.journal import record
from agentops.tenancy.scope import tenant_scope
from agentops.tenancy.selectors import tenants_of

_KINDS = {
    Authenticator.Type.WEBAUTHN: "passkey",
    Authenticator.Type.TOTP: "app",
    Authenticator.Type.RECOVERY_CODES: "recovery codes",
}


def tell(event: str, *, user: User, kind: str, actor: Actor | None = None) -> None:
    """Record in every tenant of a person what happened to their second factors, by the person or by `actor`."""
    for tenant, roles in tenants_of(user):
        with tenant_scope(tenant), transaction.atomic():
            record(event, {"kind": kind}, subject=("user", str(user.pk)), actor=actor or Actor.user(user, roles))


@receiver(authenticator_added, dispatch_uid="tenancy.factor_added")
def _added(*, user: User, authenticator: Authenticator, **_: Any) -> None:
    tell("auth.factor_added", user=user, kind=_KINDS[authenticator.type])


@receiver(authenticator_removed, dispatch_uid="tenancy.factor_removed")
def _removed(*, user: User, authenticator: Authenticator, **_: Any) -> None:
    tell("auth.factor_removed", user=user, kind=_KINDS[authenticator.type])


@receiver(authenticator_reset, dispatch_uid="tenancy.factor_replaced")
def _replaced(*, user: User, authenticator: Authenticator, **_: Any) -> None:
    tell("auth.factor_replaced", user=user, kind=_KINDS[authenticator.type])
