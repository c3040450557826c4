"""Milestones: what a referrer is given for a number of counted referrals, once each and for ever.

docs/rules.md, Milestones. They are judged whenever a referral comes to count, in its own settlement. What one gives at
once is given there; what is not waits for its claim.
"""

import json
from typing import Literal, NamedTuple
from uuid import UUID

from goodword.awards.differences import Posting
from goodword.core import ids

RewardType = Literal["points", "product_unlock", "discount", "custom"]


class MilestoneAhead(NamedTuple):
    """A milestone that somebody has not reached yet; `reward_data` as it is stored."""

    id: UUID
    threshold: int
    auto_apply: bool
    reward_type: RewardType
    reward_data: str


class Reached(NamedTuple):
    """A milestone that somebody reaches: its row, as `write_milestones` takes it, and what it books at once."""

    row: dict[str, object]
    posting: Posting | None


def reach(milestone: MilestoneAhead, user_id: UUID) -> Reached:
    """What reaching a milestone comes to: granted at once, or waiting for a claim."""
    unlocks = milestone.auto_apply and milestone.reward_type == "product_unlock"
    row: dict[str, object] = {
        "user_id": user_id,
        "milestone_id": milestone.id,
        "status": "granted" if milestone.auto_apply else "pending",
        "grant_id": ids.new_id() if unlocks else None,
    }
    pays = milestone.auto_apply and milestone.reward_type == "points"
    return Reached(row, posting(milestone.id, user_id, milestone.reward_data) if pays else None)


def posting(milestone_id: UUID, user_id: UUID, reward_data: str) -> Posting:
    """What a milestone of points books, once for each person."""
    points: int = json.loads(reward_data)["points"]
    return Posting(user_id, "MILESTONE", points, ids.public("mil", milestone_id), ids.public("usr", user_id))
