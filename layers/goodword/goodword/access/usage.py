"""Usage: a user uses so much of a feature, if it is allowed.

A use is the SQL function `consume_usage`, one trip: the period's own allowance first, then quota bought with points.
"""

from uuid import UUID

from psycopg import Connection
from pydantic import Field

from goodword.access.entitlements import FEATURE_KEY, Entitlement
from goodword.core.fields import MOST_AT_ONCE, RequestModel
from goodword.core.one_trip import KeptAnswer, OneTrip


class Usage(RequestModel):
    """The body of POST /v1/users/{user_id}/usage."""

    feature: str = Field(pattern=FEATURE_KEY)
    quantity: int = Field(default=1, ge=1, le=MOST_AT_ONCE)


class UsageAnswer(Entitlement):
    """The entitlement after the use, and the use's own id."""

    usage_id: str


_CONSUME = """
    SELECT status, body, replayed FROM consume_usage(
        %(company_id)s, %(user_id)s, %(feature)s, %(quantity)s, %(usage)s,
        %(key)s, %(hash)s::bytea, %(request_id)s, %(outbox_id)s, %(activity_id)s)
"""


def consume(connection: Connection, trip: OneTrip, external_id: str, usage_id: UUID, usage: Usage) -> KeptAnswer:
    """Use a feature (`consume_usage`); without a key the id alone makes a repetition the same use.

    Answers with the UsageAnswer.
    """
    return trip.answer(connection, _CONSUME, user_id=external_id, usage=usage_id, **usage.model_dump())
