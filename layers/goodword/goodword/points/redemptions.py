"""Redemptions: points turned into something. Prices come from the option alone, never from the request.

A redemption is the SQL function `redeem` (key, price, stock, limit, grants, wallet, lots, what was bought, answer), its
refund is `refund_redemption`, and what becomes of a reward is `decide_reward`; each is one trip.
"""

from typing import Literal, LiteralString
from uuid import UUID

from psycopg import Connection
from pydantic import Field

from goodword.access.grants import Grant
from goodword.accounts import users
from goodword.core import ids, paging, query
from goodword.core.errors import NotFound
from goodword.core.fields import AnswerModel, Instant, LongText, RequestModel
from goodword.core.ids import OptionId, RedemptionId
from goodword.core.one_trip import KeptAnswer, OneTrip
from goodword.core.paging import Page, PageQuery
from goodword.points.options import OptionKind

RedemptionStatus = Literal["fulfilled", "pending", "failed", "refunded"]


class NewRedemption(RequestModel):
    """The body of POST /v1/users/{user_id}/redemptions."""

    option_id: str = Field(pattern=r"^opt_[0-9a-f]{32}$")
    quantity: int = Field(default=1, ge=1, le=1_000_000)


class RewardDecision(RequestModel):
    """The body of POST /v1/redemptions/{id}/fulfil and …/fail."""

    note: LongText | None = None


class Redemption(AnswerModel):
    """Points spent, and what came of it. `balance_after` is as of when it last moved points."""

    id: RedemptionId
    user_id: str
    option_id: OptionId
    kind: OptionKind
    quantity: int
    cost_points: int
    status: RedemptionStatus
    balance_after: int
    grant: Grant | None
    note: str | None
    created_at: Instant
    updated_at: Instant
    fulfilled_at: Instant | None
    failed_at: Instant | None
    refunded_at: Instant | None


class RedemptionList(Page[Redemption]):
    """A page of redemptions, newest first."""


class RedemptionQuery(PageQuery):
    """How lists of redemptions are asked."""

    after: str | None = Field(default=None, pattern=r"^red_[0-9a-f]{32}$")
    status: RedemptionStatus | None = None


_REDEEM = """
    SELECT status, body, replayed FROM redeem(
        %(company_id)s, %(user_id)s, %(option)s, %(quantity)s, %(redemption)s,
        %(key)s, %(hash)s, %(request_id)s, %(outbox_id)s, %(activity_id)s)
"""

_REFUND = """
    SELECT status, body, replayed FROM refund_redemption(
        %(company_id)s, %(redemption)s, %(key)s, %(hash)s, %(request_id)s, %(outbox_id)s, %(activity_id)s)
"""

_DECIDE = """
    SELECT status, body, replayed FROM decide_reward(
        %(company_id)s, %(redemption)s, %(decided)s, %(note)s,
        %(key)s, %(hash)s::bytea, %(request_id)s, %(outbox_id)s, %(activity_id)s)
"""

_REDEMPTIONS: LiteralString = """
    SELECT r.id, users.external_id AS user_id, r.option_id, r.kind, r.quantity, r.cost_points, r.status,
        r.balance_after, grant_of_redemption(r, company_now(r.company_id)) AS grant, r.note, r.created_at,
        coalesce(r.refunded_at, r.failed_at, r.fulfilled_at, r.created_at) AS updated_at, r.fulfilled_at, r.failed_at,
        r.refunded_at
    FROM redemptions AS r JOIN users ON users.company_id = r.company_id AND users.id = r.user_id
    WHERE r.company_id = %(company_id)s
"""

_BY_ID = f"{_REDEMPTIONS} AND r.id = %(id)s"

# Ids are made one after the other, so they stand in the order of time.
_NEWEST_FIRST: LiteralString = """
        AND (%(after)s::uuid IS NULL OR r.id < (
            SELECT id FROM redemptions WHERE company_id = %(company_id)s AND id = %(after)s
                AND (%(user_id)s::uuid IS NULL OR user_id = %(user_id)s)))
    ORDER BY r.id DESC LIMIT %(limit)s + 1
"""

