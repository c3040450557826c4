"""What the company's own systems get to hear: one row per state change, written in its transaction.

The relay numbers the rows per company without gaps and publishes them; the writer only writes.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from psycopg import Connection

from goodword.core import ids, query


class Event(NamedTuple):
    """One thing that happened: its type (`referral.registered`, `award.paid`) and what it is about.

    With an `id` made before the first attempt, a repeated attempt announces it once.
    """

    type: str
    data: Mapping[str, object]
    id: UUID | None = None


_ANNOUNCE = """
    INSERT INTO outbox_events (company_id, id, type, data, created_at)
    SELECT %(company_id)s, id, type, data, %(at)s
    FROM jsonb_to_recordset(%(events)s) AS event (id uuid, type text, data jsonb)
    ON CONFLICT DO NOTHING
"""


def row(event: Event) -> dict[str, object]:
    """An event as the row that announces it."""
    return {"id": event.id or ids.new_id(), "type": event.type, "data": event.data}


def announce(connection: Connection, company_id: UUID, events: Sequence[Event], at: datetime) -> None:
    """Write events, in this order."""
    if events:
        rows = query.as_json([row(event) for event in events])
        query.do(connection, _ANNOUNCE, company_id=company_id, events=rows, at=at)
