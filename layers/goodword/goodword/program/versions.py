"""Versions of the program: every edit (`edits`) is a new immutable one, and a referral keeps the one it began under.

The company's own time zone, by which points expire and uses are counted, is that of the version in force.
"""

from datetime import datetime
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

from psycopg import Connection

from goodword.core.errors import NotFound
from goodword.program.document import Program


class Terms(NamedTuple):
    """The version in force, and the company's now: one reading for a whole use case."""

    version: int
    program: Program
    created_at: datetime
    at: datetime


_CURRENT = """
    SELECT version, program::text, created_at, company_now(company_id) AS at FROM program_versions
    WHERE company_id = %(company_id)s ORDER BY version DESC LIMIT 1
"""


@lru_cache(maxsize=64)
def parse(document: str) -> Program:
    """A stored document. Versions never change, so each is read once per process."""
    return Program.model_validate_json(document)


def current(connection: Connection, company_id: UUID) -> Terms:
    """The version in force: the highest. Raises NotFound when the company has none."""
    row = connection.execute(_CURRENT, {"company_id": company_id}).fetchone()
    if row is None:
        raise not_found()
    version, document, created_at, at = row
    return Terms(version, parse(document), created_at, at)


def not_found() -> NotFound:
    """The answer where a company has no version yet."""
    return NotFound("program_not_found", "This company has no program yet.")
