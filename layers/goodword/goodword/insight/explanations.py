"""Explanations: why a referral and an award stand as they do, so that a reader can reckon it again.

Nothing is stored for them but what was decided once (the traces); all else is what the facts say now, by the same
engine that settles. While one is read the referral is held, so its facts, awards and bookings are of one instant.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal, LiteralString
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row, dict_row

from goodword.awards import engine, settlement
from goodword.awards import listing as awards
from goodword.awards.due import Due, Event
from goodword.awards.history import Activation
from goodword.awards.paid import period_of
from goodword.core import ids, money
from goodword.core.errors import NotFound
from goodword.insight.explanation_models import (
    AttributionTrace,
    AwardEntry,
    AwardExplanation,
    AwardTrace,
    ExplainedDue,
    ExplainedPayment,
    ExplainedStanding,
    ExplainedSubscription,
    ExplainedTakeback,
    ExplainedUse,
    ReferralExplanation,
    Share,
    ShareRule,
)
from goodword.referral import referrals

# Whoever changes a referral locks it first, so it stands still while this is held. All else is read by statements after
# this one: they see what was committed while it waited.
_HOLD = """
    SELECT id, referee_id, trace, touched_at FROM referrals
    WHERE company_id = %(company_id)s AND id = %(id)s FOR SHARE
"""

_HOLD_OF_AWARD = """
    SELECT id, referee_id FROM referrals
    WHERE company_id = %(company_id)s AND id = (
        SELECT referral_id FROM awards WHERE company_id = %(company_id)s AND id = %(id)s) FOR SHARE
"""

_PAYMENTS = """
    SELECT payments.id AS payment_id, provider, payment_key AS key, currency, gross_amount, net_amount, paid_at,
        period_start, is_proration, recorded_at, superseded, least(gross_amount, (
            SELECT round(coalesce(sum(part::numeric * gross_amount / whole), 0))
            FROM takebacks CROSS JOIN LATERAL taken_part(takebacks, payments)
            WHERE takebacks.company_id = payments.company_id AND takebacks.payment_id = payments.id
                AND takeback_state(status) = 'gone'))::bigint AS taken_back
    FROM payments WHERE company_id = %(company_id)s AND user_id = %(referee_id)s
    ORDER BY paid_at, payment_key
"""

_TAKEBACKS = """
    SELECT public_id('pay', payment_id) AS payment_id, takebacks.provider, kind, takeback_key AS key, amount,
        takebacks.currency, part, whole, status, takeback_state(status) AS state, began_at, status_at
    FROM takebacks JOIN payments ON payments.company_id = takebacks.company_id AND payments.id = payment_id
    CROSS JOIN LATERAL taken_part(takebacks, payments)
    WHERE takebacks.company_id = %(company_id)s AND payments.user_id = %(referee_id)s
    ORDER BY began_at, kind, takeback_key
"""

_SUBSCRIPTIONS = """
    SELECT provider, subscription_key AS key, status, cancel_at_period_end, cancels_at, period_ends_at, began_at,
        ended_at, status_at
    FROM subscriptions WHERE company_id = %(company_id)s AND user_id = %(referee_id)s
    ORDER BY began_at, subscription_key
"""

_AWARD = """
    SELECT trace, base_points, multiplier_bps, program_version, payment_id
    FROM awards WHERE company_id = %(company_id)s AND id = %(id)s
"""

_ENTRIES = """
    SELECT 'txn_' || id AS id, type, delta, debt_delta, created_at
    FROM entries WHERE company_id = %(company_id)s AND reference = %(reference)s
    ORDER BY entries.id
