"""Tenants cannot touch: what the catalogue says of every table, and what happens to those who try."""

import psycopg
import pytest
from psycopg import sql

from goodword.core.errors import BY_CONSTRAINT
from tests.support.everything import fill
from tests.support.tenants import Tenant

# Tables without company_id, and why.
OF_NO_COMPANY = {
    "companies": "it is the company: its id is the company_id of all others",
    "privacy_keys": "hashes of all companies are made with one key per deployment",
    "job_leases": "a job runs for all companies of the deployment",
    "job_runs": "a job runs for all companies of the deployment",
    "sealing": "entries are sealed in the order of their transactions, whichever company they are of",
    "schema_migrations": "the schema belongs to the deployment",
}

# Foreign keys that may cross from one company to another, and why.
CROSSING = {
    "inbox_events_endpoint_fk": "an app's endpoint takes events of every company that installed the app",
    "reconciliations_endpoint_fk": "so is its provider asked about every such company",
}

# Columns that name a row of another table without a foreign key, and why.
UNGUARDED = {
    ("clicks", "code_id"): "both are copied from one codes row; a check would make a viral code's row hot",
    ("clicks", "previous_id"): "the click before this one; nothing references clicks (docs/rules.md, Chains of clicks)",
    ("referrals", "click_id"): "nothing references clicks (docs/rules.md, Chains of clicks)",
    ("seals", "entry_id"): "evidence must outlive what it is evidence of",
    ("lots", "user_id"): "it is that of the lot's entry, which is guarded",
    ("quota_grants", "user_id"): "it is the redemption's, which is guarded by its entry",
    ("redemptions", "option_id"): "redeem reads it by its company; a check would make the row of a popular one hot",
    ("redemptions", "user_id"): "redeem finds it by its company, and it is the entry's, which is guarded",
    ("signups", "click_id"): "nothing references clicks (docs/rules.md, Chains of clicks)",
    ("awards", "entry_id"): "it is posted in the call that writes the award; the audit compares both",
    ("judgements", "referral_id"): "it is written after the referral, in its transaction, and is evidence of it",
    ("judgements", "referrer_id"): "it is the referral's, or of somebody it was decided not to bind to",
    ("user_fingerprints", "referrer_id"): "it is the referral's, which is guarded",
    ("activity", "user_id"): "whoever writes it has just found or made the user by their company",
    ("scores", "user_id"): "it is an award's or a referral's, which are guarded, and is counted anew every night",
    ("campaigns", "change_id"): "which change was the last; it names no row",
}


def test_every_table_has_its_company(superuser: psycopg.Connection) -> None:
    tables = superuser.execute(
        """
        SELECT relname FROM pg_class
        WHERE relnamespace = 'goodword'::regnamespace AND relkind IN ('r', 'p') AND NOT EXISTS (
            SELECT 1 FROM pg_attribute
            WHERE attrelid = pg_class.oid AND attname = 'company_id' AND attnotnull
                AND atttypid = 'uuid'::regtype)
        """
    ).fetchall()
    assert {name for (name,) in tables} == OF_NO_COMPANY.keys()


def test_every_foreign_key_takes_the_company_along(superuser: psycopg.Connection) -> None:
    keys = superuser.execute(
        """
        SELECT con.conname, con.confrelid::regclass::text,
            ARRAY(SELECT attname::text FROM unnest(conkey) WITH ORDINALITY AS k (num, position)
                JOIN pg_attribute ON attrelid = conrelid AND attnum = k.num ORDER BY position),
            ARRAY(SELECT attname::text FROM unnest(confkey) WITH ORDINALITY AS k (num, position)
                JOIN pg_attribute ON attrelid = confrelid AND attnum = k.num ORDER BY position)
        FROM pg_constraint con
        WHERE connamespace = 'goodword'::regnamespace AND contype = 'f' AND conparentid = 0
        """
    ).fetchall()
    assert len(keys) > 30
    loose = [
        name
        for name, target, own, others in keys
        if (own[0], others[0]) != ("company_id", "id" if target == "companies" else "company_id")
        or (len(own) == 1) != (target == "companies")
    ]
    assert set(loose) == CROSSING.keys()


