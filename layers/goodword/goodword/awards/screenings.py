"""Screenings: how far a referral is trusted, and what that does to its awards. Pure.

Who judges stands above this room: settlement is handed a judge, and a referral keeps what it was judged to be.

| risk     | new awards                              | those not paid yet                         | paid ones      |
|----------|-----------------------------------------|--------------------------------------------|----------------|
| clear    | as their terms say                      | as their terms say                         | stay           |
| hold     | wait `risk_hold_hours`; not the welcome | the same, from when they were made         | stay           |
| limited  | wait for the review; not the welcome    | the same                                   | stay           |
| review   | wait for the review                     | wait for the review                        | stay           |
| refused  | rejected, `fraud_rejected`              | wait for the review                        | stay           |
| approved | as their terms say                      | the same, with those of `fraud_rejected`   | stay           |
| rejected | rejected, `review_rejected`             | rejected, `review_rejected`                | are taken back |
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from goodword.awards.due import AwardEvent

Risk = Literal["clear", "hold", "limited", "review", "refused", "approved", "rejected"]
HoldReason = Literal["risk", "review", "dispute"]

FRAUD_REJECTED = "fraud_rejected"
REVIEW_REJECTED = "review_rejected"
REFUSALS: Mapping[Risk, str] = {"refused": FRAUD_REJECTED, "rejected": REVIEW_REJECTED}
"""Why a new award is rejected for the risk of its referral."""

UNDER_REVIEW: frozenset[Risk] = frozenset({"limited", "review", "refused"})
FLAGGED: frozenset[Risk] = frozenset({*UNDER_REVIEW, "rejected"})


class Screening(NamedTuple):
    """What a referral was judged to be, by the names of the `signals` that were raised.

    `score` is what they add up to; `behavioural` is the part of the behavioural ones before its cap. The signals stand
    in the order in which they were raised, and a review has approved the first `cleared`. `judged_paid_at`: the first
    payment that was judged.
    """

    risk: Risk = "clear"
    score: int = 0
    behavioural: int = 0
    cleared: int = 0
    signals: tuple[str, ...] = ()
    judged_paid_at: datetime | None = None

    @property
    def is_flagged(self) -> bool:
        """Whether the referral counts nowhere, whatever stage it has reached."""
        return self.risk in FLAGGED

    def as_row(self) -> dict[str, object]:
        """As it stands in the row of its referral."""
        return {
            "risk": self.risk,
            "fraud_score": self.score,
            "fraud_behavioural": self.behavioural,
            "fraud_cleared": self.cleared,
            "fraud_signals": self.signals,
            "judged_paid_at": self.judged_paid_at,
        }


class Hold(NamedTuple):
    """What keeps an award from being paid: until when, if time ends it, and why beside its own terms."""

    reason: HoldReason | None
    until: datetime | None


class Restraint(NamedTuple):
    """All that may keep awards of a referral back beside their own terms."""

    disputed: bool
    risk: Risk
    risk_hold: timedelta

    def hold(self, event: AwardEvent, made_at: datetime, terms_until: datetime | None) -> Hold:
        """What keeps an award back that was made at an instant and waits by its terms until another."""
        if self.disputed:
            return Hold("dispute", terms_until)
        if self.risk in UNDER_REVIEW and not (self.risk == "limited" and event == "welcome"):
            return Hold("review", None)
        if self.risk == "hold" and event != "welcome" and self.risk_hold:
            risk_until = made_at + self.risk_hold
            return Hold("risk", max(risk_until, terms_until or risk_until))
        return Hold(None, terms_until)
