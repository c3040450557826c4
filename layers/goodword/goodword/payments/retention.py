"""How long the inbox keeps the bytes of events: they hold personal data, and once handled they are of little use."""

from datetime import timedelta

from psycopg import Connection

from goodword.core.jobs import Batch

JOB = "enforce_retention"
BODIES_PER_BATCH = 1000
BODY_DAYS = 90
"""How long the body of a handled event is kept: providers' own replays and every question come sooner."""

_REDACT = """
    UPDATE inbox_events SET body = NULL, headers = '{}' WHERE (company_id, id) IN (
        SELECT company_id, id FROM inbox_events
        WHERE body IS NOT NULL AND outcome <> 'failed' AND received_at < clock_timestamp() - %(age)s
        ORDER BY received_at LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED)
    RETURNING id
"""


def redact(connection: Connection) -> Batch:
    """Remove the bodies of handled events that are past their retention; the event itself is known for ever."""
    age = timedelta(days=BODY_DAYS)
    redacted = connection.execute(_REDACT, {"age": age, "limit": BODIES_PER_BATCH}).fetchall()
    return Batch(counts={"bodies": len(redacted)}, more=len(redacted) == BODIES_PER_BATCH)
