"""Leaderboards: who has brought the most people that count, of all time, in a month, or in a campaign.

A board is rows of scores that settlement moves, in the order of an index; the ranking of a campaign that is over is the
one that was written with its prizes. Nothing is reckoned per request but the rank of a page's first row, which is a
count within the index (docs/rules.md, Leaderboard).
"""

from typing import LiteralString, NamedTuple, Self
from uuid import UUID

from psycopg import Connection
from pydantic import Field, model_validator

from goodword.core import ids, paging, query
from goodword.core.errors import NotFound
from goodword.core.fields import AnswerModel
from goodword.core.paging import Page, PageQuery

ALL_TIME = "all"
NOT_ON_BOARD = "is not on this board"


class LeaderboardRow(AnswerModel):
    """A person on a board: how many of those they brought count, and what these have earned them."""

    rank: int
    user_id: str
    username: str | None
    qualified: int
    points: int


class Leaderboard(Page[LeaderboardRow]):
    """A page of a board, best first."""


class LeaderboardQuery(PageQuery):
    """How GET /v1/leaderboard is asked: of a campaign, of a month, or of all time; `after` is the last `user_id`."""

    campaign_id: str | None = Field(default=None, pattern=r"^cam_[0-9a-f]{32}$")
    period: str | None = Field(default=None, pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")
    after: str | None = Field(default=None, max_length=128, pattern=r"^[^\x00]*$")

    @model_validator(mode="after")
    def _of_one_board(self) -> Self:
        if self.campaign_id is not None and self.period is not None:
            raise ValueError("name either campaign_id or period")
        return self


class _Campaign(NamedTuple):
    """A campaign, as far as its board is asked for: whether its ranking is written."""

    is_ranked: bool


class _Placed(NamedTuple):
    """A person of a page, and how many stand before the page."""

    before: int
    user_id: str
    username: str | None
    qualified: int
    points: int


_CAMPAIGN = """
    SELECT ranked_at IS NOT NULL AS is_ranked FROM campaigns
    WHERE company_id = %(company_id)s AND id = %(campaign_id)s
"""

# Each key ascends, as in scores_rank_ix: whoever stands behind a row is then one range of the index.
_BEST_FIRST: LiteralString = "-placed.qualified, -placed.points, placed.last_qualified_at, placed.user_id"

_OF_BOARD: LiteralString = "placed.company_id = %(company_id)s AND placed.board = %(board)s AND placed.qualified >= 1"

# By its key: what asks for `qualified >= 1` inside could be looked for in the whole board instead.
_LAST: LiteralString = f"""(
    SELECT {_BEST_FIRST} FROM (
        SELECT * FROM scores WHERE company_id = %(company_id)s AND board = %(board)s AND user_id = (
            SELECT id FROM users WHERE company_id = %(company_id)s AND external_id = %(after)s)
        OFFSET 0) AS placed
    WHERE placed.qualified >= 1)
"""  # noqa: S608 - of constants

_BEFORE: LiteralString = f"(SELECT count(*) FROM scores AS placed WHERE {_OF_BOARD} AND ({_BEST_FIRST}) <= {_LAST})"  # noqa: S608

_FOUND: LiteralString = f"""
        person.external_id AS user_id, person.username, placed.qualified, placed.points
    FROM scores AS placed
    CROSS JOIN LATERAL (
        SELECT external_id, username FROM users WHERE company_id = %(company_id)s AND id = placed.user_id OFFSET 0
    ) AS person
    WHERE {_OF_BOARD}
"""  # noqa: S608 - of constants

FIRST_PAGE: LiteralString = f"SELECT 0 AS before, {_FOUND} ORDER BY {_BEST_FIRST} LIMIT %(limit)s + 1"
LATER_PAGE: LiteralString = f"""
    SELECT {_BEFORE} AS before, {_FOUND} AND ({_BEST_FIRST}) > {_LAST}
    ORDER BY {_BEST_FIRST} LIMIT %(limit)s + 1
"""

_IS_ON_BOARD: LiteralString = f"SELECT 1 FROM scores AS placed WHERE {_OF_BOARD} AND ({_BEST_FIRST}) = {_LAST}"  # noqa: S608

_RANK_OF: LiteralString = """(
    SELECT rank FROM campaign_ranks
    WHERE company_id = %(company_id)s AND campaign_id = %(campaign_id)s AND user_id = (
        SELECT id FROM users WHERE company_id = %(company_id)s AND external_id = %(after)s))
"""

_FINAL_PAGE: LiteralString = f"""
    SELECT rank, users.external_id AS user_id, users.username, qualified, points
    FROM campaign_ranks AS placed
    JOIN users ON users.company_id = placed.company_id AND users.id = placed.user_id
    WHERE placed.company_id = %(company_id)s AND placed.campaign_id = %(campaign_id)s
        AND rank > CASE WHEN %(after)s::text IS NULL THEN 0 ELSE {_RANK_OF} END
    ORDER BY rank LIMIT %(limit)s + 1
"""  # noqa: S608 - of constants

_IS_RANKED: LiteralString = f"SELECT 1 WHERE {_RANK_OF} IS NOT NULL"


def page(connection: Connection, company_id: UUID, wanted: LeaderboardQuery) -> Leaderboard:
    """A page of a board. Raises NotFound for a campaign, and Refused for an `after` who is not on the board."""
    if wanted.campaign_id is None:
        return _live(connection, company_id, wanted.period or ALL_TIME, wanted)
    campaign_id = ids.parse("cam", wanted.campaign_id)
    campaign = query.one(connection, _Campaign, _CAMPAIGN, company_id=company_id, campaign_id=campaign_id)
    if campaign is None:
        raise NotFound("campaign_not_found", "There is no such campaign.")
    if campaign.is_ranked:
        return _final(connection, company_id, campaign_id, wanted)
    return _live(connection, company_id, str(campaign_id), wanted)


def _live(connection: Connection, company_id: UUID, board: str, wanted: LeaderboardQuery) -> Leaderboard:
    scope = {"company_id": company_id, "board": board, "after": wanted.after}
    statement = FIRST_PAGE if wanted.after is None else LATER_PAGE
    placed = query.every(connection, _Placed, statement, **scope, limit=wanted.limit)
    if wanted.after is not None and not placed:
        paging.refuse_unknown(connection, _IS_ON_BOARD, NOT_ON_BOARD, **scope)
    rows = [
        LeaderboardRow(rank=rank, user_id=each.user_id, username=each.username, qualified=each.qualified,
            points=each.points)
        for rank, each in enumerate(placed, start=placed[0].before + 1 if placed else 1)
    ]  # fmt: skip
    return Leaderboard.of(rows, wanted.limit)


def _final(connection: Connection, company_id: UUID, campaign_id: UUID | None, wanted: LeaderboardQuery) -> Leaderboard:
    """The ranking as it was when it was written, whatever has come since."""
    scope = {"company_id": company_id, "campaign_id": campaign_id, "after": wanted.after}
    rows = query.every(connection, LeaderboardRow, _FINAL_PAGE, **scope, limit=wanted.limit)
    if wanted.after is not None and not rows:
        paging.refuse_unknown(connection, _IS_RANKED, NOT_ON_BOARD, **scope)
    return Leaderboard.of(rows, wanted.limit)
