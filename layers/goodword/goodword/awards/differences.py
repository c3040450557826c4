"""The difference between what should stand and what stands: new awards, changed ones, and the postings of both.

Pure. An award's `points` never change; what the facts have taken back of them stands in `reversed_points`. A paid award
is booked whole and what was taken back is booked after it, so that it can be given back in the same way, and the ledger
comes to one sum whatever came first. An award moves when an earlier payment or use arrives late, or when it depends on
another payment: it stays what it is, with another period, payment or instant. One that was paid and turns out to have
to wait is taken back until its time has come.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from goodword.awards import statuses
from goodword.awards.caps import Headroom
from goodword.awards.decisions import Decide, Decision
from goodword.awards.due import AwardEvent, AwardKey, Due
from goodword.awards.engine import Standing
from goodword.awards.screenings import REVIEW_REJECTED, Hold, HoldReason, Restraint, Risk
from goodword.awards.stored import AwardStatus, StoredAward
from goodword.core import ids, money
from goodword.points.earnings import EarningType

EARNING: Mapping[AwardEvent, EarningType] = {
    "registered": "REFERRAL_REGISTERED",
    "welcome": "REFERRAL_WELCOME",
    "activated": "REFERRAL_ACTIVATED",
    "qualified": "REFERRAL_FIRST_PAYMENT",
    "recurring": "REFERRAL_RECURRING",
    "l2": "REFERRAL_L2",
    "retained": "REFERRAL_RETAINED",
    "cross_app": "REFERRAL_CROSS_APP",
}
REASONS_OF_PAYMENTS = frozenset({"currency_not_configured", "referral_expired"})
"""Why an award earns nothing by what it is for alone, whoever is given it."""


class Posting(NamedTuple):
    """One posting of the ledger (post_entries)."""

    user_id: UUID
    type: str
    points: int
    reference: str
    occasion: str = ""


@dataclass(slots=True)
class AwardChange:
    """An award as it shall stand; `earning` is the position, from 1, of the posting that pays it, if one does.

    `due` is what it is for, None where nothing is any more; only a new one has a `decision`.
    """

    id: UUID
    event: AwardEvent
    user_id: UUID
    points: int
    status: AwardStatus
    reversed_points: int
    hold_until: datetime | None
    hold_reason: HoldReason | None = None
    reason: str | None = None
    adjustments: int = 0
    booked: bool = False
    earning: int | None = None
    due: Due | None = None
    decision: Decision | None = None

    @property
    def standing_points(self) -> int:
        """What stands of it in the ledger."""
        return self.points - self.reversed_points if self.status == "paid" else 0

    @property
    def reserved_points(self) -> int:
        """What of it counts under caps: all that stands or waits."""
        return 0 if self.status == "rejected" else self.points - self.reversed_points


class AwardMove(NamedTuple):
    """By how much an award, made at an instant, moves what stands for its recipient and what is reserved under caps."""

    event: AwardEvent
    user_id: UUID
    made_at: datetime
    standing_points: int
    reserved_points: int


@dataclass(slots=True)
class Difference:
    """What is to be written, in one go."""

    new: list[AwardChange] = field(default_factory=list[AwardChange])
    changed: list[AwardChange] = field(default_factory=list[AwardChange])
    moved: list[AwardChange] = field(default_factory=list[AwardChange])
    postings: list[Posting] = field(default_factory=list[Posting])
    moves: list[AwardMove] = field(default_factory=list[AwardMove])

    def book(self, award: AwardChange, standing_points: int) -> None:
        """Bring the points that stand in the ledger for an award to those that shall.

        An award is booked whole, once; all else is taken back from it and given back to it.
        """
        points = award.standing_points
        if points and not award.booked:
            reference = ids.public("awd", award.id)
            self.postings.append(Posting(award.user_id, EARNING[award.event], award.points, reference))
            award.earning = len(self.postings)
            standing_points = award.points
        if standing_points != points:
            self._adjust(award, standing_points - points)

    def _adjust(self, award: AwardChange, points: int) -> None:
        """Take `points` back from a booked award or, negative, give them back to it."""
        award.adjustments += 1
        type_ = "REVERSAL" if points > 0 else "REINSTATEMENT"
        reference = ids.public("awd", award.id)
        self.postings.append(Posting(award.user_id, type_, abs(points), reference, str(award.adjustments)))


def processed_at(stored: Sequence[StoredAward], retained_at: datetime | None) -> datetime | None:
    """When the job of retention is known to have come by last, by the awards it made and by when the stage was reached.

    What it booked once comes and goes with the facts; what falls due later waits for it again.
    """
    made = [at for award in stored if award.event == "retained" for at in (award.created_at, award.due_at)]
    return max([*made, *([retained_at] if retained_at else [])], default=None)


def between(
    standing: Standing, stored: Sequence[StoredAward], decide: Decide, at: datetime, headroom: Headroom,
    restraint: Restraint, *, releases: bool = False,
) -> Difference:  # fmt: skip
    """The difference between the stored awards and what should stand.

    What it frees under caps is freed before a new award asks for room. `releases` says that a job has come by for
    awards whose waiting is over.
    """
    difference = Difference()
    stored_keys = {award.key for award in stored}
    due_by_key = {due.key: due for due in standing.due}
    changed = [
        (award, _changed(award, due_by_key.get(award.key), restraint, at, releases=releases)) for award in stored
    ]
    for award, change in changed:
        headroom.move(award.user_id, change.reserved_points - award.reserved_points, award.created_at)
    left = list(stored)
    for due in standing.due:
        if due.key not in stored_keys:
            predecessor = _predecessor(due, left, due_by_key)
            if predecessor:
                left.remove(predecessor)
            decision = _taken_over(predecessor, restraint.risk) if predecessor else decide(due)
            if decision is not None:
                award = _new(due, decision, _hold_of_new(due, predecessor, restraint, at), at)
                headroom.move(award.user_id, award.reserved_points, at)
                _add_new(difference, award, at)
    for award, change in changed:
        _add_changed(difference, award, change)
    return difference


def _predecessor(due: Due, stored: Sequence[StoredAward], due_by_key: Mapping[AwardKey, Due]) -> StoredAward | None:
    """The award whose place one takes that is due: what it was for is no more, as when another payment carries it.

    At most one `qualified` stands, so the next one takes the place of any before it.
    """
    gone = (award for award in stored if award.event == due.event and award.key not in due_by_key)
    return next((award for award in gone if due.event == "qualified" or award.reserved_points), None)


def _taken_over(award: StoredAward, risk: Risk) -> Decision:
    """The decision on an award, for the one that takes its place; not why its payment alone was worth nothing."""
    rejected = REVIEW_REJECTED if risk == "rejected" else None if statuses.is_redeemed(award, risk) else award.reason
    rejected = None if rejected in REASONS_OF_PAYMENTS else rejected
    return Decision(award.user_id, award.multiplier_bps, award.tier, rejected, award.counted)


def _hold_of_new(due: Due, predecessor: StoredAward | None, restraint: Restraint, at: datetime) -> Hold:
    """What keeps a new award back. One that takes the place of another waits as that one did."""
    if predecessor is None:
        return restraint.hold(due.event, at, due.hold_until)
    if predecessor.status == "paid":
        return Hold(None, due.hold_until)
    return restraint.hold(due.event, predecessor.created_at, due.hold_until)


def _add_new(difference: Difference, award: AwardChange, at: datetime) -> None:
    difference.book(award, 0)
    difference.new.append(award)
    difference.moves.append(AwardMove(award.event, award.user_id, at, award.standing_points, award.reserved_points))


def _add_changed(difference: Difference, stored: StoredAward, award: AwardChange) -> None:
    """A change is announced; a move is only written."""
    difference.book(award, stored.standing_points)
    due, before = award.due, (stored.status, stored.reversed_points, stored.hold_reason)
    if (award.status, award.reversed_points, award.hold_reason) != before:
        standing = award.standing_points - stored.standing_points
        reserved = award.reserved_points - stored.reserved_points
        difference.moves.append(AwardMove(award.event, award.user_id, stored.created_at, standing, reserved))
        difference.changed.append(award)
    elif due and (due.period, due.payment_id, due.due_at) != (stored.period, stored.payment_id, stored.due_at):
        difference.moved.append(award)


def _new(due: Due, decision: Decision, hold: Hold, at: datetime) -> AwardChange:
    """A new award as it shall stand. What is rejected is never given, so nothing of it is taken back."""
    points = decision.points(due)
    reason = due.reason or decision.rejected
    due_points = points if reason else money.rounded(points * due.share)
    status = "rejected" if reason else statuses.of_new(due_points, hold, at)
    is_held = status == "held"
    return AwardChange(
        ids.new_id(), due.event, decision.user_id, points, status, points - due_points,
        hold.until if is_held else due.hold_until, hold.reason if is_held else None, reason, due=due, decision=decision,
    )  # fmt: skip


def _changed(
    stored: StoredAward, due: Due | None, restraint: Restraint, at: datetime, *, releases: bool
) -> AwardChange:
    """A stored award as it shall stand by what is due of it now. Only one that was never given is ever rejected."""
    terms_until = due.hold_until if due else stored.hold_until
    is_taken_back = stored.booked and restraint.risk == "rejected"
    stays = statuses.stays_paid(stored, terms_until, at)
    hold = Hold(None, terms_until) if stays else restraint.hold(stored.event, stored.created_at, terms_until)
    due_points = money.rounded(stored.points * due.share) if due and not is_taken_back else 0
    if due_points and stays:
        status = "paid"
    else:
        status = statuses.of_stored(stored, due_points, hold, restraint.risk, at, releases=releases)
    return AwardChange(
        stored.id, stored.event, stored.user_id, stored.points, status,
        stored.reversed_points if status == "rejected" else stored.points - due_points,
        hold.until if status in {"held", "paid"} else terms_until,
        hold_reason=hold.reason if status == "held" else None,
        reason=(stored.reason or REVIEW_REJECTED) if status == "rejected" else None,
        adjustments=stored.adjustments, booked=stored.booked, due=due,
    )  # fmt: skip
