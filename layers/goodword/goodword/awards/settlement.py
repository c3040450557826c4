"""Settlement: the one way in which facts change what referrals stand for.

`settle` locks referrals, reads the set of their facts, asks the engine what should stand, and books the difference. It
may be called any number of times, after any fact, in any order, for any number of people at once.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from pydantic_core import to_jsonable_python

from goodword.awards import differences, engine
from goodword.awards.differences import Award, Decision, Difference, Stored
from goodword.awards.due import Due
from goodword.awards.engine import Standing
from goodword.awards.history import Activation, Facts, Payment, Subscription, Takeback
from goodword.core import ids, outbox
from goodword.program import versions
from goodword.program.document import Program

# The planner cannot look into the array, so one plan does for every number of people; it would plan anew each time.
_LOCK = """
    SELECT id FROM referrals
    WHERE company_id = %(company_id)s AND referee_id = ANY (ARRAY(SELECT unnest(%(referees)s::uuid[])))
    ORDER BY id FOR NO KEY UPDATE
"""

# A statement of its own, after the lock: it must see what was committed while the lock was waited for.
_KNOWN = """
    WITH clock AS MATERIALIZED (SELECT company_now(%(company_id)s) AS now)
    SELECT r.id, r.referrer_id, r.referee_id, r.stage, r.activated_at, r.qualified_at, r.retained_at, r.expired_at,
        r.advances_at, r.touched_at, r.registered_at, r.app_id, r.program_version, clock.now,
        (SELECT program::text FROM program_versions v
            WHERE v.company_id = r.company_id AND v.version = r.program_version) AS program,
        up.referrer_id AS upline_id, up.registered_at AS upline_since,
        stage_at(up, clock.now) NOT IN ('expired', 'cancelled') AS upline_stands,
        ARRAY(SELECT row(app_id, occurred_at) FROM activations
            WHERE company_id = r.company_id AND user_id = r.referee_id) AS activations,
        ARRAY(SELECT row(id, payment_key, net_amount, gross_amount, currency, paid_at, period_start, is_proration)
            FROM payments
            WHERE company_id = r.company_id AND user_id = r.referee_id AND NOT superseded) AS payments,
        ARRAY(SELECT row(id, recorded_at) FROM payments
            WHERE company_id = r.company_id AND user_id = r.referee_id) AS recorded,
        ARRAY(SELECT row(t.payment_id, taken.part, takeback_state(t.status), t.began_at, taken.whole)
            FROM takebacks t JOIN payments p ON p.company_id = t.company_id AND p.id = t.payment_id
            CROSS JOIN LATERAL taken_part(t, p) AS taken
            WHERE p.company_id = r.company_id AND p.user_id = r.referee_id) AS takebacks,
        ARRAY(SELECT row(began_at, ended_at) FROM subscriptions
            WHERE company_id = r.company_id AND user_id = r.referee_id) AS subscriptions,
        ARRAY(SELECT row(id, event, app_id, occasion, user_id, points, reversed_points, status, hold_until,
                hold_reason, entry_id IS NOT NULL, adjustments, period, payment_id, due_at, created_at)
            FROM awards WHERE company_id = r.company_id AND referral_id = r.id) AS awards
    FROM referrals r CROSS JOIN clock
    LEFT JOIN referrals up ON up.company_id = r.company_id AND up.referee_id = r.referrer_id
    WHERE r.company_id = %(company_id)s AND r.referee_id = ANY (ARRAY(SELECT unnest(%(referees)s::uuid[])))
    ORDER BY r.id
"""

_ADVANCE = """
    UPDATE referrals SET stage = row.stage, activated_at = row.activated_at, qualified_at = row.qualified_at,
        retained_at = row.retained_at, expired_at = row.expired_at, advances_at = row.advances_at, updated_at = row.at
    FROM jsonb_to_recordset(%(rows)s) AS row (id uuid, stage text, activated_at timestamptz, qualified_at timestamptz,
        retained_at timestamptz, expired_at timestamptz, advances_at timestamptz, at timestamptz)
    WHERE company_id = %(company_id)s AND referrals.id = row.id
