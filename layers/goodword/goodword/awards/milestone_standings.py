"""How people stand to milestones: who has reached which, and what has become of it.

A pending one reads as not reached while its user has fewer counted referrals than it takes. What a discount or a custom
reward is, a user sees once it is theirs (docs/rules.md, Milestones).
"""

from typing import Literal, LiteralString
from uuid import UUID

from psycopg import Connection
from pydantic import Field

from goodword.accounts import users
from goodword.awards import milestone_catalogue
from goodword.awards.milestone_catalogue import IS_MILESTONE, MilestoneQuery
from goodword.awards.milestone_rewards import RewardData
from goodword.awards.milestones import RewardType
from goodword.core import ids, paging, query
from goodword.core.fields import AnswerModel, Instant
from goodword.core.ids import GrantId, MilestoneId
from goodword.core.paging import Page, PageQuery
from goodword.core.query import Later

MilestoneStatus = Literal["pending", "granted", "claimed", "failed"]


class UserMilestone(AnswerModel):
    """A milestone as it is for one user; `status` null: not reached."""

    id: MilestoneId
    name: str
    description: str | None
    threshold: int
    reward_type: RewardType
    reward_data: RewardData | None
    auto_apply: bool
    qualified_count: int
    status: MilestoneStatus | None
    reached_at: Instant | None
    granted_at: Instant | None
    claimed_at: Instant | None
    grant_id: GrantId | None
    error_message: str | None


class UserMilestoneList(Page[UserMilestone]):
    """A page of the milestones that are active or that the user has reached, lowest threshold first."""


class MilestoneHolder(UserMilestone):
    """A user who has reached a milestone, and what was noted when it was delivered."""

    user_id: str
    note: str | None


class MilestoneHolderList(Page[MilestoneHolder]):
    """A page of those who have reached a milestone, in the order in which they signed up."""


class MilestoneHolderQuery(PageQuery):
    """How GET /v1/milestones/{id}/users is asked; `after` is the `user_id` of the last row."""

    after: str | None = Field(default=None, max_length=128, pattern=r"^[^\x00]*$")
    status: MilestoneStatus | None = None


_COLUMNS: LiteralString = """
        m.id, m.name, m.description, m.threshold, m.reward_type, m.auto_apply,
        CASE WHEN m.reward_type IN ('points', 'product_unlock') OR reached.granted_at IS NOT NULL
            THEN m.reward_data END AS reward_data,
        coalesce(score.qualified, 0) AS qualified_count, reached.status, reached.reached_at, reached.granted_at,
        reached.claimed_at, reached.grant_id, reached.error_message
"""

# Of one user: `ever` is what is stored of a milestone, `reached` what it reads as.
_OF_USER: LiteralString = f"""
    SELECT {_COLUMNS}
    FROM milestones AS m
    LEFT JOIN scores AS score ON score.company_id = m.company_id AND score.user_id = %(user_id)s AND score.board = 'all'
    LEFT JOIN reached_milestones AS ever ON ever.company_id = m.company_id AND ever.user_id = %(user_id)s
        AND ever.milestone_id = m.id
    LEFT JOIN LATERAL (SELECT ever.* WHERE ever.status <> 'pending' OR m.threshold <= coalesce(score.qualified, 0))
        AS reached ON true
    WHERE m.company_id = %(company_id)s
"""  # noqa: S608 - of constants

_ONE = f"{_OF_USER} AND m.id = %(milestone_id)s"

_PAGE = f"""{_OF_USER} AND (m.active OR ever.status IS NOT NULL)
        AND (%(after)s::uuid IS NULL OR (m.threshold, m.id) > (
            SELECT threshold, id FROM milestones WHERE company_id = %(company_id)s AND id = %(after)s))
    ORDER BY m.threshold, m.id LIMIT %(limit)s + 1
"""  # noqa: S608 - one head for both

