"""Awards: points due to one person for one event of one referral.

(referral, event, app, occasion) is an award's natural key; the occasion is the period for fixed awards and the payment
for percentages. `points` never changes; what was taken back stands in `reversed_points`. A paid award's booking in the
ledger refers to it, so paying twice is impossible there too.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb
from pydantic_core import to_jsonable_python

from goodword.core import ids, outbox
from goodword.core.fields import AnswerModel, Instant
from goodword.core.ids import AwardId, ReferralId
from goodword.points.ledger import EarningType
from goodword.referral.engine import Due, Event
from goodword.referral.program import Program

Status = Literal["pending", "held", "paid", "rejected", "reversed"]

EARNING: Mapping[Event, EarningType] = {
    "registered": "REFERRAL_REGISTERED",
    "welcome": "REFERRAL_WELCOME",
    "activated": "REFERRAL_ACTIVATED",
    "qualified": "REFERRAL_FIRST_PAYMENT",
    "recurring": "REFERRAL_RECURRING",
    "l2": "REFERRAL_L2",
    "retained": "REFERRAL_RETAINED",
    "cross_app": "REFERRAL_CROSS_APP",
}


class Award(AnswerModel):
    """An award as clients see it; `multiplier` is the factor that made `points` of `base_points`."""

    id: AwardId
    referral_id: ReferralId
    user_id: str
    event: Event
    app_id: str | None
    period: int | None
    base_points: int
    multiplier: float
    points: int
    tier: str | None
    status: Status
    hold_until: Instant | None
    hold_reason: str | None
    reversed_points: int
    transaction_id: str | None
    released_at: Instant | None
    created_at: Instant


# One statement: those that wait for nothing are booked, and every award is written with its booking.
_GIVE = """
    WITH due AS (
        SELECT *, row_number() OVER (PARTITION BY status ORDER BY id) AS posting
        FROM jsonb_to_recordset(%(due)s) AS row (
            id uuid, user_id uuid, event text, type text, app_id text, occasion text, period integer, points bigint,
            status text, hold_until timestamptz, payment_id uuid, trace jsonb, due_at timestamptz)
    ), booked AS (
        SELECT posting, entry_id FROM post_entries(%(company_id)s, (
            SELECT coalesce(jsonb_agg(jsonb_build_object(
                'user_id', user_id, 'type', type, 'points', points, 'reference', public_id('awd', id),
                'program_version', %(program_version)s::integer, 'expiry_months', %(expiry_months)s::integer)
                ORDER BY posting), '[]')
            FROM due WHERE status = 'paid'))
    )
    INSERT INTO awards (company_id, id, referral_id, user_id, event, app_id, occasion, period, base_points, points,
        status, hold_until, program_version, payment_id, trace, due_at, released_at, created_at, entry_id)
    SELECT %(company_id)s, due.id, %(referral_id)s, user_id, event, app_id, occasion, period, points, points,
        status, hold_until, %(program_version)s, payment_id, trace, due_at,
        CASE WHEN status = 'paid' THEN %(at)s::timestamptz END, %(at)s, booked.entry_id
    FROM due LEFT JOIN booked ON due.status = 'paid' AND booked.posting = due.posting
"""

_OF_REFEREE = """
    SELECT awards.id, referral_id, users.external_id AS user_id, event, nullif(awards.app_id, '') AS app_id, period,
        base_points, multiplier_bps / 10000.0::float AS multiplier, points, tier, status, hold_until, hold_reason,
        reversed_points, released_at, awards.created_at, 'txn_' || entry_id AS transaction_id
    FROM awards JOIN users ON users.company_id = awards.company_id AND users.id = awards.user_id
    WHERE awards.company_id = %(company_id)s AND awards.referral_id = (
        SELECT id FROM referrals WHERE company_id = %(company_id)s AND referee_id = %(referee_id)s)
    ORDER BY awards.due_at, awards.event, awards.id
"""


def give(
    connection: Connection,
    company_id: UUID,
    referral_id: UUID,
    due: Sequence[tuple[Due, UUID]],
    terms: tuple[int, Program],
    at: datetime,
) -> list[outbox.Event]:
    """Write awards that are due, each with its recipient, and book those that wait for nothing.

    `terms` is the referral's program with its version. The referral's row is locked by the caller. Returns what there
    is to announce.
    """
    if not due:
        return []
    version, program = terms
    rows = [_row(award, recipient, at) for award, recipient in due]
    connection.execute(
        _GIVE,
        {
            "company_id": company_id,
            "referral_id": referral_id,
            "due": Jsonb(to_jsonable_python(rows)),
            "program_version": version,
            "expiry_months": program.points_expiry_months,
            "at": at,
        },
    )
    return [
        outbox.Event(
            f"award.{row['status']}",
            {
                "id": ids.public("awd", row["id"]),
                "event": row["event"],
                "points": row["points"],
                "user_id": ids.public("usr", row["user_id"]),
            },
        )
        for row in rows
    ]


def _row(award: Due, recipient: UUID, at: datetime) -> dict[str, Any]:
    waits = award.hold_until is not None and award.hold_until > at
    return {
        "id": ids.new_id(),
        "user_id": recipient,
        "event": award.event,
        "type": EARNING[award.event],
        "app_id": award.app_id,
        "occasion": award.occasion,
        "period": award.period,
        "points": award.points,
        "status": "pending" if waits else "paid",
        "hold_until": award.hold_until,
        "payment_id": award.payment_id,
        "trace": award.trace,
        "due_at": award.due_at,
    }


def ask(connection: Connection, company_id: UUID, referee_id: UUID) -> Callable[[], list[Award]]:
    """All awards of the referral by which a user came, for every person, in the order they fell due; read later."""
    cursor = connection.cursor(row_factory=class_row(Award)).execute(
        _OF_REFEREE, {"company_id": company_id, "referee_id": referee_id}
    )
    return cursor.fetchall
