"""Referrals: the bound pairs, and the one way in which a fact changes what they stand for.

`settle` locks a referral, reads the set of its facts, asks the engine what should stand, and books the difference. It
may be called any number of times, after any fact, in any order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row, dict_row
from pydantic import Field

from goodword.core import ids, outbox
from goodword.core.errors import invalid_fields
from goodword.core.fields import AnswerModel, Instant, RequestModel
from goodword.core.ids import ReferralId
from goodword.referral import awards, engine
from goodword.referral.engine import Activation, Facts, Payment, Stage, Standing
from goodword.referral.program import Program


class Revenue(AnswerModel):
    """Net revenue in minor units of one currency; currencies are never converted."""

    currency: str | None
    amount: int


class Referral(AnswerModel):
    """A referral as clients see it; referrer and referee are external ids."""

    id: ReferralId
    referrer: str
    referee: str
    code: str
    stage: Stage
    source: Literal["code", "click", "coupon", "invite"]
    app_id: str | None
    program_version: int
    campaign_id: str | None
    fraud_score: int
    flagged: bool
    fraud_signals: list[str]
    is_verified: bool
    registered_at: Instant
    activated_at: Instant | None
    qualified_at: Instant | None
    retained_at: Instant | None
    expired_at: Instant | None
    updated_at: Instant
    revenue: list[Revenue]


class ReferralList(AnswerModel):
    """A page of referrals, newest first."""

    data: list[Referral]
    has_more: bool


class CircleQuery(RequestModel):
    """How GET …/referrals is asked."""

    level: int = Field(default=1, ge=1, le=1)
    limit: int = Field(default=20, ge=1, le=100)
    after: str | None = Field(default=None, pattern=r"^ref_[0-9a-f]{32}$")


@dataclass(frozen=True, slots=True)
class NewReferral:
    """A pair to be bound, with what it was bound by. `touched_at`: when the click or the code was used."""

    id: UUID
    referrer_id: UUID
    referee_id: UUID
    code_id: UUID
    click_id: UUID | None
    source: str
    app_id: str | None
    touched_at: datetime
    registered_at: datetime


_BIND = """
    INSERT INTO referrals (company_id, id, referrer_id, referee_id, code_id, click_id, source, app_id, program_version,
        touched_at, registered_at, lapses_at, updated_at)
    VALUES (%(company_id)s, %(id)s, %(referrer_id)s, %(referee_id)s, %(code_id)s, %(click_id)s, %(source)s,
        %(app_id)s, %(program_version)s, %(touched_at)s, %(registered_at)s, %(lapses_at)s, %(registered_at)s)
"""

_LOCK = """
    SELECT id, referrer_id, referee_id, stage, activated_at, qualified_at, touched_at, registered_at, program_version
    FROM referrals WHERE company_id = %(company_id)s AND referee_id = %(referee_id)s FOR NO KEY UPDATE
"""

# A statement of its own, after the lock: it must see what was committed while the lock was waited for.
_KNOWN = """
    SELECT company_now(%(company_id)s) AS at,
        (SELECT program FROM program_versions WHERE company_id = %(company_id)s AND version = (
            SELECT program_version FROM referrals
            WHERE company_id = %(company_id)s AND referee_id = %(referee_id)s)) AS program,
        ARRAY(SELECT row(app_id, occurred_at) FROM activations
            WHERE company_id = %(company_id)s AND user_id = %(referee_id)s) AS activations,
        ARRAY(SELECT row(id, net_amount, currency, paid_at) FROM payments
            WHERE company_id = %(company_id)s AND user_id = %(referee_id)s) AS payments,
        ARRAY(SELECT row(event, app_id, occasion) FROM awards
            WHERE company_id = %(company_id)s AND referral_id = (
                SELECT id FROM referrals WHERE company_id = %(company_id)s AND referee_id = %(referee_id)s)) AS given
"""

_ADVANCE = """
    UPDATE referrals SET stage = %(stage)s, activated_at = %(activated_at)s, qualified_at = %(qualified_at)s,
        expired_at = %(expired_at)s, updated_at = %(at)s
    WHERE company_id = %(company_id)s AND id = %(id)s
