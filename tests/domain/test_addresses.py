"""Addresses: one spelling for each."""

import pytest

from goodword.core import addresses
from goodword.core.privacy import PrivacyKey


@pytest.mark.parametrize(("text", "spelling"), [
    ("203.0.113.7", "203.0.113.7"), ("::ffff:203.0.113.7", "203.0.113.7"), ("2001:DB8:0:0::0001", "2001:db8::1"),
    ("::1", "::1"), ("::", "::"),
])  # fmt: skip
def test_an_address_has_one_spelling(text: str, spelling: str) -> None:
    assert addresses.canonical(text) == spelling


@pytest.mark.parametrize(
    "text", ["", "1.2.3", "256.1.1.1", "01.2.3.4", "\u0661.2.3.4", "fe80::1%eth0", "::1%", "[::1]"]
)
def test_what_is_no_address_has_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"does not appear to be|zone id"):
        addresses.canonical(text)


def test_an_address_hashes_alike_wherever_it_comes_from() -> None:
    key = PrivacyKey(1, b"k" * 32)
    assert key.hash("ip", "::ffff:203.0.113.7") == key.hash("ip", "203.0.113.7")
    assert key.hash("device", "::ffff:203.0.113.7") != key.hash("device", "203.0.113.7")
    assert key.hash("ip", "no address") is not None


@pytest.mark.parametrize(("text", "spelling"), [
    ("203.0.113.0/24", "203.0.113.0/24"), ("203.0.113.7", "203.0.113.7/32"), ("2001:DB8::/32", "2001:db8::/32"),
    ("2001:db8::1", "2001:db8::1/128"), ("::ffff:203.0.113.0/120", "203.0.113.0/24"),
    ("::ffff:203.0.113.7", "203.0.113.7/32"), ("::/0", "::/0"), ("::ffff:0:0/96", "0.0.0.0/0"),
])  # fmt: skip
def test_a_range_has_one_spelling(text: str, spelling: str) -> None:
    assert str(addresses.network(text)) == spelling


@pytest.mark.parametrize("text", [
    "", "203.0.113.7/24", "2001:db8::1/32", "203.0.113.0/255.255.255.0", "203.0.113.0/0.0.0.255", "203.0.113.0/33",
    "203.0.113.0/", "203.0.113.0/-1", "203.0.113.0/\u0662\u0664", "fe80::%eth0/64", "::ffff:203.0.113.7/120", "x/24",
])  # fmt: skip
def test_what_is_no_range_has_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        addresses.network(text)
