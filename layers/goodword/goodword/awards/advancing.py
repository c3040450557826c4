"""What time alone does to referrals, as two jobs: stages that are reached by waiting, and awards whose waiting is over.

Both bring whole referrals to what their facts say, so a run that is late, doubled or killed changes nothing. A referral
that cannot be settled is set aside with its error, and the others go on.
"""

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import LiteralString, NamedTuple
from uuid import UUID

from psycopg import Connection

from goodword.awards import settlement
from goodword.core import ids, jobs, query
from goodword.core.jobs import Batch, Setback

ADVANCE_JOB = "advance_referrals"
RELEASE_JOB = "release_awards"
REFERRALS_PER_BATCH = 100

# Referrals nobody else is at, by each company's own clock. They are all locked before any wallet is.
_DUE_TO_ADVANCE = """
    SELECT r.company_id, r.id, r.referee_id
    FROM referrals r
    JOIN (
        SELECT c.id AS company_id, due.id
        FROM companies c CROSS JOIN LATERAL (
            SELECT id FROM referrals
            WHERE company_id = c.id AND advances_at <= coalesce(c.test_now, clock_timestamp())
                AND NOT is_set_aside(c.id, %(job)s, public_id('ref', id))
            ORDER BY advances_at LIMIT %(limit)s
        ) AS due
        LIMIT %(limit)s
    ) AS chosen ON chosen.company_id = r.company_id AND chosen.id = r.id
    ORDER BY r.company_id, r.id FOR NO KEY UPDATE OF r SKIP LOCKED
"""

_DUE_TO_RELEASE = """
    SELECT r.company_id, r.id, r.referee_id
    FROM referrals r
    JOIN (
        SELECT DISTINCT c.id AS company_id, due.referral_id AS id
        FROM companies c CROSS JOIN LATERAL (
            SELECT referral_id FROM awards
            WHERE company_id = c.id AND (status = 'pending' OR hold_reason = 'risk')
                AND hold_until <= coalesce(c.test_now, clock_timestamp())
                AND NOT is_set_aside(c.id, %(job)s, public_id('ref', referral_id))
            ORDER BY hold_until LIMIT %(limit)s
        ) AS due
        LIMIT %(limit)s
    ) AS chosen ON chosen.company_id = r.company_id AND chosen.id = r.id
    ORDER BY r.company_id, r.id FOR NO KEY UPDATE OF r SKIP LOCKED
"""


class DueReferral(NamedTuple):
    """A referral that a job has claimed: nobody else is at it."""

    company_id: UUID
    id: UUID
    referee_id: UUID


def advance(connection: Connection) -> Batch:
    """Settle a batch of referrals for which an instant has come: a deferred use, the expiry, the retention."""
    return _batch(connection, ADVANCE_JOB, _DUE_TO_ADVANCE)


def release(connection: Connection) -> Batch:
    """Settle a batch of referrals that have awards whose waiting is over."""
    return _batch(connection, RELEASE_JOB, _DUE_TO_RELEASE)


def _batch(connection: Connection, job: str, claim: LiteralString) -> Batch:
    claimed = query.every(connection, DueReferral, claim, job=job, limit=REFERRALS_PER_BATCH)
    setbacks: list[Setback] = []
    for company_id, of_company in groupby(claimed, key=attrgetter("company_id")):
        referrals = list(of_company)
        if jobs.attempt(connection, _settle, company_id, referrals) is not None:
            # one of them cannot be settled: find out which, and settle the others
            for referral in referrals:
                error = jobs.attempt(connection, _settle, company_id, [referral])
                if error is not None:
                    setbacks.append(Setback(company_id, ids.public("ref", referral.id), error))
    return Batch(counts={"referrals": len(claimed) - len(setbacks)}, more=bool(claimed), setbacks=setbacks)


def _settle(connection: Connection, company_id: UUID, referrals: Sequence[DueReferral]) -> None:
    referees = [referral.referee_id for referral in referrals]
    settlement.settle(connection, company_id, referees, settlement.AS_JUDGED, time_passes=True)