"""

# The referral by which one user came, or those of one referrer: the planner drops what is not asked for.
_READ = """
    SELECT referrals.id, referrer.external_id AS referrer, referee.external_id AS referee, codes.code,
        stage_at(referrals, now.at) AS stage, source, referrals.app_id, program_version,
        public_id('cam', referrals.campaign_id) AS campaign_id, fraud_score, flagged,
        ARRAY[]::text[] AS fraud_signals, referee.email_verified AS is_verified, registered_at, activated_at,
        qualified_at, retained_at, referrals.updated_at,
        coalesce(expired_at, CASE WHEN stage_at(referrals, now.at) = 'expired' THEN lapses_at END) AS expired_at,
        coalesce((
            SELECT jsonb_agg(jsonb_build_object('currency', currency, 'amount', amount) ORDER BY currency)
            FROM (
                SELECT currency, sum(net_amount)::bigint AS amount FROM payments
                WHERE payments.company_id = referrals.company_id AND payments.user_id = referrals.referee_id
                GROUP BY currency
            ) AS by_currency
        ), '[]') AS revenue
    FROM referrals
    CROSS JOIN LATERAL (SELECT company_now(referrals.company_id) AS at) AS now
    JOIN users AS referrer ON referrer.company_id = referrals.company_id AND referrer.id = referrals.referrer_id
    JOIN users AS referee ON referee.company_id = referrals.company_id AND referee.id = referrals.referee_id
    JOIN codes ON codes.company_id = referrals.company_id AND codes.id = referrals.code_id
    WHERE referrals.company_id = %(company_id)s
        AND (%(referee_id)s::uuid IS NULL OR referrals.referee_id = %(referee_id)s)
        AND (%(referrer_id)s::uuid IS NULL OR referrals.referrer_id = %(referrer_id)s)
        AND (%(after)s::uuid IS NULL OR (referrals.registered_at, referrals.id) < (
            SELECT registered_at, id FROM referrals
            WHERE company_id = %(company_id)s AND id = %(after)s AND referrer_id = %(referrer_id)s))
    ORDER BY referrals.registered_at DESC, referrals.id DESC LIMIT %(limit)s + 1
"""

_IS_REFERRAL = """
    SELECT 1 FROM referrals WHERE company_id = %(company_id)s AND referrer_id = %(referrer_id)s AND id = %(after)s
"""


def bind(connection: Connection, company_id: UUID, new: NewReferral, program_version: int, program: Program) -> None:
    """Write a new referral under the given terms, which it keeps."""
    connection.execute(
        _BIND,
        {
            "company_id": company_id,
            "id": new.id,
            "referrer_id": new.referrer_id,
            "referee_id": new.referee_id,
            "code_id": new.code_id,
            "click_id": new.click_id,
            "source": new.source,
            "app_id": new.app_id,
            "program_version": program_version,
            "touched_at": new.touched_at,
            "registered_at": new.registered_at,
            "lapses_at": engine.lapses_at(program, new.registered_at),
        },
    )


def settle(connection: Connection, company_id: UUID, referee_id: UUID) -> UUID | None:
    """Bring the referral of this referee to what its facts say. Returns its id, or None for an unreferred user."""
    scope = {"company_id": company_id, "referee_id": referee_id}
    locked = connection.cursor(row_factory=dict_row).execute(_LOCK, scope)
    known = connection.cursor(row_factory=dict_row).execute(_KNOWN, scope, binary=True)
    referral, facts = locked.fetchone(), known.fetchone()
    if referral is None or facts is None:
        return None
    program = Program.model_validate(facts["program"])
    at: datetime = facts["at"]
    should = engine.standing(
        program,
        Facts(
            registered_at=referral["registered_at"],
            touched_at=referral["touched_at"],
            activations=tuple(Activation(*each) for each in facts["activations"]),
            payments=tuple(Payment(*each) for each in facts["payments"]),
        ),
        at,
    )
    given = set(facts["given"])
    missing = [
        (due, referral["referee_id"] if due.event == "welcome" else referral["referrer_id"])
        for due in should.due
        if due.key not in given
    ]
    events: list[outbox.Event] = []
    if (should.stage, should.activated_at, should.qualified_at) != (
        referral["stage"], referral["activated_at"], referral["qualified_at"],
    ):  # fmt: skip
        _advance(connection, company_id, referral["id"], should, at)
        events.append(outbox.Event(f"referral.{should.stage}", {"id": ids.public("ref", referral["id"])}))
    terms = (referral["program_version"], program)
    events += awards.give(connection, company_id, referral["id"], missing, terms, at)
    outbox.announce(connection, company_id, events, at)
    return referral["id"]


def _advance(connection: Connection, company_id: UUID, referral_id: UUID, should: Standing, at: datetime) -> None:
    connection.execute(
        _ADVANCE,
        {
            "company_id": company_id,
            "id": referral_id,
            "stage": should.stage,
            "activated_at": should.activated_at,
            "qualified_at": should.qualified_at,
            "expired_at": should.expired_at,
            "at": at,
        },
    )


def ask(connection: Connection, company_id: UUID, referee_id: UUID) -> Callable[[], Referral | None]:
    """The referral by which a user came, if any; asked now, read later, so that several reads are one trip."""
    cursor = connection.cursor(row_factory=class_row(Referral)).execute(
        _READ,
        {"company_id": company_id, "referee_id": referee_id, "referrer_id": None, "after": None, "limit": 1},
    )
    return cursor.fetchone


def circle(connection: Connection, company_id: UUID, referrer_id: UUID, query: CircleQuery) -> ReferralList:
    """A page of the people a user brought, newest first. Raises Refused for an `after` that is none of them."""
    asked = {
        "company_id": company_id,
        "referee_id": None,
        "referrer_id": referrer_id,
        "after": ids.parse("ref", query.after) if query.after else None,
        "limit": query.limit,
    }
    rows = connection.cursor(row_factory=class_row(Referral)).execute(_READ, asked).fetchall()
    if query.after and not rows and connection.execute(_IS_REFERRAL, asked).fetchone() is None:
        raise invalid_fields(("after", "is no referral of this user"))
    return ReferralList(data=rows[: query.limit], has_more=len(rows) > query.limit)
