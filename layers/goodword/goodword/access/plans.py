"""Plans: the levels a company sells, each with limits per feature, and the prices by which providers sell them.

A price is one plan's alone. One that is replaced is kept as a former one: whoever subscribed to it keeps the plan.
"""

import re
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Self
from uuid import UUID

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from pydantic import AfterValidator, Field, StringConstraints, model_validator

from goodword.core import clock, outbox, paging, query
from goodword.core.errors import Conflict, NotFound
from goodword.core.fields import (
    MOST_AT_ONCE,
    UNCHANGED,
    AnswerModel,
    Instant,
    LongText,
    RequestModel,
    Text,
    given_fields,
)
from goodword.core.paging import Page, PageQuery

PLAN_ID = r"^[a-z0-9_-]{1,64}$"
NO_PLAN = "disabled"
"""What stands where a plan could, and gives nothing (`access.settings`); no plan has this id."""
MOST_PRICES = 50


def _each_once(refs: list[str]) -> list[str]:
    if len(set(refs)) < len(refs):
        raise ValueError("must not name the same one twice")
    return refs


def _not_reserved(plan_id: str) -> str:
    if plan_id == NO_PLAN:
        raise ValueError("is reserved")
    return plan_id


PlanId = Annotated[str, StringConstraints(pattern=PLAN_ID)]
PriceRef = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,255}$")]
PriceRefs = Annotated[list[PriceRef], Field(max_length=MOST_PRICES), AfterValidator(_each_once)]
Cents = Annotated[int, Field(ge=0, le=MOST_AT_ONCE)]
Currency = Annotated[str, StringConstraints(pattern=r"^[a-z]{3}$")]
SortOrder = Annotated[int, Field(ge=0, le=1_000_000)]


class _Prices(RequestModel):
    """What providers sell a plan as."""

    stripe_price_id_monthly: PriceRef | None = None
    stripe_price_id_yearly: PriceRef | None = None
    former_stripe_price_ids: PriceRefs = Field(default_factory=list[str])
    whop_plan_ids: PriceRefs = Field(default_factory=list[str])

    @model_validator(mode="after")
    def _a_price_is_one_thing(self) -> Self:
        named = (self.stripe_price_id_monthly, self.stripe_price_id_yearly, *self.former_stripe_price_ids)
        _each_once([price for price in named if price is not None])
        return self


class NewPlan(_Prices):
    """The body of POST /v1/plans. It says nothing of a feature until a limit is put. No price: not for sale so."""

    id: Annotated[PlanId, AfterValidator(_not_reserved)]
    name: Text
    description: LongText | None = None
    price_monthly_cents: Cents | None = None
    price_yearly_cents: Cents | None = None
    currency: Currency = "usd"
    active: bool = True
    sort_order: SortOrder


class PlanChange(_Prices):
    """The body of PATCH /v1/plans/{id}: what is left out stays.

    A Stripe price that another one, or null, replaces becomes a former one. The two lists are all there shall be
    besides.
    """

    name: Text = UNCHANGED
    description: LongText | None = None
    price_monthly_cents: Cents | None = None
    price_yearly_cents: Cents | None = None
    currency: Currency = UNCHANGED
    active: bool = UNCHANGED
    sort_order: SortOrder = UNCHANGED


class Plan(AnswerModel):
    """A plan, with its own limits by feature: of a feature that is not among them it says nothing."""

    id: str
    name: str
    description: str | None
    price_monthly_cents: int | None
    price_yearly_cents: int | None
    currency: str
    stripe_price_id_monthly: str | None
    stripe_price_id_yearly: str | None
    former_stripe_price_ids: list[str]
    whop_plan_ids: list[str]
    active: bool
    sort_order: int
    limits: dict[str, int | None]
    created_at: Instant
    updated_at: Instant


class PlanList(Page[Plan]):
    """A page of plans, lowest `sort_order` first."""


class PlanQuery(PageQuery):
    """How GET /v1/plans is asked."""

    after: str | None = Field(default=None, pattern=PLAN_ID)


