"""From one balance and one row to a ledger: what each thing that a ledger owes costs, one laid upon the other.

A rung changes the tables of the one below it, and posts into them by one statement. The first has the least there is;
the last does by one function all that `post_entry` does for an earning, without its rules.
"""

from dataclasses import dataclass
from typing import LiteralString

from tests.benchmarks.table import Budget

GROUND = """
    CREATE SCHEMA plain;
    CREATE TABLE plain.accounts (id bigint PRIMARY KEY, balance bigint NOT NULL) WITH (fillfactor = 60);
    CREATE TABLE plain.entries (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account_id bigint NOT NULL, delta bigint NOT NULL,
        balance_after bigint NOT NULL, created_at timestamptz NOT NULL DEFAULT clock_timestamp());
    ALTER DEFAULT PRIVILEGES IN SCHEMA plain GRANT SELECT, INSERT, UPDATE ON TABLES TO goodword_app;
    GRANT USAGE ON SCHEMA plain TO goodword_app;
    GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA plain TO goodword_app;
"""

LOAD = """
    WITH opened AS (INSERT INTO plain.accounts SELECT n, 5 FROM generate_series(0, %(accounts)s - 1) AS n RETURNING *)
    INSERT INTO plain.entries (account_id, delta, balance_after) SELECT id, balance, balance FROM opened
"""

PLAIN = """
\\set account random(0, :accounts - 1)
WITH w AS (UPDATE plain.accounts SET balance = balance + 5 WHERE id = :account RETURNING id, balance)
INSERT INTO plain.entries (account_id, delta, balance_after) SELECT id, 5, balance FROM w;
"""

# References are ordered by time, as the ids are that they are made of in production; `next` lives as long as a client.
NUMBERED = """
\\set account random(0, :accounts - 1)
\\set next :next + 1
\\set number :first + :next * :clients + :client_id
"""


@dataclass(frozen=True)
class Rung:
    """One thing more that a ledger owes: how the tables change for it, and how is posted then, by pgbench."""

    budget: Budget
    change: LiteralString
    posting: str


def _rung(what: str, change: LiteralString, posting: str) -> Rung:
    return Rung(Budget(what, None), change, NUMBERED + posting)


