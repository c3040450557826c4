"""The ledger from Python's side: booking what was earned, and reading what stands.

The bookings themselves are the SQL functions of 0011_ledger.sql: one trip, wallets locked first and in order, one clock
reading after the locks. Whatever reads here is exact at its instant, whether or not expiry has been booked.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row, dict_row
from pydantic import Field, field_validator

from goodword.core.errors import NotFound, Refused, invalid_fields
from goodword.core.fields import (
    MOST_AT_ONCE,
    AnswerModel,
    GivenInstant,
    GivenMoment,
    Instant,
    LongText,
    RequestModel,
    moment,
)

EarningType = Literal[
    "REFERRAL_REGISTERED", "REFERRAL_ACTIVATED", "REFERRAL_FIRST_PAYMENT", "REFERRAL_RECURRING", "REFERRAL_L2",
    "REFERRAL_RETAINED", "REFERRAL_CROSS_APP", "REFERRAL_WELCOME", "MILESTONE", "CAMPAIGN_PRIZE", "IMPORT",
]  # fmt: skip


USUAL_PRIORITY = 100
"""Lots of a lower priority are spent first; among equals the one that expires first."""


class Expiring(AnswerModel):
    """Points that will be gone at an instant."""

    points: int
    expires_at: Instant


class Balance(AnswerModel):
    """A balance with what it is made of: totals of outflow are ≤ 0 and balance = the sum of the four totals."""

    user_id: str
    balance: int
    pending: int
    debt: int
    total_earned: int
    total_spent: int
    total_expired: int
    total_reversed: int
    expiring: list[Expiring]
    as_of: Instant


class Entry(AnswerModel):
    """One change of one balance."""

    id: str
    type: str
    delta: int
    debt_delta: int
    balance_after: int
    debt_after: int
    version: int
    ref: str
    note: str | None
    effective_at: Instant
    created_at: Instant


class EntryList(AnswerModel):
    """A page of entries, newest first."""

    data: list[Entry]
    has_more: bool


class EntryQuery(RequestModel):
    """How GET …/transactions is asked."""

    limit: int = Field(default=20, ge=1, le=100)
    after: str | None = Field(default=None, pattern=r"^txn_[0-9]{1,18}$")
    type: str | None = Field(default=None, pattern=r"^[A-Z0-9_]{1,40}$")
    from_: GivenMoment | None = Field(default=None, alias="from")
    to: GivenMoment | None = None


class BalanceQuery(RequestModel):
    """How GET …/balance is asked."""

    as_of: GivenInstant | None = None


class PointsAdjustment(RequestModel):
    """The body of POST /v1/users/{user_id}/points: points to give, or negative to take.

    Without `expires_at` points live as long as the program says. `priority` orders what is spent first.
    """

    points: Annotated[int, Field(ge=-MOST_AT_ONCE, le=MOST_AT_ONCE, json_schema_extra={"not": {"const": 0}})]
    note: LongText
    expires_at: GivenInstant | None = None
    priority: Annotated[int, Field(ge=0, le=1000)] = USUAL_PRIORITY

    @field_validator("points")
    @classmethod
    def _some(cls, points: int) -> int:
        if points == 0:
            raise ValueError("must not be 0")
        return points


ADJUST = """
    SELECT status, body, replayed FROM adjust_points(
        %(company_id)s, %(user_id)s, %(points)s, %(note)s, %(expires_at)s,
        %(priority)s::smallint, %(adjustment)s, %(key)s, %(hash)s, %(request_id)s, %(outbox_id)s, %(activity_id)s)
