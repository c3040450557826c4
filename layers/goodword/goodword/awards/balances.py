"""A balance as clients see it: the ledger's, with the points of awards that have not reached it yet."""

from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from psycopg import Connection

from goodword.core import query
from goodword.core.errors import NotFound, Refused
from goodword.core.query import Later
from goodword.points import ledger
from goodword.points.ledger import Balance

_PENDING: LiteralString = """
    SELECT coalesce(sum(points - reversed_points), 0)::bigint FROM awards
    WHERE awards.company_id = %(company_id)s AND awards.user_id = standing.owner_id
        AND awards.status IN ('pending', 'held')
"""

_NOW: LiteralString = f"SELECT standing.*, ({_PENDING}) AS pending FROM ({ledger.BALANCE_NOW}) AS standing"  # noqa: S608 - of constants

_THEN: LiteralString = f"SELECT standing.*, ({_PENDING}) AS pending FROM ({ledger.BALANCE_THEN}) AS standing"  # noqa: S608 - of constants


def find(connection: Connection, company_id: UUID, external_id: str, as_of: datetime | None) -> Balance:
    """What a user may spend now, or could have spent at a past instant; `pending` is of now. One statement.

    Raises NotFound, and Refused for an instant in the future.
    """
    return ask(connection, company_id, external_id, as_of)()


def ask(connection: Connection, company_id: UUID, external_id: str, as_of: datetime | None) -> Later[Balance]:
    """Ask for a balance; reading it raises as `find` does."""
    values = {"company_id": company_id, "external_id": external_id, "as_of": as_of}
    row_later = query.one_later(connection, dict[str, Any], _THEN if as_of else _NOW, **values)

    def read() -> Balance:
        row = row_later()
        if row is None:
            raise NotFound("user_not_found", "There is no such user.")
        if row["as_of"] > row.pop("now"):
            raise Refused("as_of_in_the_future", "as_of must not lie in the future.")
        return Balance(user_id=external_id, **row)

    return read
