"""What a user did, or what was done to them: one row each, in the transaction of the deed."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from psycopg import Connection
from psycopg.types.json import Jsonb

from goodword.core import ids

_RECORD = """
    INSERT INTO activity (company_id, id, user_id, action, details, created_at)
    VALUES (%(company_id)s, %(id)s, %(user_id)s, %(action)s, %(details)s, %(at)s)
"""


def record(
    connection: Connection, company_id: UUID, user_id: UUID, action: str, details: Mapping[str, object], at: datetime
) -> None:
    """Write one row; `details` holds no personal data."""
    connection.execute(
        _RECORD,
        {
            "company_id": company_id,
            "id": ids.new_id(),
            "user_id": user_id,
            "action": action,
            "details": Jsonb(details),
            "at": at,
        },
    )