_ALL = f"{_REDEMPTIONS} AND (%(status)s::text IS NULL OR r.status = %(status)s) {_NEWEST_FIRST}"

# What waits to be given is asked for by itself: few are pending, and they have an index of their own.
_PENDING = f"{_REDEMPTIONS} AND r.status = 'pending' {_NEWEST_FIRST}"

_OF_USER = f"""{_REDEMPTIONS}
        AND r.user_id = %(user_id)s AND (%(status)s::text IS NULL OR r.status = %(status)s) {_NEWEST_FIRST}
"""

_IS_REDEMPTION = """
    SELECT 1 FROM redemptions WHERE company_id = %(company_id)s AND id = %(after)s
        AND (%(user_id)s::uuid IS NULL OR user_id = %(user_id)s)
"""


def redeem(
    connection: Connection, trip: OneTrip, external_id: str, redemption_id: UUID, new: NewRedemption
) -> KeptAnswer:
    """Buy an option with points (`redeem`). Answers with the Redemption."""
    option_id = ids.parse("opt", new.option_id)
    return trip.answer(
        connection, _REDEEM, user_id=external_id, redemption=redemption_id, option=option_id, quantity=new.quantity
    )


def refund(connection: Connection, trip: OneTrip, redemption_id: UUID | None) -> KeptAnswer:
    """Give points back (`refund_redemption`); what they bought ends now. Answers with the Redemption."""
    return trip.answer(connection, _REFUND, redemption=redemption_id)


def fulfil(connection: Connection, trip: OneTrip, redemption_id: UUID | None, decision: RewardDecision) -> KeptAnswer:
    """Say that a pending reward was given (`decide_reward`). Answers with the Redemption."""
    return trip.answer(connection, _DECIDE, redemption=redemption_id, decided="fulfilled", note=decision.note)


def fail(connection: Connection, trip: OneTrip, redemption_id: UUID | None, decision: RewardDecision) -> KeptAnswer:
    """Say that a pending reward cannot be given (`decide_reward`); its points go back. Answers with the Redemption."""
    return trip.answer(connection, _DECIDE, redemption=redemption_id, decided="failed", note=decision.note)


def find(connection: Connection, company_id: UUID, redemption_id: UUID | None) -> Redemption:
    """One redemption, its grant as it stands. Raises NotFound."""
    redemption = query.one(connection, Redemption, _BY_ID, company_id=company_id, id=redemption_id)
    if redemption is None:
        raise NotFound("redemption_not_found", "There is no such redemption.")
    return redemption


def listed(connection: Connection, company_id: UUID, page: RedemptionQuery) -> RedemptionList:
    """A page of the company's redemptions. Raises Refused for an `after` that is none of them."""
    statement = _PENDING if page.status == "pending" else _ALL
    return _page(connection, statement, page, "is no redemption of this company", company_id=company_id, user_id=None)


def of_user(connection: Connection, company_id: UUID, external_id: str, page: RedemptionQuery) -> RedemptionList:
    """A page of a user's redemptions. Raises NotFound, and Refused for an `after` that is none of them."""
    user_id = users.find(connection, company_id, external_id).id
    return _page(connection, _OF_USER, page, "is no redemption of this user", company_id=company_id, user_id=user_id)


def _page(
    connection: Connection, statement: LiteralString, page: RedemptionQuery, what: str, **scope: UUID | None
) -> RedemptionList:
    after = ids.parse("red", page.after) if page.after else None
    redemptions = query.every(
        connection, Redemption, statement, **scope, after=after, status=page.status, limit=page.limit
    )
    if after and not redemptions:
        paging.refuse_unknown(connection, _IS_REDEMPTION, what, **scope, after=after)
    return RedemptionList.of(redemptions, page.limit)