def test_every_column_that_names_a_row_elsewhere_is_guarded(superuser: psycopg.Connection) -> None:
    columns = superuser.execute(
        """
        SELECT relname, attname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
        WHERE relnamespace = 'goodword'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
            AND attnum > 0 AND NOT attisdropped AND attname LIKE '%\\_id' AND atttypid IN ('uuid'::regtype, 20)
            AND NOT EXISTS (
                SELECT 1 FROM pg_constraint
                WHERE contype = 'f' AND conrelid = pg_class.oid AND attnum = ANY (conkey))
        """
    ).fetchall()
    assert {(table, column) for table, column in columns if column != "company_id"} == UNGUARDED.keys()


def test_no_row_can_name_a_row_of_another_company(tenant: Tenant, other_tenant: Tenant) -> None:
    """Each foreign key of each row, pointed at the other company's row, is refused, for a superuser too."""
    fill(tenant)
    fill(other_tenant)
    keys = tenant.superuser.execute(
        """
        SELECT conname, conrelid::regclass::text, confrelid::regclass::text,
            (SELECT attname FROM pg_attribute WHERE attrelid = conrelid AND attnum = conkey[2]),
            (SELECT attname FROM pg_attribute WHERE attrelid = confrelid AND attnum = confkey[2])
        FROM pg_constraint
        WHERE connamespace = 'goodword'::regnamespace AND contype = 'f' AND conparentid = 0
            AND cardinality(conkey) = 2 AND NOT conname = ANY (%(crossing)s)
            -- entries and allocations cannot be changed at all (test_append_only)
            AND conrelid::regclass::text NOT IN ('entries', 'allocations')
        ORDER BY conname
        """,
        {"crossing": list(CROSSING)},
    ).fetchall()
    refused, natural = set(), set()
    for constraint, table, target, column, key in keys:
        theirs = sql.SQL(
            """
            SELECT {key} FROM {target} WHERE company_id = %(theirs)s
                AND {key} NOT IN (SELECT {key} FROM {target} WHERE company_id = %(ours)s) LIMIT 1
            """
        ).format(key=sql.Identifier(key), target=sql.Identifier(target))
        parameters = {"ours": tenant.id, "theirs": other_tenant.id}
        found = tenant.superuser.execute(theirs, parameters).fetchone()
        if found is None:
            natural.add(constraint)
            continue
        point = sql.SQL(
            """
            UPDATE {table} SET {column} = %(key)s
            WHERE ctid = (SELECT min(ctid) FROM {table} WHERE company_id = %(ours)s AND {column} IS NOT NULL)
            """
        ).format(table=sql.Identifier(table), column=sql.Identifier(column))
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            tenant.superuser.execute(point, {**parameters, "key": found[0]})
        refused.add(constraint)
    assert len(refused) > 20
    # these keys are words or numbers that both companies have; the company's own row is meant
    assert {name.rpartition("_")[0].rpartition("_")[2] for name in natural} == {"feature", "plan", "program"}


@pytest.mark.parametrize("constraint", sorted(BY_CONSTRAINT))
def test_every_constraint_that_is_an_answer_exists(superuser: psycopg.Connection, constraint: str) -> None:
    found = superuser.execute(
        """
        SELECT conname FROM pg_constraint WHERE connamespace = 'goodword'::regnamespace AND conname = %(name)s
        UNION
        SELECT relname FROM pg_class WHERE relnamespace = 'goodword'::regnamespace AND relname = %(name)s
        """,
        {"name": constraint},
    ).fetchall()
    assert found == [(constraint,)]


def test_constraints_are_named_by_their_table(superuser: psycopg.Connection) -> None:
    """Constraints are read by people, in errors and in tests; NOT NULL has no name of its own."""
    names = superuser.execute(
        """
        SELECT conrelid::regclass::text, conname FROM pg_constraint
        WHERE connamespace = 'goodword'::regnamespace AND contype IN ('p', 'u', 'f', 'c') AND conparentid = 0
            AND NOT (SELECT relispartition FROM pg_class WHERE oid = conrelid)
        """
    ).fetchall()
    unnamed = [
        (table, name)
        for table, name in names
        if table != "schema_migrations"
        and not (name.startswith(f"{table}_") and name[-3:] in {"_pk", "_uq", "_fk", "_ck"})
    ]
    assert unnamed == []
