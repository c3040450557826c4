"""Patterns as a process keeps them: an edit counts from the next signup on, wherever that runs."""

from uuid import UUID

import pytest

from goodword.core import ids
from goodword.fraud import matching, patterns
from goodword.fraud.patterns import FraudPatternChange, NewFraudPattern
from tests.support.tenants import Tenant

_VERSION = "SELECT patterns_version AS version FROM companies WHERE id = %(company_id)s"


def make(tenant: Tenant, value: str, **fields: object) -> UUID:
    new = NewFraudPattern.model_validate({"type": "email_domain", "value": value, "score_impact": 30, **fields})
    with tenant.transaction("admin") as connection:
        return patterns.create(connection, tenant.id, ids.new_id(), ids.new_id(), new).id


def change(tenant: Tenant, pattern_id: UUID, **fields: object) -> None:
    with tenant.transaction("admin") as connection:
        patterns.change(connection, tenant.id, pattern_id, ids.new_id(), FraudPatternChange.model_validate(fields))


def version(tenant: Tenant) -> int:
    return tenant.rows(_VERSION)[0]["version"]


def scores(tenant: Tenant, email: str = "a@spam.example") -> list[int]:
    """What a signup hears of the patterns of today."""
    matcher = matching.ask(tenant.connection("app"), tenant.id, version(tenant))
    return [check.score for check in matcher.checks(email, None, None, None)]


def test_an_edit_by_another_connection_counts_at_once(tenant: Tenant) -> None:
    admin = tenant.twin()
    assert scores(tenant) == []
    pattern_id = make(admin, "spam.example")
    assert scores(tenant) == [30]
    change(admin, pattern_id, score_impact=90)
    assert scores(tenant) == [90]
    make(admin, "spam", match="regex", score_impact=5)
    assert scores(tenant) == [90, 5]
    change(admin, pattern_id, active=False)
    assert scores(tenant) == [5]


def test_what_is_not_committed_yet_counts_for_nobody(tenant: Tenant) -> None:
    make(tenant, "spam.example")
    rival = tenant.twin()
    new = NewFraudPattern(type="email_domain", match="regex", value="spam", score_impact=5)
    with rival.transaction("admin") as connection:
        patterns.create(connection, tenant.id, ids.new_id(), ids.new_id(), new)
        assert scores(tenant) == [30]
    assert scores(tenant) == [30, 5]


def test_a_company_that_never_had_a_pattern_is_asked_nothing(tenant: Tenant) -> None:
    closed = tenant.twin().connection("app")
    closed.close()
    assert matching.ask(closed, tenant.id, matching.NEVER_EDITED).checks("a@spam.example", None, None, None) == []


def test_patterns_are_read_once_per_version(tenant: Tenant) -> None:
    make(tenant, "spam.example")
    first = matching.ask(tenant.connection("app"), tenant.id, version(tenant))
    closed = tenant.twin().connection("app")
    closed.close()
    assert matching.ask(closed, tenant.id, version(tenant)) is first


def test_a_company_hears_nothing_of_another_ones_patterns(tenant: Tenant, other_tenant: Tenant) -> None:
    make(tenant, "spam.example")
    make(other_tenant, "ham.example")
    assert scores(tenant) == [30]
    assert scores(other_tenant) == []


def test_a_process_keeps_so_many_patterns_and_no_more(
    tenant: Tenant, other_tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching, "KEPT_PATTERNS", 2)
    make(tenant, "spam.example")
    make(other_tenant, "ham.example")
    make(other_tenant, "jam.example")
    kept = matching.ask(tenant.connection("app"), tenant.id, version(tenant))
    assert scores(other_tenant, "a@jam.example") == [30]
    assert matching.ask(tenant.connection("app"), tenant.id, version(tenant)) is not kept
