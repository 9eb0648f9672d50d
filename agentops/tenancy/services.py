"""Change tenants, memberships and service tokens. Every change writes its event in the same transaction."""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Collection
from datetime import datetime, timedelta

from django.contrib.auth.models import AbstractBaseUser, User
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from agentops.tenancy.access import TOKEN_SCOPES, Actor, demand
from agentops.tenancy.journal import record
from agentops.tenancy.models import Environment, Membership, Role, ServiceToken, Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.wire.parse import JSON

TOKEN_LIFE = timedelta(days=90)
MAX_TOKEN_LIFE = timedelta(days=366)
_USE_RESOLUTION = timedelta(minutes=1)
_TOKEN = re.compile(r"aod_([a-z0-9-]{1,40})_([a-z2-7]{12})_([a-z2-7]{52})", re.ASCII)

# Whoever sets the rules must not be the one who attests that they were followed.
_EXCLUSIVE = {Role.AUDITOR: Role.ADMIN, Role.ADMIN: Role.AUDITOR}


class RoleConflict(ValidationError):
    """The person already has a role that excludes this one."""


def create_tenant(
    *, slug: str, name: str, actor: Actor, environment: Environment | str = Environment.PRODUCTION
) -> Tenant:
    """Create a tenant and open its audit stream. Raises `ValidationError` for a bad or taken slug."""
    tenant = Tenant(slug=slug, name=name, environment=environment)
    demand(actor, "admin.manage")
    tenant.full_clean()
    with transaction.atomic():
        tenant.save()
        with tenant_scope(tenant):
            record(
                "tenant.created",
                {"name": name, "environment": str(environment)},
                subject=("tenant", str(tenant.pk)),
                actor=actor,
            )
    return tenant


def let_in(
    *, tenant: Tenant, email: str, roles: Collection[Role | str], actor: Actor, name: str = ""
) -> tuple[User, bool]:
    """Give the person with an e-mail address these roles; return the account and whether it was made for this.

    A new account has no password. Raises `ValidationError` for what is no address, for an account that is switched
    off, and as `add_member` does; nothing is changed then.
    """
    demand(actor, "admin.manage")
    email = email.strip()
    validate_email(email)
    with transaction.atomic():
        user = User.objects.filter(Q(email__iexact=email) | Q(username__iexact=email)).order_by("pk").first()
        created = user is None
        if user is None:
            user = User.objects.create_user(email, email, first_name=name[:150])
        if not user.is_active:
            raise ValidationError(f"The account of {email} is switched off.")
        for role in roles:
            add_member(tenant=tenant, user=user, role=role, actor=actor)
    return user, created


def role_conflict(*, user_id: int, role: str) -> str:
    """Return why the person cannot get the role in the open tenant scope, or an empty text."""
    excluded = _EXCLUSIVE.get(Role(role))
    if excluded and Membership.objects.filter(user_id=user_id, role=excluded).exists():
        return f"One person cannot be {Role(role).label.lower()} and {excluded.label.lower()} in the same tenant."
    return ""


def add_member(*, tenant: Tenant, user: AbstractBaseUser, role: Role | str, actor: Actor) -> Membership:
    """Give a person a role; giving it twice changes nothing. Raises `RoleConflict` for auditor beside admin."""
    demand(actor, "admin.manage")
    role = Role(role)
    with transaction.atomic(), tenant_scope(tenant):
        # The lock makes "auditor and admin are never both there" hold for two admins who act at once.
        Tenant.objects.select_for_update().get(pk=tenant.pk)
        if reason := role_conflict(user_id=user.pk, role=role):
            raise RoleConflict(reason)
        membership, created = Membership.objects.get_or_create(tenant=tenant, user_id=user.pk, role=role)
        if created:
            record("member.added", _person(membership), subject=("user", str(user.pk)), actor=actor)
    return membership


def remove_member(*, tenant: Tenant, user: AbstractBaseUser, role: Role | str, actor: Actor) -> bool:
    """Take a role away from a person; return whether they had it."""
    demand(actor, "admin.manage")
    with transaction.atomic(), tenant_scope(tenant):
        membership = Membership.objects.select_for_update().filter(user_id=user.pk, role=Role(role)).first()
        if membership is None:
            return False
        data = _person(membership)
        membership.delete()
        record("member.removed", data, subject=("user", str(user.pk)), actor=actor)
    return True