_READ = """
    SELECT id, name, description, price_monthly_cents, price_yearly_cents, currency, active, sort_order, created_at,
        updated_at,
        (SELECT price_ref FROM plan_prices WHERE plan_prices.company_id = plans.company_id AND plan_id = id
            AND kind = 'monthly') AS stripe_price_id_monthly,
        (SELECT price_ref FROM plan_prices WHERE plan_prices.company_id = plans.company_id AND plan_id = id
            AND kind = 'yearly') AS stripe_price_id_yearly,
        ARRAY(SELECT price_ref FROM plan_prices WHERE plan_prices.company_id = plans.company_id AND plan_id = id
            AND kind = 'former' ORDER BY price_ref) AS former_stripe_price_ids,
        ARRAY(SELECT price_ref FROM plan_prices WHERE plan_prices.company_id = plans.company_id AND plan_id = id
            AND provider = 'whop' ORDER BY price_ref) AS whop_plan_ids,
        coalesce((SELECT jsonb_object_agg(feature, limit_value) FROM plan_limits
            WHERE plan_limits.company_id = plans.company_id AND plan_id = id), '{}') AS limits
    FROM plans
    WHERE company_id = %(company_id)s AND (%(id)s::text IS NULL OR id = %(id)s)
        AND (%(after)s::text IS NULL OR (sort_order, id) > (
            SELECT sort_order, id FROM plans WHERE company_id = %(company_id)s AND id = %(after)s))
    ORDER BY sort_order, id LIMIT %(limit)s + 1
"""

_INSERT = """
    INSERT INTO plans AS stored (company_id, id, name, description, price_monthly_cents, price_yearly_cents, currency,
        active, sort_order, creation, created_at, updated_at)
    VALUES (%(company_id)s, %(id)s, %(name)s, %(description)s, %(price_monthly_cents)s, %(price_yearly_cents)s,
        %(currency)s, %(active)s, %(sort_order)s, %(creation)s, %(at)s, %(at)s)
    ON CONFLICT ON CONSTRAINT plans_pk DO UPDATE SET creation = excluded.creation
        WHERE stored.creation = excluded.creation
    RETURNING id
"""

_HOLD = """
    SELECT name, description, price_monthly_cents, price_yearly_cents, currency, active, sort_order
    FROM plans WHERE company_id = %(company_id)s AND id = %(id)s FOR NO KEY UPDATE
"""

_CHANGE = """
    UPDATE plans SET name = %(name)s, description = %(description)s, price_monthly_cents = %(price_monthly_cents)s,
        price_yearly_cents = %(price_yearly_cents)s, currency = %(currency)s, active = %(active)s,
        sort_order = %(sort_order)s, updated_at = %(at)s
    WHERE company_id = %(company_id)s AND id = %(id)s
"""

# Before prices are stated: those that may be replaced become former ones, those that are listed are listed anew.
_RESTATE = """
    WITH dropped AS (
        DELETE FROM plan_prices
        WHERE company_id = %(company_id)s AND plan_id = %(id)s AND kind = ANY (%(listed)s)
    )
    UPDATE plan_prices SET kind = 'former'
    WHERE company_id = %(company_id)s AND plan_id = %(id)s AND kind = ANY (%(succeeded)s)
"""

# One that is another plan's stays so, and is not among those that are returned.
_SELL_AS = """
    INSERT INTO plan_prices AS stored (company_id, provider, price_ref, plan_id, kind)
    SELECT %(company_id)s, provider, price_ref, %(id)s, kind
    FROM jsonb_to_recordset(%(prices)s) AS price (provider text, price_ref text, kind text)
    ON CONFLICT ON CONSTRAINT plan_prices_pk DO UPDATE SET kind = excluded.kind
        WHERE stored.plan_id = excluded.plan_id
    RETURNING price_ref
"""

_TOUCH = "UPDATE plans SET updated_at = %(at)s WHERE company_id = %(company_id)s AND id = %(id)s"

_AFTER_EXISTS = "SELECT 1 FROM plans WHERE company_id = %(company_id)s AND id = %(after)s"

# Which kinds of prices a field of a request states.
_KINDS: Mapping[str, tuple[str, str]] = {
    "stripe_price_id_monthly": ("stripe", "monthly"),
    "stripe_price_id_yearly": ("stripe", "yearly"),
    "former_stripe_price_ids": ("stripe", "former"),
    "whop_plan_ids": ("whop", "current"),
}
_REPLACED = {"monthly", "yearly"}


