"""Who is given an award, and at what worth: what depends on other people than the two of its referral. Pure.

A decision is taken once, when an award comes into being, and is stored with it; what becomes of those people afterwards
changes nothing of it (docs/rules.md, Facts in any order). Whatever an award depends on besides the facts of its own
referral belongs here: a further question is a branch of `decide`, and what it needs to know a field of `People`.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import NamedTuple, TypeAlias
from uuid import UUID

from goodword.awards.due import Due

UNCHANGED_BPS = 10_000


class Decision(NamedTuple):
    """Who is given an award, by which tier and multiplier; `rejected` is why it earns nothing."""

    user_id: UUID
    multiplier_bps: int = UNCHANGED_BPS
    tier: str | None = None
    rejected: str | None = None


Decide: TypeAlias = Callable[[Due], Decision | None]
"""Asked once for every new award; None: there is nobody to give it to, and the question comes again."""


class Upline(NamedTuple):
    """The referrer's own referrer: bound when, and whether the referrer's own referral stands."""

    user_id: UUID
    bound_at: datetime
    stands: bool


class People(NamedTuple):
    """The people of a referral, and when each payment of the referee's was stored."""

    referrer_id: UUID
    referee_id: UUID
    upline: Upline | None
    recorded_at: Mapping[UUID, datetime]


def decide(people: People, due: Due) -> Decision | None:
    """The decision on an award that is due; None where the referrer has no upline, or had none in time."""
    match due.recipient:
        case "referee":
            return Decision(people.referee_id)
        case "referrer":
            return Decision(people.referrer_id)
        case "upline":
            return _for_upline(people, due)


def _for_upline(people: People, due: Due) -> Decision | None:
    """An upline who was bound after a payment had been stored came too late for it (docs/rules.md, Level 2)."""
    upline = people.upline
    if upline is None or (due.payment_id and upline.bound_at > people.recorded_at[due.payment_id]):
        return None
    return Decision(upline.user_id, rejected=None if upline.stands else "upline_not_standing")
