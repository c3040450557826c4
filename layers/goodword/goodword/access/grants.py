"""Grants: a plan for a time, given by a coupon, a trial, an admin, a redemption or a milestone.

Of one plan one grant runs at a time, in the order in which they were made; different plans run beside each other. A
wellpass runs alone: it pauses whatever else would run, and each goes on afterwards with the seconds it had left. What
follows from that the SQL function `intervals_to_come` alone says; every read is exact to the microsecond without a job
(docs/rules.md, Grants; docs/decisions/0034).
"""

from typing import Annotated, Literal, LiteralString
from uuid import UUID

from psycopg import Connection
from pydantic import Field

from goodword.access.plans import PlanId
from goodword.accounts import users
from goodword.core import ids, paging, query
from goodword.core.errors import NotFound
from goodword.core.fields import AnswerModel, Instant, RequestModel
from goodword.core.ids import CouponId, GrantId, MilestoneId, RedemptionId
from goodword.core.jobs import Batch, batch_of_users
from goodword.core.paging import Page, PageQuery
from goodword.core.query import Later

JOB = "expire_access"
USERS_PER_BATCH = 100
"""Their grants are locked until the batch is done: for less than a request waits for a lock."""
SECONDS_A_DAY = 86_400
MOST_DAYS = 3650

GrantDays = Annotated[int, Field(ge=1, le=MOST_DAYS)]
GrantReason = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00]*$")]
GrantSource = Literal["coupon", "trial", "admin", "redemption", "milestone"]


class NewGrant(RequestModel):
    """The body of POST /v1/users/{user_id}/grants; `days` null is without end."""

    plan: PlanId
    days: GrantDays | None
    reason: GrantReason


class GrantEnd(RequestModel):
    """The body of POST /v1/users/{user_id}/grants/{id}/end."""

    reason: GrantReason


class Grant(AnswerModel):
    """A grant as it stands. `starts_at` and `ends_at` are as they will be if nothing else happens.

    A day is 86,400 seconds; what is left is rounded up, to whole seconds and to whole days.
    """

    id: GrantId
    plan: str
    source: GrantSource
    coupon_id: CouponId | None
    redemption_id: RedemptionId | None
    milestone_id: MilestoneId | None
    reason: str | None
    starts_at: Instant | None
    ends_at: Instant | None
    status: Literal["scheduled", "active", "paused", "ended"]
    paused_by: GrantId | None
    paused_at: Instant | None
    remaining_seconds: int | None
    remaining_days: int | None
    created_at: Instant


class GrantList(Page[Grant]):
    """A page of a user's grants, newest first."""


class GrantQuery(PageQuery):
    """How GET /v1/users/{user_id}/grants is asked."""

    after: str | None = Field(default=None, pattern=r"^grt_[0-9a-f]{32}$")


HOLD: LiteralString = "SELECT hold_grants(%(company_id)s, %(user_id)s)"
"""Locks all grants of a user; the clock is read after it."""

_COLUMNS: LiteralString = """
    id, plan, source, coupon_id, redemption_id, milestone_id, reason, starts_at, ends_at, status, paused_by, paused_at,
    remaining_seconds, remaining_days, created_at
"""

_MAKE = "SELECT make_grant(%(company_id)s, %(user_id)s, %(grant)s, company_now(%(company_id)s))"
_STOP = "SELECT stop_grant(%(company_id)s, %(user_id)s, %(grant_id)s, company_now(%(company_id)s), %(reason)s)"

_ONE: LiteralString = f"""
    SELECT {_COLUMNS} FROM grants_at(%(company_id)s, %(user_id)s, company_now(%(company_id)s)) WHERE id = %(grant_id)s
"""  # noqa: S608 - of constants

_TRIAL: LiteralString = f"""
    SELECT {_COLUMNS} FROM grants_at(%(company_id)s, %(user_id)s, company_now(%(company_id)s)) WHERE source = 'trial'
"""  # noqa: S608 - of constants