def issue_token(
    *,
    tenant: Tenant,
    name: str,
    scopes: Collection[str],
    actor: Actor,
    expires_at: datetime | None = None,
) -> tuple[ServiceToken, str]:
    """Create a service token; return its row and the plain text, which is not kept anywhere.

    `scopes` are actions out of `access.TOKEN_SCOPES`; `expires_at` defaults to 90 days from now and lies at most 366
    days ahead. Raises `ValidationError`.
    """
    demand(actor, "token.manage")
    now = timezone.now()
    expires_at = expires_at or now + TOKEN_LIFE
    if not scopes or not TOKEN_SCOPES.issuperset(scopes):
        raise ValidationError({"scopes": f"Choose one or more of: {', '.join(sorted(TOKEN_SCOPES))}."})
    if not now < expires_at <= now + MAX_TOKEN_LIFE:
        raise ValidationError({"expires_at": f"Choose a time within the next {MAX_TOKEN_LIFE.days} days."})
    prefix, secret = _base32(8)[:12], _base32(32)
    with transaction.atomic(), tenant_scope(tenant):
        token = ServiceToken(
            name=name,
            prefix=prefix,
            secret_hash=_hash(secret),
            scopes=sorted(set(scopes)),
            created_by_id=actor.user_id,
            expires_at=expires_at,
        )
        token.save()
        record(
            "token.issued",
            {
                "name": name,
                "prefix": prefix,
                "scopes": list[JSON](token.scopes),
                "expires_at": expires_at.isoformat(),
            },
            subject=("token", str(token.pk)),
            actor=actor,
        )
    return token, f"aod_{tenant.slug}_{prefix}_{secret}"


def authenticate_token(plain: str) -> tuple[Tenant, ServiceToken, Actor] | None:
    """Return tenant, row and actor of a valid, unexpired, unrevoked token; None for anything else.

    The tenant comes from the text of the token, so only that tenant's tokens are looked at. The secret is compared in
    constant time, also when there is no such token. `last_used_at` is written at most once a minute.
    """
    match = _TOKEN.fullmatch(plain)
    if match is None:
        return None
    slug, prefix, secret = match.groups()
    tenant = Tenant.objects.filter(slug=slug).first()
    if tenant is None:
        return None
    now = timezone.now()
    with tenant_scope(tenant):
        token = ServiceToken.objects.filter(prefix=prefix).first()
        matches = hmac.compare_digest(token.secret_hash if token else _hash(""), _hash(secret))
        if token is None or not matches or token.revoked_at is not None or token.expires_at <= now:
            return None
        if token.last_used_at is None or now - token.last_used_at >= _USE_RESOLUTION:
            stale = Q(last_used_at__isnull=True) | Q(last_used_at__lte=now - _USE_RESOLUTION)
            ServiceToken.objects.filter(stale, pk=token.pk).update(last_used_at=now)
            token.last_used_at = now
    return tenant, token, Actor.token(token.pk, token.name, token.scopes)


def revoke_token(*, tenant: Tenant, token_id: int, actor: Actor) -> bool:
    """Make a token useless from now on; return whether it was still usable before."""
    demand(actor, "token.manage")
    with transaction.atomic(), tenant_scope(tenant):
        token = ServiceToken.objects.select_for_update().filter(pk=token_id, revoked_at__isnull=True).first()
        if token is None:
            return False
        token.revoked_at = timezone.now()
        token.save(update_fields=["revoked_at"])
        record(
            "token.revoked",
            {"name": token.name, "prefix": token.prefix},
            subject=("token", str(token.pk)),
            actor=actor,
        )
    return True


def _person(membership: Membership) -> dict[str, JSON]:
    return {"user": membership.user.get_username(), "role": str(membership.role)}


def _base32(size: int) -> str:
    """Return `size` random bytes as lower-case base 32 without padding (no character needs care in a shell or URL)."""
    return base64.b32encode(secrets.token_bytes(size)).decode("ascii").rstrip("=").lower()


def _hash(secret: str) -> str:
    # 256 random bits need no salt and no slow hash.
    return hashlib.sha256(secret.encode("ascii")).hexdigest()
