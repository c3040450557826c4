"""The audit goes through a company's books once a day, window by window, and can be stopped anywhere."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from goodword.core.errors import NotFound
from goodword.core.jobs import Batch
from goodword.insight import audit, checks, integrity
from goodword.insight.integrity import Integrity
from goodword.insight.windows import AuditCheck
from tests.support.chain import seal_all
from tests.support.everything import fill
from tests.support.tenants import Tenant

AT_MOST = 1000
"""More batches than any audit here takes."""


def one_batch(tenant: Tenant) -> Batch:
    with tenant.transaction("jobs") as connection:
        return audit.batch(connection)


def run(tenant: Tenant) -> list[Batch]:
    """Batches until there is nothing left to do."""
    batches = [one_batch(tenant)]
    while batches[-1].more:
        batches.append(one_batch(tenant))
        assert len(batches) < AT_MOST
    return batches


def ask(tenant: Tenant) -> None:
    with tenant.transaction("jobs") as connection:
        audit.ask_for(connection, tenant.id)


def report(tenant: Tenant) -> Integrity:
    with tenant.transaction("admin") as connection:
        return integrity.report(connection, tenant.id)


def kept(tenant: Tenant) -> list[dict[str, Any]]:
    return tenant.rows("SELECT * FROM integrity_checks WHERE company_id = %(company_id)s")


def under_way(tenant: Tenant) -> dict[str, Any]:
    (row,) = tenant.rows("SELECT * FROM audits WHERE company_id = %(company_id)s")
    return row


def counted(batches: list[Batch], name: str) -> int:
    return sum(batch.counts.get(name, 0) for batch in batches)


@pytest.fixture(autouse=True)
def nothing_else_is_due(tenant: Tenant) -> None:
    run(tenant)


@pytest.fixture
def one_key_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "KEYS_PER_WINDOW", dict.fromkeys(audit.KEYS_PER_WINDOW, 1))


def break_wallet(tenant: Tenant) -> None:
    tenant.superuser.execute("UPDATE wallets SET version = version + 1 WHERE company_id = %s", (tenant.id,))


def test_a_company_is_audited_once_a_day_from_its_first_midnight_on(tenant: Tenant) -> None:
    fill(tenant)
    assert counted(run(tenant), "audited") == 0
    yesterday = datetime.now(UTC) - timedelta(days=1)
    tenant.superuser.execute("UPDATE companies SET created_at = %s WHERE id = %s", (yesterday, tenant.id))
    before = datetime.now(UTC)
    first = run(tenant)
    assert (counted(first, "audited"), counted(first, "disagreeing")) == (1, 0)
    assert {row["name"] for row in kept(tenant)} == set(checks.NAMES)
    assert all(row["checked_at"] >= before - timedelta(seconds=1) for row in kept(tenant))
    assert counted(run(tenant), "audited") == 0
    tenant.superuser.execute("UPDATE audits SET started_at = %s WHERE company_id = %s", (yesterday, tenant.id))
    assert counted(run(tenant), "audited") == 1


def test_an_audit_can_be_asked_for(tenant: Tenant) -> None:
    ask(tenant)
    assert counted(run(tenant), "audited") == 1
    tenant.post({"user_id": tenant.add_user("ada"), "points": 1})
    break_wallet(tenant)
    assert counted(run(tenant), "audited") == 0
    ask(tenant)
    assert counted(run(tenant), "disagreeing") == 1
    assert [row["name"] for row in kept(tenant) if not row["ok"]] == ["wallet_equals_entries"]


def test_no_company_no_audit(tenant: Tenant) -> None:
    connection = tenant.connection("jobs")
    with pytest.raises(NotFound):
        audit.ask_for(connection, None)


@pytest.mark.usefixtures("one_key_a_window")
def test_an_audit_goes_on_where_it_was_stopped(tenant: Tenant) -> None:
    """Stopped after every batch, and in the middle of every one; what was found before is not forgotten."""
    fill(tenant)
    seal_all(tenant)
    break_wallet(tenant)
    ask(tenant)
    whole = run(tenant)
    results = kept(tenant)
    ask(tenant)
    batches = list[Batch]()
    while not batches or batches[-1].more:
        twin = tenant.twin()
        with twin.connection("jobs").transaction(force_rollback=True):
            audit.batch(twin.connection("jobs"))
        batches.append(one_batch(twin))
        assert len(batches) < AT_MOST
    # the company itself, 10 seals, 10 entries, 3 wallets
    assert counted(batches, "windows") == counted(whole, "windows") == 24
    again = kept(tenant)
    assert [{**row, "checked_at": None} for row in again] == [{**row, "checked_at": None} for row in results]
    assert {row["ok"] for row in again} == {True, False}
    assert all(row["checked_at"] > results[0]["checked_at"] for row in again)


@pytest.mark.usefixtures("one_key_a_window")
def test_results_are_not_shown_before_the_audit_is_through(tenant: Tenant) -> None:
    fill(tenant)
    seal_all(tenant)
    ask(tenant)
    assert one_batch(tenant).more
    assert under_way(tenant)["space"] is not None
    assert kept(tenant) == []
    run(tenant)
    assert under_way(tenant)["space"] is None
    assert len(kept(tenant)) == len(checks.NAMES)


@pytest.mark.usefixtures("one_key_a_window")
def test_the_first_faults_are_named_and_not_all(tenant: Tenant) -> None:
    users = sorted(tenant.add_user(f"user-{number}") for number in range(checks.MOST_NAMED + 3))
    tenant.post(*({"user_id": user, "points": 1} for user in users))
    break_wallet(tenant)
    ask(tenant)
    run(tenant)
    (detail,) = [row["detail"] for row in kept(tenant) if not row["ok"]]
    assert [each.split(":")[0] for each in detail.split("; ")] == [
        f"usr_{user.hex}" for user in users[: checks.MOST_NAMED]
    ]


def test_what_cannot_be_checked_is_said_and_keeps_nothing_else_from_it(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    impossible = AuditCheck("chain_head", "company", "SELECT (1 / 0)::text WHERE %(company_id)s::uuid IS NOT NULL")
    monkeypatch.setattr(checks, "CHECKS", (*checks.CHECKS, impossible))
    ask(tenant)
    assert counted(run(tenant), "disagreeing") == 1
    wrong = {row["name"]: row["detail"] for row in kept(tenant) if not row["ok"]}
    assert wrong == {"chain_head": "company from 0 to 0 could not be checked: 22012"}


def test_a_fault_of_the_connection_is_no_fault_of_the_books(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    cut = AuditCheck(
        "chain_head", "company", "SELECT pg_terminate_backend(pg_backend_pid())::text, %(company_id)s::uuid"
    )
    ask(tenant)
    with monkeypatch.context() as patched:
        patched.setattr(checks, "CHECKS", (cut, *checks.CHECKS))
        with pytest.raises(psycopg.OperationalError):
            one_batch(tenant.twin())
    assert counted(run(tenant), "disagreeing") == 0


def test_a_lock_that_could_not_be_had_is_none_either(tenant: Tenant) -> None:
    ask(tenant)
    with tenant.superuser.transaction():
        tenant.superuser.execute("LOCK TABLE awards IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            run(tenant.twin())
    assert counted(run(tenant), "disagreeing") == 0


@pytest.mark.usefixtures("one_key_a_window")
def test_an_audit_asked_for_during_another_begins_at_the_start(tenant: Tenant) -> None:
    fill(tenant)
    ask(tenant)
    one_batch(tenant)
    one_batch(tenant)
    assert under_way(tenant)["space"] == "seals"
    break_wallet(tenant)
    ask(tenant)
    one_batch(tenant)
    assert under_way(tenant)["first_key"] is None
    run(tenant)
    assert [row["name"] for row in kept(tenant) if not row["ok"]] == ["wallet_equals_entries"]


def test_the_sealing_comes_first(tenant: Tenant) -> None:
    ada = tenant.add_user("ada")
    tenant.post(*({"user_id": ada, "points": 1} for _ in range(3)))
    ask(tenant)
    seal_all(tenant)
    tenant.post({"user_id": ada, "points": 1})
    assert counted(run(tenant), "sealed") == 1
    head = report(tenant).head
    assert head is not None
    assert head.position == 4


def test_a_large_company_is_told_what_the_audit_found(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tenant)
    seal_all(tenant)
    (count,) = tenant.rows("SELECT count(*) FROM entries WHERE company_id = %(company_id)s")
    monkeypatch.setattr(integrity, "MOST_ENTRIES", count["count"] - 1)
    not_yet = report(tenant)
    assert (not_yet.ok, {each.ok for each in not_yet.checks}) == (None, {None})
    assert [each.name for each in not_yet.checks] == list(checks.NAMES)
    ask(tenant)
    run(tenant)
    assert report(tenant).ok is True
    break_wallet(tenant)
    assert report(tenant).ok is True, "as of the audit"
    ask(tenant)
    run(tenant)
    answer = report(tenant)
    assert answer.ok is False
    assert [(each.name, each.checked_at) for each in answer.checks if not each.ok] == [
        ("wallet_equals_entries", under_way(tenant)["started_at"])
    ]
    monkeypatch.undo()
    assert [each.name for each in report(tenant).checks if not each.ok] == ["wallet_equals_entries"]


def test_a_company_with_many_entries_that_nobody_sealed_is_large_too(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = tenant.add_user("ada")
    tenant.post(*({"user_id": ada, "points": 1} for _ in range(5)))
    monkeypatch.setattr(integrity, "MOST_ENTRIES", 5)
    assert report(tenant).ok is True
    tenant.post({"user_id": ada, "points": 1})
    assert report(tenant).ok is None


def test_on_the_spot_the_seals_are_checked_in_parts(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = tenant.add_user("ada")
    tenant.post(*({"user_id": ada, "points": 1} for _ in range(10)))
    seal_all(tenant)
    with tenant.superuser.transaction():
        tenant.superuser.execute("SET LOCAL session_replication_role = replica")
        tenant.superuser.execute(
            "UPDATE entries SET occasion = 'x' WHERE company_id = %s AND version IN (1, 3, 4, 10)", (tenant.id,)
        )
    whole = report(tenant).checks
    monkeypatch.setattr(integrity, "SEALS_AT_ONCE", 3)
    in_parts = report(tenant).checks
    assert [(each.name, each.detail) for each in in_parts] == [(each.name, each.detail) for each in whole]
    assert [each.name for each in in_parts if not each.ok] == ["chain"]