_PAGE: LiteralString = f"""
    SELECT {_COLUMNS} FROM grants_at(%(company_id)s, %(user_id)s, company_now(%(company_id)s))
    WHERE %(after)s::uuid IS NULL OR position < (
        SELECT position FROM access_grants
        WHERE company_id = %(company_id)s AND user_id = %(user_id)s AND id = %(after)s)
    ORDER BY position DESC LIMIT %(limit)s + 1
"""  # noqa: S608 - of constants

_IS_GRANT = """
    SELECT 1 FROM access_grants WHERE company_id = %(company_id)s AND user_id = %(user_id)s AND id = %(after)s
"""

_BOOK = "SELECT company_id, user_id, changes, error FROM book_due_grants(%(users)s)"


def give(connection: Connection, company_id: UUID, external_id: str, grant_id: UUID, new: NewGrant) -> Grant:
    """Give a user a plan by hand. An unknown plan is a violated constraint, by name. Raises NotFound."""
    user_id = users.find(connection, company_id, external_id).id
    connection.execute(HOLD, {"company_id": company_id, "user_id": user_id})
    make(connection, company_id, user_id, grant_id, new.plan, "admin", new.days, reason=new.reason)
    return ask(connection, company_id, user_id, grant_id)()


def make(
    connection: Connection, company_id: UUID, user_id: UUID, grant_id: UUID, plan: str, source: GrantSource,
    days: int | None, *, is_wellpass: bool = False, coupon_id: UUID | None = None, reason: str | None = None,
) -> None:  # fmt: skip
    """Write a grant; costs no trip of its own. Needs: `HOLD`."""
    row = {
        "id": grant_id,
        "plan_id": plan,
        "source": source,
        "is_wellpass": is_wellpass,
        "granted_seconds": None if days is None else days * SECONDS_A_DAY,
        "coupon_id": coupon_id,
        "reason": reason,
    }
    connection.execute(_MAKE, {"company_id": company_id, "user_id": user_id, "grant": query.as_json(row)})


def ask(connection: Connection, company_id: UUID, user_id: UUID, grant_id: UUID) -> Later[Grant]:
    """Ask for a grant as it stands."""
    return query.the_one_later(connection, Grant, _ONE, company_id=company_id, user_id=user_id, grant_id=grant_id)


def ask_trial(connection: Connection, company_id: UUID, user_id: UUID) -> Later[Grant | None]:
    """Ask for the trial of a user."""
    return query.one_later(connection, Grant, _TRIAL, company_id=company_id, user_id=user_id)


def end(connection: Connection, company_id: UUID, external_id: str, grant_id: UUID | None, end: GrantEnd) -> Grant:
    """End a grant now; one that has ended stays as it is. Raises NotFound for a user or a grant that is not there."""
    user_id = users.find(connection, company_id, external_id).id
    values = {"company_id": company_id, "user_id": user_id, "grant_id": grant_id, "reason": end.reason}
    connection.execute(HOLD, values)
    connection.execute(_STOP, values)
    grant = query.one(connection, Grant, _ONE, **values)
    if grant is None:
        raise NotFound("grant_not_found", "The user has no such grant.")
    return grant


def listed(connection: Connection, company_id: UUID, external_id: str, page: GrantQuery) -> GrantList:
    """A page of a user's grants. Raises NotFound, and Refused for an `after` that is none of them."""
    user_id = users.find(connection, company_id, external_id).id
    after = ids.parse("grt", page.after) if page.after else None
    values = {"company_id": company_id, "user_id": user_id, "after": after}
    grants = query.every(connection, Grant, _PAGE, **values, limit=page.limit)
    if after and not grants:
        paging.refuse_unknown(connection, _IS_GRANT, "is no grant of this user", **values)
    return GrantList.of(grants, page.limit)


def batch(connection: Connection) -> Batch:
    """Book what has become of a batch of users' grants, and tell the company's systems of it."""
    rows = connection.execute(_BOOK, {"users": USERS_PER_BATCH}).fetchall()
    return batch_of_users("users", "changes", rows)
