"""Redemption options: what points can buy, at which price. Offering is not buying: that is `points.redemptions`.

There are three kinds: quota, uses of a feature for some days or for ever; an unlock, a plan for some days; and a
reward, which the company gives by itself. A redemption reads its option, so what is changed counts from then on.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, LiteralString, Self
from uuid import UUID

from psycopg import Connection
from psycopg.rows import dict_row
from pydantic import Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from goodword.access.entitlements import FEATURE_KEY
from goodword.access.plans import PlanId
from goodword.core import ids, outbox, paging, query
from goodword.core.errors import NotFound, invalid_fields
from goodword.core.fields import UNCHANGED, AnswerModel, Instant, RequestModel, Text, given_fields
from goodword.core.ids import OptionId
from goodword.core.paging import Page, PageQuery

OptionKind = Literal["quota", "unlock", "reward"]
Pieces = Annotated[int, Field(ge=1, le=1_000_000_000)]
Stock = Annotated[int, Field(ge=0, le=1_000_000_000)]
PerUserLimit = Annotated[int, Field(ge=1, le=1_000_000)]
OptionDays = Annotated[int, Field(ge=1, le=3650)]

# The fields that say what an option of a kind is, and whether they need a value.
_NEEDS_VALUE: Mapping[str, Mapping[str, bool]] = {
    "quota": {"feature": True, "quantity": True, "days": False},
    "unlock": {"plan": True, "days": True},
    "reward": {},
}
_OF_SOME_KIND = {name for fields in _NEEDS_VALUE.values() for name in fields}


class NewOption(RequestModel):
    """The body of POST /v1/redemption-options.

    A quota option adds `quantity` uses of `feature`, which end after `days` or, without them, never; an unlock gives
    `plan` for `days`. A kind takes no fields of another.
    """

    kind: OptionKind
    name: Text
    feature: Annotated[str, Field(pattern=FEATURE_KEY)] | None = None
    quantity: Pieces | None = None
    days: OptionDays | None = None
    plan: PlanId | None = None
    cost_points: Pieces
    stock: Stock | None = None
    per_user_limit: PerUserLimit | None = None
    active: bool = True

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> Self:
        if faults := [_as_error(*fault) for fault in _misfits(self.kind, given_fields(self), is_whole=True)]:
            raise ValidationError.from_exception_data(type(self).__name__, faults)
        return self


class OptionChange(RequestModel):
    """The body of PATCH /v1/redemption-options/{id}: what is left out stays, and so do kind, feature and plan.

    `stock` is what shall be left from now on.
    """

    name: Text = UNCHANGED
    quantity: Pieces = UNCHANGED
    days: OptionDays | None = None
    cost_points: Pieces = UNCHANGED
    stock: Stock | None = None
    per_user_limit: PerUserLimit | None = None
    active: bool = UNCHANGED


class Option(AnswerModel):
    """Something points can buy."""

    id: OptionId
    kind: OptionKind
    name: str
    feature: str | None
    quantity: int | None
    days: int | None
    plan: str | None
    cost_points: int
    stock: int | None
    per_user_limit: int | None
    active: bool
    created_at: Instant
    updated_at: Instant


class OptionList(Page[Option]):
    """A page of options, newest first."""


class OptionQuery(PageQuery):
    """How GET /v1/redemption-options is asked."""

    after: str | None = Field(default=None, pattern=r"^opt_[0-9a-f]{32}$")


# The id was made before the first attempt: an attempt repeated after a lost connection finds its own row.
_INSERT = """
    INSERT INTO redemption_options (company_id, id, kind, name, feature, quantity, days, plan, cost_points, stock,
        per_user_limit, active, created_at, updated_at)
    SELECT %(company_id)s, %(id)s, %(kind)s, %(name)s, %(feature)s, %(quantity)s, %(days)s, %(plan)s, %(cost_points)s,
        %(stock)s, %(per_user_limit)s, %(active)s, clock.now, clock.now
    FROM company_now(%(company_id)s) AS clock (now)
    ON CONFLICT ON CONSTRAINT redemption_options_pk DO NOTHING
"""

# Waits for the redemptions in flight that take pieces out of the stock.
_LOCK = """
    SELECT kind, name, quantity, days, cost_points, stock, per_user_limit, active
    FROM redemption_options WHERE company_id = %(company_id)s AND id = %(id)s FOR NO KEY UPDATE
