"""Secrets of endpoints, and signatures as Standard Webhooks (standardwebhooks.com) describe them.

`webhook-signature: v1,<base64 HMAC-SHA256>` over `<id>.<timestamp>.<body>`, one for every secret that is valid at the
moment, with a space between them. Secrets follow from the secret key, so that none is stored.
"""

import base64
import hashlib
import hmac
from datetime import datetime
from typing import Final

from django.conf import settings
from django.utils.crypto import salted_hmac

from agentops.webhooks.models import Endpoint

# Part of how secrets are made: another one would make every receiver's secret invalid.
_SALT: Final = "agentops.metrics.webhook"


def secret_of(endpoint_id: int, tenant_id: int, version: int, key: str | None = None) -> str:
    """Return the secret an endpoint is signed with, as receivers paste it (`whsec_<base64>`)."""
    made = salted_hmac(_SALT, f"{tenant_id}:{endpoint_id}:{version}", secret=key, algorithm="sha256")
    return "whsec_" + base64.b64encode(made.digest()).decode()


def secrets_of(endpoint: Endpoint, now: datetime) -> tuple[str, ...]:
    """Return every secret that signs now: after a rotation both, and those of former secret keys while these count."""
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    versions = endpoint.versions(now)
    return tuple(secret_of(endpoint.pk, endpoint.tenant_id, version, key) for key in keys for version in versions)


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the signature of a message by one secret."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
