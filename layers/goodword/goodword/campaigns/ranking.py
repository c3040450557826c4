"""The ranking at the end of a campaign, and whom it gives a prize. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from goodword.campaigns.campaigns import Prize


class Participant(NamedTuple):
    """What somebody's referrals of a campaign have come to: at least one of them counts, the last since when."""

    user_id: UUID
    qualified: int
    points: int
    last_qualified_at: datetime


class Ranked(NamedTuple):
    """A participant's place, and the points that it is worth; 0: none."""

    rank: int
    user_id: UUID
    qualified: int
    points: int
    prize_points: int


def ranked(participants: Iterable[Participant], prizes: Sequence[Prize]) -> list[Ranked]:
    """Participants by most referrals, then most points, then who had them first, then who was there first."""
    in_order = sorted(
        participants, key=lambda each: (-each.qualified, -each.points, each.last_qualified_at, each.user_id)
    )
    return [
        Ranked(rank, each.user_id, each.qualified, each.points, _prize(rank, prizes))
        for rank, each in enumerate(in_order, start=1)
    ]


def _prize(rank: int, prizes: Sequence[Prize]) -> int:
    return next((prize.points for prize in prizes if prize.rank_from <= rank <= prize.rank_to), 0)
