"""Pages of lists, keyset by keyset: `?limit=` and `?after=` in, `data` and `has_more` out (docs/api.md, Lists).

A statement asks for one row more than its page holds, which tells whether there are more.
"""

from collections.abc import Sequence
from typing import Annotated, Generic, LiteralString, Self, TypeVar

from psycopg import Connection
from pydantic import Field

from goodword.core.errors import invalid_fields
from goodword.core.fields import DIGITS, AnswerModel, RequestModel

Row = TypeVar("Row")


class PageQuery(RequestModel):
    """How a list is asked; lists add their filters and their own `after`."""

    limit: Annotated[int, Field(ge=1, le=100), DIGITS] = 20


class Page(AnswerModel, Generic[Row]):
    """A page of a list."""

    data: list[Row]
    has_more: bool

    @classmethod
    def of(cls, rows: Sequence[Row], limit: int) -> Self:
        """The page of `limit` rows out of at most one more."""
        return cls(data=list(rows[:limit]), has_more=len(rows) > limit)


def refuse_unknown(connection: Connection, statement: LiteralString, what: str, **values: object) -> None:
    """Refuse an `after` that names nothing the list could hold: `statement` finds no row. Costs a trip.

    Raises Refused.
    """
    if connection.execute(statement, values).fetchone() is None:
        raise invalid_fields(("after", what))
