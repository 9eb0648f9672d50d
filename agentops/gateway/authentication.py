"""Who calls the API: a program with a service token, which belongs to exactly one tenant."""

from dataclasses import dataclass
from typing import Literal

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from agentops.tenancy.access import Actor
from agentops.tenancy.models import ServiceToken, Tenant
from agentops.tenancy.services import authenticate_token


@dataclass(frozen=True, slots=True)
class Caller:
    """The program behind a request: its tenant, and the actor that events name."""

    tenant: Tenant
    actor: Actor
    is_authenticated: Literal[True] = True

    @property
    def pk(self) -> str:
        """What rate limits are counted by and log lines name."""
        return f"{self.actor.kind}:{self.actor.id}"


class ServiceTokenAuthentication(BaseAuthentication):
    """Read `Authorization: Bearer aod_...`; `request.user` becomes a `Caller`.

    Nothing is said about why a token is refused: unknown, expired and revoked look the same. The tenant scope is not
    opened here but by `views.ApiView`, around the handler.
    """

    def authenticate(self, request: Request) -> tuple[Caller, ServiceToken] | None:
        """Return the caller and the token's row; None without a bearer token."""
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        found = authenticate_token(credentials.strip())
        if found is None:
            raise AuthenticationFailed
        tenant, token, actor = found
        return Caller(tenant, actor), token

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge of the 401 answer (RFC 6750)."""
        return 'Bearer realm="api"'
