"""Awards: points due to one person for one event of one referral.

(referral, event, app, occasion) is an award's natural key; the occasion is the period for fixed awards and the payment
for percentages. `points` never changes; what was taken back stands in `reversed_points`. A paid award's booking in the
ledger refers to it, so paying twice is impossible there too.
"""

from typing import LiteralString
from uuid import UUID

from psycopg import Connection
from pydantic import Field

from goodword.accounts import users
from goodword.awards.due import AwardEvent
from goodword.awards.stored import AwardStatus
from goodword.core import ids, paging, query
from goodword.core.fields import AnswerModel, Instant, RequestModel
from goodword.core.ids import AwardId, ReferralId
from goodword.core.paging import Page, PageQuery
from goodword.core.query import Later


class Award(AnswerModel):
    """An award as clients see it; `multiplier` is the factor that made `points` of `base_points`."""

    id: AwardId
    referral_id: ReferralId
    payment_id: str | None
    user_id: str
    event: AwardEvent
    app_id: str | None
    period: int | None
    base_points: int
    multiplier: float
    points: int
    tier: str | None
    status: AwardStatus
    hold_until: Instant | None
    hold_reason: str | None
    reversed_points: int
    transaction_id: str | None
    reason: str | None
    released_at: Instant | None
    created_at: Instant


class AwardList(Page[Award]):
    """A page of awards, newest first."""


class _Filters(RequestModel):
    event: AwardEvent | None = None
    status: AwardStatus | None = None


class AwardQuery(PageQuery, _Filters):  # in the API document the fields of the last one stand first
    """How GET …/awards is asked."""

    after: str | None = Field(default=None, pattern=r"^awd_[0-9a-f]{32}$")


_AWARDS: LiteralString = """
    SELECT awards.id, referral_id, public_id('pay', payment_id) AS payment_id, users.external_id AS user_id, event,
        nullif(awards.app_id, '') AS app_id, period, base_points, multiplier_bps / 10000.0::float AS multiplier, points,
        tier, status, hold_until, hold_reason, reversed_points, reason, released_at, awards.created_at,
        'txn_' || entry_id AS transaction_id
    FROM awards JOIN users ON users.company_id = awards.company_id AND users.id = awards.user_id
    WHERE awards.company_id = %(company_id)s
"""

_BY_ID = f"{_AWARDS} AND awards.id = %(id)s"

_OF_REFEREE = f"""{_AWARDS}
        AND awards.referral_id = (
            SELECT id FROM referrals WHERE company_id = %(company_id)s AND referee_id = %(referee_id)s)
    ORDER BY awards.due_at, awards.event, awards.id
"""  # noqa: S608 - one head for all

_OF_USER = f"""{_AWARDS}
        AND awards.user_id = %(user_id)s
        AND (%(event)s::text IS NULL OR event = %(event)s) AND (%(status)s::text IS NULL OR status = %(status)s)
        AND (%(after)s::uuid IS NULL OR (awards.created_at, awards.id) < (
            SELECT created_at, id FROM awards
            WHERE company_id = %(company_id)s AND id = %(after)s AND user_id = %(user_id)s))
    ORDER BY awards.created_at DESC, awards.id DESC LIMIT %(limit)s + 1
"""  # noqa: S608 - one head for all

_IS_AWARD = """
    SELECT 1 FROM awards WHERE company_id = %(company_id)s AND user_id = %(user_id)s AND id = %(after)s
"""


def ask(connection: Connection, company_id: UUID, referee_id: UUID) -> Later[list[Award]]:
    """All awards of the referral by which a user came, for every person, in the order they fell due."""
    return query.every_later(connection, Award, _OF_REFEREE, company_id=company_id, referee_id=referee_id)


def find(connection: Connection, company_id: UUID, award_id: UUID) -> Award | None:
    """One award, or None."""
    return query.one(connection, Award, _BY_ID, company_id=company_id, id=award_id)


def of_user(connection: Connection, company_id: UUID, external_id: str, page: AwardQuery) -> AwardList:
    """A page of the awards that a user receives, newest first.

    Raises NotFound for an unknown user, Refused for an `after` that is no award of theirs.
    """
    scope = {
        "company_id": company_id,
        "user_id": users.find(connection, company_id, external_id).id,
        "after": ids.parse("awd", page.after) if page.after else None,
    }
    awards = query.every(connection, Award, _OF_USER, **scope, event=page.event, status=page.status, limit=page.limit)
    if page.after and not awards:
        paging.refuse_unknown(connection, _IS_AWARD, "is no award of this user", **scope)
    return AwardList.of(awards, page.limit)
