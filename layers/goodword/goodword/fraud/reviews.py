"""Reviews: referrals that are suspected, as a queue for people to decide on (`review_decisions`).

A review is opened by a judgement, at most one at a time for a referral. It is decided on once.
"""

from datetime import datetime
from typing import Annotated, Any, Literal, LiteralString, get_args
from uuid import UUID

from psycopg import Connection
from pydantic import Field, StringConstraints

from goodword.core import ids, query
from goodword.core.errors import NotFound
from goodword.core.fields import UNCHANGED, AnswerModel, ExternalId, Instant, RequestModel, Text, given_fields
from goodword.core.ids import KeyId, ReferralId, ReviewId
from goodword.core.paging import Page, PageQuery, refuse_unknown
from goodword.fraud import checks
from goodword.fraud.checks import JUDGEMENTS, PAID_AT, PROGRAM, FraudCheck
from goodword.fraud.clusters import CLUSTER, SEEN_THERE, Cluster, SeenThere
from goodword.fraud.judgement import Priority

OpenStatus = Literal["pending", "escalated"]
ReviewStatus = Literal["pending", "escalated", "approved", "rejected"]
OPEN: frozenset[str] = frozenset(get_args(OpenStatus))

Note = Annotated[str, StringConstraints(min_length=1, max_length=2000, pattern=r"^[^\x00]*$")]


class Review(AnswerModel):
    """A suspected referral as clients see it; referrer and referee are external ids.

    `fraud_score`, `fraud_signals` and `check_types` are of what the review is about; `checks` are all of the referral.
    """

    id: ReviewId
    referral_id: ReferralId
    referrer: str | None
    referee: str | None
    fraud_score: int
    fraud_signals: list[str]
    check_types: list[str]
    checks: list[FraudCheck]
    cluster: Cluster
    seen: SeenThere
    priority: Priority
    status: ReviewStatus
    assigned_to: str | None
    notes: str | None
    reviewed_by: KeyId | None
    reviewed_at: Instant | None
    due_at: Instant
    created_at: Instant
    updated_at: Instant


class ReviewList(Page[Review]):
    """A page of the queue: the most pressing first, and of these the oldest."""


class _ReviewFilter(RequestModel):
    status: ReviewStatus | None = None
    priority: Priority | None = None
    check_type: Text | None = None
    referrer: ExternalId | None = None
    assigned_to: Text | None = None


class ReviewQuery(PageQuery, _ReviewFilter):
    """How GET /v1/reviews is asked."""

    after: str | None = Field(default=None, pattern=r"^rvw_[0-9a-f]{32}$")


class ReviewChange(RequestModel):
    """The body of PATCH /v1/reviews/{id}: what is left out stays as it is."""

    assigned_to: Text | None = UNCHANGED
    priority: Priority = UNCHANGED
    notes: Note | None = UNCHANGED


_BY_ID: LiteralString = "SELECT * FROM reviews WHERE company_id = %(company_id)s AND id = %(id)s"

_PAGE: LiteralString = """
    SELECT reviews.* FROM reviews
    LEFT JOIN reviews AS last ON last.company_id = reviews.company_id AND last.id = %(after)s
    WHERE reviews.company_id = %(company_id)s
        AND (%(status)s::text IS NULL OR reviews.status = %(status)s)
        AND (%(priority)s::text IS NULL OR reviews.priority = %(priority)s)
        AND (%(check_type)s::text IS NULL OR %(check_type)s = ANY (reviews.check_types))
        AND (%(assigned_to)s::text IS NULL OR reviews.assigned_to = %(assigned_to)s)
        AND (%(referrer)s::text IS NULL OR reviews.referral_id IN (
            SELECT referrals.id FROM users
            JOIN referrals ON referrals.company_id = users.company_id AND referrals.referrer_id = users.id
            WHERE users.company_id = %(company_id)s AND users.external_id = %(referrer)s))
        AND (%(after)s::uuid IS NULL OR reviews.urgency < last.urgency
            OR (reviews.urgency = last.urgency AND (reviews.created_at, reviews.id) > (last.created_at, last.id)))
    ORDER BY reviews.urgency DESC, reviews.created_at, reviews.id LIMIT %(limit)s + 1
"""


def _shown(reviews: LiteralString) -> LiteralString:
    """A statement that shows reviews, with all that their referral is suspected by."""
    return f"""
        SELECT review.id, referral_id, referrer.external_id AS referrer, referee.external_id AS referee,
            review.fraud_score, review.fraud_signals, check_types, {JUDGEMENTS} AS judgements, {PROGRAM} AS program,
            {PAID_AT} AS paid_at, {CLUSTER} AS cluster, {SEEN_THERE} AS seen, priority, review.status, assigned_to,
            notes, reviewed_by, reviewed_at, due_at, review.created_at, review.updated_at
        FROM ({reviews}) AS review
        JOIN referrals ON referrals.company_id = review.company_id AND referrals.id = review.referral_id
        JOIN users AS referrer ON referrer.company_id = referrals.company_id AND referrer.id = referrals.referrer_id
        JOIN users AS referee ON referee.company_id = referrals.company_id AND referee.id = referrals.referee_id
        ORDER BY review.urgency DESC, review.created_at, review.id
    """  # noqa: S608 - from constants of this room


_SHOW = _shown(_BY_ID)
SHOW_PAGE = _shown(_PAGE)

_IS_REVIEW = "SELECT 1 FROM reviews WHERE company_id = %(company_id)s AND id = %(after)s"

_CHANGE = """
    UPDATE reviews SET updated_at = company_now(company_id),
        assigned_to = CASE WHEN %(assigns)s THEN %(assigned_to)s ELSE assigned_to END,
        notes = CASE WHEN %(writes)s THEN %(notes)s ELSE notes END,
        priority = coalesce(%(priority)s, priority)
    WHERE company_id = %(company_id)s AND id = %(id)s
"""


def find(connection: Connection, company_id: UUID, review_id: UUID) -> Review:
    """One review. Raises NotFound."""
    review = query.one(connection, _review, _SHOW, company_id=company_id, id=review_id)
    if review is None:
        raise unknown()
    return review


def listed(connection: Connection, company_id: UUID, page: ReviewQuery) -> ReviewList:
    """A page of the queue. Raises Refused for an `after` that is no review of the company."""
    scope = {"company_id": company_id, "after": ids.parse("rvw", page.after) if page.after else None}
    filters = page.model_dump(include=set(_ReviewFilter.model_fields))
    found = query.every(connection, _review, SHOW_PAGE, **scope, **filters, limit=page.limit)
    if page.after and not found:
        refuse_unknown(connection, _IS_REVIEW, "is no review of this company", **scope)
    return ReviewList.of(found, page.limit)


def change(connection: Connection, company_id: UUID, review_id: UUID, wanted: ReviewChange) -> Review:
    """Say who looks at a review, how pressing it is, or what is known so far. Raises NotFound."""
    given = given_fields(wanted)
    if given:
        query.do(
            connection, _CHANGE, company_id=company_id, id=review_id, assigns="assigned_to" in given,
            assigned_to=given.get("assigned_to"), writes="notes" in given, notes=given.get("notes"),
            priority=given.get("priority"),
        )  # fmt: skip
    return find(connection, company_id, review_id)


def unknown() -> NotFound:
    """The refusal of a review that is not there."""
    return NotFound("review_not_found", "There is no such review.")


def _review(*, judgements: list[Any], program: str, paid_at: datetime | None, **columns: Any) -> Review:  # noqa: ANN401 - the columns of a review
    return Review(**columns, checks=checks.merged([*judgements, *checks.by_payment(program, paid_at)]))
