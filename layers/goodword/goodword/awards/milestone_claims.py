"""Claiming milestones, and delivering them: what a user takes, or the company gives by itself.

A claim grants what has not been granted yet and delivers it, in one transaction; of one that was granted when it was
reached it says that it was delivered. One that failed is granted anew (docs/rules.md, Milestones). Of several at once
the user's score is locked by one after the other, so a milestone is granted once.
"""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from psycopg import Connection

from goodword.accounts import users
from goodword.awards import milestone_catalogue, milestone_standings, milestones
from goodword.awards.differences import Posting
from goodword.awards.milestone_standings import MilestoneHolder, MilestoneStatus, UserMilestone
from goodword.awards.milestones import RewardType
from goodword.core import query, rates
from goodword.core.errors import Conflict, NotFound, Refused
from goodword.core.fields import LongText, RequestModel
from goodword.core.query import Later


class MilestoneDelivery(RequestModel):
    """The body of POST /v1/milestones/{id}/users/{user_id}/fulfil."""

    note: LongText | None = None


class _Admitted(NamedTuple):
    """Who claims, and how long they have to wait, where they claim too often."""

    user_id: UUID
    retry_after: int | None


class Claimed(NamedTuple):
    """A milestone as it stands before somebody who claims it, and the terms of points that come in now."""

    id: UUID
    threshold: int
    reward_type: RewardType
    reward_data: str
    auto_apply: bool
    active: bool
    status: MilestoneStatus | None
    qualified: int
    program_version: int
    expiry_months: int | None
    at: datetime

    @property
    def is_granted(self) -> bool:
        """Whether its reward was given before."""
        return self.status in {"granted", "claimed"}

    @property
    def is_reached(self) -> bool:
        """Whether it reads as reached: a pending one does not while its user has too few referrals."""
        return self.status is not None and (self.status != "pending" or self.qualified >= self.threshold)

    @property
    def refusal(self) -> Refused | None:
        """Why it cannot be claimed."""
        if self.is_granted:
            return None
        if not self.active:
            return Refused("milestone_inactive", "This milestone is not active.")
        if not self.is_reached:
            return Refused("milestone_not_reached", "The user has not reached this milestone.")
        return None

    @property
    def passes(self) -> list[MilestoneStatus]:
        """The statuses that a claim takes it through; none where it was claimed before."""
        if self.status == "claimed":
            return []
        if self.is_granted:
            return ["claimed"]
        # what should have been granted by itself now is, and waits for the user to take it
        return ["granted"] if self.status == "failed" and self.auto_apply else ["granted", "claimed"]


_ADMIT = """
    SELECT users.id AS user_id, take_hit(%(company_id)s, 'milestone_claim', uuid_send(users.id),
        (program #>> '{limits,award_claims_per_day}')::integer, interval '24 hours') AS retry_after
    FROM users JOIN program_versions AS current ON current.company_id = users.company_id
    WHERE users.company_id = %(company_id)s AND external_id = %(external_id)s
    ORDER BY current.version DESC LIMIT 1
"""

_HOLD = "SELECT hold_score(%(company_id)s, %(user_id)s)"

# A statement of its own, after the score is locked: it must see what others have claimed meanwhile.
_LOOK = """
    SELECT m.id, m.threshold, m.reward_type, m.reward_data::text AS reward_data, m.auto_apply, m.active, reached.status,
        score.qualified, current.version AS program_version,
        (current.program ->> 'points_expiry_months')::integer AS expiry_months, company_now(m.company_id) AS at
    FROM milestones AS m
    JOIN scores AS score ON score.company_id = m.company_id AND score.user_id = %(user_id)s AND score.board = 'all'
    JOIN LATERAL (SELECT version, program FROM program_versions WHERE company_id = m.company_id
        ORDER BY version DESC LIMIT 1) AS current ON true
    LEFT JOIN reached_milestones AS reached ON reached.company_id = m.company_id
        AND reached.user_id = score.user_id AND reached.milestone_id = m.id
    WHERE m.company_id = %(company_id)s AND m.id = %(milestone_id)s
"""

