"""Referrals: who came through whom, by what, and how far that has come. What facts make of them is `settlement`'s."""

from typing import Annotated, Literal, LiteralString, NamedTuple
from uuid import UUID

from psycopg import Connection
from pydantic import Field

from goodword.accounts import users
from goodword.awards.engine import Stage
from goodword.core import ids, query
from goodword.core.fields import DIGITS, AnswerModel, Instant, RequestModel
from goodword.core.ids import ReferralId
from goodword.core.paging import Page, PageQuery, refuse_unknown
from goodword.core.query import Later


class Revenue(AnswerModel):
    """Net revenue in minor units of one currency; currencies are never converted."""

    currency: str | None
    amount: int


class Referral(AnswerModel):
    """A referral as clients see it; referrer and referee are external ids."""

    id: ReferralId
    referrer: str
    referee: str
    code: str
    stage: Stage
    source: Literal["code", "click", "coupon", "invite"]
    app_id: str | None
    program_version: int
    campaign_id: str | None
    fraud_score: int
    flagged: bool
    fraud_signals: list[str]
    is_verified: bool
    registered_at: Instant
    activated_at: Instant | None
    qualified_at: Instant | None
    retained_at: Instant | None
    expired_at: Instant | None
    updated_at: Instant
    revenue: list[Revenue]


class ReferralList(Page[Referral]):
    """A page of referrals, newest first."""


class _CircleFilter(RequestModel):
    level: Annotated[int, Field(ge=1, le=2), DIGITS] = 1


class CircleQuery(PageQuery, _CircleFilter):
    """How GET …/referrals is asked: level 1 are the people a user brought, level 2 those whom these brought."""

    after: str | None = Field(default=None, pattern=r"^ref_[0-9a-f]{32}$")


class _ReferralFilter(RequestModel):
    stage: Stage | None = None
    flagged: bool | None = None
    campaign_id: str | None = Field(default=None, pattern=r"^cam_[0-9a-f]{32}$")


class ReferralQuery(PageQuery, _ReferralFilter):
    """How GET /v1/referrals is asked."""

    after: str | None = Field(default=None, pattern=r"^ref_[0-9a-f]{32}$")


_REFERRALS: LiteralString = """
    SELECT referrals.id, referrer.external_id AS referrer, referee.external_id AS referee, codes.code,
        stage_at(referrals, now.at) AS stage, source, referrals.app_id, program_version,
        public_id('cam', referrals.campaign_id) AS campaign_id, fraud_score, is_flagged(risk) AS flagged,
        fraud_signals, referee.email_verified OR risk = 'approved' AS is_verified, registered_at, activated_at,
        qualified_at, retained_at, referrals.updated_at,
        coalesce(expired_at, CASE WHEN stage_at(referrals, now.at) = 'expired' THEN lapses_at END) AS expired_at,
        coalesce((
            SELECT jsonb_agg(jsonb_build_object('currency', currency, 'amount', amount) ORDER BY currency)
            FROM (
                SELECT currency, sum(net_amount - round(net_amount::numeric * least(gross_amount, gone) / gross_amount)
                    )::bigint AS amount
                FROM payments CROSS JOIN LATERAL (
                    SELECT coalesce(sum(part::numeric * gross_amount / whole), 0) AS gone
                    FROM takebacks CROSS JOIN LATERAL taken_part(takebacks, payments)
                    WHERE takebacks.company_id = payments.company_id AND takebacks.payment_id = payments.id
                        AND takeback_state(status) = 'gone'
                ) AS back
                WHERE payments.company_id = referrals.company_id AND payments.user_id = referrals.referee_id
                    AND NOT superseded
                GROUP BY currency
            ) AS by_currency
        ), '[]') AS revenue
    FROM referrals
    CROSS JOIN LATERAL (SELECT company_now(referrals.company_id) AS at) AS now
    JOIN users AS referrer ON referrer.company_id = referrals.company_id AND referrer.id = referrals.referrer_id
    JOIN users AS referee ON referee.company_id = referrals.company_id AND referee.id = referrals.referee_id
    JOIN codes ON codes.company_id = referrals.company_id AND codes.id = referrals.code_id
    WHERE referrals.company_id = %(company_id)s
"""