def create(connection: Connection, company_id: UUID, event_id: UUID, new: NewPlan) -> Plan:
    """Write a new plan. Raises Conflict for an id that is taken, and for a price that is another plan's."""
    scope = {"company_id": company_id, "id": new.id}
    at = clock.company_now(connection, company_id)
    values = {**new.model_dump(), **scope, "creation": event_id, "at": at}
    if connection.execute(_INSERT, values).fetchone() is None:
        raise Conflict("plan_exists", "There is a plan with this id.")
    _sell_as(connection, scope, new, set(_KINDS))
    return announced(connection, company_id, new.id, event_id, "plan.created")


def change(connection: Connection, company_id: UUID, plan_id: str, event_id: UUID, wanted: PlanChange) -> Plan:
    """Change a plan. Raises NotFound, and Conflict for a price that is another plan's."""
    stored = hold(connection, company_id, plan_id)
    given = given_fields(wanted)
    if not given:
        return find(connection, company_id, plan_id)
    scope = {"company_id": company_id, "id": plan_id}
    connection.execute(_CHANGE, {**stored, **given, **scope, "at": clock.company_now(connection, company_id)})
    _sell_as(connection, scope, wanted, _KINDS.keys() & given)
    return announced(connection, company_id, plan_id, event_id, "plan.updated")


def find(connection: Connection, company_id: UUID, plan_id: str) -> Plan:
    """One plan. Raises NotFound."""
    values = {"company_id": company_id, "id": _possible(plan_id), "after": None, "limit": 1}
    plan = query.one(connection, Plan, _READ, **values)
    if plan is None:
        raise _not_found()
    return plan


def listed(connection: Connection, company_id: UUID, page: PlanQuery) -> PlanList:
    """A page of the company's plans. Raises Refused for an `after` that is none of them."""
    values = {"company_id": company_id, "after": page.after}
    plans = query.every(connection, Plan, _READ, id=None, limit=page.limit, **values)
    if page.after and not plans:
        paging.refuse_unknown(connection, _AFTER_EXISTS, "is no plan of this company", **values)
    return PlanList.of(plans, page.limit)


def hold(connection: Connection, company_id: UUID, plan_id: str) -> dict[str, Any]:
    """Lock a plan; its own columns. Raises NotFound."""
    scope = {"company_id": company_id, "id": _possible(plan_id)}
    stored = connection.cursor(row_factory=dict_row).execute(_HOLD, scope).fetchone()
    if stored is None:
        raise _not_found()
    return stored


def touch(connection: Connection, company_id: UUID, plan_id: str) -> None:
    """Keep that something of a plan changes now."""
    at = clock.company_now(connection, company_id)
    connection.execute(_TOUCH, {"company_id": company_id, "id": plan_id, "at": at})


def announced(connection: Connection, company_id: UUID, plan_id: str, event_id: UUID, kind: str) -> Plan:
    """A plan as it has become, once the company's systems are told of it."""
    plan = find(connection, company_id, plan_id)
    data = plan.model_dump(mode="json", exclude={"name", "description"})  # the feed has no free text
    outbox.announce(connection, company_id, [outbox.Event(kind, data, event_id)], plan.updated_at)
    return plan


def _possible(plan_id: str) -> str:
    return plan_id if re.fullmatch(PLAN_ID, plan_id) else ""  # Postgres would refuse a NUL


def _not_found() -> NotFound:
    return NotFound("plan_not_found", "There is no such plan.")


def _sell_as(connection: Connection, scope: Mapping[str, object], prices: _Prices, stated: Collection[str]) -> None:
    """Bring the prices to what the stated fields say. What stays is restated, so that it is not a former one."""
    kinds = {_KINDS[name][1] for name in stated}
    connection.execute(_RESTATE, {**scope, "succeeded": list(kinds & _REPLACED), "listed": list(kinds - _REPLACED)})
    wanted = [
        {"provider": _KINDS[name][0], "kind": _KINDS[name][1], "price_ref": price}
        for name in stated
        for price in _as_list(getattr(prices, name))
    ]
    if not wanted:
        return
    sold = connection.execute(_SELL_AS, {**scope, "prices": Jsonb(wanted)}).fetchall()
    refused = {price["price_ref"] for price in wanted} - {ref for (ref,) in sold}
    if refused:
        raise Conflict("price_taken", f"Another plan is sold as {', '.join(sorted(refused))}.")


def _as_list(value: str | list[str] | None) -> list[str]:
    return value if isinstance(value, list) else [value] if value is not None else []
