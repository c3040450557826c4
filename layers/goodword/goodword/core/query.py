"""Asking the database: one row, every row, or an answer that is read later.

A statement asked later travels with the ones after it: in `database.transact` a wait begins only where somebody reads.
A row is made of its columns by name.
"""

from collections.abc import Callable, Sequence
from typing import Any, LiteralString, TypeAlias, TypeVar

from psycopg import Connection
from psycopg.types.json import Jsonb
from pydantic_core import to_json

from goodword.core import statements

T = TypeVar("T")

Later: TypeAlias = Callable[[], T]
"""An answer that was asked for and rides along; calling it is the one wait."""


def one(connection: Connection, row: Callable[..., T], statement: LiteralString, /, **values: object) -> T | None:
    """The one row of a statement, or None."""
    return one_later(connection, row, statement, **values)()


def every(connection: Connection, row: Callable[..., T], statement: LiteralString, /, **values: object) -> list[T]:
    """All rows of a statement."""
    return statements.ask(connection, row, statement, values).rows()


def one_later(
    connection: Connection, row: Callable[..., T], statement: LiteralString, /, **values: object
) -> Later[T | None]:
    """Ask now for the one row of a statement."""
    answer = statements.ask(connection, row, statement, values)
    return lambda: next(iter(answer.rows()), None)


def the_one_later(
    connection: Connection, row: Callable[..., T], statement: LiteralString, /, **values: object
) -> Later[T]:
    """Ask now for the row of a statement that always gives one."""
    answer = statements.ask(connection, row, statement, values)

    def read() -> T:
        for found in answer.rows():
            return found
        raise LookupError("this statement always gives a row")

    return read


def every_later(
    connection: Connection, row: Callable[..., T], statement: LiteralString, /, **values: object
) -> Later[list[T]]:
    """Ask now for all rows of a statement."""
    return statements.ask(connection, row, statement, values).rows


def records_later(connection: Connection, statement: LiteralString, /, **values: object) -> Later[list[dict[str, Any]]]:
    """Ask now for rows by name that hold records, whose parts have their types on the binary wire alone."""
    return statements.ask(connection, dict[str, Any], statement, values, binary=True).rows


def do(connection: Connection, statement: LiteralString, /, **values: object) -> None:
    """Run a statement whose rows nobody reads; it costs no trip of its own."""
    statements.ask(connection, dict, statement, values)


def as_json(value: object) -> Jsonb:
    """A parameter of type jsonb, of anything that JSON has a form for: ids and instants too."""
    return Jsonb(value, dumps=to_json)


def as_bytea_array(digests: Sequence[bytes]) -> str:
    """A parameter of type bytea[], written at once: psycopg looks at each member of a list for its type."""
    return "{" + ",".join(f'"\\\\x{digest.hex()}"' for digest in digests) + "}"


def as_bytea(digest: bytes | None) -> str | None:
    """A value of type bytea within a parameter of type jsonb."""
    return None if digest is None else f"\\x{digest.hex()}"
