"""Statuses: what becomes of an award by the points that are due of it, and by what keeps it back. Pure."""

from datetime import datetime

from goodword.awards.screenings import FRAUD_REJECTED, Hold, Risk
from goodword.awards.stored import AwardStatus, StoredAward


def of_new(due_points: int, hold: Hold, at: datetime) -> AwardStatus:
    """The status of a new award that is not rejected."""
    if due_points == 0:
        return "reversed"
    return _unpaid(hold, waits=not _is_over(hold.until, at))


def of_stored(
    stored: StoredAward, due_points: int, hold: Hold, risk: Risk, at: datetime, *, releases: bool
) -> AwardStatus:
    """The status of a stored award that does not stay paid, by the points that are due of it.

    The first line that fits decides. Neither a dispute nor suspicion changes what is paid; where one that was paid has
    to wait anew, it is taken back until then.

    | stored award                                     | due  | becomes                               |
    |--------------------------------------------------|------|---------------------------------------|
    | rejected, but for what a review has approved     | any  | rejected: that was decided once       |
    | any                                              | none | reversed                              |
    | any, and a review has rejected its referral      | some | rejected                              |
    | any, in dispute or under a review                | some | held                                  |
    | any, waiting                                     | some | held where it is for risk, or pending |
    | any                                              | some | paid                                  |
    """
    if stored.status == "rejected" and not is_redeemed(stored, risk):
        return "rejected"
    if due_points == 0:
        return "reversed"
    if risk == "rejected":
        return "rejected"
    return _unpaid(hold, waits=_waits(stored, hold, at, releases=releases))


def stays_paid(stored: StoredAward, terms_until: datetime | None, at: datetime) -> bool:
    """Whether what stands of an award in the ledger stays there: by its terms it does not have to wait anew."""
    is_unchanged = stored.status == "paid" and stored.hold_until == terms_until
    return stored.stands and (is_unchanged or _is_over(terms_until, at))


def is_redeemed(award: StoredAward, risk: Risk) -> bool:
    """Whether an award was rejected for what a review has approved since."""
    return risk == "approved" and award.reason == FRAUD_REJECTED


def _waits(stored: StoredAward, hold: Hold, at: datetime, *, releases: bool) -> bool:
    """Whether an award has yet to wait for its time.

    One that waits for nothing else, and whose time has passed, is released by the job. What waited for something else,
    or turns out to have waited long enough, is released at once.
    """
    is_timed = stored.status == "pending" or (stored.status == "held" and stored.hold_reason == "risk" == hold.reason)
    is_the_jobs = is_timed and _is_over(stored.hold_until, at) and not releases
    return is_the_jobs or not _is_over(hold.until, at)


def _unpaid(hold: Hold, *, waits: bool) -> AwardStatus:
    """The status of an award that nothing was booked for, or that is booked anew."""
    if hold.reason in {"dispute", "review"}:
        return "held"
    if waits:
        return "held" if hold.reason == "risk" else "pending"
    return "paid"


def _is_over(hold_until: datetime | None, at: datetime) -> bool:
    return hold_until is None or hold_until <= at
