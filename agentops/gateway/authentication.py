"""Who calls the API: a program with a service token, which belongs to exactly one tenant."""

from dataclasses import dataclass
from typing import Literal

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.request import Request

from agentops.gateway import refusals
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

    Nothing is said about why a token is refused: unknown, expired and revoked look the same. An address that shows too
    many of them is not listened to for the rest of the minute. The tenant scope is not
    opened here but by `views.ApiView`, around the handler.
    """

    def authenticate(self, request: Request) -> tuple[Caller, ServiceToken] | None:
        """Return the caller and the token's row; None without a bearer token."""
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        shown = credentials.strip()
        if wait := refusals.wait_for(request, shown):
            raise Throttled(wait)
        found = authenticate_token(shown)
        if found is None:
            refusals.count(request)
            raise AuthenticationFailed
        refusals.remember(shown)
        tenant, token, actor = found
        return Caller(tenant, actor), token

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge of the 401 answer (RFC 6750)."""
        return 'Bearer realm="api"'