"""

# The wallet, less what was booked as effective later, less what had expired by then and is not booked yet. Every
# operation books due expiry first, so what is left in a lot past its expiry is what was left when it expired.
# Nothing is effective later than now, so a balance of now looks at no entry.
_BALANCE = """
    WITH asked AS (
        SELECT users.id, coalesce(%(as_of)s::timestamptz, clock.now) AS at, clock.now
        FROM users CROSS JOIN LATERAL (SELECT company_now(users.company_id) AS now) AS clock
        WHERE company_id = %(company_id)s AND external_id = %(external_id)s
    ), later AS (
        SELECT
            coalesce(sum(delta) FILTER (WHERE entry_total(type, delta) = 'earned'), 0)::bigint AS earned,
            coalesce(sum(delta) FILTER (WHERE entry_total(type, delta) = 'spent'), 0)::bigint AS spent,
            coalesce(sum(delta) FILTER (WHERE entry_total(type, delta) = 'expired'), 0)::bigint AS expired,
            coalesce(sum(delta) FILTER (WHERE entry_total(type, delta) = 'reversed'), 0)::bigint AS reversed,
            coalesce(sum(debt_delta), 0)::bigint AS debt
        FROM entries, asked
        WHERE %(as_of)s::timestamptz IS NOT NULL
            AND company_id = %(company_id)s AND user_id = asked.id AND effective_at > asked.at
    ), unbooked AS (
        SELECT coalesce(sum(remaining), 0)::bigint AS points FROM lots, asked
        WHERE company_id = %(company_id)s AND user_id = asked.id AND open AND expires_at <= asked.at
    ), expiring AS (
        SELECT coalesce(jsonb_agg(jsonb_build_object('points', points, 'expires_at', rfc3339(expires_at))
            ORDER BY expires_at), '[]') AS lots
        FROM (
            SELECT lots.expires_at, sum(remaining) AS points FROM lots, asked
            WHERE company_id = %(company_id)s AND user_id = asked.id AND open AND asked.at = asked.now
                AND lots.expires_at > asked.at AND lots.expires_at < 'infinity'
            GROUP BY lots.expires_at
        ) AS by_instant
    ), standing AS (
        SELECT asked.at, asked.now,
            coalesce(wallets.total_earned, 0) - later.earned AS total_earned,
            coalesce(wallets.total_spent, 0) - later.spent AS total_spent,
            coalesce(wallets.total_expired, 0) - later.expired - unbooked.points AS total_expired,
            coalesce(wallets.total_reversed, 0) - later.reversed AS total_reversed,
            coalesce(wallets.debt, 0) - later.debt AS debt
        FROM asked
        LEFT JOIN wallets ON wallets.company_id = %(company_id)s AND wallets.user_id = asked.id
        CROSS JOIN later CROSS JOIN unbooked
    )
    SELECT at AS as_of, now, total_earned, total_spent, total_expired, total_reversed, debt,
        total_earned + total_spent + total_expired + total_reversed AS balance, expiring.lots AS expiring
    FROM standing, expiring
"""

_ENTRIES = """
    WITH period AS (
        SELECT coalesce(%(from)s::timestamptz, first_instant(%(from_day)s::date, time_zone), '-infinity') AS since,
            coalesce(%(to)s::timestamptz, first_instant(%(to_day)s::date, time_zone), 'infinity') AS until
        FROM companies WHERE id = %(company_id)s
    )
    SELECT 'txn_' || id AS id, type, delta, debt_delta, balance_after, debt_after, version, reference AS ref, note,
        effective_at, created_at
    FROM entries LEFT JOIN entry_notes ON entry_notes.company_id = entries.company_id AND entry_id = id
    WHERE entries.company_id = %(company_id)s AND user_id = %(user_id)s
        AND (%(after)s::bigint IS NULL OR version < (
            SELECT version FROM entries WHERE company_id = %(company_id)s AND user_id = %(user_id)s AND id = %(after)s))
        AND (%(type)s::text IS NULL OR type = %(type)s)
        AND effective_at >= (SELECT since FROM period) AND effective_at < (SELECT until FROM period)
    ORDER BY version DESC LIMIT %(limit)s + 1
"""

_IS_ENTRY = """
    SELECT 1 FROM entries WHERE company_id = %(company_id)s AND user_id = %(user_id)s AND id = %(after)s
"""


def ask_balance(
    connection: Connection, company_id: UUID, external_id: str, as_of: datetime | None
) -> Callable[[], Balance]:
    """What a user may spend now, or could have spent at a past instant; asked now, read later.

    `pending` is for the referral room to fill in. Reading raises NotFound, and Refused for an instant in the future.
    """
    cursor = connection.cursor(row_factory=dict_row).execute(
        _BALANCE, {"company_id": company_id, "external_id": external_id, "as_of": as_of}
    )

    def read() -> Balance:
        row = cursor.fetchone()
        if row is None:
            raise NotFound("user_not_found", "There is no such user.")
        if row["as_of"] > row.pop("now"):
            raise Refused("as_of_in_the_future", "as_of must not lie in the future.")
        return Balance(user_id=external_id, pending=0, **row)

    return read


def entries(connection: Connection, company_id: UUID, user_id: UUID, query: EntryQuery) -> EntryList:
    """A page of a user's entries, newest first. Stable under writes: a page follows an entry, not a count.

    Raises Refused for an `after` that is no entry of this user.
    """
    asked = {
        "company_id": company_id,
        "user_id": user_id,
        "limit": query.limit,
        "after": int(query.after.removeprefix("txn_")) if query.after else None,
        "type": query.type,
        **moment("from", query.from_),
        **moment("to", query.to),
    }
    rows = connection.cursor(row_factory=class_row(Entry)).execute(_ENTRIES, asked).fetchall()
    if query.after and not rows and connection.execute(_IS_ENTRY, asked).fetchone() is None:
        raise invalid_fields(("after", "is no entry of this user"))
    return EntryList(data=rows[: query.limit], has_more=len(rows) > query.limit)
