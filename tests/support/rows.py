"""The rows of one company, as the superuser sees them: what a request stored, and that it stored nothing."""

from collections import Counter
from typing import Any
from uuid import UUID

from psycopg import Connection, sql
from psycopg.rows import dict_row

_TABLES = """
    SELECT DISTINCT relname FROM pg_class
    JOIN pg_attribute ON attrelid = pg_class.oid AND attname = 'company_id' AND NOT attisdropped
    WHERE relnamespace = 'goodword'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
    ORDER BY relname
"""


_counting: list[str] = []
"""The statement that counts, once it is made: every database of a run has the same tables."""


def count(superuser: Connection, company_id: UUID) -> Counter[str]:
    """How many rows each table holds for a company; tables without any are left out."""
    if not _counting:
        _counting.append(_statement(superuser))
    counted = superuser.execute(_counting[0].encode(), {"company_id": company_id}).fetchall()
    return Counter({name: rows for name, rows in counted if rows})


def _statement(superuser: Connection) -> str:
    one = sql.SQL("SELECT {name} AS name, count(*) AS rows FROM {table} WHERE company_id = %(company_id)s")
    tables = superuser.execute(_TABLES).fetchall()
    every = (one.format(name=sql.Literal(name), table=sql.Identifier(name)) for (name,) in tables)
    return sql.SQL(" UNION ALL ").join(every).as_string(superuser)


def find(superuser: Connection, statement: str, **parameters: object) -> list[dict[str, Any]]:
    """The rows of a query, by column name."""
    return superuser.cursor(row_factory=dict_row).execute(statement.encode(), parameters).fetchall()


def find_one(superuser: Connection, statement: str, **parameters: object) -> dict[str, Any]:
    """The only row of a query."""
    (row,) = find(superuser, statement, **parameters)
    return row
