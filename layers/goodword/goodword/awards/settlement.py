"""Settlement: the one way in which facts change what referrals stand for.

`settle` locks referrals, reads the set of their facts, asks the engine what should stand, and books the difference. It
may be called any number of times, after any fact, in any order, for any number of people at once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, LiteralString, TypeVar
from uuid import UUID

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from pydantic_core import to_jsonable_python

from goodword.awards import decisions, differences, engine, history
from goodword.awards.decisions import Decision, People, Upline
from goodword.awards.differences import STORED_AWARD_COLUMNS, AwardChange, Difference, StoredAward
from goodword.awards.due import Due
from goodword.awards.engine import Progress, Standing
from goodword.awards.history import Facts
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
_KNOWN: LiteralString = f"""
    WITH clock AS MATERIALIZED (SELECT company_now(%(company_id)s) AS now)
    SELECT r.id, r.referrer_id, r.referee_id, r.stage, r.activated_at, r.qualified_at, r.retained_at, r.expired_at,
        r.advances_at AS next_at, r.touched_at, r.registered_at, r.app_id, r.program_version, clock.now,
        (SELECT program::text FROM program_versions v
            WHERE v.company_id = r.company_id AND v.version = r.program_version) AS program,
        up.referrer_id AS upline_id, up.registered_at AS upline_bound_at,
        stage_at(up, clock.now) NOT IN ('expired', 'cancelled') AS upline_stands,
        ARRAY(SELECT row(id, recorded_at) FROM payments
            WHERE company_id = r.company_id AND user_id = r.referee_id) AS recorded,
        ARRAY(SELECT row(use.*) FROM (
            SELECT {history.USE_COLUMNS} FROM activations
            WHERE company_id = r.company_id AND user_id = r.referee_id) AS use) AS uses,
        ARRAY(SELECT row(payment.*) FROM (
            SELECT {history.PAYMENT_COLUMNS} FROM payments
            WHERE company_id = r.company_id AND user_id = r.referee_id AND NOT superseded) AS payment) AS payments,
        ARRAY(SELECT row(takeback.*) FROM (
            SELECT {history.TAKEBACK_COLUMNS}
            FROM takebacks t JOIN payments p ON p.company_id = t.company_id AND p.id = t.payment_id
            CROSS JOIN LATERAL taken_part(t, p) AS taken
            WHERE p.company_id = r.company_id AND p.user_id = r.referee_id) AS takeback) AS takebacks,
        ARRAY(SELECT row(subscription.*) FROM (
            SELECT {history.SUBSCRIPTION_COLUMNS} FROM subscriptions
            WHERE company_id = r.company_id AND user_id = r.referee_id) AS subscription) AS subscriptions,
        ARRAY(SELECT row(award.*) FROM (
            SELECT {STORED_AWARD_COLUMNS} FROM awards
            WHERE company_id = r.company_id AND referral_id = r.id) AS award) AS awards
    FROM referrals r CROSS JOIN clock
    LEFT JOIN referrals up ON up.company_id = r.company_id AND up.referee_id = r.referrer_id
    WHERE r.company_id = %(company_id)s AND r.referee_id = ANY (ARRAY(SELECT unnest(%(referees)s::uuid[])))
    ORDER BY r.id
"""  # noqa: S608 - the columns stand beside their classes

_ADVANCE = """
    UPDATE referrals SET stage = row.stage, activated_at = row.activated_at, qualified_at = row.qualified_at,
        retained_at = row.retained_at, expired_at = row.expired_at, advances_at = row.next_at, updated_at = row.at
    FROM jsonb_to_recordset(%(rows)s) AS row (id uuid, stage text, activated_at timestamptz, qualified_at timestamptz,
        retained_at timestamptz, expired_at timestamptz, next_at timestamptz, at timestamptz)
    WHERE company_id = %(company_id)s AND referrals.id = row.id
"""

_NEW_COLUMNS: LiteralString = """
    id, referral_id, user_id, event, app_id, occasion, period, base_points, multiplier_bps, points, reversed_points,
    adjustments, tier, status, hold_until, hold_reason, reason, program_version, payment_id, trace, due_at, entry_id"""

# One statement: everything is posted in one call, and every award is written with the entry that paid it.
_BOOK: LiteralString = f"""
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
    INSERT INTO awards (company_id, {_NEW_COLUMNS}, created_at, released_at)
    SELECT %(company_id)s, {_NEW_COLUMNS}, at, CASE WHEN entry_id IS NOT NULL THEN at END FROM award WHERE is_new
