"""Redemptions: points turned into something. Prices come from the option alone, never from the request.

A redemption is the SQL function `redeem` (key, price, stock, limit, wallet, lots, quota, answer) and its refund is
`refund_redemption`; each is one trip.
"""

from typing import Literal
from uuid import UUID

from psycopg import Connection
from pydantic import Field

from goodword.core import ids
from goodword.core.fields import AnswerModel, Instant, RequestModel
from goodword.core.ids import OptionId, RedemptionId
from goodword.core.one_trip import KeptAnswer, OneTrip


class NewRedemption(RequestModel):
    """The body of POST /v1/users/{user_id}/redemptions."""

    option_id: str = Field(pattern=r"^opt_[0-9a-f]{32}$")
    quantity: int = Field(default=1, ge=1, le=1_000_000)


class Redemption(AnswerModel):
    """Points spent, and what came of it."""

    id: RedemptionId
    user_id: str
    option_id: OptionId
    kind: Literal["quota", "unlock", "reward"]
    quantity: int
    cost_points: int
    status: Literal["fulfilled", "pending", "failed", "refunded"]
    balance_after: int
    grant: None
    created_at: Instant
    refunded_at: Instant | None


_REDEEM = """
    SELECT status, body, replayed FROM redeem(
        %(company_id)s, %(user_id)s, %(option)s, %(quantity)s, %(redemption)s,
        %(key)s, %(hash)s, %(request_id)s, %(outbox_id)s, %(activity_id)s)
"""

_REFUND = """
    SELECT status, body, replayed FROM refund_redemption(
        %(company_id)s, %(redemption)s, %(key)s, %(hash)s, %(request_id)s, %(outbox_id)s, %(activity_id)s)
"""


def redeem(
    connection: Connection, trip: OneTrip, external_id: str, redemption_id: UUID, new: NewRedemption
) -> KeptAnswer:
    """Buy an option with points (`redeem`). Answers with the Redemption."""
    option_id = ids.parse("opt", new.option_id)
    return trip.answer(
        connection, _REDEEM, user_id=external_id, redemption=redemption_id, option=option_id, quantity=new.quantity
    )


def refund(connection: Connection, trip: OneTrip, redemption_id: UUID | None) -> KeptAnswer:
    """Give points back (`refund_redemption`); what they bought ends now. Answers with the Redemption."""
    return trip.answer(connection, _REFUND, redemption=redemption_id)
