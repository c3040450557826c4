"""What is announced of reviews: that one was opened, that somebody has decided on it, or that it was handed on."""

from uuid import UUID

from goodword.core import ids
from goodword.core.outbox import Event


def opened(review_id: UUID, referral_id: UUID) -> Event:
    """A referral is suspected, and somebody is to decide on it."""
    return Event("review.opened", _named(review_id, referral_id))


def decided(review_id: UUID, referral_id: UUID, decision: str) -> Event:
    """A review was decided on."""
    return Event("review.decided", {**_named(review_id, referral_id), "decision": decision})


def escalated(review_id: UUID, referral_id: UUID) -> Event:
    """A review waits for somebody else to decide."""
    return Event("review.escalated", _named(review_id, referral_id))


def _named(review_id: UUID, referral_id: UUID) -> dict[str, object]:
    return {"id": ids.public("rvw", review_id), "referral_id": ids.public("ref", referral_id)}
