"""The end of campaigns: the final ranking is made and the prizes are paid, in one transaction and once.

A job comes by when `verification_days` have passed after the end. It ranks what stands then of what had happened before
the end; what arrives later changes neither (docs/rules.md, The end of a campaign).
"""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from psycopg import Connection
from pydantic import TypeAdapter

from goodword.awards import advancing
from goodword.campaigns import ranking
from goodword.campaigns.campaigns import Prize
from goodword.campaigns.ranking import Participant
from goodword.core import ids, jobs, query
from goodword.core.jobs import Batch, Setback
from goodword.program import versions

# One campaign that nobody else is at, by its company's own clock.
_DUE_TO_END = """
    SELECT due.company_id, due.id, due.ends_at, due.prizes
    FROM companies CROSS JOIN LATERAL (SELECT coalesce(test_now, clock_timestamp()) AS now OFFSET 0) AS clock
    CROSS JOIN LATERAL (
        SELECT company_id, campaigns.id, ends_at, prizes::text AS prizes FROM campaigns
        WHERE company_id = companies.id AND activated_at IS NOT NULL AND ranked_at IS NULL AND ends_at <= clock.now
            AND ends_at + verification_days * interval '1 day' <= clock.now
            AND NOT is_set_aside(companies.id, %(job)s, public_id('cam', campaigns.id))
        ORDER BY ends_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
    ) AS due
    LIMIT 1
"""

# Of the referrals that had qualified before the end, with what they had earned their referrer by then. One that is
# flagged counts for nothing; of a cancelled one, what stays paid counts.
_PARTICIPANTS = """
    SELECT referrer_id AS user_id, count(*) FILTER (WHERE counts) AS qualified, sum(earned.points)::bigint AS points,
        max(qualified_at) FILTER (WHERE counts) AS last_qualified_at
    FROM referrals CROSS JOIN LATERAL (
        SELECT coalesce(sum(points - reversed_points), 0) AS points FROM awards
        WHERE awards.company_id = referrals.company_id AND referral_id = referrals.id AND status = 'paid'
            AND event NOT IN ('welcome', 'l2') AND due_at < %(ends_at)s
    ) AS earned
    WHERE company_id = %(company_id)s AND campaign_id = %(id)s AND qualified_at < %(ends_at)s AND NOT is_flagged(risk)
    GROUP BY referrer_id HAVING bool_or(counts)
"""

_END = """
    SELECT end_campaign(%(company_id)s, %(id)s, %(ranks)s, %(program_version)s, %(expiry_months)s,
        company_now(%(company_id)s))
"""

_PRIZES = TypeAdapter(list[Prize])


class _DueCampaign(NamedTuple):
    """A campaign that the job has claimed; `prizes` as they are stored."""

    company_id: UUID
    id: UUID
    ends_at: datetime
    prizes: str


def end(connection: Connection) -> Batch:
    """Rank one campaign whose time has come, and pay its prizes. Locks: the campaign, and the winners' wallets."""
    campaign = query.one(connection, _DueCampaign, _DUE_TO_END, job=advancing.ADVANCE_JOB)
    if campaign is None:
        return Batch(counts={"campaigns": 0}, more=False)
    error = jobs.attempt(connection, _rank, campaign)
    setbacks = [Setback(campaign.company_id, ids.public("cam", campaign.id), error)] if error else []
    return Batch(counts={"campaigns": 0 if error else 1}, more=True, setbacks=setbacks)


def _rank(connection: Connection, campaign: _DueCampaign) -> None:
    scope = {"company_id": campaign.company_id, "id": campaign.id}
    participants_later = query.every_later(connection, Participant, _PARTICIPANTS, **scope, ends_at=campaign.ends_at)
    terms = versions.current(connection, campaign.company_id)
    ranks = ranking.ranked(participants_later(), _PRIZES.validate_json(campaign.prizes))
    prizes = {"program_version": terms.version, "expiry_months": terms.program.points_expiry_months}
    rows = query.as_json([each._asdict() for each in ranks])
    query.do(connection, _END, **scope, **prizes, ranks=rows)
