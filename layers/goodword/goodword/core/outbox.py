"""What the company's own systems get to hear: one row per state change, written in its transaction.

The relay numbers the rows per company without gaps and publishes them; the writer only writes.
"""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from psycopg import Connection
from psycopg.types.json import Jsonb

from goodword.core import ids

_ANNOUNCE = """
    INSERT INTO outbox_events (company_id, id, type, data, created_at)
    VALUES (%(company_id)s, %(id)s, %(type)s, %(data)s, %(at)s)
"""


def announce(connection: Connection, company_id: UUID, type_: str, data: Mapping[str, object], at: datetime) -> None:
    """Write one event of the given type (`referral.registered`, `award.paid`, …)."""
    connection.execute(
        _ANNOUNCE, {"company_id": company_id, "id": ids.new_id(), "type": type_, "data": Jsonb(data), "at": at}
    )