"""


def of_referral(connection: Connection, company_id: UUID, public_id: str) -> ReferralExplanation:
    """Explain a referral. Raises NotFound."""
    held = _hold(connection, _HOLD, company_id, ids.parse("ref", public_id))
    if held is None:
        raise NotFound("referral_not_found", "There is no such referral.")
    facts = _Facts(connection, company_id, held["referee_id"])
    referral = referrals.find(connection, company_id, held["id"])
    given = awards.ask(connection, company_id, held["referee_id"])()
    if referral is None:
        raise LookupError("a held referral is there")
    return ReferralExplanation(
        referral=referral,
        attribution=AttributionTrace(touched_at=held["touched_at"], **held["trace"]),
        activations=facts.uses(),
        payments=facts.payments,
        takebacks=facts.takebacks,
        subscriptions=connection.cursor(row_factory=class_row(ExplainedSubscription))
        .execute(_SUBSCRIPTIONS, facts.scope)
        .fetchall(),
        standing=facts.explained_standing(),
        awards=given,
        as_of=facts.known.at,
    )


def of_award(connection: Connection, company_id: UUID, public_id: str) -> AwardExplanation:
    """Explain an award. Raises NotFound."""
    award_id = ids.parse("awd", public_id)
    held = _hold(connection, _HOLD_OF_AWARD, company_id, award_id)
    if held is None or award_id is None:
        raise NotFound("award_not_found", "There is no such award.")
    facts = _Facts(connection, company_id, held["referee_id"])
    (award,) = (each for each in awards.ask(connection, company_id, held["referee_id"])() if each.id == award_id)
    scope = {"company_id": company_id, "id": award_id, "reference": ids.public("awd", award_id)}
    (row,) = connection.cursor(row_factory=dict_row).execute(_AWARD, scope).fetchall()
    due = facts.due_of(award_id)
    share = due.share if due else 0
    points = 0 if award.status == "rejected" else award.points
    share_rule = _share_rule(award.event, row["payment_id"])
    concerned = facts.concerned(share_rule, due, row["payment_id"])
    return AwardExplanation(
        award=award,
        program_version=row["program_version"],
        trace=AwardTrace(**row["trace"], base_points=row["base_points"], multiplier_bps=row["multiplier_bps"]),
        is_due=due is not None,
        share_rule=share_rule,
        payments=[each for each in facts.payments if each.id in concerned],
        takebacks=[each for each in facts.takebacks if each.payment_id in concerned],
        share=Share(numerator=share.numerator, denominator=share.denominator),
        due_points=money.half_up(points * share.numerator, share.denominator),
        entries=connection.cursor(row_factory=class_row(AwardEntry)).execute(_ENTRIES, scope).fetchall(),
        as_of=facts.known.at,
    )


def _share_rule(event: Event, payment_id: UUID | None) -> ShareRule:
    if payment_id:
        return "best_kept_payment"
    return "anything_still_paid" if event == "retained" else "no_money"


def _hold(
    connection: Connection, statement: LiteralString, company_id: UUID, id_: UUID | None
) -> dict[str, Any] | None:
    if id_ is None:
        return None
    scope = {"company_id": company_id, "id": id_}
    return connection.cursor(row_factory=dict_row).execute(statement, scope).fetchone()


class _Facts:
    """Everything known about a held referral, and what the engine makes of it now."""

    def __init__(self, connection: Connection, company_id: UUID, referee_id: UUID) -> None:
        self.scope = {"company_id": company_id, "referee_id": referee_id, "referees": [referee_id]}
        (self.known,) = settlement.load(connection, self.scope)
        self._standing = settlement.standing(self.known)
        self._counting = engine.counting(self.known.program, self.known.facts, self.known.at)
        self._oldest = engine.counts_from(self.known.program, self.known.facts)
        paid = self._counting.paid
        self._periods = {payment.id: period_of(paid[0], payment) for payment in paid}
        rows = connection.cursor(row_factory=dict_row).execute(_PAYMENTS, self.scope).fetchall()
        self.payments = [self._payment(row) for row in rows]
        self.takebacks = (
            connection.cursor(row_factory=class_row(ExplainedTakeback)).execute(_TAKEBACKS, self.scope).fetchall()
        )

    def due_of(self, award_id: UUID) -> Due | None:
        """What the facts still call for in the place of an award, if anything."""
        keys = {award.id: award.key for award in self.known.stored}
        return next((due for due in self._standing.due if due.key == keys[award_id]), None)

    def concerned(self, share_rule: ShareRule, due: Due | None, payment_id: UUID | None) -> set[str]:
        """The payments by which an award's share is reckoned, or was while the facts called for it."""
        if due is not None:
            payments: Iterable[UUID] = due.payments
        elif share_rule == "anything_still_paid":
            payments = self._periods
        else:
            payments = (payment_id,) if payment_id else ()
        return {ids.public("pay", payment) for payment in payments}

    def uses(self) -> list[ExplainedUse]:
        """The activations, in order, with what became of each."""
        return [
            ExplainedUse(
                app_id=use.app_id or None,
                occurred_at=use.occurred_at,
                effective_at=effective_at,
                outcome=self._outcome(use, effective_at),
            )
            for use, effective_at in engine.first_uses(self.known.program, self.known.facts)
        ]

    def explained_standing(self) -> ExplainedStanding:
        """What should stand."""
        should = self._standing
        given = {award.key: award.id for award in self.known.stored}
        return ExplainedStanding(
            stage=should.stage,
            activated_at=should.activated_at,
            qualified_at=should.qualified_at,
            retained_at=should.retained_at,
            expired_at=should.expired_at,
            disputed=should.disputed,
            next_at=should.next_at,
            due=[
                ExplainedDue(
                    award_id=given.get(due.key),
                    event=due.event,
                    recipient=due.recipient,
                    app_id=due.app_id or None,
                    period=due.period,
                    base_points=due.base_points,
                    share=Share(numerator=due.share.numerator, denominator=due.share.denominator),
                    due_at=due.due_at,
                    reason=due.reason,
                )
                for due in should.due
            ],
        )

    def _outcome(
        self, use: Activation, effective_at: datetime
    ) -> Literal["counted", "pays_nothing", "deferred", "referral_expired"]:
        if (use, effective_at) not in self._counting.uses:
            return "referral_expired"
        if (use, effective_at) not in self._counting.effective:
            return "deferred"
        first, _ = self._counting.effective[0]
        further = {due.app_id for due in self._standing.due if due.event == "cross_app"}
        return "counted" if use == first or use.app_id in further else "pays_nothing"

    def _payment(self, row: dict[str, Any]) -> ExplainedPayment:
        payment_id = row.pop("payment_id")
        period = self._periods.get(payment_id)
        if row.pop("superseded"):
            outcome = "superseded"
        elif period is not None:
            outcome = "counted"
        else:
            outcome = "outside_window" if row["paid_at"] < self._oldest else "referral_expired"
        return ExplainedPayment(id=ids.public("pay", payment_id), period=period, outcome=outcome, **row)