_GIVE = "SELECT give_milestones(%(company_id)s, %(milestones)s, %(postings)s, %(at)s)"


def admit(connection: Connection, company_id: UUID, external_id: str) -> UUID:
    """Count a request to claim, whatever becomes of it; the user's id. Raises NotFound, TooManyRequests past the limit.

    It is a statement by itself, for a claim that is refused leaves nothing else.
    """
    admitted = query.one(connection, _Admitted, _ADMIT, company_id=company_id, external_id=external_id)
    if admitted is None:
        raise NotFound("user_not_found", "There is no such user.")
    rates.refuse_after(admitted.retry_after, "This user has claimed too many milestones today.")
    return admitted.user_id


def claim(
    connection: Connection, company_id: UUID, user_id: UUID, milestone_id: UUID, grant_id: UUID
) -> Later[UserMilestone]:
    """Give a user what a milestone is worth. Raises NotFound, and Refused with the reason why not.

    Locks: the user's score of all time, then their grants and their wallet.
    """
    claimed = _held(connection, company_id, user_id, milestone_id)
    if claimed.refusal is not None:
        raise claimed.refusal
    if claimed.passes:
        row: dict[str, object] = {"status": claimed.passes[-1], "statuses": claimed.passes}
        posting = None
        if not claimed.is_granted and claimed.reward_type == "product_unlock":
            row["grant_id"] = grant_id
        elif not claimed.is_granted and claimed.reward_type == "points":
            row["earning"] = 1
            posting = milestones.posting(claimed.id, user_id, claimed.reward_data)
        _give(connection, company_id, user_id, claimed, row, posting)
    return milestone_standings.ask(connection, company_id, user_id, claimed.id)


def fulfil(
    connection: Connection, company_id: UUID, milestone_id: UUID, external_id: str, delivery: MilestoneDelivery
) -> Later[MilestoneHolder]:
    """Say that what was granted has been delivered; once that is so it stays. Raises NotFound for one not reached.

    Raises Conflict for one that is not granted. Locks: the user's score of all time.
    """
    user_id = users.find(connection, company_id, external_id).id
    held = _held(connection, company_id, user_id, milestone_id)
    if not held.is_reached:
        raise NotFound("milestone_not_reached", "The user has not reached this milestone.")
    if not held.is_granted:
        raise Conflict("milestone_not_granted", "This milestone is not granted to the user.")
    if held.status == "granted":
        _give(connection, company_id, user_id, held, {"status": "claimed", "note": delivery.note}, None)
    return milestone_standings.ask_holder(connection, company_id, user_id, held.id)


def _held(connection: Connection, company_id: UUID, user_id: UUID, milestone_id: UUID) -> Claimed:
    scope = {"company_id": company_id, "user_id": user_id, "milestone_id": milestone_id}
    query.do(connection, _HOLD, company_id=company_id, user_id=user_id)
    claimed = query.one(connection, Claimed, _LOOK, **scope)
    if claimed is None:
        raise milestone_catalogue.unknown()
    return claimed


def _give(
    connection: Connection,
    company_id: UUID,
    user_id: UUID,
    claimed: Claimed,
    become: dict[str, object],
    posting: Posting | None,
) -> None:
    """Write what a milestone becomes, with its grant and its posting; costs no trip of its own."""
    row = {"user_id": user_id, "milestone_id": claimed.id, **become}
    terms = {"program_version": claimed.program_version, "expiry_months": claimed.expiry_months}
    postings = query.as_json([{**posting._asdict(), **terms}]) if posting else None
    given = {"company_id": company_id, "milestones": query.as_json([row]), "postings": postings, "at": claimed.at}
    query.do(connection, _GIVE, **given)
