"""Awards: points due to one person for one event of one referral.

(referral, event, app, occasion) is an award's natural key; the occasion is the period for fixed awards and the payment
for percentages. `points` never changes; what was taken back stands in `reversed_points`. A paid award's booking in the
ledger refers to it, so paying twice is impossible there too.
"""

from collections.abc import Callable
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row
from pydantic import Field

from goodword.awards.differences import Status
from goodword.awards.due import Event
from goodword.core import ids
from goodword.core.errors import invalid_fields
from goodword.core.fields import AnswerModel, Instant, RequestModel
from goodword.core.ids import AwardId, ReferralId


class Award(AnswerModel):
    """An award as clients see it; `multiplier` is the factor that made `points` of `base_points`."""

    id: AwardId
    referral_id: ReferralId
    user_id: str
    event: Event
    app_id: str | None
    period: int | None
    base_points: int
    multiplier: float
    points: int
    tier: str | None
    status: Status
    hold_until: Instant | None
    hold_reason: str | None
    reversed_points: int
    transaction_id: str | None
    reason: str | None
    released_at: Instant | None
    created_at: Instant


class AwardList(AnswerModel):
    """A page of awards, newest first."""

    data: list[Award]
    has_more: bool


class AwardQuery(RequestModel):
    """How GET …/awards is asked."""

    event: Event | None = None
    status: Status | None = None
    limit: int = Field(default=20, ge=1, le=100)
    after: str | None = Field(default=None, pattern=r"^awd_[0-9a-f]{32}$")


_OF_REFEREE = """
    SELECT awards.id, referral_id, users.external_id AS user_id, event, nullif(awards.app_id, '') AS app_id, period,
        base_points, multiplier_bps / 10000.0::float AS multiplier, points, tier, status, hold_until, hold_reason,
        reversed_points, reason, released_at, awards.created_at, 'txn_' || entry_id AS transaction_id
    FROM awards JOIN users ON users.company_id = awards.company_id AND users.id = awards.user_id
    WHERE awards.company_id = %(company_id)s AND awards.referral_id = (
        SELECT id FROM referrals WHERE company_id = %(company_id)s AND referee_id = %(referee_id)s)
    ORDER BY awards.due_at, awards.event, awards.id
"""

_OF_USER = """
    SELECT awards.id, referral_id, users.external_id AS user_id, event, nullif(awards.app_id, '') AS app_id, period,
        base_points, multiplier_bps / 10000.0::float AS multiplier, points, tier, status, hold_until, hold_reason,
        reversed_points, reason, released_at, awards.created_at, 'txn_' || entry_id AS transaction_id
    FROM awards JOIN users ON users.company_id = awards.company_id AND users.id = awards.user_id
    WHERE awards.company_id = %(company_id)s AND awards.user_id = %(user_id)s
        AND (%(event)s::text IS NULL OR event = %(event)s) AND (%(status)s::text IS NULL OR status = %(status)s)
        AND (%(after)s::uuid IS NULL OR (awards.created_at, awards.id) < (
            SELECT created_at, id FROM awards
            WHERE company_id = %(company_id)s AND id = %(after)s AND user_id = %(user_id)s))
    ORDER BY awards.created_at DESC, awards.id DESC LIMIT %(limit)s + 1
"""

_IS_AWARD = """
    SELECT 1 FROM awards WHERE company_id = %(company_id)s AND user_id = %(user_id)s AND id = %(after)s
"""


def ask(connection: Connection, company_id: UUID, referee_id: UUID) -> Callable[[], list[Award]]:
    """All awards of the referral by which a user came, for every person, in the order they fell due; read later."""
    cursor = connection.cursor(row_factory=class_row(Award)).execute(
        _OF_REFEREE, {"company_id": company_id, "referee_id": referee_id}
    )
    return cursor.fetchall


def of_user(connection: Connection, company_id: UUID, user_id: UUID, query: AwardQuery) -> AwardList:
    """A page of the awards that a user receives, newest first. Raises Refused for an `after` that is none of them."""
    asked = {
        "company_id": company_id,
        "user_id": user_id,
        "event": query.event,
        "status": query.status,
        "after": ids.parse("awd", query.after) if query.after else None,
        "limit": query.limit,
    }
    rows = connection.cursor(row_factory=class_row(Award)).execute(_OF_USER, asked).fetchall()
    if query.after and not rows and connection.execute(_IS_AWARD, asked).fetchone() is None:
        raise invalid_fields(("after", "is no award of this user"))
    return AwardList(data=rows[: query.limit], has_more=len(rows) > query.limit)
