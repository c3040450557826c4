"""Whose checks of codes count together: those of an address under a key (docs/rules.md, Limits on codes)."""

from uuid import UUID

import pytest

from goodword.core import ids
from goodword.referral import code_checks
from goodword.referral.code_checks import Browser
from tests.support.tenants import Tenant

KEY = ids.new_id()


def windows_of(tenant: Tenant, *askers: tuple[UUID, str]) -> int:
    """How many windows there are once each of them has made a check."""
    connection = tenant.connection("click")
    for key_id, address in askers:
        browser = Browser(key_id, address)
        code_checks.check(connection, tenant.id, "GUESS", browser)
    return len(tenant.rows("SELECT 1 FROM rate_windows WHERE company_id = %(company_id)s"))


@pytest.mark.parametrize(
    ("address", "again"),
    [
        ("203.0.113.7", "::ffff:203.0.113.7"),
        ("203.0.113.7", "::ffff:cb00:7107"),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"),
        ("2001:db8:1:2::1", "2001:0DB8:0001:0002:0000:0000:0000:0002"),
    ],
)
def test_another_spelling_or_another_address_of_the_same_network_is_the_same_browser(
    tenant: Tenant, address: str, again: str
) -> None:
    assert windows_of(tenant, (KEY, address), (KEY, again)) == 1


@pytest.mark.parametrize(
    "other", [(KEY, "203.0.113.8"), (KEY, "2001:db8:1:3::1"), (KEY, "unknown"), (ids.new_id(), "203.0.113.7")]
)
def test_another_network_or_another_key_is_another_browser(tenant: Tenant, other: tuple[UUID, str]) -> None:
    assert windows_of(tenant, (KEY, "203.0.113.7"), other) == 2
    assert windows_of(tenant, (KEY, "2001:db8:1:2::1")) == 3
