"""The milestones that a company offers. Offering is not reaching: that is `awards.milestones`, in a settlement.

One that is made or changed gives nothing by itself, and is not versioned: whoever reaches or claims it from then on has
it as it is (docs/rules.md, Milestones).
"""

from typing import Annotated, Any, LiteralString, Self
from uuid import UUID

from psycopg import Connection
from psycopg.rows import dict_row
from pydantic import Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from goodword.awards import milestone_rewards
from goodword.awards.milestone_rewards import RewardData
from goodword.awards.milestones import RewardType
from goodword.core import ids, outbox, paging, query
from goodword.core.errors import NotFound, invalid_fields
from goodword.core.fields import UNCHANGED, AnswerModel, Instant, LongText, RequestModel, Text, given_fields
from goodword.core.ids import MilestoneId
from goodword.core.paging import Page, PageQuery

Threshold = Annotated[int, Field(ge=1, le=1_000_000_000)]

NOT_TOLD = {"name", "description", "reward_data"}
"""What the feed does not say: it has no free text, and a discount is for whoever has reached it."""


class NewMilestone(RequestModel):
    """The body of POST /v1/milestones.

    `reward_data` is `{points}`, `{plan, days, product_id?}`, `{discount_code}` or, of a custom reward, any object.
    """

    name: Text
    description: LongText | None = None
    threshold: Threshold
    reward_type: RewardType
    reward_data: RewardData
    auto_apply: bool = True
    active: bool = True

    @model_validator(mode="after")
    def _gives_what_its_type_gives(self) -> Self:
        if faults := milestone_rewards.faults(self.reward_type, self.reward_data):
            raise ValidationError.from_exception_data(type(self).__name__, [_as_error(*fault) for fault in faults])
        return self


class MilestoneChange(RequestModel):
    """The body of PATCH /v1/milestones/{id}: what is left out stays. A reward is its type and its data together."""

    name: Text = UNCHANGED
    description: LongText | None = None
    threshold: Threshold = UNCHANGED
    reward_type: RewardType = UNCHANGED
    reward_data: RewardData = UNCHANGED
    auto_apply: bool = UNCHANGED
    active: bool = UNCHANGED


class Milestone(AnswerModel):
    """A milestone as it is offered."""

    id: MilestoneId
    name: str
    description: str | None
    threshold: int
    reward_type: RewardType
    reward_data: RewardData
    auto_apply: bool
    active: bool
    created_at: Instant
    updated_at: Instant


class MilestoneList(Page[Milestone]):
    """A page of milestones, lowest threshold first."""


class MilestoneQuery(PageQuery):
    """How lists of milestones are asked."""

    after: str | None = Field(default=None, pattern=r"^mil_[0-9a-f]{32}$")


# The id was made before the first attempt: an attempt repeated after a lost connection finds its own row.
_INSERT = """
    INSERT INTO milestones (company_id, id, name, description, threshold, reward_type, reward_data, auto_apply, active,
        created_at, updated_at)
    SELECT %(company_id)s, %(id)s, %(name)s, %(description)s, %(threshold)s, %(reward_type)s, %(reward_data)s,
        %(auto_apply)s, %(active)s, clock.now, clock.now
    FROM company_now(%(company_id)s) AS clock (now)
    ON CONFLICT ON CONSTRAINT milestones_pk DO NOTHING
"""

_LOCK = """
    SELECT name, description, threshold, reward_type, reward_data, auto_apply, active
    FROM milestones WHERE company_id = %(company_id)s AND id = %(id)s FOR NO KEY UPDATE
"""

_CHANGE = """
    UPDATE milestones SET name = %(name)s, description = %(description)s, threshold = %(threshold)s,
        reward_type = %(reward_type)s, reward_data = %(reward_data)s, auto_apply = %(auto_apply)s,
        active = %(active)s, updated_at = company_now(company_id)
    WHERE company_id = %(company_id)s AND id = %(id)s
"""

_MILESTONES: LiteralString = """
    SELECT id, name, description, threshold, reward_type, reward_data, auto_apply, active, created_at, updated_at
    FROM milestones
    WHERE company_id = %(company_id)s
"""

