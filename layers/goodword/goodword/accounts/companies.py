"""Companies: the tenants. A test company (`livemode` false) has a clock of its own that can be set."""

from collections.abc import Mapping
from typing import Any, LiteralString
from uuid import UUID

from psycopg import Connection
from psycopg.rows import dict_row

from goodword.core import query
from goodword.core.errors import Forbidden, Refused
from goodword.core.fields import AnswerModel, Destination, GivenInstant, Instant, RequestModel, Text


class NewCompany(RequestModel):
    """What a company begins with. `destination_url` is where its codes lead."""

    name: Text
    livemode: bool = False
    destination_url: Destination
    whop_company_id: Text | None = None


class TestClock(RequestModel):
    """The body of PUT /v1/test-clock; null returns to real time."""

    now: GivenInstant | None


class TestClockState(AnswerModel):
    """The set time, or null while real time runs."""

    now: Instant | None


_INSERT = """
    INSERT INTO companies (id, name, livemode, destination_url, whop_company_id)
    VALUES (%(id)s, %(name)s, %(livemode)s, %(destination_url)s, %(whop_company_id)s)
"""

# The first set may be anywhere; from then on time only moves forward, through null (real time) as well.
_SET_CLOCK = """
    UPDATE companies SET test_now = %(now)s::timestamptz,
        test_now_used = test_now_used OR %(now)s::timestamptz IS NOT NULL
    WHERE id = %(company_id)s AND NOT livemode AND (
        NOT test_now_used
        OR CASE WHEN test_now IS NULL
            THEN %(now)s::timestamptz IS NULL OR %(now)s::timestamptz >= clock_timestamp()
            ELSE coalesce(%(now)s::timestamptz, clock_timestamp()) >= test_now
        END)
    RETURNING test_now
"""

_SET_TIME_ZONE = """
    UPDATE companies SET time_zone = %(time_zone)s WHERE id = %(company_id)s AND time_zone <> %(time_zone)s
"""

_SETTINGS: LiteralString = """
    trial_duration_days, trial_plan, post_trial_plan, require_email_verification, self_registration_enabled,
    require_invite, invite_email_must_match, destination_url, whop_company_id, not_disposable_domains, created_at,
    updated_at
"""

_READ_SETTINGS = f"SELECT {_SETTINGS} FROM companies WHERE id = %(company_id)s"  # noqa: S608 - constants

# What is not given keeps the value under which it was read: the row is held.
_HOLD_SETTINGS = f"{_READ_SETTINGS} FOR NO KEY UPDATE"

_CHANGE_SETTINGS = f"""
    UPDATE companies SET trial_duration_days = %(trial_duration_days)s, trial_plan = %(trial_plan)s,
        post_trial_plan = %(post_trial_plan)s, require_email_verification = %(require_email_verification)s,
        self_registration_enabled = %(self_registration_enabled)s, require_invite = %(require_invite)s,
        invite_email_must_match = %(invite_email_must_match)s, destination_url = %(destination_url)s,
        whop_company_id = %(whop_company_id)s, not_disposable_domains = %(not_disposable_domains)s,
        updated_at = company_now(id)
    WHERE id = %(company_id)s
    RETURNING {_SETTINGS}
"""  # noqa: S608 - constants

_HOLD = "SELECT FROM companies WHERE id = %(company_id)s FOR NO KEY UPDATE"

_RAISE_PATTERNS_VERSION = "UPDATE companies SET patterns_version = patterns_version + 1 WHERE id = %(company_id)s"

_CLOCK = "SELECT test_now FROM companies WHERE id = %(company_id)s"
_DESTINATION = "SELECT destination_url FROM companies WHERE id = %(company_id)s"


def insert(connection: Connection, company_id: UUID, company: NewCompany) -> None:
    """Write a new company."""
    connection.execute(_INSERT, {"id": company_id, **company.model_dump()})


def destination(connection: Connection, company_id: UUID) -> str:
    """Where the company's codes lead when they say nothing themselves."""
    row = connection.execute(_DESTINATION, {"company_id": company_id}).fetchone()
    if row is None:
        raise LookupError(f"no company {company_id}")
    return row[0]


def settings(connection: Connection, company_id: UUID) -> dict[str, Any]:
    """The columns that a company may set (`access.settings`)."""
    return _one(connection, _READ_SETTINGS, company_id=company_id)


def change_settings(connection: Connection, company_id: UUID, given: Mapping[str, object]) -> dict[str, Any]:
    """Set some of these columns; all of them as they are then."""
    held = _one(connection, _HOLD_SETTINGS, company_id=company_id)
    return _one(connection, _CHANGE_SETTINGS, **{**held, **given, "company_id": company_id})


def hold(connection: Connection, company_id: UUID) -> None:
    """Hold the company, so that those who change what there is one of for each wait for each other; costs no trip."""
    query.do(connection, _HOLD, company_id=company_id)


def raise_patterns_version(connection: Connection, company_id: UUID) -> None:
    """Say that the company's patterns are others from now on, and hold the company until then; costs no trip."""
    query.do(connection, _RAISE_PATTERNS_VERSION, company_id=company_id)


def set_time_zone(connection: Connection, company_id: UUID, time_zone: str) -> None:
    """Set the zone by which the company's points expire and its uses are counted; costs no trip of its own."""
    connection.execute(_SET_TIME_ZONE, {"company_id": company_id, "time_zone": time_zone})


def set_test_clock(connection: Connection, company_id: UUID, livemode: bool, clock: TestClock) -> TestClockState:  # noqa: FBT001 - the caller's own flag
    """Set a test company's clock. Raises Forbidden for a live company, Refused for a step back."""
    _needs_test_company(livemode)
    row = connection.execute(_SET_CLOCK, {"company_id": company_id, "now": clock.now}).fetchone()
    if row is None:
        raise Refused(
            "clock_backwards", "A test clock only moves forward, and returns to real time once that is later."
        )
    return TestClockState(now=row[0])


def test_clock(connection: Connection, company_id: UUID, livemode: bool) -> TestClockState:  # noqa: FBT001 - as above
    """The state of a test company's clock. Raises Forbidden for a live company."""
    _needs_test_company(livemode)
    row = connection.execute(_CLOCK, {"company_id": company_id}).fetchone()
    return TestClockState(now=row[0] if row else None)


def _one(connection: Connection, statement: LiteralString, **values: object) -> dict[str, Any]:
    row = connection.cursor(row_factory=dict_row).execute(statement, values).fetchone()
    if row is None:
        raise LookupError(f"no company {values['company_id']}")
    return row


def _needs_test_company(livemode: bool) -> None:  # noqa: FBT001 - as above
    if livemode:
        raise Forbidden("live_company", "Only a test company has a clock that can be set.")
