"""Awards: points due to one person for one event of one referral.

(referral, event, app, occasion) is an award's natural key; the occasion is the period for fixed awards and the payment
for percentages. `points` never changes; what was taken back stands in `reversed_points`. A paid award's booking in the
ledger refers to it, so paying twice is impossible there too.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb
from pydantic_core import to_jsonable_python

from goodword.core import ids, outbox
from goodword.core.fields import AnswerModel, Instant
from goodword.core.ids import AwardId, ReferralId
from goodword.points import ledger
from goodword.referral.engine import Due, Event
from goodword.referral.program import Program

Status = Literal["pending", "held", "paid", "rejected", "reversed"]

EARNING: Mapping[Event, ledger.EarningType] = {
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


_INSERT = """
    INSERT INTO awards (company_id, id, referral_id, user_id, event, app_id, occasion, period, base_points, points,
        status, hold_until, program_version, payment_id, trace, due_at, released_at, created_at)
    VALUES (%(company_id)s, %(id)s, %(referral_id)s, %(user_id)s, %(event)s, %(app_id)s, %(occasion)s, %(period)s,
        %(points)s, %(points)s, %(status)s, %(hold_until)s, %(program_version)s, %(payment_id)s, %(trace)s,
        %(due_at)s, %(released_at)s, %(at)s)
"""

_OF_REFEREE = """
    SELECT awards.id, referral_id, users.external_id AS user_id, event, nullif(awards.app_id, '') AS app_id, period,
        base_points, multiplier_bps / 10000.0::float AS multiplier, points, tier, status, hold_until, hold_reason,
        reversed_points, released_at, awards.created_at,
        (SELECT 'txn_' || entries.id FROM entries
            WHERE entries.company_id = awards.company_id AND entries.reference = public_id('awd', awards.id)
                AND entries.occasion = '' AND entries.type = ANY (%(types)s)) AS transaction_id
    FROM awards JOIN users ON users.company_id = awards.company_id AND users.id = awards.user_id
    JOIN referrals ON referrals.company_id = awards.company_id AND referrals.id = awards.referral_id
    WHERE referrals.company_id = %(company_id)s AND referrals.referee_id = %(referee_id)s
    ORDER BY awards.due_at, awards.event, awards.id
"""


def give(
    connection: Connection,
    company_id: UUID,
    referral_id: UUID,
    due: Sequence[tuple[Due, UUID]],
    terms: tuple[int, Program],
    at: datetime,
) -> None:
    """Write awards that are due, each with its recipient, and book those that wait for nothing.

    `terms` is the referral's program with its version. The referral's row is locked by the caller.
    """
    version, program = terms
    credits_: list[ledger.Credit] = []
    for award, recipient in due:
        id_ = ids.new_id()
        waits = award.hold_until is not None and award.hold_until > at
        connection.execute(
            _INSERT,
            {
                "company_id": company_id,
                "id": id_,
                "referral_id": referral_id,
                "user_id": recipient,
                "event": award.event,
                "app_id": award.app_id,
                "occasion": award.occasion,
                "period": award.period,
                "points": award.points,
                "status": "pending" if waits else "paid",
                "hold_until": award.hold_until,
                "program_version": version,
                "payment_id": award.payment_id,
                "trace": Jsonb(to_jsonable_python(award.trace)),
                "due_at": award.due_at,
                "released_at": None if waits else at,
                "at": at,
            },
        )
        reference = ids.public("awd", id_)
        if not waits:
            credits_.append(
                ledger.Credit(
                    recipient, EARNING[award.event], award.points, reference, version, program.points_expiry_months
                )
            )
        data = {"id": reference, "event": award.event, "points": award.points, "user_id": ids.public("usr", recipient)}
        outbox.announce(connection, company_id, "award.pending" if waits else "award.paid", data, at)
    ledger.credit(connection, company_id, credits_)


def ask(connection: Connection, company_id: UUID, referee_id: UUID) -> Callable[[], list[Award]]:
    """All awards of the referral by which a user came, for every person, in the order they fell due; read later."""
    cursor = connection.cursor(row_factory=class_row(Award)).execute(
        _OF_REFEREE, {"company_id": company_id, "referee_id": referee_id, "types": list(EARNING.values())}
    )
    return cursor.fetchall