_HOLDERS: LiteralString = f"""
    SELECT {_COLUMNS}, users.external_id AS user_id, reached.note
    FROM reached_milestones AS reached
    JOIN milestones AS m ON m.company_id = reached.company_id AND m.id = reached.milestone_id
    JOIN users ON users.company_id = reached.company_id AND users.id = reached.user_id
    LEFT JOIN scores AS score ON score.company_id = reached.company_id AND score.user_id = reached.user_id
        AND score.board = 'all'
    WHERE reached.company_id = %(company_id)s AND reached.milestone_id = %(milestone_id)s
        AND (reached.status <> 'pending' OR m.threshold <= coalesce(score.qualified, 0))
"""  # noqa: S608 - of constants

_HOLDER = f"{_HOLDERS} AND reached.user_id = %(user_id)s"

_IN_ORDER: LiteralString = """
        AND (%(after)s::text IS NULL OR reached.user_id > (
            SELECT last.user_id FROM reached_milestones AS last
            JOIN users ON users.company_id = last.company_id AND users.id = last.user_id
            WHERE last.company_id = %(company_id)s AND last.milestone_id = %(milestone_id)s
                AND users.external_id = %(after)s))
    ORDER BY reached.user_id LIMIT %(limit)s + 1
"""

_ALL_HOLDERS = f"{_HOLDERS} {_IN_ORDER}"

_HOLDERS_AT = f"{_HOLDERS} AND reached.status = %(status)s {_IN_ORDER}"

_IS_HOLDER = """
    SELECT 1 FROM reached_milestones AS reached
    JOIN users ON users.company_id = reached.company_id AND users.id = reached.user_id
    WHERE reached.company_id = %(company_id)s AND milestone_id = %(milestone_id)s AND external_id = %(after)s
"""


def of_user(connection: Connection, company_id: UUID, external_id: str, page: MilestoneQuery) -> UserMilestoneList:
    """A page of a user's milestones. Raises NotFound, and Refused for an `after` that is no milestone."""
    scope = {
        "company_id": company_id,
        "user_id": users.find(connection, company_id, external_id).id,
        "after": ids.parse("mil", page.after) if page.after else None,
    }
    milestones = query.every(connection, UserMilestone, _PAGE, **scope, limit=page.limit)
    if page.after and not milestones:
        paging.refuse_unknown(connection, IS_MILESTONE, "is no milestone of this company", **scope)
    return UserMilestoneList.of(milestones, page.limit)


def ask(connection: Connection, company_id: UUID, user_id: UUID, milestone_id: UUID) -> Later[UserMilestone]:
    """Ask for a milestone as it is for a user. Needs: that there is one."""
    scope = {"company_id": company_id, "user_id": user_id, "milestone_id": milestone_id}
    return query.the_one_later(connection, UserMilestone, _ONE, **scope)


def ask_holder(connection: Connection, company_id: UUID, user_id: UUID, milestone_id: UUID) -> Later[MilestoneHolder]:
    """Ask for a user who has reached a milestone. Needs: that they have."""
    scope = {"company_id": company_id, "user_id": user_id, "milestone_id": milestone_id}
    return query.the_one_later(connection, MilestoneHolder, _HOLDER, **scope)


def holders(
    connection: Connection, company_id: UUID, milestone_id: UUID, page: MilestoneHolderQuery
) -> MilestoneHolderList:
    """A page of who has reached a milestone. Raises NotFound, and Refused for an `after` who has not."""
    milestone = milestone_catalogue.find(connection, company_id, milestone_id)
    scope = {"company_id": company_id, "milestone_id": milestone.id, "after": page.after}
    statement = _HOLDERS_AT if page.status else _ALL_HOLDERS
    found = query.every(connection, MilestoneHolder, statement, **scope, status=page.status, limit=page.limit)
    if page.after is not None and not found:
        paging.refuse_unknown(connection, _IS_HOLDER, "has not reached this milestone", **scope)
    return MilestoneHolderList.of(found, page.limit)