"""

_CHANGE = """
    UPDATE redemption_options SET name = %(name)s, quantity = %(quantity)s, days = %(days)s,
        cost_points = %(cost_points)s, stock = %(stock)s, per_user_limit = %(per_user_limit)s, active = %(active)s,
        updated_at = company_now(company_id)
    WHERE company_id = %(company_id)s AND id = %(id)s
"""

_OPTIONS: LiteralString = """
    SELECT id, kind, name, feature, quantity, days, plan, cost_points, stock, per_user_limit, active, created_at,
        updated_at
    FROM redemption_options
    WHERE company_id = %(company_id)s
"""

_BY_ID = f"{_OPTIONS} AND id = %(id)s"

_PAGE = f"""{_OPTIONS}
        AND (%(after)s::uuid IS NULL OR (created_at, id) < (
            SELECT created_at, id FROM redemption_options WHERE company_id = %(company_id)s AND id = %(after)s))
    ORDER BY created_at DESC, id DESC LIMIT %(limit)s + 1
"""  # noqa: S608 - one head for both

_IS_OPTION = "SELECT 1 FROM redemption_options WHERE company_id = %(company_id)s AND id = %(after)s"


def offer(connection: Connection, company_id: UUID, option_id: UUID, new: NewOption) -> Option:
    """Write a new option. An unknown feature or plan is a violated constraint, by name."""
    connection.execute(_INSERT, {"company_id": company_id, "id": option_id, **new.model_dump()})
    return _announced(connection, company_id, option_id, option_id, "redemption_option.created")


def change(
    connection: Connection, company_id: UUID, option_id: UUID | None, change_id: UUID, wanted: OptionChange
) -> Option:
    """Change an option. Raises NotFound, and Refused for a field of another kind."""
    scope = {"company_id": company_id, "id": option_id}
    stored = connection.cursor(row_factory=dict_row).execute(_LOCK, scope).fetchone()
    if stored is None:
        raise _not_found()
    given = given_fields(wanted)
    if faults := _misfits(stored.pop("kind"), given, is_whole=False):
        raise invalid_fields(*faults)
    if not given:
        return find(connection, company_id, option_id)
    connection.execute(_CHANGE, {**stored, **given, **scope})
    return _announced(connection, company_id, option_id, change_id, "redemption_option.updated")


def find(connection: Connection, company_id: UUID, option_id: UUID | None) -> Option:
    """One option. Raises NotFound."""
    option = query.one(connection, Option, _BY_ID, company_id=company_id, id=option_id)
    if option is None:
        raise _not_found()
    return option


def listed(connection: Connection, company_id: UUID, page: OptionQuery) -> OptionList:
    """A page of the company's options, newest first. Raises Refused for an `after` that is none of them."""
    after = ids.parse("opt", page.after) if page.after else None
    options = query.every(connection, Option, _PAGE, company_id=company_id, after=after, limit=page.limit)
    if after and not options:
        paging.refuse_unknown(
            connection, _IS_OPTION, "is no option of this company", company_id=company_id, after=after
        )
    return OptionList.of(options, page.limit)


def _misfits(kind: str, given: Mapping[str, Any], *, is_whole: bool) -> list[tuple[str, str]]:
    """The given fields that an option of a kind cannot have, with why; of a whole one also what it lacks."""
    needs_value = _NEEDS_VALUE[kind]
    others = _OF_SOME_KIND - needs_value.keys()
    faults = [(name, f"is for no option of the kind {kind}") for name in given if name in others]
    faults += [
        (name, "is required")
        for name, is_needed in needs_value.items()
        if is_needed and given.get(name) is None and (is_whole or name in given)
    ]
    return faults


def _as_error(field: str, problem: str) -> InitErrorDetails:
    return {"type": PydanticCustomError("misfit", "{problem}", {"problem": problem}), "loc": (field,), "input": None}


def _announced(connection: Connection, company_id: UUID, option_id: UUID | None, event_id: UUID, kind: str) -> Option:
    option = find(connection, company_id, option_id)
    data = option.model_dump(mode="json", exclude={"name"})  # the feed has no free text
    event = outbox.Event(kind, data, event_id)
    outbox.announce(connection, company_id, [event], option.updated_at)
    return option


def _not_found() -> NotFound:
    return NotFound("option_not_found", "There is no such redemption option.")
