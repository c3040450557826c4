"""Awards that are due: what the engine reckons, before the decisions that depend on other people."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Literal, NamedTuple
from uuid import UUID

from goodword.program.document import AwardTerms

AwardEvent = Literal["registered", "welcome", "activated", "qualified", "recurring", "l2", "retained", "cross_app"]
AwardRecipient = Literal["referrer", "referee", "upline"]
AwardKey = tuple[AwardEvent, str, str]
"""What names an award within its referral: event, app and occasion."""

WHOLE = Fraction(1)


class Due(NamedTuple):
    """An award that is due.

    `share` is the part of it that is due by what is still paid of the `payments` it depends on; `reason` says why it
    earns nothing.
    """

    event: AwardEvent
    recipient: AwardRecipient
    base_points: int
    due_at: datetime
    trace: Mapping[str, object]
    app_id: str = ""
    occasion: str = ""
    period: int | None = None
    payment_id: UUID | None = None
    payments: tuple[UUID, ...] = ()
    share: Fraction = WHOLE
    hold_until: datetime | None = None
    reason: str | None = None

    @property
    def key(self) -> AwardKey:
        """The natural key within the referral."""
        return (self.event, self.app_id, self.occasion)


def hold_until(terms: AwardTerms, due_at: datetime) -> datetime | None:
    """Until when an award waits, where its terms let it."""
    return due_at + timedelta(days=terms.hold_days) if terms.hold_days else None