"""

# One statement: everything is posted in one call, and every award is written with the entry that paid it.
_BOOK = """
    WITH posted AS (
        SELECT posting, entry_id FROM post_entries(%(company_id)s, %(postings)s)
    ), award AS (
        SELECT row.*, posted.entry_id FROM jsonb_to_recordset(%(awards)s) AS row (
            id uuid, is_new boolean, is_due boolean, referral_id uuid, user_id uuid, event text, app_id text,
            occasion text, period integer, base_points bigint, multiplier_bps integer, points bigint,
            reversed_points bigint, adjustments integer, tier text, status text, hold_until timestamptz,
            hold_reason text, reason text, program_version integer, payment_id uuid, trace jsonb, due_at timestamptz,
            earning bigint, at timestamptz)
        LEFT JOIN posted ON posted.posting = row.earning
    ), changed AS (
        UPDATE awards SET status = award.status, reversed_points = award.reversed_points,
            adjustments = award.adjustments, hold_until = award.hold_until, hold_reason = award.hold_reason,
            period = CASE WHEN is_due THEN award.period ELSE awards.period END,
            payment_id = CASE WHEN is_due THEN award.payment_id ELSE awards.payment_id END,
            due_at = CASE WHEN is_due THEN award.due_at ELSE awards.due_at END,
            trace = CASE WHEN is_due THEN award.trace ELSE awards.trace END,
            entry_id = coalesce(awards.entry_id, award.entry_id),
            released_at = CASE WHEN award.entry_id IS NOT NULL THEN award.at ELSE awards.released_at END
        FROM award WHERE NOT is_new AND awards.company_id = %(company_id)s AND awards.id = award.id
    )
    INSERT INTO awards (company_id, id, referral_id, user_id, event, app_id, occasion, period, base_points,
        multiplier_bps, points, reversed_points, adjustments, tier, status, hold_until, hold_reason, reason,
        program_version, payment_id, trace, due_at, released_at, created_at, entry_id)
    SELECT %(company_id)s, id, referral_id, user_id, event, app_id, occasion, period, base_points, multiplier_bps,
        points, reversed_points, adjustments, tier, status, hold_until, hold_reason, reason, program_version,
        payment_id, trace, due_at, CASE WHEN entry_id IS NOT NULL THEN at END, at, entry_id
    FROM award WHERE is_new
