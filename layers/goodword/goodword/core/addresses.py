"""IP addresses: one spelling for each, so that the same address hashes alike wherever it comes from."""

import re
from ipaddress import IPv6Address, ip_address

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
