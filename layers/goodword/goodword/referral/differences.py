"""The difference between what should stand and what stands: new awards, changed ones, and the postings of both.

Pure. An award's `points` never change; what the facts have taken back of them stands in `reversed_points`. A paid award
is booked whole and what was taken back is booked after it, so that it can be given back in the same way, and the ledger
comes to one sum whatever came first. When an earlier payment or use arrives late, an award moves: it stays what it is,
with another period, payment or instant.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from goodword.core import ids
from goodword.points.ledger import EarningType
from goodword.referral import money
from goodword.referral.engine import Due, Event, Key, Standing

Status = Literal["pending", "held", "paid", "rejected", "reversed"]

EARNING: Mapping[Event, EarningType] = {
    "registered": "REFERRAL_REGISTERED",
    "welcome": "REFERRAL_WELCOME",
    "activated": "REFERRAL_ACTIVATED",
    "qualified": "REFERRAL_FIRST_PAYMENT",
    "recurring": "REFERRAL_RECURRING",
    "l2": "REFERRAL_L2",
    "retained": "REFERRAL_RETAINED",
    "cross_app": "REFERRAL_CROSS_APP",
}
DISPUTE = "dispute"
UNCHANGED_BPS = 10_000


class Stored(NamedTuple):
    """An award as it stands. `booked`: it has an entry in the ledger."""

    id: UUID
    event: Event
    app_id: str
    occasion: str
    user_id: UUID
    points: int
    reversed_points: int
    status: Status
    hold_until: datetime | None
    hold_reason: str | None
    booked: bool
    adjustments: int
    period: int | None
    payment_id: UUID | None
    due_at: datetime

    @property
    def key(self) -> Key:
        """The natural key within the referral."""
        return (self.event, self.app_id, self.occasion)


@dataclass(frozen=True, slots=True)
class Decision:
    """What depends on other people: taken once, when an award comes into being, and stored with it."""

    user_id: UUID
    multiplier_bps: int = UNCHANGED_BPS
    tier: str | None = None
    rejected: str | None = None


@dataclass(frozen=True, slots=True)
class Posting:
    """One posting of the ledger (post_entries)."""

    user_id: UUID
    type: str
    points: int
    reference: str
    occasion: str = ""


@dataclass(slots=True)
class Award:
    """An award as it shall stand; `earning` is the position, from 1, of the posting that pays it, if one does.

    `due` is what it is for, None where nothing is any more; only a new one has a `decision`.
    """

    id: UUID
    event: Event
    user_id: UUID
    points: int
    status: Status
    reversed_points: int
    hold_until: datetime | None
    hold_reason: str | None = None
    adjustments: int = 0
    earning: int | None = None
    due: Due | None = None
    decision: Decision | None = None


@dataclass(slots=True)
class Difference:
    """What is to be written, in one go."""

    new: list[Award] = field(default_factory=list[Award])
    changed: list[Award] = field(default_factory=list[Award])
    moved: list[Award] = field(default_factory=list[Award])
    postings: list[Posting] = field(default_factory=list[Posting])

    def pay(self, award: Award) -> None:
        """Book an award whole."""
        self.postings.append(Posting(award.user_id, EARNING[award.event], award.points, ids.public("awd", award.id)))
        award.earning = len(self.postings)

    def adjust(self, award: Award, points: int) -> None:
        """Take `points` back from a paid award or, negative, give them back to it."""
        if points == 0:
            return
        award.adjustments += 1
        type_ = "REVERSAL" if points > 0 else "REINSTATEMENT"
        reference = ids.public("awd", award.id)
        self.postings.append(Posting(award.user_id, type_, abs(points), reference, str(award.adjustments)))


def difference(
    standing: Standing,
    stored: Sequence[Stored],
    decide: Callable[[Due], Decision | None],
    at: datetime,
    *,
    releases: bool = False,
) -> Difference:
    """What changes from `stored` to what should stand.

    `decide` is asked once for every award that is new; None: there is nobody to give it to. `releases` says that a job
    has come by for awards whose waiting is over.
    """
    found = Difference()
    known = {award.key: award for award in stored}
    due = {each.key: each for each in standing.due}
    for each in standing.due:
        if each.key not in known and (decision := decide(each)) is not None:
            _give(found, each, decision, standing, at)
    for award in stored:
        _change(found, award, due.get(award.key), standing, at, releases=releases)
    return found


def _give(found: Difference, due: Due, decision: Decision, standing: Standing, at: datetime) -> None:
    points = money.half_up(due.base_points * decision.multiplier_bps, UNCHANGED_BPS)
    left = money.rounded(points * due.share)
    award = Award(
        ids.new_id(), due.event, decision.user_id, points, "paid", points - left, due.hold_until,
        due=due, decision=decision,
    )  # fmt: skip
    if due.reason or decision.rejected:
        award.status, award.reversed_points = "rejected", 0
    elif left == 0:
        award.status = "reversed"
    else:
        _settle_unpaid(found, award, standing, waits=not _is_over(due.hold_until, at))
    found.new.append(award)


def _change(
    found: Difference, stored: Stored, due: Due | None, standing: Standing, at: datetime, *, releases: bool
) -> None:
    left = money.rounded(stored.points * due.share) if due else 0
    award = Award(
        stored.id, stored.event, stored.user_id, stored.points, stored.status, stored.points - left,
        stored.hold_until, stored.hold_reason, stored.adjustments, due=due,
    )  # fmt: skip
    is_kept_back = stored.status == "held" and stored.hold_reason != DISPUTE
    if due and not is_kept_back:
        award.hold_until = due.hold_until
    if stored.status == "rejected":
        award.reversed_points = stored.reversed_points  # decided once; nothing was given that could be taken back
    elif stored.booked:
        found.adjust(award, award.reversed_points - stored.reversed_points)
        award.status = "paid" if left else "reversed"
    elif left == 0:
        award.status, award.hold_reason = "reversed", None
    elif not is_kept_back:
        # what waits for a time that has passed is released by the job; what waited for something else, or turns out to
        # have waited long enough, at once
        is_the_jobs = stored.status == "pending" and _is_over(stored.hold_until, at) and not releases
        waits = is_the_jobs or not _is_over(award.hold_until, at)
        award.hold_reason = None
        _settle_unpaid(found, award, standing, waits=waits)
    before = (stored.status, stored.reversed_points, stored.hold_reason)
    if (award.status, award.reversed_points, award.hold_reason) != before:
        found.changed.append(award)
    elif due and (due.period, due.payment_id, due.due_at) != (stored.period, stored.payment_id, stored.due_at):
        found.moved.append(award)


def _is_over(hold_until: datetime | None, at: datetime) -> bool:
    return hold_until is None or hold_until <= at


def _settle_unpaid(found: Difference, award: Award, standing: Standing, *, waits: bool) -> None:
    if standing.disputed:
        award.status, award.hold_reason = "held", DISPUTE
    elif waits:
        award.status = "pending"
    else:
        award.status = "paid"
        found.pay(award)
        found.adjust(award, award.reversed_points)
