"""Stored awards: an award as it stands, as settlement reads it."""

from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from goodword.awards.due import AwardEvent, AwardKey
from goodword.awards.screenings import HoldReason

AwardStatus = Literal["pending", "held", "paid", "rejected", "reversed"]


class StoredAward(NamedTuple):
    """An award as it stands. `booked`: it has an entry in the ledger."""

    id: UUID
    event: AwardEvent
    app_id: str
    occasion: str
    user_id: UUID
    points: int
    reversed_points: int
    status: AwardStatus
    hold_until: datetime | None
    hold_reason: HoldReason | None
    booked: bool
    adjustments: int
    period: int | None
    payment_id: UUID | None
    due_at: datetime
    created_at: datetime
    multiplier_bps: int
    tier: str | None
    counted: int | None
    reason: str | None

    @property
    def key(self) -> AwardKey:
        """The natural key within the referral."""
        return (self.event, self.app_id, self.occasion)

    @property
    def stands(self) -> bool:
        """Whether what is left of it stands in the ledger: a booked one that has to wait again was taken back whole."""
        return self.booked and self.status in {"paid", "reversed"}

    @property
    def standing_points(self) -> int:
        """What stands of it in the ledger."""
        return self.points - self.reversed_points if self.stands else 0

    @property
    def reserved_points(self) -> int:
        """What of it counts under caps: all that stands or waits."""
        return 0 if self.status == "rejected" else self.points - self.reversed_points
