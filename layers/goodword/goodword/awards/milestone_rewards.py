"""What milestones give, by the type of their reward: which data each type has, and whether given data are so. Pure.

It is checked when a milestone is made or changed, so that little can fail when it is reached (docs/rules.md,
Milestones).
"""

from collections.abc import Mapping
from typing import Annotated, TypeAlias

from pydantic import Field, JsonValue, StringConstraints, ValidationError

from goodword.access.grants import GrantDays
from goodword.access.plans import PlanId
from goodword.accounts import activity
from goodword.awards.milestones import RewardType
from goodword.core import refusals
from goodword.core.fields import MOST_AT_ONCE, RequestModel

RewardData: TypeAlias = dict[str, JsonValue]

Faults = list[tuple[str, str]]
"""Fields, each with what is wrong with it."""

ShortText = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]


class _Points(RequestModel):
    points: Annotated[int, Field(ge=1, le=MOST_AT_ONCE)]


class _Unlock(RequestModel):
    """`product_id` is the app's own, told to it when the plan is granted."""

    plan: PlanId
    days: GrantDays
    product_id: ShortText | None = None


class _Discount(RequestModel):
    discount_code: ShortText


_OF_TYPE: Mapping[RewardType, type[RequestModel]] = {
    "points": _Points,
    "product_unlock": _Unlock,
    "discount": _Discount,
}


def faults(reward_type: RewardType, data: RewardData) -> Faults:
    """What is wrong with the data of a reward, by field; a custom one may be any object of up to 4 KiB.

    Whether its plan is there is asked by who writes it.
    """
    if reward_type == "custom":
        return _unstorable(data)
    try:
        _OF_TYPE[reward_type].model_validate(data)
    except ValidationError as invalid:
        wrong = invalid.errors(include_url=False, include_input=False)
        return [(f"reward_data.{each['loc'][0]}", refusals.words_for(each)) for each in wrong]
    return []


def _unstorable(data: RewardData) -> Faults:
    try:
        activity.storable(data)
    except ValueError as why:
        return [("reward_data", str(why))]
    return []
