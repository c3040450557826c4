"""Grants: a plan for a time, given by a coupon, a trial, an admin, a redemption or a milestone."""

from typing import Literal

from goodword.core.fields import AnswerModel, Instant
from goodword.core.ids import CouponId, GrantId, MilestoneId, RedemptionId

Source = Literal["coupon", "trial", "admin", "redemption", "milestone"]


class Grant(AnswerModel):
    """A grant as it stands. `starts_at` and `ends_at` are as they will be if nothing else happens.

    A day is 86,400 seconds; what is left is rounded up, to whole seconds and to whole days.
    """

    id: GrantId
    plan: str
    source: Source
    coupon_id: CouponId | None
    redemption_id: RedemptionId | None
    milestone_id: MilestoneId | None
    reason: str | None
    starts_at: Instant | None
    ends_at: Instant | None
    status: Literal["scheduled", "active", "paused", "ended"]
    paused_by: GrantId | None
    paused_at: Instant | None
    remaining_seconds: int | None
    remaining_days: int | None
    created_at: Instant