"""  # noqa: S608 - the columns stand above

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class KnownReferral:
    """A referral with all that is known about it at an instant, and what stands for it."""

    id: UUID
    people: People
    program: Program
    program_version: int
    facts: Facts
    progress: Progress
    awards: tuple[StoredAward, ...]
    at: datetime


def settle(connection: Connection, company_id: UUID, referees: Sequence[UUID], *, time_passes: bool = False) -> None:
    """Bring the referrals by which these users came to what their facts say; users nobody referred have none.

    `time_passes` is for jobs: what only they book (retention, awards whose waiting is over) is booked now.

    Locks: the referrals, by id, and then the wallets that are posted to.
    """
    if not referees:
        return
    connection.execute(_LOCK, {"company_id": company_id, "referees": list(referees)})
    changes = _Changes()
    for referral in load(connection, company_id, referees):
        standing = standing_of(referral, time_passes=time_passes)
        decide = partial(decisions.decide, referral.people)
        difference = differences.between(standing, referral.awards, decide, referral.at, releases=time_passes)
        changes.add(referral, standing, difference)
    changes.apply(connection, company_id)


def load(connection: Connection, company_id: UUID, referees: Sequence[UUID]) -> list[KnownReferral]:
    """Referrals of some referees with everything known about them, in the order of their ids.

    Needs: a lock on the referrals, so that their facts, awards and bookings are of one instant.
    """
    scope = {"company_id": company_id, "referees": list(referees)}
    rows = connection.cursor(row_factory=dict_row).execute(_KNOWN, scope, binary=True).fetchall()
    return [_known(row) for row in rows]


def standing_of(referral: KnownReferral, *, time_passes: bool = False) -> Standing:
    """What should stand for a referral by its facts."""
    processed_at = (
        referral.at if time_passes else differences.processed_at(referral.awards, referral.progress.retained_at)
    )
    return engine.standing(referral.program, referral.facts, referral.at, processed_at=processed_at)


def _known(row: dict[str, Any]) -> KnownReferral:
    upline = Upline(row["upline_id"], row["upline_bound_at"], row["upline_stands"]) if row["upline_id"] else None
    return KnownReferral(
        id=row["id"],
        people=People(row["referrer_id"], row["referee_id"], upline, dict(row["recorded"])),
        program=versions.parse(row["program"]),
        program_version=row["program_version"],
        facts=Facts(
            registered_at=row["registered_at"],
            touched_at=row["touched_at"],
            app_id=row["app_id"],
            uses=_each(history.Use, row["uses"]),
            payments=_each(history.Payment, row["payments"]),
            takebacks=_each(history.Takeback, row["takebacks"]),
            subscriptions=_each(history.Subscription, row["subscriptions"]),
        ),
        progress=Progress(**{name: row[name] for name in Progress._fields}),
        awards=_each(StoredAward, row["awards"]),
        at=row["now"],
    )


def _each(kind: type[T], rows: Iterable[Sequence[Any]]) -> tuple[T, ...]:
    """Rows by position: the columns of a class stand in the order of its fields."""
    return tuple(kind(*row) for row in rows)


@dataclass(slots=True)
class _Changes:
    """What settling some referrals writes, in one go: rows as the statements take them, and what is announced."""

    stages: list[dict[str, object]] = field(default_factory=list[dict[str, object]])
    awards: list[dict[str, object]] = field(default_factory=list[dict[str, object]])
    postings: list[dict[str, object]] = field(default_factory=list[dict[str, object]])
    events: list[outbox.Event] = field(default_factory=list[outbox.Event])
    at: datetime | None = None

    def add(self, referral: KnownReferral, standing: Standing, difference: Difference) -> None:
        """What changes of one referral."""
        self.at = referral.at
        if standing.progress != referral.progress:
            self.stages.append({"id": referral.id, "at": referral.at, **standing.progress._asdict()})
        if standing.stage != referral.progress.stage:
            self.events.append(outbox.Event(f"referral.{standing.stage}", {"id": ids.public("ref", referral.id)}))
        postings_before = len(self.postings)
        self.awards += [
            _award_row(referral, award, postings_before)
            for award in (*difference.new, *difference.changed, *difference.moved)
        ]
        terms: dict[str, object] = {
            "program_version": referral.program_version,
            "expiry_months": referral.program.points_expiry_months,
        }
        self.postings += [{**posting._asdict(), **terms} for posting in difference.postings]
        self.events += [_event(award) for award in (*difference.new, *difference.changed)]

    def apply(self, connection: Connection, company_id: UUID) -> None:
        """Write all of it."""
        if self.stages:
            connection.execute(_ADVANCE, {"company_id": company_id, "rows": _json(self.stages)})
        if self.awards:
            books = {"postings": _json(self.postings), "awards": _json(self.awards)}
            connection.execute(_BOOK, {"company_id": company_id, **books})
        if self.at is not None:
            outbox.announce(connection, company_id, self.events, self.at)


def _json(rows: list[dict[str, object]]) -> Jsonb:
    return Jsonb(to_jsonable_python(rows))


def _award_row(referral: KnownReferral, award: AwardChange, postings_before: int) -> dict[str, object]:
    """`postings_before`: how many postings of other referrals stand before this one's."""
    return {
        "id": award.id,
        "is_new": award.decision is not None,
        "is_due": award.due is not None,
        "referral_id": referral.id,
        "user_id": award.user_id,
        "points": award.points,
        "reversed_points": award.reversed_points,
        "adjustments": award.adjustments,
        "status": award.status,
        "hold_until": award.hold_until,
        "hold_reason": award.hold_reason,
        "program_version": referral.program_version,
        "earning": postings_before + award.earning if award.earning else None,
        "at": referral.at,
        **(_due_fields(award.due) if award.due else {}),
        **(_decided_fields(award.due, award.decision) if award.due and award.decision else {}),
    }


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


def _event(award: AwardChange) -> outbox.Event:
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
