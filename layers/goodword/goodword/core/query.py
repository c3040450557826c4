"""Asking the database: one row, every row, or an answer that is read later.

A statement asked later travels with the ones after it: in `database.transact` a wait begins only where somebody reads.
"""

from collections.abc import Callable
from typing import LiteralString, TypeAlias, TypeVar

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb
from pydantic_core import to_json

T = TypeVar("T")

Later: TypeAlias = Callable[[], T]
"""An answer that was asked for and rides along; calling it is the one wait."""


def one(connection: Connection, row: type[T], statement: LiteralString, **values: object) -> T | None:
    """The one row of a statement, or None."""
    return connection.cursor(row_factory=class_row(row)).execute(statement, values).fetchone()


def every(connection: Connection, row: type[T], statement: LiteralString, **values: object) -> list[T]:
    """All rows of a statement."""
    return connection.cursor(row_factory=class_row(row)).execute(statement, values).fetchall()


def one_later(connection: Connection, row: type[T], statement: LiteralString, **values: object) -> Later[T | None]:
    """Ask now for the one row of a statement."""
    return connection.cursor(row_factory=class_row(row)).execute(statement, values).fetchone


def the_one_later(connection: Connection, row: type[T], statement: LiteralString, **values: object) -> Later[T]:
    """Ask now for the row of a statement that always gives one."""
    row_later = one_later(connection, row, statement, **values)

    def read() -> T:
        answer = row_later()
        if answer is None:
            raise LookupError("this statement always gives a row")
        return answer

    return read


def every_later(connection: Connection, row: type[T], statement: LiteralString, **values: object) -> Later[list[T]]:
    """Ask now for all rows of a statement."""
    return connection.cursor(row_factory=class_row(row)).execute(statement, values).fetchall


def as_json(value: object) -> Jsonb:
    """A parameter of type jsonb, of anything that JSON has a form for: ids and instants too."""
    return Jsonb(value, dumps=to_json)