RUNGS = (
    _rung("… with a tenant and a user in each key", """
        CREATE TABLE plain.wallets (
            company_id uuid, user_id uuid, balance bigint NOT NULL CHECK (balance >= 0), version bigint NOT NULL,
            PRIMARY KEY (company_id, user_id)) WITH (fillfactor = 60);
        CREATE TABLE plain.postings (
            id bigint GENERATED ALWAYS AS IDENTITY, company_id uuid, user_id uuid NOT NULL, type text NOT NULL,
            delta bigint NOT NULL, balance_after bigint NOT NULL, version bigint NOT NULL,
            created_at timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (company_id, id));
        INSERT INTO plain.wallets
        SELECT companies.id, lpad(to_hex(accounts.id), 32, '0')::uuid, 5, 1 FROM goodword.companies, plain.accounts;
        INSERT INTO plain.postings (company_id, user_id, type, delta, balance_after, version)
        SELECT company_id, user_id, 'IMPORT', 5, 5, 1 FROM plain.wallets;
    """, """
WITH w AS (
    UPDATE plain.wallets SET balance = balance + 5, version = version + 1
    WHERE company_id = :company AND user_id = lpad(to_hex(:account::bigint), 32, '0')::uuid RETURNING *)
INSERT INTO plain.postings (company_id, user_id, type, delta, balance_after, version)
SELECT company_id, user_id, 'IMPORT', 5, balance, version FROM w;
    """),
    _rung("… and a reference that is booked once", """
        ALTER TABLE plain.postings ADD reference text;
        UPDATE plain.postings SET reference = 'awd_0190000000000000' || lpad(id::text, 16, '0');
        ALTER TABLE plain.postings ADD UNIQUE (company_id, reference, type);
    """, _REFERRED := """
WITH w AS (
    UPDATE plain.wallets SET balance = balance + 5, version = version + 1
    WHERE company_id = :company AND user_id = lpad(to_hex(:account::bigint), 32, '0')::uuid RETURNING *)
INSERT INTO plain.postings (company_id, user_id, type, delta, balance_after, version, reference)
SELECT company_id, user_id, 'IMPORT', 5, balance, version, 'awd_0190000000000001' || :number FROM w;
    """),
    _rung("… and versions without a gap", """
        ALTER TABLE plain.postings ADD UNIQUE (company_id, user_id, version);
    """, _REFERRED),
    _rung("… and foreign keys", """
        ALTER TABLE plain.wallets ADD FOREIGN KEY (company_id, user_id) REFERENCES goodword.users (company_id, id);
        ALTER TABLE plain.postings
            ADD FOREIGN KEY (company_id, user_id) REFERENCES plain.wallets (company_id, user_id);
    """, _REFERRED),
    _rung("… and a lot that expires", """
        CREATE TABLE plain.lots (
            company_id uuid, id bigint, user_id uuid NOT NULL, amount bigint NOT NULL, remaining bigint NOT NULL,
            expires_at timestamptz, PRIMARY KEY (company_id, id),
            FOREIGN KEY (company_id, id) REFERENCES plain.postings (company_id, id),
            FOREIGN KEY (company_id, user_id) REFERENCES plain.wallets (company_id, user_id)
        ) WITH (fillfactor = 60);
        INSERT INTO plain.lots
        SELECT company_id, id, user_id, delta, delta, created_at + interval '1 year' FROM plain.postings;
        CREATE INDEX ON plain.lots (company_id, user_id, expires_at, id) WHERE remaining > 0;
        CREATE INDEX ON plain.lots (company_id, expires_at) WHERE remaining > 0;
    """, """
WITH w AS (
    UPDATE plain.wallets SET balance = balance + 5, version = version + 1
    WHERE company_id = :company AND user_id = lpad(to_hex(:account::bigint), 32, '0')::uuid RETURNING *
), posted AS (
    INSERT INTO plain.postings (company_id, user_id, type, delta, balance_after, version, reference)
    SELECT company_id, user_id, 'IMPORT', 5, balance, version, 'awd_0190000000000001' || :number FROM w RETURNING *)
INSERT INTO plain.lots
SELECT company_id, id, user_id, delta, delta, created_at + interval '1 year' FROM posted;
    """),
    _rung("… and the clock read after the lock, in a function", """
        CREATE FUNCTION plain.post(p_company uuid, p_user uuid, p_points bigint, p_reference text) RETURNS bigint
            LANGUAGE plpgsql SET search_path = plain, pg_temp AS $$
        DECLARE
            w plain.wallets;
            at timestamptz;
            posting bigint;
        BEGIN
            SELECT * INTO w FROM wallets WHERE company_id = p_company AND user_id = p_user FOR NO KEY UPDATE;
            at := clock_timestamp();
            INSERT INTO postings (company_id, user_id, type, delta, balance_after, version, reference, created_at)
            VALUES (p_company, p_user, 'IMPORT', p_points, w.balance + p_points, w.version + 1, p_reference, at)
            ON CONFLICT (company_id, reference, type) DO NOTHING
            RETURNING id INTO posting;
            INSERT INTO lots VALUES (p_company, posting, p_user, p_points, p_points, at + interval '1 year');
            UPDATE wallets SET balance = balance + p_points, version = version + 1
            WHERE company_id = p_company AND user_id = p_user;
            RETURN posting;
        END $$;
    """, """
SELECT plain.post(:company, lpad(to_hex(:account::bigint), 32, '0')::uuid, 5, 'awd_0190000000000001' || :number);
    """),
)  # fmt: skip
