"""A ledger of any size, laid down by COPY as ten days of postings would have left it.

Users come in pairs, of whom the even one brought the odd one. Each has earned nine times, the first time by an award,
and spent once what the four first earnings gave; so there are five open lots of ten points in each wallet. Earning `n`
is gone n days and some seconds after NOW. The rows are in the order in which the postings would have come, all users
once before any of them twice: the ten entries of a user lie far apart.
"""

import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

import psycopg
from psycopg import ClientCursor, sql

from tests.benchmarks.ground import ROOT, BenchmarkError, Ground

NOW = datetime.fromisoformat("2030-01-01T00:00:00Z")
"""The company's clock, which stands still."""
PER_USER = 10
"""Entries of each user."""
BYTES_PER_ENTRY = 1_600
"""Disk that a ledger takes, by its entries: tables, indexes, and what the log needs meanwhile."""
AT_ONCE = 20_000
"""Users in one COPY, of which each moves the progress bar."""


@dataclass(frozen=True)
class Rows:
    """Rows of one table. `rows` gives those of earning `turn` of the users from `first` to before `last`."""

    table: str
    columns: LiteralString
    rows: LiteralString
    turns: int = 1


LEDGER = (
    Rows("users", "company_id, id, external_id, created_at", """
        SELECT %(company_id)s::uuid, lpad(to_hex(u), 32, '0')::uuid, 'user_' || u,
            %(now)s::timestamptz - interval '11 days'
        FROM generate_series(%(first)s::bigint, %(last)s::bigint - 1) AS u
    """),
    Rows("codes", "company_id, id, code, type, user_id, uses, created_at, updated_at", """
        SELECT %(company_id)s::uuid, lpad(to_hex(u), 32, '0')::uuid, 'USER_' || u, 'auto',
            lpad(to_hex(u), 32, '0')::uuid, (u + 1) %% 2, at, at
        FROM generate_series(%(first)s::bigint, %(last)s::bigint - 1) AS u
        CROSS JOIN (SELECT %(now)s::timestamptz - interval '11 days') AS begun (at)
    """),
    Rows("signups", "company_id, user_id, outcome, source, trace, occurred_at", """
        SELECT %(company_id)s::uuid, lpad(to_hex(u), 32, '0')::uuid,
            CASE WHEN u %% 2 = 1 THEN 'attributed' ELSE 'none' END, CASE WHEN u %% 2 = 1 THEN 'code' END, '{}',
            %(now)s::timestamptz - interval '11 days'
        FROM generate_series(%(first)s::bigint, %(last)s::bigint - 1) AS u
    """),
    Rows("referrals", """company_id, id, referrer_id, referee_id, code_id, source, program_version, touched_at,
        registered_at, lapses_at, advances_at, trace, updated_at""", """
        SELECT %(company_id)s::uuid, lpad(to_hex(u), 32, '0')::uuid, lpad(to_hex(u - 1), 32, '0')::uuid,
            lpad(to_hex(u), 32, '0')::uuid, lpad(to_hex(u - 1), 32, '0')::uuid, 'code', 1, at, at,
            at + interval '90 days', at + interval '90 days', '{}', at
        FROM generate_series(%(first)s::bigint + 1, %(last)s::bigint - 1, 2) AS u
        CROSS JOIN (SELECT %(now)s::timestamptz - interval '11 days') AS begun (at)
    """),
    Rows("wallets", "company_id, user_id, balance, total_earned, total_spent, version, next_expiry_at", """
        SELECT %(company_id)s::uuid, lpad(to_hex(u), 32, '0')::uuid, 50, given + 80, -given - 30, 10,
            %(now)s::timestamptz + interval '4 days' + u %% 3600 * interval '1 second'
        FROM generate_series(%(first)s::bigint, %(last)s::bigint - 1) AS u
        CROSS JOIN LATERAL (SELECT CASE WHEN u %% 2 = 1 THEN 25 ELSE 5 END) AS award (given)
    """),
    Rows("entries", """company_id, id, user_id, type, delta, balance_after, debt_after, version, reference,
        program_version, effective_at, created_at""", """
        SELECT %(company_id)s::uuid, %(turn)s * %(users)s::bigint + u + 1, lpad(to_hex(u), 32, '0')::uuid,
            CASE %(turn)s WHEN 0 THEN CASE WHEN u %% 2 = 1 THEN 'REFERRAL_WELCOME' ELSE 'REFERRAL_REGISTERED' END
                WHEN 9 THEN 'ADMIN_GRANT' ELSE 'IMPORT' END,
            CASE %(turn)s WHEN 0 THEN given WHEN 9 THEN -given - 30 ELSE 10 END,
            CASE %(turn)s WHEN 9 THEN 50 ELSE given + 10 * %(turn)s END, 0, %(turn)s + 1,
            CASE %(turn)s WHEN 0 THEN 'awd_' || lpad(to_hex(u), 32, '0')
                ELSE 'imp_0190000000000000' || lpad((%(turn)s * %(users)s::bigint + u)::text, 16, '0') END,
            1, at, at
        FROM generate_series(%(first)s::bigint, %(last)s::bigint - 1) AS u
        CROSS JOIN LATERAL (SELECT CASE WHEN u %% 2 = 1 THEN 25 ELSE 5 END) AS award (given)
        CROSS JOIN (SELECT %(now)s::timestamptz - (10 - %(turn)s) * interval '1 day') AS posted (at)
    """, turns=10),
    Rows("lots", "company_id, id, user_id, amount, remaining, expires_at", """
        SELECT %(company_id)s::uuid, %(turn)s * %(users)s::bigint + u + 1, lpad(to_hex(u), 32, '0')::uuid,
            CASE WHEN %(turn)s > 0 THEN 10 WHEN u %% 2 = 1 THEN 25 ELSE 5 END,
            CASE WHEN %(turn)s < 4 THEN 0 ELSE 10 END,
            %(now)s::timestamptz + %(turn)s * interval '1 day' + u %% 3600 * interval '1 second'
        FROM generate_series(%(first)s::bigint, %(last)s::bigint - 1) AS u
    """, turns=9),
    Rows("allocations", "company_id, entry_id, lot_id, amount", """
        SELECT %(company_id)s::uuid, 9 * %(users)s::bigint + u + 1, %(turn)s * %(users)s::bigint + u + 1,
            CASE WHEN %(turn)s > 0 THEN 10 WHEN u %% 2 = 1 THEN 25 ELSE 5 END
        FROM generate_series(%(first)s::bigint, %(last)s::bigint - 1) AS u
    """, turns=4),
    Rows("awards", """company_id, id, referral_id, user_id, event, base_points, points, status, program_version,
        entry_id, trace, due_at, released_at, created_at""", """
        SELECT %(company_id)s::uuid, lpad(to_hex(u), 32, '0')::uuid, lpad(to_hex(u / 2 * 2 + 1), 32, '0')::uuid,
            lpad(to_hex(u), 32, '0')::uuid, event, given, given, 'paid', 1, u + 1, '{}', at, at, at
        FROM generate_series(%(first)s::bigint, %(last)s::bigint - 1) AS u
        CROSS JOIN LATERAL (SELECT CASE WHEN u %% 2 = 1 THEN 'welcome' ELSE 'registered' END,
            CASE WHEN u %% 2 = 1 THEN 25 ELSE 5 END) AS award (event, given)
        CROSS JOIN (SELECT %(now)s::timestamptz - interval '10 days') AS begun (at)
    """),
    Rows("scores", "company_id, user_id, board, points, reserved", """
        SELECT %(company_id)s::uuid, lpad(to_hex(u), 32, '0')::uuid, 'all', CASE WHEN u %% 2 = 1 THEN 0 ELSE 5 END,
            CASE WHEN u %% 2 = 1 THEN 25 ELSE 5 END
        FROM generate_series(%(first)s::bigint, %(last)s::bigint - 1) AS u
        UNION ALL
        SELECT %(company_id)s::uuid, lpad(to_hex(u), 32, '0')::uuid,
            to_char((%(now)s::timestamptz - interval '10 days') AT TIME ZONE 'UTC', 'YYYY-MM'), 5, 0
        FROM generate_series(%(first)s::bigint, %(last)s::bigint - 1) AS u WHERE u %% 2 = 0
    """),
)  # fmt: skip
"""In the order of the foreign keys, though nobody looks."""