_BY_ID = f"{_REFERRALS} AND referrals.id = %(id)s"

_OF_REFEREE = f"{_REFERRALS} AND referrals.referee_id = %(referee_id)s"

_ALL: LiteralString = "true"

_OF_REFERRER: LiteralString = "referrals.referrer_id = %(user_id)s"

_OF_UPLINE: LiteralString = """
    referrals.referrer_id IN (
        SELECT first.referee_id FROM referrals AS first
        WHERE first.company_id = %(company_id)s AND first.referrer_id = %(user_id)s)
"""

_FILTERS: LiteralString = """
    (%(stage)s::text IS NULL OR stage_at(referrals, now.at) = %(stage)s)
    AND (%(flagged)s::boolean IS NULL OR is_flagged(risk) = %(flagged)s)
    AND (%(campaign_id)s::uuid IS NULL OR referrals.campaign_id = %(campaign_id)s)
"""


class _List(NamedTuple):
    """The statements of a list: a page of it, newest first, and whether a referral is in it, whatever its stage."""

    page: LiteralString
    member: LiteralString


def _list(whose: LiteralString, filters: LiteralString = "true") -> _List:
    member: LiteralString = f"""
        SELECT registered_at, id FROM referrals
        WHERE referrals.company_id = %(company_id)s AND referrals.id = %(after)s AND {whose}
    """  # noqa: S608 - from constants of this module
    page: LiteralString = f"""{_REFERRALS}
        AND {whose} AND {filters}
        AND (%(after)s::uuid IS NULL OR (referrals.registered_at, referrals.id) < ({member}))
        ORDER BY referrals.registered_at DESC, referrals.id DESC LIMIT %(limit)s + 1
    """
    return _List(page, member)


_EVERY_REFERRAL = _list(_ALL, _FILTERS)
_CIRCLES = {1: _list(_OF_REFERRER), 2: _list(_OF_UPLINE)}


def ask(connection: Connection, company_id: UUID, referee_id: UUID) -> Later[Referral | None]:
    """Ask for the referral by which a user came, if any."""
    return query.one_later(connection, Referral, _OF_REFEREE, company_id=company_id, referee_id=referee_id)


def find(connection: Connection, company_id: UUID, referral_id: UUID) -> Referral | None:
    """One referral by its own id."""
    return query.one(connection, Referral, _BY_ID, company_id=company_id, id=referral_id)


def circle(connection: Connection, company_id: UUID, external_id: str, page: CircleQuery) -> ReferralList:
    """A page of the people a user brought, or of those whom these brought; newest first. Raises NotFound."""
    user_id = users.find(connection, company_id, external_id).id
    return _listed(connection, company_id, _CIRCLES[page.level], page, user_id=user_id)


def listed(connection: Connection, company_id: UUID, page: ReferralQuery) -> ReferralList:
    """A page of all referrals, newest first."""
    filters = {
        "stage": page.stage,
        "flagged": page.flagged,
        "campaign_id": ids.parse("cam", page.campaign_id) if page.campaign_id else None,
    }
    return _listed(connection, company_id, _EVERY_REFERRAL, page, **filters)


def _listed(
    connection: Connection, company_id: UUID, list_: _List, page: CircleQuery | ReferralQuery, **values: object
) -> ReferralList:
    """Raises Refused for an `after` that is no referral of this list."""
    last = ids.parse("ref", page.after) if page.after else None
    scope = {"company_id": company_id, "after": last, **values}
    rows = query.every(connection, Referral, list_.page, **scope, limit=page.limit)
    if last and not rows:
        # a referral whose stage has changed since it was listed can still be followed
        refuse_unknown(connection, list_.member, "is no referral of this list", **scope)
    return ReferralList.of(rows, page.limit)
