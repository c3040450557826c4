"""What is announced of reviews: that somebody has decided on one, or that it was handed on."""

from uuid import UUID

from goodword.core import ids
from goodword.core.outbox import Event


def decided(review_id: UUID, referral_id: UUID, decision: str) -> Event:
    """A review was decided on."""
    return Event("review.decided", {**_named(review_id, referral_id), "decision": decision})


def escalated(review_id: UUID, referral_id: UUID) -> Event:
    """A review waits for somebody else to decide."""
    return Event("review.escalated", _named(review_id, referral_id))


def _named(review_id: UUID, referral_id: UUID) -> dict[str, object]:
    return {"id": ids.public("rvw", review_id), "referral_id": ids.public("ref", referral_id)}