"""


class Known(NamedTuple):
    """A locked referral with all that is known about it, and what follows."""

    row: dict[str, Any]
    program: Program
    facts: Facts
    stored: tuple[Stored, ...]
    at: datetime


def settle(connection: Connection, company_id: UUID, referees: Sequence[UUID], *, time_passes: bool = False) -> None:
    """Bring the referrals by which these users came to what their facts say; users nobody referred have none.

    `time_passes` is for jobs: what only they book (retention, awards whose waiting is over) is booked now.
    """
    if not referees:
        return
    scope = {"company_id": company_id, "referees": list(referees)}
    connection.execute(_LOCK, scope)
    advanced: list[dict[str, object]] = []
    awards: list[dict[str, object]] = []
    postings: list[dict[str, object]] = []
    events: list[outbox.Event] = []
    at: datetime | None = None
    for known in load(connection, scope):
        at = known.at
        should = standing(known, time_passes=time_passes)
        found = differences.difference(
            should, known.stored, lambda due, known=known: _decide(known, due), at, releases=time_passes
        )
        if _has_advanced(known.row, should):
            advanced.append(_stage_row(known.row["id"], should, at))
        if should.stage != known.row["stage"]:
            events.append(outbox.Event(f"referral.{should.stage}", {"id": ids.public("ref", known.row["id"])}))
        awards += _award_rows(known, found, len(postings))
        postings += _posting_rows(known, found)
        events += [_event(award) for award in (*found.new, *found.changed)]
    if advanced:
        connection.execute(_ADVANCE, {"company_id": company_id, "rows": Jsonb(to_jsonable_python(advanced))})
    if awards:
        connection.execute(
            _BOOK,
            {
                "company_id": company_id,
                "postings": Jsonb(to_jsonable_python(postings)),
                "awards": Jsonb(to_jsonable_python(awards)),
            },
        )
    if at is not None:
        outbox.announce(connection, company_id, events, at)


def load(connection: Connection, scope: Mapping[str, object]) -> list[Known]:
    """Referrals of some referees with everything known about them, in the order of their ids."""
    rows = connection.cursor(row_factory=dict_row).execute(_KNOWN, scope, binary=True).fetchall()
    return [_known(row) for row in rows]


def standing(known: Known, *, time_passes: bool = False) -> Standing:
    """What should stand for a referral by its facts."""
    processed_at = known.at if time_passes else differences.processed_at(known.stored, known.row["retained_at"])
    return engine.standing(known.program, known.facts, known.at, processed_at=processed_at)


def _known(row: dict[str, Any]) -> Known:
    return Known(
        row,
        versions.parse(row["program"]),
        Facts(
            registered_at=row["registered_at"],
            touched_at=row["touched_at"],
            app_id=row["app_id"],
            activations=tuple(Activation(*each) for each in row["activations"]),
            payments=tuple(Payment(*each) for each in row["payments"]),
            takebacks=tuple(Takeback(*each) for each in row["takebacks"]),
            subscriptions=tuple(Subscription(*each) for each in row["subscriptions"]),
        ),
        tuple(Stored(*each) for each in row["awards"]),
        row["now"],
    )


def _decide(known: Known, due: Due) -> Decision | None:
    """Who is given an award and, for the upline, whether it still stands; None where there is no upline."""
    row = known.row
    if due.recipient == "referee":
        return Decision(row["referee_id"])
    if due.recipient == "referrer":
        return Decision(row["referrer_id"])
    # an upline who was found after a payment had been told came too late for it
    recorded: dict[UUID | None, datetime] = dict(row["recorded"])
    if row["upline_id"] is None or row["upline_since"] > recorded[due.payment_id]:
        return None
    return Decision(row["upline_id"], rejected=None if row["upline_stands"] else "upline_not_standing")


def _has_advanced(row: dict[str, Any], should: Standing) -> bool:
    return (
        should.stage, should.activated_at, should.qualified_at, should.retained_at, should.expired_at, should.next_at,
    ) != (
        row["stage"], row["activated_at"], row["qualified_at"], row["retained_at"], row["expired_at"],
        row["advances_at"],
    )  # fmt: skip


def _stage_row(referral_id: UUID, should: Standing, at: datetime) -> dict[str, object]:
    return {
        "id": referral_id,
        "stage": should.stage,
        "activated_at": should.activated_at,
        "qualified_at": should.qualified_at,
        "retained_at": should.retained_at,
        "expired_at": should.expired_at,
        "advances_at": should.next_at,
        "at": at,
    }


def _posting_rows(known: Known, found: Difference) -> list[dict[str, object]]:
    return [
        {
            "user_id": posting.user_id,
            "type": posting.type,
            "points": posting.points,
            "reference": posting.reference,
            "occasion": posting.occasion,
            "program_version": known.row["program_version"],
            "expiry_months": known.program.points_expiry_months,
        }
        for posting in found.postings
    ]


def _award_rows(known: Known, found: Difference, before: int) -> list[dict[str, object]]:
    """`before`: how many postings of other referrals stand before these."""
    return [
        {
            "id": award.id,
            "is_new": award.decision is not None,
            "is_due": award.due is not None,
            "referral_id": known.row["id"],
            "user_id": award.user_id,
            "points": award.points,
            "reversed_points": award.reversed_points,
            "adjustments": award.adjustments,
            "status": award.status,
            "hold_until": award.hold_until,
            "hold_reason": award.hold_reason,
            "program_version": known.row["program_version"],
            "earning": before + award.earning if award.earning else None,
            "at": known.at,
            **(_due_fields(award.due) if award.due else {}),
            **(_decided_fields(award.due, award.decision) if award.due and award.decision else {}),
        }
        for award in (*found.new, *found.changed, *found.moved)
    ]


def _due_fields(due: Due) -> dict[str, object]:
    """What an earlier payment or use that arrives late may move."""
    return {"period": due.period, "payment_id": due.payment_id, "due_at": due.due_at, "trace": due.trace}


def _decided_fields(due: Due, decision: Decision) -> dict[str, object]:
    return {
        "event": due.event,
        "app_id": due.app_id,
        "occasion": due.occasion,
        "base_points": due.base_points,
        "multiplier_bps": decision.multiplier_bps,
        "tier": decision.tier,
        "reason": due.reason or decision.rejected,
    }


def _event(award: Award) -> outbox.Event:
    return outbox.Event(
        f"award.{award.status}",
        {
            "id": ids.public("awd", award.id),
            "event": award.event,
            "points": award.points,
            "reversed_points": award.reversed_points,
            "user_id": ids.public("usr", award.user_id),
        },
    )
