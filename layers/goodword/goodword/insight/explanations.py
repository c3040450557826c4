"""Explanations: why a referral and an award stand as they do, so that a reader can reckon it again.

Nothing is stored for them but what was decided once (the traces); all else is what the facts say now, by the same
engine that settles. While one is read the referral is held, so its facts, awards and bookings are of one instant.
"""

from datetime import datetime
from fractions import Fraction
from typing import Any, Literal, LiteralString, NamedTuple
from uuid import UUID

from psycopg import Connection
from psycopg.rows import dict_row

from goodword.awards import engine, settlement
from goodword.awards import listing as awards
from goodword.awards.due import Due
from goodword.awards.history import Use
from goodword.awards.listing import Award
from goodword.awards.paid import NOTHING, period_of
from goodword.core import ids, money, query
from goodword.core.errors import NotFound
from goodword.fraud import findings
from goodword.fraud.findings import Findings
from goodword.insight.explanation_models import (
    AppUse,
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

# A referral is locked before anything of it changes, so it stands still while this is held. All else is read by
# statements after this one: they see what was committed while it waited.
_HOLD = """
    SELECT id, referee_id, trace, touched_at FROM referrals
    WHERE company_id = %(company_id)s AND id = %(id)s FOR SHARE
"""

_HOLD_OF_AWARD = """
    SELECT id, referee_id, trace, touched_at FROM referrals
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

_ORIGIN = """
    SELECT awards.trace, base_points, multiplier_bps, counted, campaign_id, awards.program_version
    FROM awards JOIN referrals ON referrals.company_id = awards.company_id AND referrals.id = referral_id
    WHERE awards.company_id = %(company_id)s AND awards.id = %(id)s
"""

_ENTRIES = """
    SELECT 'txn_' || id AS id, type, delta, debt_delta, created_at
    FROM entries WHERE company_id = %(company_id)s AND reference = %(reference)s
    ORDER BY entries.id
"""


class _HeldReferral(NamedTuple):
    id: UUID
    referee_id: UUID
    trace: dict[str, Any]
    touched_at: datetime


class _Origin(NamedTuple):
    """What an award was made of, beside what is shown of it anyway."""

    trace: dict[str, Any]
    base_points: int
    multiplier_bps: int
    counted: int | None
    campaign_id: UUID | None
    program_version: int


def of_referral(connection: Connection, company_id: UUID, public_id: str) -> ReferralExplanation:
    """Explain a referral. Raises NotFound."""
    held = _hold(connection, _HOLD, company_id, ids.parse("ref", public_id))
    if held is None:
        raise NotFound("referral_not_found", "There is no such referral.")
    reasons = _Reasons(connection, company_id, held.referee_id)
    referral = referrals.find(connection, company_id, held.id)
    if referral is None:
        raise LookupError("a held referral is there")
    return ReferralExplanation(
        referral=referral,
        attribution=AttributionTrace(touched_at=held.touched_at, **held.trace),
        activations=reasons.uses(),
        app_uses=reasons.app_uses(),
        payments=reasons.payments,
        takebacks=reasons.takebacks,
        subscriptions=query.every(connection, ExplainedSubscription, _SUBSCRIPTIONS, **reasons.scope),
        standing=reasons.explained_standing(),
        awards=awards.ask(connection, company_id, held.referee_id)(),
        fraud=_fraud(connection, company_id, held.id),
        as_of=reasons.known.at,
    )


def of_award(connection: Connection, company_id: UUID, public_id: str) -> AwardExplanation:
    """Explain an award. Raises NotFound."""
    award_id = ids.parse("awd", public_id)
    held = _hold(connection, _HOLD_OF_AWARD, company_id, award_id)
    if held is None or award_id is None:
        raise NotFound("award_not_found", "There is no such award.")
    reasons = _Reasons(connection, company_id, held.referee_id)
    award = awards.find(connection, company_id, award_id)
    origin = query.one(connection, _Origin, _ORIGIN, company_id=company_id, id=award_id)
    if award is None or origin is None:
        raise LookupError("an award of a held referral is there")
    due = reasons.due_of(award_id)
    share = due.share if due else NOTHING
    points = 0 if award.status == "rejected" else award.points
    share_rule = _share_rule(award)
    payment_ids = reasons.payments_of(award, share_rule, due)
    return AwardExplanation(
        award=award,
        program_version=origin.program_version,
        trace=AwardTrace(
            **origin.trace,
            base_points=origin.base_points,
            multiplier_bps=origin.multiplier_bps,
            counted=origin.counted,
            campaign_id=origin.campaign_id,
        ),
        is_due=due is not None,
        share_rule=share_rule,
        payments=[payment for payment in reasons.payments if payment.id in payment_ids],
        takebacks=[takeback for takeback in reasons.takebacks if takeback.payment_id in payment_ids],
        share=_share(share),
        due_points=money.rounded(points * share),
        entries=query.every(connection, AwardEntry, _ENTRIES, company_id=company_id, reference=public_id),
        fraud=_fraud(connection, company_id, held.id),
        as_of=reasons.known.at,
    )


def _fraud(connection: Connection, company_id: UUID, referral_id: UUID) -> Findings | None:
    return findings.of_referrals(connection, company_id, [referral_id]).get(referral_id)


def _share_rule(award: Award) -> ShareRule:
    if award.payment_id:
        return "best_kept_payment"
    return "anything_still_paid" if award.event == "retained" else "no_money"


def _share(share: Fraction) -> Share:
    return Share(numerator=share.numerator, denominator=share.denominator)


def _hold(connection: Connection, statement: LiteralString, company_id: UUID, id_: UUID | None) -> _HeldReferral | None:
    """Locks: the referral, shared, until the end of the transaction."""
    if id_ is None:
        return None
    return query.one(connection, _HeldReferral, statement, company_id=company_id, id=id_)


class _Reasons:
    """All that is known about a held referral, and what the engine makes of it now.

    Needs: a lock on the referral.
    """

    def __init__(self, connection: Connection, company_id: UUID, referee_id: UUID) -> None:
        self.scope = {"company_id": company_id, "referee_id": referee_id}
        (self.known,) = settlement.load(connection, company_id, [referee_id])
        self._standing = self.known.standing()
        self._counting = engine.counting(self.known.program, self.known.facts, self.known.at)
        self._oldest = engine.counts_from(self.known.program, self.known.facts)
        paid = self._counting.paid
        self._periods = {payment.id: period_of(paid[0], payment) for payment in paid}
        rows = connection.cursor(row_factory=dict_row).execute(_PAYMENTS, self.scope).fetchall()
        self.payments = [self._payment(row) for row in rows]
        self.takebacks = query.every(connection, ExplainedTakeback, _TAKEBACKS, **self.scope)

    def due_of(self, award_id: UUID) -> Due | None:
        """What the facts still call for in the place of an award, if anything."""
        keys = {award.id: award.key for award in self.known.awards}
        return next((due for due in self._standing.due if due.key == keys[award_id]), None)

    def payments_of(self, award: Award, share_rule: ShareRule, due: Due | None) -> set[str]:
        """The ids of the payments by which an award's share is reckoned, or was while the facts called for it."""
        if due is not None:
            return {ids.public("pay", payment_id) for payment_id in due.payments}
        if share_rule == "anything_still_paid":
            return {ids.public("pay", payment_id) for payment_id in self._periods}
        return {award.payment_id} if award.payment_id else set()

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

    def app_uses(self) -> list[AppUse]:
        """The apps, each with the award for using it: the first that counts activates, others are worth their own."""
        award_ids = {award.key: award.id for award in self.known.awards}
        first = self._counting.effective[0][0] if self._counting.effective else None
        return [
            AppUse(
                app_id=use.app_id,
                occurred_at=use.occurred_at,
                award_id=award_ids.get(("activated", "", "") if use == first else ("cross_app", use.app_id, "")),
            )
            for use, _ in engine.first_uses(self.known.program, self.known.facts)
            if use.app_id
        ]

    def explained_standing(self) -> ExplainedStanding:
        """What should stand."""
        award_ids = {award.key: award.id for award in self.known.awards}
        return ExplainedStanding(
            **self._standing.progress._asdict(),
            disputed=self._standing.disputed,
            due=[
                ExplainedDue(
                    award_id=award_ids.get(due.key),
                    event=due.event,
                    recipient=due.recipient,
                    app_id=due.app_id or None,
                    period=due.period,
                    base_points=due.base_points,
                    share=_share(due.share),
                    due_at=due.due_at,
                    reason=due.reason,
                )
                for due in self._standing.due
            ],
        )

    def _outcome(
        self, use: Use, effective_at: datetime
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
