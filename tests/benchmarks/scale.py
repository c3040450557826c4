"""A large ledger beside a small one: what a redemption takes in each, and how fast points expire in the large one.

Each user has earned nine times, and once spent what the four first earnings gave; so there are five open lots a wallet.
The rows are written as postings would have left them, but all at once and past the triggers.
"""

import os
import statistics
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random

from goodword.core import ids
from goodword.core.one_trip import OneTrip
from goodword.points import expiry, redemptions
from goodword.points.redemptions import NewRedemption
from tests.benchmarks.ground import BenchmarkError, Ground, database
from tests.benchmarks.table import Line, compare

ENTRIES = int(os.environ.get("ENTRIES") or 10_000_000)
SMALL = 10_000
PER_USER = 10
CALLS = 300
SECONDS = 10
CREATED = 201
NOW = datetime.fromisoformat("2030-01-01T00:00:00Z")

# The points of earning `n` are gone n days and some seconds after NOW.
_LOAD = (
    "SET session_replication_role = replica",
    "UPDATE companies SET livemode = false, test_now = %(now)s WHERE id = %(company_id)s",
    """
    INSERT INTO wallets (company_id, user_id, balance, total_earned, total_spent, version, next_expiry_at)
    SELECT %(company_id)s, lpad(to_hex(u), 32, '0')::uuid, 50, 90, -40, 10,
        %(now)s::timestamptz + interval '4 days' + u %% 3600 * interval '1 second'
    FROM generate_series(0, %(users)s - 1) AS u
    """,
    """
    INSERT INTO entries (company_id, id, user_id, type, delta, balance_after, debt_after, version, reference,
        program_version, effective_at, created_at)
    OVERRIDING SYSTEM VALUE
    SELECT %(company_id)s, n * %(users)s + u + 1, lpad(to_hex(u), 32, '0')::uuid,
        CASE WHEN n < 9 THEN 'IMPORT' ELSE 'ADMIN_GRANT' END, CASE WHEN n < 9 THEN 10 ELSE -40 END,
        CASE WHEN n < 9 THEN 10 * (n + 1) ELSE 50 END, 0, n + 1,
        CASE WHEN n < 9 THEN 'imp' ELSE 'adj' END || '_0190000000000000' || lpad((n * %(users)s + u)::text, 16, '0'),
        1, at, at
    FROM generate_series(0, 9) AS n CROSS JOIN generate_series(0, %(users)s - 1) AS u
    CROSS JOIN LATERAL (SELECT %(now)s::timestamptz - (10 - n) * interval '1 day' AS at) AS dated
    """,
    """
    INSERT INTO lots (company_id, id, user_id, amount, remaining, expires_at)
    SELECT %(company_id)s, n * %(users)s + u + 1, lpad(to_hex(u), 32, '0')::uuid, 10,
        CASE WHEN n < 4 THEN 0 ELSE 10 END,
        %(now)s::timestamptz + n * interval '1 day' + u %% 3600 * interval '1 second'
    FROM generate_series(0, 8) AS n CROSS JOIN generate_series(0, %(users)s - 1) AS u
    """,
    """
    INSERT INTO allocations (company_id, entry_id, lot_id, amount)
    SELECT %(company_id)s, 9 * %(users)s::bigint + u + 1, n * %(users)s + u + 1, 10
    FROM generate_series(0, 3) AS n CROSS JOIN generate_series(0, %(users)s - 1) AS u
    """,
    "SELECT setval(pg_get_serial_sequence('entries', 'id'), %(entries)s + 1)",
    "SET session_replication_role = origin",
)

_OFFER = """
    INSERT INTO redemption_options (company_id, id, kind, name, feature, quantity, cost_points, created_at)
    VALUES (%(company_id)s, %(option)s, 'quota', 'Calls', 'ai_calls', 1, 1, clock_timestamp())
"""


def measure(ground: Ground) -> list[Line]:
    """The budgets of a large ledger."""
    with database(ground.cluster, ground.home, "small") as small:
        _load(small, SMALL)
        _load(ground, ENTRIES)
        found = compare(_redeeming(ground, ENTRIES), _redeeming(small, SMALL))
    size = f"{ENTRIES:,} entries of {ENTRIES // PER_USER:,} users"
    detail = f"p50 {found.judged:.2f} ms, {found.other:.2f} ms at {SMALL:,} entries"
    return [
        Line(f"redeem at {size}", 1.2, found.ratio, at_most=True, detail=detail),
        _expire(ground),
    ]


def _load(ground: Ground, entries: int) -> None:
    users = entries // PER_USER
    ground.add_users(users)
    for statement in _LOAD:
        ground.superuser.execute(
            statement, {"company_id": ground.company_id, "users": users, "entries": entries, "now": NOW}
        )
    ground.settle()


def _redeeming(ground: Ground, entries: int) -> Callable[[], float]:
    """Measures the median of some redemptions, each by anybody, in milliseconds."""
    option, connection, dice = ids.new_id(), ground.connect("app"), Random(1)  # noqa: S311 - no secret
    ground.superuser.execute(_OFFER, {"company_id": ground.company_id, "option": option})
    new = NewRedemption(option_id=ids.public("opt", option))

    def redeem() -> float:
        durations: list[float] = []
        for _ in range(CALLS):
            user_id = f"user_{dice.randrange(entries // PER_USER)}"
            trip = OneTrip(ground.company_id, str(ids.new_id()), bytes(32), "bare")
            began = time.perf_counter()
            kept = redemptions.redeem(connection, trip, user_id, ids.new_id(), new)
            durations.append(time.perf_counter() - began)
            if kept.status != CREATED:
                raise BenchmarkError(f"a redemption was refused: {kept}")
        return statistics.median(durations) * 1000

    return redeem


def _expire(ground: Ground) -> Line:
    """Book what has expired, as the job does, once all lots have."""
    later = NOW + timedelta(days=30)
    ground.superuser.execute("UPDATE companies SET test_now = %s WHERE id = %s", (later, ground.company_id))
    before = _open_lots(ground)
    with ground.connect("jobs") as jobs:
        began, more = time.perf_counter(), True
        while more and time.perf_counter() - began < SECONDS:
            with jobs.transaction():
                more = expiry.batch(jobs).more
        took = time.perf_counter() - began
    rate = (before - _open_lots(ground)) / took
    detail = "five lots a wallet, each at an instant of its own; one run of the job"
    return Line("lots expired a second", 50_000, rate, at_most=False, detail=detail)


def _open_lots(ground: Ground) -> int:
    (row,) = ground.superuser.execute("SELECT count(*) FROM lots WHERE open").fetchall()
    return row[0]