_BY_ID = f"{_MILESTONES} AND id = %(id)s"

_PAGE = f"""{_MILESTONES}
        AND (%(after)s::uuid IS NULL OR (threshold, id) > (
            SELECT threshold, id FROM milestones WHERE company_id = %(company_id)s AND id = %(after)s))
    ORDER BY threshold, id LIMIT %(limit)s + 1
"""  # noqa: S608 - one head for both

IS_MILESTONE = "SELECT 1 FROM milestones WHERE company_id = %(company_id)s AND id = %(after)s"
"""Whether there is a milestone `after`."""

_IS_PLAN = "SELECT 1 FROM plans WHERE company_id = %(company_id)s AND id = %(plan)s"


def create(connection: Connection, company_id: UUID, milestone_id: UUID, new: NewMilestone) -> Milestone:
    """Write a milestone. Raises Refused for a plan that is not there."""
    row = new.model_dump()
    _refuse_unknown_plan(connection, company_id, row)
    connection.execute(_INSERT, {**_stored(row), "company_id": company_id, "id": milestone_id})
    return _announced(connection, company_id, milestone_id, milestone_id, "milestone.created")


def change(
    connection: Connection, company_id: UUID, milestone_id: UUID, change_id: UUID, wanted: MilestoneChange
) -> Milestone:
    """Change a milestone. Raises NotFound, and Refused for a reward whose data are not those of its type."""
    scope = {"company_id": company_id, "id": milestone_id}
    stored = connection.cursor(row_factory=dict_row).execute(_LOCK, scope).fetchone()
    if stored is None:
        raise unknown()
    given = given_fields(wanted)
    row = {**stored, **given}
    if given.keys() & {"reward_type", "reward_data"}:
        if faults := milestone_rewards.faults(row["reward_type"], row["reward_data"]):
            raise invalid_fields(*faults)
        _refuse_unknown_plan(connection, company_id, row)
    if not given:
        return find(connection, company_id, milestone_id)
    connection.execute(_CHANGE, {**_stored(row), **scope})
    return _announced(connection, company_id, milestone_id, change_id, "milestone.updated")


def find(connection: Connection, company_id: UUID, milestone_id: UUID) -> Milestone:
    """One milestone. Raises NotFound."""
    milestone = query.one(connection, Milestone, _BY_ID, company_id=company_id, id=milestone_id)
    if milestone is None:
        raise unknown()
    return milestone


def listed(connection: Connection, company_id: UUID, page: MilestoneQuery) -> MilestoneList:
    """A page of the company's milestones. Raises Refused for an `after` that is none of them."""
    scope = {"company_id": company_id, "after": ids.parse("mil", page.after) if page.after else None}
    milestones = query.every(connection, Milestone, _PAGE, **scope, limit=page.limit)
    if page.after and not milestones:
        paging.refuse_unknown(connection, IS_MILESTONE, "is no milestone of this company", **scope)
    return MilestoneList.of(milestones, page.limit)


def unknown() -> NotFound:
    """The refusal of a milestone that is not there."""
    return NotFound("milestone_not_found", "There is no such milestone.")


def _stored(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "reward_data": query.as_json(row["reward_data"])}


def _refuse_unknown_plan(connection: Connection, company_id: UUID, row: dict[str, Any]) -> None:
    if row["reward_type"] != "product_unlock":
        return
    named = {"company_id": company_id, "plan": row["reward_data"]["plan"]}
    if connection.execute(_IS_PLAN, named).fetchone() is None:
        raise invalid_fields(("reward_data.plan", "is no plan of this company"))


def _announced(connection: Connection, company_id: UUID, milestone_id: UUID, event_id: UUID, kind: str) -> Milestone:
    milestone = find(connection, company_id, milestone_id)
    event = outbox.Event(kind, milestone.model_dump(mode="json", exclude=NOT_TOLD), event_id)
    outbox.announce(connection, company_id, [event], milestone.updated_at)
    return milestone


def _as_error(field: str, problem: str) -> InitErrorDetails:
    kind = PydanticCustomError("misfit", "{problem}", {"problem": problem})
    return {"type": kind, "loc": tuple(field.split(".")), "input": None}
