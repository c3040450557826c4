"""IP addresses: one spelling for each, so that the same address hashes alike wherever it comes from."""

from ipaddress import IPv6Address, ip_address


def canonical(text: str) -> str:
    """The one spelling of an address; an IPv4 address mapped into IPv6 is the IPv4 address.

    Raises ValueError for what is no address; an address with a zone id means something on one machine only.
    """
    address = ip_address(text)
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            raise ValueError(f"{text!r} has a zone id")
        address = address.ipv4_mapped or address
    return str(address)
