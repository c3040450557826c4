"""Profiles: a user as clients see them, gathered from every room below this one in one statement."""

from typing import LiteralString
from uuid import UUID

from psycopg import Connection
from psycopg.rows import dict_row

from goodword.core.errors import NotFound
from goodword.core.fields import AnswerModel, Instant
from goodword.core.ids import UserId
from goodword.core.query import Later
from goodword.program import versions


class User(AnswerModel):
    """A person with what they hold: plan, code, tier and spendable points."""

    id: UserId
    external_id: str
    username: str | None
    email: str | None
    email_verified: bool
    avatar_url: str | None
    whop_user_id: str | None
    stripe_customer_id: str | None
    invited_by: str | None
    plan: str
    trial_ends_at: Instant | None
    referral_code: str | None
    referral_url: str | None
    referral_tier: str | None
    qualified_count: int
    balance: int
    created_at: Instant
    updated_at: Instant


_PROFILE: LiteralString = """
    SELECT users.id, users.external_id, username, email, email_verified, avatar_url, users.whop_user_id,
        users.stripe_customer_id, NULL AS invited_by,
        plan_of_user(users.company_id, users.id, company_now(users.company_id)) AS plan,
        (SELECT ends_at FROM grants_at(users.company_id, users.id, company_now(users.company_id)) AS trial
            WHERE source = 'trial') AS trial_ends_at,
        (SELECT code FROM codes WHERE codes.company_id = users.company_id AND codes.user_id = users.id
            AND type = 'auto') AS referral_code,
        coalesce((SELECT qualified FROM scores WHERE scores.company_id = users.company_id AND scores.user_id = users.id
            AND board = 'all'), 0) AS qualified_count,
        spendable(users.company_id, users.id, company_now(users.company_id)) AS balance,
        (SELECT program::text FROM program_versions WHERE program_versions.company_id = users.company_id
            ORDER BY version DESC LIMIT 1) AS program,
        users.created_at, users.updated_at
    FROM users
    WHERE users.company_id = %(company_id)s
"""

_BY_ID = f"{_PROFILE} AND users.id = %(user_id)s"

_BY_EXTERNAL_ID = f"{_PROFILE} AND users.external_id = %(external_id)s"


def ask(connection: Connection, company_id: UUID, user_id: UUID, base_url: str) -> Later[User]:
    """Ask for the profile of a user by our own id."""
    cursor = connection.cursor(row_factory=dict_row).execute(_BY_ID, {"company_id": company_id, "user_id": user_id})
    return lambda: _user(cursor.fetchone(), base_url)


def find(connection: Connection, company_id: UUID, external_id: str, base_url: str) -> User:
    """The profile behind an external id. Raises NotFound."""
    row = (
        connection.cursor(row_factory=dict_row)
        .execute(_BY_EXTERNAL_ID, {"company_id": company_id, "external_id": external_id})
        .fetchone()
    )
    return _user(row, base_url)


def _user(row: dict[str, object] | None, base_url: str) -> User:
    if row is None:
        raise NotFound("user_not_found", "There is no such user.")
    terms = versions.parse(str(row.pop("program")))
    code, qualified = row["referral_code"], row["qualified_count"]
    return User.model_validate(
        {
            **row,
            "referral_url": f"{base_url}/r/{code}" if code else None,
            "referral_tier": terms.tier(qualified).name if isinstance(qualified, int) else None,
        }
    )
