"""Redemptions: points turned into something. Prices come from the option alone, never from the request.

A redemption is the SQL function `redeem` (key, price, stock, limit, wallet, lots, quota, answer) and its refund is
`refund_redemption`; each is one trip.
"""

from typing import Literal
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row
from pydantic import Field

from goodword.core import clock, outbox
from goodword.core.errors import invalid_fields
from goodword.core.fields import AnswerModel, Instant, RequestModel, Text
from goodword.core.ids import OptionId, RedemptionId


class NewOption(RequestModel):
    """The body of POST /v1/redemption-options. A quota option adds `quantity` uses of `feature`."""

    kind: Literal["quota"]
    name: Text
    feature: str = Field(pattern=r"^[a-z0-9_]{1,64}$")
    quantity: int = Field(ge=1, le=1_000_000_000)
    cost_points: int = Field(ge=1, le=1_000_000_000)
    stock: int | None = Field(default=None, ge=0, le=1_000_000_000)
    per_user_limit: int | None = Field(default=None, ge=1, le=1_000_000)
    active: bool = True


class Option(AnswerModel):
    """Something points can buy."""

    id: OptionId
    kind: Literal["quota", "unlock", "reward"]
    name: str
    feature: str | None
    quantity: int | None
    days: int | None
    cost_points: int
    stock: int | None
    per_user_limit: int | None
    active: bool


class OptionList(AnswerModel):
    """A page of options, newest first."""

    data: list[Option]
    has_more: bool


class OptionQuery(RequestModel):
    """How GET /v1/redemption-options is asked."""

    limit: int = Field(default=20, ge=1, le=100)
    after: str | None = Field(default=None, pattern=r"^opt_[0-9a-f]{32}$")


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


REDEEM = """
    SELECT status, body, replayed FROM redeem(
        %(company_id)s, %(user_id)s, %(option)s, %(quantity)s, %(redemption)s,
        %(key)s, %(hash)s, %(request_id)s, %(outbox_id)s, %(activity_id)s)
"""

REFUND = """
    SELECT status, body, replayed FROM refund_redemption(
        %(company_id)s, %(redemption)s, %(key)s, %(hash)s, %(request_id)s, %(outbox_id)s, %(activity_id)s)
"""

# The id was made before the first attempt: an attempt repeated after a lost connection finds its own row.
_INSERT_OPTION = """
    INSERT INTO redemption_options (company_id, id, kind, name, feature, quantity, cost_points, stock, per_user_limit,
        active, created_at)
    VALUES (%(company_id)s, %(id)s, %(kind)s, %(name)s, %(feature)s, %(quantity)s, %(cost_points)s, %(stock)s,
        %(per_user_limit)s, %(active)s, company_now(%(company_id)s))
    ON CONFLICT ON CONSTRAINT redemption_options_pk DO NOTHING
"""

_OPTIONS = """
    SELECT id, kind, name, feature, quantity, days, cost_points, stock, per_user_limit, active
    FROM redemption_options
    WHERE company_id = %(company_id)s
        AND (%(after)s::uuid IS NULL OR (created_at, id) < (
            SELECT created_at, id FROM redemption_options WHERE company_id = %(company_id)s AND id = %(after)s))
    ORDER BY created_at DESC, id DESC LIMIT %(limit)s + 1
"""

_IS_OPTION = "SELECT 1 FROM redemption_options WHERE company_id = %(company_id)s AND id = %(after)s"


def offer(connection: Connection, company_id: UUID, option_id: UUID, new: NewOption) -> Option:
    """Write a new option. An unknown feature is a violated constraint, by name."""
    connection.execute(_INSERT_OPTION, {"company_id": company_id, "id": option_id, **new.model_dump()})
    option = Option(id=option_id, days=None, **new.model_dump())
    created = outbox.Event("redemption_option.created", option.model_dump(mode="json"), option_id)
    outbox.announce(connection, company_id, [created], clock.company_now(connection, company_id))
    return option


def options(connection: Connection, company_id: UUID, after: UUID | None, limit: int) -> OptionList:
    """A page of the company's options, newest first. Raises Refused for an `after` that is none of them."""
    asked = {"company_id": company_id, "after": after, "limit": limit}
    rows = connection.cursor(row_factory=class_row(Option)).execute(_OPTIONS, asked).fetchall()
    if after and not rows and connection.execute(_IS_OPTION, asked).fetchone() is None:
        raise invalid_fields(("after", "is no option of this company"))
    return OptionList(data=rows[:limit], has_more=len(rows) > limit)
