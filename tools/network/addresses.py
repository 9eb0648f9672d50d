"""Which IP addresses are the public internet. Pure; what is not known to be public is not.

IANA special-purpose registries (RFC 6890 and what it lists since), spelled out because `ipaddress.is_global` differs
between Python versions. Of IPv6 only global unicast (2000::/3) passes, so that mapped, NAT64, unique local, link local
and whatever comes later are refused without being known.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

_SPECIAL_4: Final[tuple[tuple[str, str], ...]] = (
    ("0.0.0.0/8", "this network"),
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "carrier-grade NAT"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local, cloud metadata"),
    ("168.63.129.16/32", "cloud metadata"),
    ("172.16.0.0/12", "private"),
    ("192.0.0.0/24", "protocol assignments"),
    ("192.0.2.0/24", "documentation"),
    ("192.31.196.0/24", "AS112"),
    ("192.52.193.0/24", "AMT"),
    ("192.88.99.0/24", "6to4 relay"),
    ("192.168.0.0/16", "private"),
    ("192.175.48.0/24", "AS112"),
    ("198.18.0.0/15", "benchmarking"),
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
)
_SPECIAL_6: Final[tuple[tuple[str, str], ...]] = (
    ("2001::/32", "Teredo"),
    ("2001::/23", "protocol assignments"),
    ("2001:db8::/32", "documentation"),
    ("2002::/16", "6to4"),
    ("2620:4f:8000::/48", "AS112"),
    ("3fff::/20", "documentation"),
    ("::ffff:0:0/96", "IPv4-mapped"),
    ("::ffff:0:0:0/96", "IPv4-translated"),
    ("::/96", "IPv4-compatible, loopback or unspecified"),
    ("64:ff9b::/96", "NAT64"),
    ("64:ff9b:1::/48", "NAT64"),
    ("fc00::/7", "unique local"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "site-local"),
    ("ff00::/8", "multicast"),
)
_NETWORKS_4: Final = tuple((IPv4Network(net), words) for net, words in _SPECIAL_4)
_NETWORKS_6: Final = tuple((IPv6Network(net), words) for net, words in _SPECIAL_6)
_GLOBAL_6: Final = ip_network("2000::/3")


def not_public(address: str) -> str:
    """Return why an address is not the public internet, in two or three words; empty when it is.

    Only the usual spelling counts: what `ipaddress` does not parse, or what names a zone, is "not an address".
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return "not an address"
    if "%" in address:
        return "not an address"
    match parsed:
        case IPv4Address():
            return next((words for net, words in _NETWORKS_4 if parsed in net), "" if parsed.is_global else "private")
        case IPv6Address():
            known = next((words for net, words in _NETWORKS_6 if parsed in net), "")
            return known or ("" if parsed in _GLOBAL_6 and parsed.is_global else "not global unicast")
