"""Credentials at rest: encrypted with a key made of the secret key, bound to the tenant and host they are for."""

import base64
import json

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings


class SealBroken(Exception):
    """Raised when a stored credential cannot be read: the secret key was replaced, or the row is not its own."""


def seal(secret: str, *, tenant_id: int, host: str) -> str:
    """Return the credential as it is stored."""
    return _box().encrypt(json.dumps([tenant_id, host, secret]).encode()).decode()


def unseal(sealed: str, *, tenant_id: int, host: str) -> str:
    """Return the credential. Raises `SealBroken`, also for one that was sealed for another tenant or host."""
    try:
        owner, sealed_host, secret = json.loads(_box().decrypt(sealed.encode()))
    except (InvalidToken, ValueError):
        raise SealBroken("The stored credential cannot be read any more; enter it again.") from None
    if (owner, sealed_host) != (tenant_id, host):
        raise SealBroken("The stored credential is for another host; enter it again.")
    return str(secret)


def _box() -> MultiFernet:
    return MultiFernet([_key(secret) for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)])


def _key(secret: str) -> Fernet:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"agentops host credentials").derive(secret.encode())
    return Fernet(base64.urlsafe_b64encode(derived))
