"""Escalations: a review that nobody has decided on in time is handed on, once, by a job.

A review is claimed and changed in one statement, so a run that is late, doubled or killed hands none on twice.
"""

from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple
from uuid import UUID

from psycopg import Connection

from goodword.core import outbox, query
from goodword.core.jobs import Batch
from goodword.fraud import review_events

REVIEWS_PER_BATCH = 500

# Reviews nobody else is at, by each company's own clock.
_ESCALATE = """
    UPDATE reviews SET status = 'escalated', updated_at = due.now
    FROM (
        SELECT overdue.company_id, overdue.id, clock.now
        FROM companies CROSS JOIN LATERAL (SELECT coalesce(test_now, clock_timestamp()) AS now OFFSET 0) AS clock
        CROSS JOIN LATERAL (
            SELECT company_id, reviews.id FROM reviews
            WHERE company_id = companies.id AND status = 'pending' AND due_at <= clock.now
            ORDER BY due_at LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
        ) AS overdue
        LIMIT %(limit)s
    ) AS due
    WHERE reviews.company_id = due.company_id AND reviews.id = due.id
    RETURNING reviews.company_id, reviews.id, reviews.referral_id, due.now AS at
"""


class _Escalated(NamedTuple):
    company_id: UUID
    id: UUID
    referral_id: UUID
    at: datetime


def escalate(connection: Connection) -> Batch:
    """Hand on a batch of reviews whose time to be decided is over; their priority and assignee stay."""
    escalated = query.every(connection, _Escalated, _ESCALATE, limit=REVIEWS_PER_BATCH)
    in_order = sorted(escalated, key=attrgetter("company_id", "id"))
    for company_id, of_company in groupby(in_order, key=attrgetter("company_id")):
        reviews = list(of_company)
        events = [review_events.escalated(review.id, review.referral_id) for review in reviews]
        outbox.announce(connection, company_id, events, reviews[0].at)
    return Batch(counts={"reviews": len(escalated)}, more=bool(escalated))
