"""IP addresses: one spelling for each, so that the same address hashes alike wherever it comes from.

Who holds an IPv6 address mostly holds all of its /64, so that is what counts as one address.
"""

import re
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

_BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = re.compile(rf"{_BYTE}(?:\.{_BYTE}){{3}}")


def canonical(text: str) -> str:
    """The one spelling of an address; an IPv4 address mapped into IPv6 is the IPv4 address.

    Raises ValueError for what is no address; an address with a zone id means something on one machine only.
    """
    if _IPV4.fullmatch(text):
        return text  # has no other spelling
    address = ip_address(text)
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            raise ValueError(f"{text!r} has a zone id")
        address = address.ipv4_mapped or address
    return str(address)


def holder(text: str) -> str:
    """What counts as one address: an IPv4 address, the /64 of an IPv6 one. Raises ValueError as `canonical` does."""
    known = canonical(text)
    return known if "." in known else _network(known, 64)


def block(text: str) -> str:
    """The /24 that an IPv4 address lies in, or the /64 of an IPv6 one. Raises ValueError as `canonical` does."""
    known = canonical(text)
    return _network(known, 24 if "." in known else 64)


@lru_cache(maxsize=1024)
def is_public(text: str) -> bool:
    """Whether an address can say who is behind it: many people have the same private one, and nobody a reserved one.

    The networks that are set aside for examples are taken as they stand: an example, or a test, then shows what a real
    address would.
    """
    address = ip_address(canonical(text))
    if any(address in network for network in _EXAMPLES if network.version == address.version):
        return True
    return address.is_global and not address.is_multicast and not address.is_reserved


def _network(known: str, bits: int) -> str:
    return str(ip_network(f"{known}/{bits}", strict=False))


_EXAMPLES = tuple(ip_network(each) for each in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"))
