"""URLs in one spelling only. Pure.

Parsers disagree about odd URLs, and that is how a check is passed with one host and another is asked. So there is one
narrow grammar: a scheme, a plain host name, perhaps the port that belongs to the scheme, a path and a query.
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urljoin

from .refusals import Refused

MAX_URL: Final = 2000
PORTS: Final = {"https": 443, "http": 80}

_URL: Final = re.compile(
    r"(?P<scheme>[A-Za-z]+)://(?P<host>[^/?#:]*)(?::(?P<port>[^/?#]*))?(?P<rest>[^#]*)(?P<mark>#.*)?\Z"
)
_REST: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?\[\]|-]|%[0-9A-Fa-f]{2})*\Z")
_MARK: Final = re.compile(r"#[A-Za-z0-9._~-]*\Z")
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
_SCHEME: Final = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]*:")
_ABSOLUTE: Final = re.compile(r"[A-Za-z]+://[^/?#]")
_OURS: Final = frozenset({"localhost", "local", "internal", "intranet", "lan", "corp", "home", "onion", "arpa", "test"})
_PRINTABLE: Final = re.compile(r"[\x21-\x7e]+\Z")


@dataclass(frozen=True, slots=True)
class Target:
    """What one request asks: `host` is lower-case ASCII, `path` begins with a slash and includes the query."""

    scheme: str
    host: str
    path: str

    @property
    def port(self) -> int:
        return PORTS[self.scheme]

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}{self.path}"


def parse_host(text: str) -> str:
    """Return a host name as it is compared: lower-case letters, digits, dashes and dots, two labels or more.

    Raises `Refused`: addresses in any notation, single labels, names that only exist inside a network, a final dot,
    anything that is not ASCII (a name in another script is written in its `xn--` form).
    """
    host = text.lower()
    if not host:
        raise Refused("no_host", "The address names no host.")
    if not host.isascii():
        raise Refused("not_ascii", "Write the host in its ASCII form (xn--…).")
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.match(label) for label in labels):
        raise Refused("bad_host", "That is not a host name as it is written here: letters, digits, dashes and dots.")
    if labels[-1][0].isdigit():
        raise Refused("ip_address", "An address in numbers is not asked; write the name of the host.")
    if len(labels) < 2 or labels[-1] in _OURS:
        raise Refused("not_public_name", "That name only exists inside a network.")
    return host


def parse_url(text: str) -> Target:
    """Return what a URL asks. Raises `Refused` for every URL that is not spelled in the one way (see the module)."""
    if len(text) > MAX_URL:
        raise Refused("too_long", f"The URL is longer than {MAX_URL} characters.")
    if not _PRINTABLE.match(text) or "\\" in text:
        raise Refused("bad_character", "The URL has a character that has to be written with a percent sign.")
    found = _URL.match(text)
    if found is None:
        raise Refused("not_a_url", "That is not a URL of the form https://host/path.")
    scheme = found["scheme"].lower()
    if scheme not in PORTS:
        raise Refused("bad_scheme", "Only https and http addresses are asked.")
    if "@" in found["host"] or "@" in (found["port"] or ""):
        raise Refused("userinfo", "A URL with a user name or password in it is not asked.")
    host = parse_host(found["host"])
    if found["port"] is not None and found["port"] != str(PORTS[scheme]):
        raise Refused("bad_port", f"Only port {PORTS[scheme]} is asked with {scheme}.")
    if not _REST.match(found["rest"]) or not _MARK.match(found["mark"] or "#"):
        raise Refused("bad_character", "The URL has a character that has to be written with a percent sign.")
    rest = found["rest"]
    return Target(scheme, host, rest if rest.startswith("/") else f"/{rest}")


def follow(base: Target, location: str) -> Target:
    """Return where a redirect leads. Raises `Refused`, also where it leads from https to http."""
    if not location or len(location) > 2 * MAX_URL or any(ord(c) < 0x20 or c in "\\\x7f" for c in location):
        raise Refused("bad_redirect", "The redirect cannot be read.")
    # Percent signs stay; what is not ASCII is written as the bytes it came as.
    ascii_location = quote(location.encode("latin-1", "replace"), safe="%:/?#[]@!$&'()*+,;=|~-._")
    # Browsers and libraries read a scheme without a host in different ways.
    if _SCHEME.match(ascii_location) and not _ABSOLUTE.match(ascii_location):
        raise Refused("bad_redirect", "The redirect cannot be read.")
    try:
        joined = urljoin(base.url, ascii_location)
    except ValueError:
        raise Refused("bad_redirect", "The redirect cannot be read.") from None
    target = parse_url(joined)
    if base.scheme == "https" and target.scheme != "https":
        raise Refused("downgrade", "The redirect leads from https to http.")
    return target
