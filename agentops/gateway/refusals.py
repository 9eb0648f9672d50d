"""How often an address may show a token that is none: counted in the cache, a minute at a time.

Once it has shown too many, nothing it shows is looked up for the rest of the minute, except tokens that were good a
short while ago: programs behind the same proxy or router go on working while somebody beside them guesses.
"""

import hashlib
import logging
import time
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

from django.conf import settings
from django.core.cache import cache
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

logger = logging.getLogger(__name__)

MINUTE: Final = 60
GOOD_FOR: Final = 15 * MINUTE
"""Seconds for which a token that was good is looked up although its address has shown too many bad ones."""


def wait_for(request: Request, credentials: str) -> int:
    """Return for how many seconds this address is not listened to; 0 when its token may be looked up."""
    now = time.time()
    if (cache.get(_key(request, now)) or 0) < settings.API_BAD_TOKENS_PER_MINUTE or cache.get(_mark(credentials)):
        return 0
    return max(1, MINUTE - int(now % MINUTE))


def count(request: Request) -> None:
    """Take down that the address of a request has shown a token that is none."""
    key = _key(request, time.time())
    cache.add(key, 0, 2 * MINUTE)
    try:
        shown = cache.incr(key)
    except ValueError:
        return  # it was thrown out of a full cache between the two lines
    if shown == settings.API_BAD_TOKENS_PER_MINUTE:
        logger.warning("%s has shown %d bad service tokens within a minute", _address(request), shown)


def remember(credentials: str) -> None:
    """Take down that a token was good. The cache holds a digest of it, never the token."""
    cache.add(_mark(credentials), True, GOOD_FOR)


def _key(request: Request, now: float) -> str:
    return f"bad-tokens:{int(now // MINUTE)}:{_address(request)}"


def _mark(credentials: str) -> str:
    return f"good-token:{hashlib.sha256(credentials.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _address(request: Request) -> str:
    """Return the client's address, told through `TRUSTED_PROXY_COUNT` proxies; of IPv6 the network of one customer."""
    told = BaseThrottle().get_ident(request)
    try:
        address = ip_address(told.partition("%")[0])
    except ValueError:
        return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(ip_network((address, 64), strict=False).network_address)
    return str(getattr(address, "ipv4_mapped", None) or address)
