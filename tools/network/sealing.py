"""Credentials at rest: sealed, and bound to the tenant and host they are for."""

import json
from typing import Final

from cryptography.fernet import InvalidToken

from agentops.sealing import box

_PURPOSE: Final = "agentops host credentials"


class SealBroken(Exception):
    """Raised when a stored credential cannot be read: the secret key was replaced, or the row is not its own."""


def seal(secret: str, *, tenant_id: int, host: str) -> str:
    """Return the credential as it is stored."""
    return box(_PURPOSE).encrypt(json.dumps([tenant_id, host, secret]).encode()).decode()


def unseal(sealed: str, *, tenant_id: int, host: str) -> str:
    """Return the credential. Raises `SealBroken`, also for one that was sealed for another tenant or host."""
    try:
        owner, sealed_host, secret = json.loads(box(_PURPOSE).decrypt(sealed.encode()))
    except (InvalidToken, ValueError):
        raise SealBroken("The stored credential cannot be read any more; enter it again.") from None
    if (owner, sealed_host) != (tenant_id, host):
        raise SealBroken("The stored credential is for another host; enter it again.")
    return str(secret)
