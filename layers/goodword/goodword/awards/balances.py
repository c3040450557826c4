"""A balance as clients see it: the ledger's, with the points of awards that have not reached it yet."""

from datetime import datetime
from uuid import UUID

from psycopg import Connection

from goodword.points import ledger
from goodword.points.ledger import Balance

_WAITING = """
    SELECT coalesce(sum(points - reversed_points), 0)::bigint
    FROM awards JOIN users ON users.company_id = awards.company_id AND users.id = awards.user_id
    WHERE awards.company_id = %(company_id)s AND users.external_id = %(external_id)s
        AND awards.status IN ('pending', 'held')
"""


def balance(connection: Connection, company_id: UUID, external_id: str, as_of: datetime | None) -> Balance:
    """A user's balance, with the points of awards that are still pending or held. Raises NotFound and Refused."""
    balance_later = ledger.ask_balance(connection, company_id, external_id, as_of)
    row = connection.execute(_WAITING, {"company_id": company_id, "external_id": external_id}).fetchone()
    return balance_later().model_copy(update={"pending": row[0] if row else 0})
