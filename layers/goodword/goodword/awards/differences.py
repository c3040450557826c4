"""The difference between what should stand and what stands: new awards, changed ones, and the postings of both.

Pure. An award's `points` never change; what the facts have taken back of them stands in `reversed_points`. A paid award
is booked whole and what was taken back is booked after it, so that it can be given back in the same way, and the ledger
comes to one sum whatever came first. An award moves when an earlier payment or use arrives late, or when it depends on
another payment: it stays what it is, with another period, payment or instant. One that was paid and turns out to have
to wait is taken back until its time has come.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from goodword.awards.due import Due, Event, Key
from goodword.awards.engine import Standing
from goodword.core import ids, money
from goodword.points.ledger import EarningType

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
    created_at: datetime

    @property
    def key(self) -> Key:
        """The natural key within the referral."""
        return (self.event, self.app_id, self.occasion)

    @property
    def stands(self) -> bool:
        """Whether what is left of it stands in the ledger: a booked one that has to wait again was taken back whole."""
        return self.booked and self.status in {"paid", "reversed"}


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
    booked: bool = False
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

    def book(self, award: Award, stands: int) -> None:
        """Bring what `stands` in the ledger for an award to what shall.

        An award is booked whole, once; all else is taken back from it and given back to it.
        """
        shall = award.points - award.reversed_points if award.status == "paid" else 0
        if shall and not award.booked:
            reference = ids.public("awd", award.id)
            self.postings.append(Posting(award.user_id, EARNING[award.event], award.points, reference))
            award.earning = len(self.postings)
            stands = award.points
        if stands != shall:
            self._adjust(award, stands - shall)

    def _adjust(self, award: Award, points: int) -> None:
        """Take `points` back from a booked award or, negative, give them back to it."""
        award.adjustments += 1
        type_ = "REVERSAL" if points > 0 else "REINSTATEMENT"
        reference = ids.public("awd", award.id)
        self.postings.append(Posting(award.user_id, type_, abs(points), reference, str(award.adjustments)))


def processed_at(stored: Sequence[Stored], retained_at: datetime | None) -> datetime | None:
    """When the job of retention is known to have come by last, by the awards it made and by when the stage was reached.

    What it booked once comes and goes with the facts; what falls due later waits for it again.
    """
    made = [at for award in stored if award.event == "retained" for at in (award.created_at, award.due_at)]
    return max([*made, *([retained_at] if retained_at else [])], default=None)


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
        _settle_unpaid(award, standing, waits=not _is_over(due.hold_until, at))
    found.book(award, 0)
    found.new.append(award)


def _change(
    found: Difference, stored: Stored, due: Due | None, standing: Standing, at: datetime, *, releases: bool
) -> None:
    left = money.rounded(stored.points * due.share) if due else 0
    award = Award(
        stored.id, stored.event, stored.user_id, stored.points, stored.status, stored.points - left,
        stored.hold_until, stored.hold_reason, stored.adjustments, stored.booked, due=due,
    )  # fmt: skip
    is_kept_back = stored.status == "held" and stored.hold_reason != DISPUTE
    if due and not is_kept_back:
        award.hold_until = due.hold_until
    if stored.status == "rejected":
        award.reversed_points = stored.reversed_points  # decided once; nothing was given that could be taken back
    elif left == 0:
        award.status, award.hold_reason = "reversed", None
    elif not is_kept_back:
        # what waits for a time that has passed is released by the job; what waited for something else, or turns out to
        # have waited long enough, at once
        is_the_jobs = stored.status == "pending" and _is_over(stored.hold_until, at) and not releases
        waits = is_the_jobs or not _is_over(award.hold_until, at)
        stays = stored.status == "paid" and stored.hold_until == award.hold_until
        award.hold_reason = None
        if stays or (stored.stands and not waits):
            award.status = "paid"  # a dispute does not change that
        else:
            _settle_unpaid(award, standing, waits=waits)
    found.book(award, stored.points - stored.reversed_points if stored.stands else 0)
    before = (stored.status, stored.reversed_points, stored.hold_reason)
    if (award.status, award.reversed_points, award.hold_reason) != before:
        found.changed.append(award)
    elif due and (due.period, due.payment_id, due.due_at) != (stored.period, stored.payment_id, stored.due_at):
        found.moved.append(award)


def _is_over(hold_until: datetime | None, at: datetime) -> bool:
    return hold_until is None or hold_until <= at


def _settle_unpaid(award: Award, standing: Standing, *, waits: bool) -> None:
    if standing.disputed:
        award.status, award.hold_reason = "held", DISPUTE
    else:
        award.status = "pending" if waits else "paid"
