"""Entries and allocations stay as they were written, whoever asks."""

from typing import LiteralString

import psycopg
import pytest

from tests.support.everything import fill
from tests.support.tenants import Tenant

CHANGES: list[tuple[str, LiteralString]] = [
    ("entries", "UPDATE entries SET delta = delta + 1 WHERE company_id = %(company_id)s"),
    ("entries", "UPDATE entries SET note_hash = NULL WHERE company_id = %(company_id)s"),
    ("entries", "DELETE FROM entries WHERE company_id = %(company_id)s"),
    ("allocations", "UPDATE allocations SET amount = amount WHERE company_id = %(company_id)s"),
    ("allocations", "DELETE FROM allocations WHERE company_id = %(company_id)s"),
]
EMPTYINGS: list[tuple[str, LiteralString]] = [
    ("entries", "TRUNCATE entries CASCADE"),
    ("allocations", "TRUNCATE allocations"),
    ("entries", "TRUNCATE wallets CASCADE"),
    ("entries", "TRUNCATE users CASCADE"),
]
ROLES = ("click", "webhook", "app", "admin", "jobs")


@pytest.fixture(scope="module")
def filled(kept_tenant: Tenant) -> Tenant:
    """A company with entries and allocations, all of which stay."""
    fill(kept_tenant)
    return kept_tenant


@pytest.mark.parametrize(("table", "statement"), CHANGES + EMPTYINGS, ids=lambda value: value)
@pytest.mark.parametrize("role", ["superuser", "migrator"])
def test_nothing_booked_is_changed_even_by_its_owner(
    filled: Tenant, role: str, table: str, statement: LiteralString
) -> None:
    connection = filled.superuser if role == "superuser" else filled.connection("migrator")
    with pytest.raises(psycopg.errors.RestrictViolation) as refused:
        connection.execute(statement, {"company_id": filled.id})
    # which of the two tables refuses a cascade first is the server's choice
    tables = {table} if "CASCADE" not in statement else {"entries", "allocations"}
    assert refused.value.diag.table_name in tables
    assert refused.value.diag.constraint_name == f"{refused.value.diag.table_name}_append_only"


def test_each_guards_itself(superuser: psycopg.Connection) -> None:
    """A cascade reaches several, so the guard of one would hide that another's is gone."""
    triggers = superuser.execute(
        """
        SELECT tgrelid::regclass::text, tgname, tgenabled FROM pg_trigger
        WHERE tgfoid = 'goodword.refuse_change'::regproc
        """
    ).fetchall()
    assert set(triggers) == {
        (table, f"{table}_{what}", "O")
        for table in ("entries", "allocations", "seals")
        for what in ("append_only", "no_truncate")
    }


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("table", "statement"), CHANGES + EMPTYINGS, ids=lambda value: value)
def test_no_function_may_even_try(kept_tenant: Tenant, role: str, table: str, statement: LiteralString) -> None:  # noqa: ARG001 - both kinds of changes come with their table
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        kept_tenant.connection(role).execute(statement, {"company_id": kept_tenant.id})


@pytest.mark.parametrize("role", ROLES)
def test_only_the_postings_write_the_ledger(superuser: psycopg.Connection, role: str) -> None:
    for table in ("wallets", "entries", "lots", "allocations", "redemptions", "quota_grants"):
        granted = superuser.execute(
            """
            SELECT p FROM unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS p
            WHERE has_table_privilege('goodword_' || %(role)s, 'goodword.' || %(table)s, p)
            """,
            {"role": role, "table": table},
        ).fetchall()
        assert granted == [], table