_SET_CLOCK = "UPDATE companies SET livemode = false, test_now = %(now)s WHERE id = %(company_id)s"
_SET_SEQUENCE = "SELECT setval(pg_get_serial_sequence('entries', 'id'), %(entries)s + 1)"


def ask_for_room(entries: int) -> None:
    """Raise BenchmarkError where the disk cannot take a ledger of so many entries."""
    needed, free = entries * BYTES_PER_ENTRY, shutil.disk_usage(ROOT).free
    if needed > free:
        said = f"{entries:,} entries take some {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free"
        raise BenchmarkError(f"{said}: ENTRIES=n takes a smaller ledger")


def lay(ground: Ground, entries: int) -> None:
    """Lay a ledger of so many entries into a company that has nothing, and leave nothing to do for the rounds."""
    users = entries // PER_USER
    scope = {"company_id": ground.company_id, "now": NOW, "users": users, "entries": entries}
    ground.superuser.execute(_SET_CLOCK, scope)
    with _connect(ground) as reader, _connect(ground) as writer:
        # past the triggers: the rows are right, and looking up every one of them would take an hour
        writer.execute("SET session_replication_role = replica")
        for done, (rows, part) in enumerate(pieces := list(_pieces(users)), start=1):
            _copy(reader, writer, rows, {**scope, **part})
            _show(f"{entries:,} entries: {rows.table}", done / len(pieces))
    ground.superuser.execute(_SET_SEQUENCE, scope)
    ground.settle()


def _connect(ground: Ground) -> psycopg.Connection:
    connection = psycopg.connect(ground.superuser_url, autocommit=True, cursor_factory=ClientCursor)
    connection.execute("SET search_path = goodword")
    return connection


def _pieces(users: int) -> Iterator[tuple[Rows, Mapping[str, int]]]:
    for rows in LEDGER:
        for turn in range(rows.turns):
            for first in range(0, users, AT_ONCE):
                yield rows, {"turn": turn, "first": first, "last": min(first + AT_ONCE, users)}


def _copy(reader: psycopg.Connection, writer: psycopg.Connection, rows: Rows, scope: Mapping[str, object]) -> None:
    reading = sql.SQL("COPY ({rows}) TO STDOUT").format(rows=sql.SQL(rows.rows))
    writing = sql.SQL("COPY {table} ({columns}) FROM STDIN").format(
        table=sql.Identifier(rows.table), columns=sql.SQL(rows.columns)
    )
    with reader.cursor().copy(reading, scope) as source, writer.cursor().copy(writing) as target:
        for data in source:
            target.write(data)


def _show(what: str, part: float) -> None:
    """One line that grows where somebody watches; elsewhere nothing."""
    if sys.stderr.isatty():
        bar = "█" * round(part * 30)
        sys.stderr.write(f"\r{what:<36} {bar:<30} {part:4.0%}" + ("\n" if part == 1 else ""))
        sys.stderr.flush()
