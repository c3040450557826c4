"""The ledger from Python's side: booking what was earned, and reading what stands.

The bookings themselves are the SQL functions of 0011_ledger.sql: one trip, wallets locked first and in order, one clock
reading after the locks. Whatever reads here is exact at its instant, whether or not expiry has been booked.
"""

from typing import Annotated, LiteralString
from uuid import UUID

from psycopg import Connection
from pydantic import Field, field_validator

from goodword.accounts import users
from goodword.core import ids, paging, query
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
from goodword.core.one_trip import KeptAnswer, OneTrip
from goodword.core.paging import Page, PageQuery

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


class EntryList(Page[Entry]):
    """A page of entries, newest first."""


class EntryQuery(PageQuery):
    """How GET …/transactions is asked."""

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


_ADJUST = """
    SELECT status, body, replayed FROM adjust_points(
        %(company_id)s, %(user_id)s, %(points)s, %(note)s, %(expires_at)s,
        %(priority)s::smallint, %(adjustment)s, %(key)s, %(hash)s, %(request_id)s, %(outbox_id)s, %(activity_id)s)
"""

# What is left in a lot past its expiry is what was left when it expired: every operation books due expiry first.
BALANCE_NOW: LiteralString = """
    SELECT clock.now AS as_of, clock.now, users.id AS owner_id,
        coalesce(total_earned, 0) AS total_earned, coalesce(total_spent, 0) AS total_spent,
        coalesce(total_expired, 0) - due.points AS total_expired, coalesce(total_reversed, 0) AS total_reversed,
        coalesce(debt, 0) AS debt, coalesce(balance, 0) - due.points AS balance, due.expiring
    FROM users
    CROSS JOIN LATERAL (SELECT company_now(users.company_id) AS now) AS clock
    LEFT JOIN wallets ON wallets.company_id = users.company_id AND wallets.user_id = users.id
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(points) FILTER (WHERE expires_at <= clock.now), 0)::bigint AS points,
            coalesce(jsonb_agg(jsonb_build_object('points', points, 'expires_at', expires_at) ORDER BY expires_at)
                FILTER (WHERE expires_at > clock.now), '[]') AS expiring
        FROM (
            SELECT expires_at, sum(remaining) AS points FROM lots
            WHERE lots.company_id = users.company_id AND lots.user_id = users.id AND open AND expires_at < 'infinity'
            GROUP BY expires_at
        ) AS by_instant
    ) AS due
    WHERE users.company_id = %(company_id)s AND users.external_id = %(external_id)s
"""
"""A balance of now: the columns of `Balance` but for what is pending, `now`, and the user's own id, `owner_id`."""

# The wallet, less what was booked as effective later, less what had expired by then and is not booked yet.
BALANCE_THEN: LiteralString = """
    WITH instant AS (
        SELECT users.id, %(as_of)s::timestamptz AS at, company_now(users.company_id) AS now
        FROM users WHERE company_id = %(company_id)s AND external_id = %(external_id)s
    ), later AS (
        SELECT
            coalesce(sum(delta) FILTER (WHERE entry_total(type, delta) = 'earned'), 0)::bigint AS earned,
            coalesce(sum(delta) FILTER (WHERE entry_total(type, delta) = 'spent'), 0)::bigint AS spent,
            coalesce(sum(delta) FILTER (WHERE entry_total(type, delta) = 'expired'), 0)::bigint AS expired,
            coalesce(sum(delta) FILTER (WHERE entry_total(type, delta) = 'reversed'), 0)::bigint AS reversed,
            coalesce(sum(debt_delta), 0)::bigint AS debt
        FROM entries, instant
        WHERE company_id = %(company_id)s AND user_id = instant.id AND effective_at > instant.at
    ), unbooked AS (
        SELECT coalesce(sum(remaining), 0)::bigint AS points FROM lots, instant
        WHERE company_id = %(company_id)s AND user_id = instant.id AND open AND expires_at <= instant.at
    ), expiring AS (
        SELECT coalesce(jsonb_agg(jsonb_build_object('points', points, 'expires_at', expires_at)
            ORDER BY expires_at), '[]') AS lots
        FROM (
            SELECT lots.expires_at, sum(remaining) AS points FROM lots, instant
            WHERE company_id = %(company_id)s AND user_id = instant.id AND open AND instant.at = instant.now
                AND lots.expires_at > instant.at AND lots.expires_at < 'infinity'
            GROUP BY lots.expires_at
        ) AS by_instant
    ), standing AS (
        SELECT instant.at, instant.now, instant.id,
            coalesce(wallets.total_earned, 0) - later.earned AS total_earned,
            coalesce(wallets.total_spent, 0) - later.spent AS total_spent,
            coalesce(wallets.total_expired, 0) - later.expired - unbooked.points AS total_expired,
            coalesce(wallets.total_reversed, 0) - later.reversed AS total_reversed,
            coalesce(wallets.debt, 0) - later.debt AS debt
        FROM instant
        LEFT JOIN wallets ON wallets.company_id = %(company_id)s AND wallets.user_id = instant.id
        CROSS JOIN later CROSS JOIN unbooked
    )
    SELECT at AS as_of, now, id AS owner_id, total_earned, total_spent, total_expired, total_reversed, debt,
        total_earned + total_spent + total_expired + total_reversed AS balance, expiring.lots AS expiring
    FROM standing, expiring
"""
"""The same at an instant, `as_of`, that is not after `now`. What is to expire is known of now alone."""

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


def adjust(
    connection: Connection, trip: OneTrip, external_id: str, adjustment_id: UUID, adjustment: PointsAdjustment
) -> KeptAnswer:
    """Give points to a user, or take some (`adjust_points`). Answers with the entry, an Entry."""
    reference = ids.public("adj", adjustment_id)
    values = adjustment.model_dump()
    return trip.answer(connection, _ADJUST, user_id=external_id, adjustment=reference, **values)


def entries_of(connection: Connection, company_id: UUID, external_id: str, page: EntryQuery) -> EntryList:
    """A page of a user's entries, newest first. Stable under writes: a page follows an entry, not a count.

    Raises NotFound, and Refused for an `after` that is no entry of this user.
    """
    values = {
        "company_id": company_id,
        "user_id": users.find(connection, company_id, external_id).id,
        "limit": page.limit,
        "after": int(page.after.removeprefix("txn_")) if page.after else None,
        "type": page.type,
        **moment("from", page.from_),
        **moment("to", page.to),
    }
    entries = query.every(connection, Entry, _ENTRIES, **values)
    if page.after and not entries:
        paging.refuse_unknown(connection, _IS_ENTRY, "is no entry of this user", **values)
    return EntryList.of(entries, page.limit)
