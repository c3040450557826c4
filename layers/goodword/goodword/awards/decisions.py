"""Who is given an award, and at what worth: what depends on other people than the two of its referral. Pure.

A decision is taken once, when an award comes into being, and is stored with it; what becomes of those people afterwards
changes nothing of it (docs/rules.md, Facts in any order). Whatever an award depends on besides the facts of its own
referral belongs here: a further question is a branch of `decide`, and what it needs to know a field of `People`.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import NamedTuple, TypeAlias
from uuid import UUID

from goodword.awards import tiers
from goodword.awards.caps import Headroom
from goodword.awards.due import Due
from goodword.awards.screenings import REFUSALS, Risk
from goodword.core import money
from goodword.program.document import Program

UNCHANGED_BPS = 10_000
BUDGET_EXHAUSTED = "budget_exhausted"


class Decision(NamedTuple):
    """Who is given an award, by which tier and multiplier; `rejected` is why it earns nothing.

    `counted` is how many other referrals of its referrer counted then.
    """

    user_id: UUID
    multiplier_bps: int = UNCHANGED_BPS
    tier: str | None = None
    rejected: str | None = None
    counted: int | None = None

    def points(self, due: Due) -> int:
        """The whole of what is awarded, rounded once."""
        return money.half_up(due.base_points * self.multiplier_bps, UNCHANGED_BPS)


Decide: TypeAlias = Callable[[Due], Decision | None]
"""Asked once for every new award; None: there is nobody to give it to, and the question comes again."""


class Upline(NamedTuple):
    """The referrer's own referrer: bound when, and whether the referrer's own referral stands."""

    user_id: UUID
    bound_at: datetime
    stands: bool


class People(NamedTuple):
    """The people of a referral, and when each payment of the referee's was stored.

    `others` is how many other referrals of the referrer count.
    """

    referrer_id: UUID
    referee_id: UUID
    upline: Upline | None
    recorded_at: Mapping[UUID, datetime]
    others: int = 0


def decide(program: Program, people: People, headroom: Headroom, risk: Risk, due: Due) -> Decision | None:
    """The decision on an award that is due; None where the referrer has no upline, or had none in time."""
    decision = _given(program, people, due)
    if decision is None or decision.rejected or due.reason:
        return decision
    if risk in REFUSALS:
        return decision._replace(rejected=REFUSALS[risk])
    if headroom.fits(decision.user_id, decision.points(due)):
        return decision
    return decision._replace(rejected=BUDGET_EXHAUSTED)


def _given(program: Program, people: People, due: Due) -> Decision | None:
    match due.recipient:
        case "referee":
            return Decision(people.referee_id)
        case "referrer":
            tier = tiers.of_award(program, due.event, people.others)
            return Decision(people.referrer_id, tier.multiplier_bps, tier.name, counted=people.others)
        case "upline":
            return _for_upline(people, due)


def _for_upline(people: People, due: Due) -> Decision | None:
    """An upline who was bound after a payment had been stored came too late for it (docs/rules.md, Level 2)."""
    upline = people.upline
    if upline is None or (due.payment_id and upline.bound_at > people.recorded_at[due.payment_id]):
        return None
    return Decision(upline.user_id, rejected=None if upline.stands else "upline_not_standing")
