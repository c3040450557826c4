"""Edits of the program, and the versions that they made, as an administrator sees them."""

from typing import Annotated
from uuid import UUID

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from pydantic import Field

from goodword.accounts import companies
from goodword.core import outbox, paging
from goodword.core.errors import invalid_fields
from goodword.core.fields import DIGITS, AnswerModel, Instant
from goodword.core.paging import Page, PageQuery
from goodword.facts import locks
from goodword.program import versions
from goodword.program.document import Program


class ProgramVersion(AnswerModel):
    """One version as clients see it."""

    version: int
    created_at: Instant
    program: Program


class ProgramVersionList(Page[ProgramVersion]):
    """A page of versions, newest first."""


class VersionQuery(PageQuery):
    """How GET /v1/program/versions is asked; `after` is a version's number."""

    after: Annotated[int, Field(ge=1, le=2**31 - 1), DIGITS] | None = None


_FIRST = """
    INSERT INTO program_versions (company_id, version, program, created_at)
    VALUES (%(company_id)s, 1, %(program)s, company_now(%(company_id)s))
"""

# It reads some hundred files of the server's, so nobody is to wait for it.
_IS_ZONE = "SELECT EXISTS (SELECT 1 FROM pg_timezone_names WHERE name = %(timezone)s)"

# A statement of its own, after the lock: it must see the version of whoever held it before. The id was made before the
# first attempt: an attempt repeated after a lost connection finds its own version.
_NEXT = """
    WITH earlier AS (
        SELECT version, created_at FROM program_versions WHERE company_id = %(company_id)s AND id = %(id)s
    ), written AS (
        INSERT INTO program_versions (company_id, id, version, program, created_at)
        SELECT %(company_id)s, %(id)s, coalesce(max(version), 0) + 1, %(program)s, company_now(%(company_id)s)
        FROM program_versions WHERE company_id = %(company_id)s
        HAVING NOT EXISTS (SELECT 1 FROM earlier)
        RETURNING version, created_at
    )
    SELECT version, created_at, false AS is_new FROM earlier
    UNION ALL SELECT version, created_at, true FROM written
"""

_VERSIONS = """
    SELECT version, created_at, program::text AS document FROM program_versions
    WHERE company_id = %(company_id)s AND (%(after)s::integer IS NULL OR version < %(after)s)
    ORDER BY version DESC LIMIT %(limit)s + 1
"""

_IS_VERSION = "SELECT 1 FROM program_versions WHERE company_id = %(company_id)s AND version = %(after)s"


def read(connection: Connection, company_id: UUID) -> ProgramVersion:
    """The version in force, as clients see it. Raises NotFound."""
    terms = versions.current(connection, company_id)
    return ProgramVersion(version=terms.version, created_at=terms.created_at, program=terms.program)


def begin(connection: Connection, company_id: UUID, program: Program) -> None:
    """Write version 1."""
    connection.execute(_FIRST, {"company_id": company_id, "program": _document(program)})


def replace(connection: Connection, company_id: UUID, version_id: UUID, program: Program) -> ProgramVersion:
    """Write the next version, which is in force from now on. Two at once become two versions, one after the other.

    Raises Refused for a time zone that the database does not know.
    """
    new = {
        "company_id": company_id,
        "id": version_id,
        "program": _document(program),
        "timezone": program.timezone,
    }
    known = connection.execute(_IS_ZONE, new)
    locks.hold_program(connection, company_id)
    written = connection.execute(_NEXT, new)
    if known.fetchone() != (True,):
        raise invalid_fields(("timezone", "must be a time zone's name, as Europe/Berlin"))
    row = written.fetchone()
    if row is None:
        raise LookupError("a version is written, or was before")
    version, created_at, is_new = row
    if is_new:
        companies.set_time_zone(connection, company_id, program.timezone)
    updated = outbox.Event("program.updated", {"version": version}, version_id)
    outbox.announce(connection, company_id, [updated], created_at)
    return ProgramVersion(version=version, created_at=created_at, program=program)


def listed(connection: Connection, company_id: UUID, page: VersionQuery) -> ProgramVersionList:
    """A page of the company's versions, newest first. Raises Refused for an `after` that is none of them."""
    scope = {"company_id": company_id, "after": page.after}
    rows = connection.cursor(row_factory=dict_row).execute(_VERSIONS, {**scope, "limit": page.limit}).fetchall()
    if page.after:
        paging.refuse_unknown(connection, _IS_VERSION, "is no version of this company", **scope)
    shown = [ProgramVersion(program=versions.parse(row.pop("document")), **row) for row in rows]
    return ProgramVersionList.of(shown, page.limit)


def _document(program: Program) -> Jsonb:
    return Jsonb(program.model_dump(mode="json", by_alias=True))
