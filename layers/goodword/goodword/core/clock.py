"""The sources of now.

Real time rules machinery: signatures, leases, caches, partitions. Company time rules business: a test company's clock
can be set, and then stands still. `company_now` is the SQL function of the same name, for use cases in Python.
"""

import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

from psycopg import Connection

from goodword.core.errors import Refused

TOLERANCE = timedelta(minutes=5)
"""How far the clock of an app may be ahead of ours."""


def real_now() -> datetime:
    """The machine's own time, in UTC."""
    return datetime.now(UTC)


def real_milliseconds() -> int:
    """The machine's own time in whole milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def company_now(connection: Connection, company_id: UUID) -> datetime:
    """The company's time: its set clock, else the database's time (one clock for all functions)."""
    row = connection.execute("SELECT company_now(%(company_id)s)", {"company_id": company_id}).fetchone()
    if row is None or row[0] is None:
        raise LookupError(f"no company {company_id}")
    return row[0]


def past(field: str, given: datetime, now: datetime) -> datetime:
    """A time at which something has happened, by the clock of an app: one that is a little ahead of ours says now.

    Raises Refused for `field` when it is ahead by more than that (docs/rules.md, Clocks).
    """
    if given > now + TOLERANCE:
        raise Refused(f"{field}_in_the_future", f"{field} must not lie in the future.")
    return min(given, now)
