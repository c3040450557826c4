"""A ledger posting, with its key and its lot, beside the least that any ledger does: one balance, one row."""

from itertools import count

from tests.benchmarks.ground import CLIENTS, Ground
from tests.benchmarks.table import Line, compare

ACCOUNTS = 20_000

_PLAIN = """
    CREATE SCHEMA plain;
    CREATE TABLE plain.accounts (id bigint PRIMARY KEY, balance bigint NOT NULL) WITH (fillfactor = 60);
    CREATE TABLE plain.entries (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account_id bigint NOT NULL, delta bigint NOT NULL,
        balance_after bigint NOT NULL, created_at timestamptz NOT NULL DEFAULT clock_timestamp());
    GRANT USAGE ON SCHEMA plain TO goodword_app;
    GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA plain TO goodword_app;
"""

_LOAD_PLAIN = """
    WITH opened AS (INSERT INTO plain.accounts SELECT n, 5 FROM generate_series(0, %(accounts)s - 1) AS n RETURNING *)
    INSERT INTO plain.entries (account_id, delta, balance_after) SELECT id, balance, balance FROM opened
"""

_LOAD = """
    SELECT count(post_entry(%(company_id)s, lpad(to_hex(n), 32, '0')::uuid, 'IMPORT', 5,
        'awd_0190000000000000' || lpad(n::text, 16, '0'), p_program_version => 1, p_expiry_months => 12))
    FROM generate_series(0, %(accounts)s - 1) AS n
"""

_POST_PLAIN = """
\\set account random(0, :accounts - 1)
WITH w AS (UPDATE plain.accounts SET balance = balance + 5 WHERE id = :account RETURNING id, balance)
INSERT INTO plain.entries (account_id, delta, balance_after) SELECT id, 5, balance FROM w;
"""

# References are ordered by time, as the ids are that they are made of in production; `next` lives as long as a client.
_POST = """
\\set account random(0, :accounts - 1)
\\set next :next + 1
\\set number :first + :next * :clients + :client_id
SELECT goodword.post_entry(:company, lpad(to_hex(:account::bigint), 32, '0')::uuid, 'IMPORT', 5,
    'awd_0190000000000001' || :number, p_program_version => 1, p_expiry_months => 12);
"""


def measure(ground: Ground) -> list[Line]:
    """The budget of a posting."""
    ground.superuser.execute(_PLAIN)
    ground.superuser.execute(_LOAD_PLAIN, {"accounts": ACCOUNTS})
    ground.add_users(ACCOUNTS)
    ground.superuser.execute(_LOAD, {"company_id": ground.company_id, "accounts": ACCOUNTS})
    ground.settle()
    firsts = count(10**15, 10**12)

    def post() -> float:
        own = {"company": ground.company_id, "next": 0, "first": next(firsts), "clients": CLIENTS}
        return ground.pgbench(_POST, role="app", variables={"accounts": ACCOUNTS, **own})

    def post_plain() -> float:
        return ground.pgbench(_POST_PLAIN, role="app", variables={"accounts": ACCOUNTS})

    found = compare(post, post_plain, rounds=15)
    detail = f"{found.judged:,.0f} of {found.other:,.0f} a second, {CLIENTS} clients"
    what = "ledger posting / UPDATE … RETURNING + INSERT"
    return [Line(what, 0.45, found.ratio, at_most=False, detail=detail)]
