"""IP addresses: one spelling for each, so that the same address hashes alike wherever it comes from.

Who holds an IPv6 address mostly holds all of its /64, so that is what counts as one address.
"""

import re
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network

HOLDER_BITS = 64
"""Of an IPv6 address, that count as one."""
MAPPED_BITS = 96
"""Before an IPv4 address that is mapped into IPv6."""

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
    return known if "." in known else _network(known, HOLDER_BITS)


def block(text: str) -> str:
    """The /24 that an IPv4 address lies in, or the /64 of an IPv6 one. Raises ValueError as `canonical` does."""
    known = canonical(text)
    if "." in known:
        return f"{known.rpartition('.')[0]}.0/24"
    return _network(known, HOLDER_BITS)


def network(text: str) -> Network:
    """The range that a CIDR names; an address by itself is a range of one, and IPv4 mapped into IPv6 is IPv4.

    Raises ValueError for what is none: for bits set behind its prefix, for a netmask, for a zone id.
    """
    _, slash, bits = text.partition("/")
    if slash and not (bits.isascii() and bits.isdecimal()):
        raise ValueError(f"{text!r} has no length of a prefix")
    known = ip_network(text)
    if isinstance(known, IPv4Network):
        return known
    if known.network_address.scope_id is not None:
        raise ValueError(f"{text!r} has a zone id")
    mapped = known.network_address.ipv4_mapped
    if mapped is None or known.prefixlen < MAPPED_BITS:
        return known
    return ip_network(f"{mapped}/{known.prefixlen - MAPPED_BITS}")


@lru_cache(maxsize=1024)
def is_public(text: str) -> bool:
    """Whether an address can say who is behind it: many people have the same private one, and nobody a reserved one.

    The networks that are set aside for examples are taken as they stand: an example, or a test, then shows what a real
    address would.
    """
    known = canonical(text)
    first, dot, _ = known.partition(".")
    if known.startswith(_EXAMPLES) or (dot and int(first) in _ALL_PUBLIC):
        return True
    address = ip_address(known)
    return address.is_global and not address.is_multicast and not address.is_reserved


def _network(known: str, bits: int) -> str:
    return str(ip_network(f"{known}/{bits}", strict=False))


# Of an IPv4 address: whatever follows, it is somebody's. The others take a longer look.
_ALL_PUBLIC = frozenset(range(1, 224)) - {10, 100, 127, 169, 172, 192, 198, 203}

_EXAMPLES = ("192.0.2.", "198.51.100.", "203.0.113.", "2001:db8:")
