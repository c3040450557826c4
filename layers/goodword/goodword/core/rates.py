"""Rate limits: so many hits of one subject in a sliding window of real time (the SQL function `take_hit`).

A hit counts with the transaction in which it was taken; a refused one, and one that is rolled back, do not count.
"""

from datetime import timedelta
from uuid import UUID

from psycopg import Connection

from goodword.core.errors import TooManyRequests

_TAKE_HIT = "SELECT take_hit(%(company_id)s, %(kind)s, %(subject)s, %(most)s, %(window)s)"


def take_hit(
    connection: Connection, company_id: UUID, kind: str, subject: bytes, most: int, window: timedelta, detail: str
) -> None:
    """Count one more hit. Raises TooManyRequests with `detail` where there were `most` in the window."""
    values = {"company_id": company_id, "kind": kind, "subject": subject, "most": most, "window": window}
    row = connection.execute(_TAKE_HIT, values).fetchone()
    refuse_after(row[0] if row else None, detail)


def refuse_after(seconds: int | None, detail: str) -> None:
    """For a statement that takes its hit itself: raise TooManyRequests unless what `take_hit` answered is None."""
    if seconds is not None:
        raise TooManyRequests("rate_limited", detail, retry_after=seconds)
