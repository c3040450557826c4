"""Caps: the most points that are awarded to one person, on one day, and in one campaign. Pure.

An award reserves its points when it is made, and what is rejected or taken back is free again. A new one that does not
fit whole earns nothing; what was given once is never refused again, even past a cap (docs/rules.md, Caps).
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

from goodword.program.document import Caps

Moved = Counter[tuple[UUID, str]]
"""Points by which a settlement moves what is reserved, by person or campaign, and by what caps are asked of there."""


class CampaignCaps(NamedTuple):
    """The caps of a campaign, and what all awards of its referrals reserve of the first."""

    id: UUID
    points: int | None
    per_user_points: int | None
    reserved: int


class Reserved(NamedTuple):
    """What a person's awards reserved before the settlement: all time, today, and in the campaign of the referral."""

    user_id: UUID
    ever: int
    today: int
    in_campaign: int


@dataclass(slots=True)
class Headroom:
    """What the caps of one referral leave, while it is settled. `moved` is shared by all that are settled together.

    Those may be of versions in several zones, whose days begin apart: a day is shared by its date.
    """

    caps: Caps
    campaign: CampaignCaps | None
    reserved: Mapping[UUID, Reserved]
    today_began_at: datetime
    today: date
    moved: Moved = field(default_factory=Moved)

    def fits(self, user_id: UUID, points: int) -> bool:
        """Whether so many points may be awarded to a person, whole."""
        return all(reserved + points <= cap for cap, reserved in self._asked(user_id) if cap is not None)

    def move(self, user_id: UUID, points: int, made_at: datetime) -> None:
        """Reserve points of an award that was made at an instant or, negative, free them."""
        self.moved[user_id, "ever"] += points
        if made_at >= self.today_began_at:
            self.moved[user_id, str(self.today)] += points
        if self.campaign:
            self.moved[self.campaign.id, "all"] += points
            self.moved[user_id, str(self.campaign.id)] += points

    def _asked(self, user_id: UUID) -> list[tuple[int | None, int]]:
        """Each cap with what is reserved under it."""
        known, moved = self.reserved.get(user_id, Reserved(user_id, 0, 0, 0)), self.moved
        asked = [
            (self.caps.per_user_points, known.ever + moved[user_id, "ever"]),
            (self.caps.per_user_per_day_points, known.today + moved[user_id, str(self.today)]),
        ]
        if campaign := self.campaign:
            asked += [
                (campaign.points, campaign.reserved + moved[campaign.id, "all"]),
                (campaign.per_user_points, known.in_campaign + moved[user_id, str(campaign.id)]),
            ]
        return asked
