"""Redemption options: what points can buy, at which price. Offering is not buying: that is `points.redemptions`."""

from typing import Literal
from uuid import UUID

from psycopg import Connection
from pydantic import Field

from goodword.core import clock, ids, outbox, paging, query
from goodword.core.fields import AnswerModel, RequestModel, Text
from goodword.core.ids import OptionId
from goodword.core.paging import Page, PageQuery


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


class OptionList(Page[Option]):
    """A page of options, newest first."""


class OptionQuery(PageQuery):
    """How GET /v1/redemption-options is asked."""

    after: str | None = Field(default=None, pattern=r"^opt_[0-9a-f]{32}$")


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


def listed(connection: Connection, company_id: UUID, page: OptionQuery) -> OptionList:
    """A page of the company's options, newest first. Raises Refused for an `after` that is none of them."""
    after = ids.parse("opt", page.after) if page.after else None
    options = query.every(connection, Option, _OPTIONS, company_id=company_id, after=after, limit=page.limit)
    if after and not options:
        paging.refuse_unknown(
            connection, _IS_OPTION, "is no option of this company", company_id=company_id, after=after
        )
    return OptionList.of(options, page.limit)
