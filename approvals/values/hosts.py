"""Addresses as machines read them: the host of a URL, the domain of an e-mail, the part of it that somebody registered.

Pure, never raises. There is no public suffix list here; the suffixes below which people commonly register names are
known, and everything else counts as registered at its last two labels.
"""

import re
from typing import Final
from urllib.parse import urlsplit

_SECOND_LEVEL: Final = frozenset({"ac", "co", "com", "edu", "gob", "gov", "mil", "ne", "net", "or", "org", "sch"})
_SHARED: Final = frozenset(
    {
        *(
            "github.io",
            "gitlab.io",
            "herokuapp.com",
            "netlify.app",
            "pages.dev",
            "vercel.app",
            "web.app",
            "workers.dev",
        ),
        *("azurewebsites.net", "blogspot.com", "cloudfront.net", "firebaseapp.com", "fly.dev", "onrender.com"),
        "workers.dev",
        *("appspot.com", "s3.amazonaws.com", "ngrok.io", "ngrok-free.app", "trycloudflare.com", "myshopify.com"),
    }
)
_BARE_HOST: Final = re.compile(r"[^\s/@:?#\\]+\Z")


def host_of(url: str) -> str:
    """Return the host that a URL asks, lower case, without user and port; empty when it cannot be told.

    A backslash counts as a slash and control characters are taken out first, as browsers do.
    """
    cleaned = re.sub(r"[\x00-\x20\x7f]", "", url).replace("\\", "/")
    try:
        host = urlsplit(cleaned).hostname or ""
    except ValueError:
        return ""
    return host if _BARE_HOST.match(host) or ":" in host else ""


def domain_of(address: str) -> str:
    """Return the domain of an e-mail address, lower case; a display name and angle brackets are left out."""
    inner = re.search(r"<([^<>]*)>\s*\Z", address)
    mailbox = inner.group(1) if inner else address
    return mailbox.rpartition("@")[2].strip().strip(">").lower() if "@" in mailbox else ""


def registrable(host: str) -> str:
    """Return the part of a host that somebody registered: `shop.evil.co.uk` gives `evil.co.uk`. IPs stay whole."""
    labels = host.rstrip(".").split(".")
    if len(labels) <= 2 or re.fullmatch(r"[\d.]+", host) or ":" in host:
        return host
    for take in (3, 2):
        if ".".join(labels[-take:]) in _SHARED:
            return ".".join(labels[-take - 1 :])
    if len(labels[-1]) == 2 and labels[-2] in _SECOND_LEVEL:
        return ".".join(labels[-3:])
    return ".".join(labels[-2:])


def split_host(host: str) -> tuple[str, str]:
    """Return what stands before the registrable part of a host, and that part."""
    owned = registrable(host)
    return host[: len(host) - len(owned)], owned


def addresses_in(value: object) -> list[str]:
    """Return the domains that a text value points to: of a URL, or of each e-mail address in a list with commas."""
    if not isinstance(value, str) or len(value) > 8_000:
        return []
    if "://" in value:
        return [host] if (host := host_of(value)) else []
    return [domain for part in value.split(",") if (domain := domain_of(part))]
