"""Usage: a user uses so much of a feature, if it is allowed, and what came to nothing is returned.

A use is the SQL function `consume_usage`, a return `return_usage`, each one trip: the period's own allowance is taken
first, then quota bought with points, and what comes back does so the other way round.
"""

from typing import Annotated
from uuid import UUID

from psycopg import Connection
from pydantic import Field

from goodword.access.entitlements import FEATURE_KEY, Entitlement
from goodword.accounts import users
from goodword.core import ids, paging, query
from goodword.core.fields import MOST_AT_ONCE, UNCHANGED, AnswerModel, Instant, RequestModel
from goodword.core.ids import UsageId
from goodword.core.one_trip import KeptAnswer, OneTrip
from goodword.core.paging import Page, PageQuery

MOST_OF_A_USE = 1_000_000


class Usage(RequestModel):
    """The body of POST /v1/users/{user_id}/usage."""

    feature: str = Field(pattern=FEATURE_KEY)
    quantity: int = Field(default=1, ge=1, le=MOST_OF_A_USE)


class UsageAnswer(Entitlement):
    """The entitlement after the use, and the use's own id."""

    usage_id: str


class UsageReturn(RequestModel):
    """The body of POST /v1/users/{user_id}/usage/{usage_id}/return: without `quantity` all that is left of the use."""

    quantity: Annotated[int, Field(ge=1, le=MOST_AT_ONCE)] = UNCHANGED


class UsageReturnAnswer(UsageAnswer):
    """The entitlement after the return, and how much of the use may still be returned."""

    returnable: int


class UsageRecord(AnswerModel):
    """A use, and how much of it was returned."""

    usage_id: UsageId
    feature: str
    quantity: int
    returned: int
    occurred_at: Instant


class UsageList(Page[UsageRecord]):
    """A page of uses, newest first."""


class UsageQuery(PageQuery):
    """How GET …/usage is asked."""

    feature: str | None = Field(default=None, pattern=FEATURE_KEY)
    after: str | None = Field(default=None, pattern=r"^use_[0-9a-f]{32}$")


_CONSUME = """
    SELECT status, body, replayed FROM consume_usage(
        %(company_id)s, %(user_id)s, %(feature)s, %(quantity)s, %(usage)s,
        %(key)s, %(hash)s::bytea, %(request_id)s, %(outbox_id)s)
"""

_RETURN = """
    SELECT status, body, replayed FROM return_usage(
        %(company_id)s, %(user_id)s, %(usage)s::uuid, %(quantity)s::bigint, %(return)s,
        %(key)s, %(hash)s::bytea, %(request_id)s, %(outbox_id)s)
"""

_LIST = """
    SELECT id AS usage_id, feature, quantity, returned, created_at AS occurred_at FROM usages
    WHERE company_id = %(company_id)s AND user_id = %(user_id)s
        AND (%(feature)s::text IS NULL OR feature = %(feature)s)
        AND (%(after)s::uuid IS NULL OR id < (
            SELECT id FROM usages WHERE company_id = %(company_id)s AND user_id = %(user_id)s AND id = %(after)s))
    ORDER BY id DESC LIMIT %(limit)s + 1
"""

_IS_USE = """
    SELECT 1 FROM usages WHERE company_id = %(company_id)s AND user_id = %(user_id)s AND id = %(after)s
"""


def consume(connection: Connection, trip: OneTrip, external_id: str, usage_id: UUID, usage: Usage) -> KeptAnswer:
    """Use a feature (`consume_usage`); without a key the id alone makes a repetition the same use.

    Answers with the UsageAnswer.
    """
    return trip.answer(connection, _CONSUME, user_id=external_id, usage=usage_id, **usage.model_dump())


def give_back(
    connection: Connection, trip: OneTrip, external_id: str, usage_id: str, return_id: UUID, wanted: UsageReturn
) -> KeptAnswer:
    """Return a use, or a part of it (`return_usage`); without a key the id alone makes a repetition the same return.

    Answers with the UsageReturnAnswer.
    """
    use = ids.parse("use", usage_id)
    values = {"user_id": external_id, "usage": use, "quantity": wanted.quantity, "return": return_id}
    return trip.answer(connection, _RETURN, **values)


def listed(connection: Connection, company_id: UUID, external_id: str, page: UsageQuery) -> UsageList:
    """A page of a user's uses, newest first.

    Raises NotFound for an unknown user, Refused for an `after` that is no use of theirs.
    """
    scope = {
        "company_id": company_id,
        "user_id": users.find(connection, company_id, external_id).id,
        "after": ids.parse("use", page.after) if page.after else None,
    }
    uses = query.every(connection, UsageRecord, _LIST, **scope, feature=page.feature, limit=page.limit)
    if page.after and not uses:
        paging.refuse_unknown(connection, _IS_USE, "is no use of this user", **scope)
    return UsageList.of(uses, page.limit)
