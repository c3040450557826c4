"""Deciding on reviews: what somebody says of a suspected referral is done to its awards in the same transaction.

A review is decided on once. What comes of that for the awards stands in `awards.screenings`; of many at once the
referrals are locked by one after the other, and whoever comes second finds the review decided.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Annotated, Literal, NamedTuple
from uuid import UUID

from psycopg import Connection
from pydantic import AfterValidator, Field, ValidationInfo

from goodword.awards import settlement
from goodword.awards.engine import Standing
from goodword.awards.known import KnownReferral
from goodword.awards.screenings import Screening
from goodword.core import outbox, query
from goodword.core.errors import Conflict
from goodword.core.fields import AnswerModel, RequestModel, Text
from goodword.core.ids import ReviewId
from goodword.fraud import review_events, reviews
from goodword.fraud.reviews import OPEN, Note, Review, ReviewStatus

ReviewAction = Literal["approve", "reject", "escalate"]
STATUSES: dict[ReviewAction, ReviewStatus] = {"approve": "approved", "reject": "rejected", "escalate": "escalated"}
MOST_AT_ONCE = 500


def _why(note: str | None, info: ValidationInfo) -> str | None:
    if note is None and info.data.get("decision") == "reject":
        raise ValueError("is required to reject")
    return note


class _Decided(RequestModel):
    decision: ReviewAction
    note: Annotated[Note | None, AfterValidator(_why)] = Field(default=None, validate_default=True)


class ReviewDecision(_Decided):
    """The body of POST /v1/reviews/{id}/decision. A `note` takes the place of the review's notes."""

    assigned_to: Text | None = None


class ReviewDecisions(_Decided):
    """The body of POST /v1/reviews/decisions: one decision on many reviews."""

    ids: Annotated[list[ReviewId], Field(min_length=1, max_length=MOST_AT_ONCE)]


class SkippedReview(AnswerModel):
    """A review that a decision on many did nothing to."""

    id: ReviewId
    reason: Literal["review_not_found", "review_decided"]


class DecidedReviews(AnswerModel):
    """How many reviews were decided on, and which were not."""

    decided: int
    skipped: list[SkippedReview]


class _HeldReview(NamedTuple):
    id: UUID
    referral_id: UUID
    status: ReviewStatus

    @property
    def is_open(self) -> bool:
        """Whether it waits for a decision."""
        return self.status in OPEN


class _Held(NamedTuple):
    """Reviews, and the referrals that they are about, all locked."""

    reviews: list[_HeldReview]
    referrals: list[KnownReferral]


class _Reviewer:
    """The judge of settlement where somebody has decided (`awards.settlement.Judge`)."""

    def __init__(self, *, approves: bool) -> None:
        self._approves = approves

    def judge(self, referral: KnownReferral, standing: Standing) -> Screening:  # noqa: ARG002 - the form of a judge
        """What the decision makes of a referral, whatever was held against it."""
        before = referral.screening
        if self._approves:
            return before._replace(risk="approved", cleared=len(before.signals))
        return before._replace(risk="rejected")

    def keep(self, connection: Connection, company_id: UUID) -> None:
        """There is nothing to write: the review is written by who decides."""


_REFEREES = """
    SELECT referee_id FROM reviews
    JOIN referrals ON referrals.company_id = reviews.company_id AND referrals.id = reviews.referral_id
    WHERE reviews.company_id = %(company_id)s AND reviews.id = ANY (%(ids)s)
"""

# A statement of its own, after the referrals are locked: it sees what others have decided meanwhile.
_HOLD = """
    SELECT id, referral_id, status FROM reviews
    WHERE company_id = %(company_id)s AND id = ANY (%(ids)s) ORDER BY id FOR NO KEY UPDATE
"""

_WRITE = """
    UPDATE reviews SET status = %(status)s, notes = coalesce(%(note)s, notes),
        assigned_to = coalesce(%(assigned_to)s, assigned_to),
        reviewed_by = CASE WHEN %(decides)s THEN %(key_id)s::uuid END,
        reviewed_at = CASE WHEN %(decides)s THEN %(at)s::timestamptz END, updated_at = %(at)s
    WHERE company_id = %(company_id)s AND id = ANY (%(ids)s)
"""


def decide(connection: Connection, company_id: UUID, review_id: UUID, key_id: UUID, wanted: ReviewDecision) -> Review:
    """Decide on a review, or hand it to somebody else to decide. The same decision again changes nothing.

    Raises NotFound, and Conflict where something else was decided.
    Locks: the referral, the review, and what settling the referral locks.
    """
    held = _hold(connection, company_id, [review_id])
    if not held.reviews:
        raise reviews.unknown()
    (review,) = held.reviews
    if review.is_open:
        _apply(connection, company_id, held, wanted, key_id, wanted.assigned_to)
    elif review.status != STATUSES[wanted.decision]:
        raise Conflict("review_decided", "This review has been decided.")
    return reviews.find(connection, company_id, review_id)


def decide_all(connection: Connection, company_id: UUID, key_id: UUID, wanted: ReviewDecisions) -> DecidedReviews:
    """Decide on many reviews alike; those that were decided on before stay as they are.

    Locks: the referrals by id, the reviews by id, and what settling the referrals locks.
    """
    held = _hold(connection, company_id, wanted.ids)
    known = {review.id: review for review in held.reviews}
    if any(review.is_open for review in held.reviews):
        _apply(connection, company_id, held, wanted, key_id)
    skipped = [
        SkippedReview(id=id_, reason="review_decided" if id_ in known else "review_not_found")
        for id_ in dict.fromkeys(wanted.ids)
        if id_ not in known or not known[id_].is_open
    ]
    return DecidedReviews(decided=sum(review.is_open for review in held.reviews), skipped=skipped)


def _hold(connection: Connection, company_id: UUID, review_ids: Collection[UUID]) -> _Held:
    scope = {"company_id": company_id, "ids": list(review_ids)}
    referees = query.every(connection, _referee, _REFEREES, **scope)
    referrals = settlement.hold(connection, company_id, referees)
    return _Held(query.every(connection, _HeldReview, _HOLD, **scope), referrals)


def _referee(referee_id: UUID) -> UUID:
    return referee_id


def _apply(
    connection: Connection, company_id: UUID, held: _Held, wanted: _Decided, key_id: UUID,
    assigned_to: str | None = None,
) -> None:  # fmt: skip
    """Decide on those of some reviews that are open; costs no trip of its own. Needs: one of them is."""
    waiting = [review for review in held.reviews if review.is_open]
    decides, at = wanted.decision != "escalate", held.referrals[0].at
    if decides:
        of_waiting = {review.referral_id for review in waiting}
        referrals = [referral for referral in held.referrals if referral.id in of_waiting]
        settlement.bring(connection, company_id, referrals, _Reviewer(approves=wanted.decision == "approve"))
    query.do(
        connection, _WRITE, company_id=company_id, ids=[review.id for review in waiting],
        status=STATUSES[wanted.decision], note=wanted.note, assigned_to=assigned_to, decides=decides, key_id=key_id,
        at=at,
    )  # fmt: skip
    _announce(connection, company_id, waiting, wanted.decision, at)


def _announce(
    connection: Connection, company_id: UUID, decided: Sequence[_HeldReview], decision: ReviewAction, at: datetime
) -> None:
    if decision == "escalate":
        pending = [review for review in decided if review.status == "pending"]
        events = [review_events.escalated(review.id, review.referral_id) for review in pending]
    else:
        events = [review_events.decided(review.id, review.referral_id, decision) for review in decided]
    outbox.announce(connection, company_id, events, at)
