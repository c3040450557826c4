"""Previews of patterns that take too long: they say so, and nobody waits for them."""

import pytest

from goodword.fraud import pattern_previews
from goodword.fraud.patterns import PatternRule
from tests.support.everything import fill
from tests.support.tenants import Tenant


def test_an_expression_that_takes_too_long_is_not_evaluated(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tenant)
    rule = PatternRule(type="email_domain", match="regex", value="app")
    with tenant.transaction("admin") as connection:
        found = pattern_previews.preview(connection, tenant.id, rule)
    assert (found.evaluated, found.matched) == (True, 1)
    monkeypatch.setattr(pattern_previews, "MOST_SECONDS", -1.0)
    with tenant.transaction("admin") as connection:
        found = pattern_previews.preview(connection, tenant.id, rule)
    assert (found.evaluated, found.reason, found.matched) == (False, "expression_too_slow", 0)
