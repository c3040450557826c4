"""Tiers: what a referrer's awards are multiplied by, by the referrals of theirs that count. Pure.

Of two referrals of one referrer neither changes the other's tier by itself: an award goes by the OTHER referrals that
count, so that the order of one referral's facts never matters. The source of both rules is docs/rules.md, Tiers.
"""

from goodword.awards.due import AwardEvent
from goodword.awards.engine import Stage
from goodword.program.document import Program, Tier

_AFTER_QUALIFICATION: frozenset[AwardEvent] = frozenset({"recurring", "retained"})


def counts(stage: Stage, *, flagged: bool) -> bool:
    """Whether a referral counts: for tiers, milestones, boards and prizes alike."""
    return stage in {"qualified", "retained"} and not flagged


def of_award(program: Program, event: AwardEvent, others: int) -> Tier:
    """The tier of an award to a referrer. What only a qualified referral earns counts it beside the `others`."""
    return program.tier(others + (event in _AFTER_QUALIFICATION))
