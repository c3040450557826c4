"""What the payments of a referral earn, by what is still paid of each (docs/rules.md, Stages and Payments). Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from typing import NamedTuple
from uuid import UUID

from goodword.awards import periods
from goodword.awards.due import WHOLE, AwardEvent, AwardRecipient, Due, hold_until
from goodword.awards.history import Facts, Payment, Takeback
from goodword.core import money
from goodword.program.document import AwardTerms, Months, Program

NOTHING = Fraction(0)
HALF = Fraction(1, 2)

# Recurring months that begin here leave out what qualifies. A percentage leaves out that payment by itself.
SECOND_MONTH = 2


class Retention(NamedTuple):
    """When a referral is retained, and by which payment."""

    payment: Payment
    due_at: datetime


def period_of(first: Payment, payment: Payment) -> int:
    """The period of a payment, from 1, counted from the first payment of its referral."""
    anchor = first.period_start or first.paid_at
    if payment.is_proration:
        return periods.containing(anchor, payment.paid_at)
    return periods.index(anchor, payment.period_start or payment.paid_at)


class Paid:
    """The counting payments of a referral, the first one first, by their periods, with what is still paid of them."""

    def __init__(self, program: Program, facts: Facts, payments: Sequence[Payment]) -> None:
        self._program = program
        self._facts = facts
        self._payments = payments
        self._takebacks: dict[UUID, list[Takeback]] = {payment.id: [] for payment in payments}
        for each in facts.takebacks:
            if each.payment_id in self._takebacks:
                self._takebacks[each.payment_id].append(each)
        self._kept = {payment.id: self._kept_by(payment) for payment in payments}
        self._periods = {payment.id: period_of(payments[0], payment) for payment in payments}
        self._by_period: dict[int, list[Payment]] = {}
        for payment in payments:
            self._by_period.setdefault(self._periods[payment.id], []).append(payment)

    @property
    def disputed(self) -> bool:
        """Whether money of a counting payment is in dispute."""
        return any(each.state == "disputed" for backs in self._takebacks.values() for each in backs)

    @property
    def cancelled(self) -> bool:
        """Whether there were payments and nothing of them is still paid."""
        return bool(self._payments) and not any(self._kept.values())

    @property
    def qualified_at(self) -> datetime | None:
        """When the earliest payment of which something is left was made, else the earliest; never before the signup."""
        first = self._earliest_kept()
        return max(first.paid_at, self._facts.registered_at) if first else None

    def due(self) -> Iterable[Due]:
        """What the payments are worth: one of them qualifies, and each paid month recurs."""
        carrier = self._carrier()
        if carrier is None:
            return
        yield self._due("qualified", "referrer", carrier)
        yield from self._recurring(carrier)
        terms, months = self._program.awards.l2, self._program.l2_months
        for period in self._within(months):
            for payment in self._earning(terms, period):
                yield self._due("l2", "upline", payment)

    def retention(self) -> Retention | None:
        """The retention that stands, or will once its time has come.

        It is due so many days after a payment that is the first still paid by then, and stands until an instant at
        which nothing is paid; what is bought after that earns it anew.
        """
        lost_at = self._last_unpaid_at()
        for payment in self._payments:
            since = max(payment.paid_at, self._facts.registered_at)
            due_at = since + timedelta(days=self._program.timing.retention_days)
            if lost_at is not None and due_at <= lost_at:
                continue
            if self._first_paid_by(due_at) is payment and self._subscribed_by(due_at):
                return Retention(payment, due_at)
        return None

    def due_for(self, retention: Retention) -> Due:
        """The award for being retained; fixed, it is one for ever, and a percentage is the payment's own."""
        terms, payment = self._program.awards.retained, retention.payment
        fixed = terms.points is not None
        return Due(
            "retained",
            "referrer",
            _points(self._program, terms, payment),
            retention.due_at,
            _trace(self._program, terms, payment),
            occasion="" if fixed else payment.key,
            payment_id=None if fixed else payment.id,
            payments=tuple(each.id for each in self._payments) if fixed else (payment.id,),
            share=WHOLE if fixed else self._kept[payment.id],
            hold_until=hold_until(terms, retention.due_at),
            reason=_worthless(self._program, terms, payment),
        )

    def _carrier(self) -> Payment | None:
        """The payment that qualifies: the earliest that is still paid for the most part, else at all, else of all."""
        mostly = (payment for payment in self._payments if self._kept[payment.id] > HALF)
        return next(mostly, None) or self._earliest_kept()

    def _earliest_kept(self) -> Payment | None:
        kept = (payment for payment in self._payments if self._kept[payment.id] > 0)
        return next(kept, self._payments[0] if self._payments else None)

    def _recurring(self, carrier: Payment) -> Iterable[Due]:
        """Fixed, the month that qualifies does not recur as well; of percentages, every payment but the carrier's."""
        terms, months = self._program.awards.recurring, self._program.recurring_months
        carried = self._periods[carrier.id]
        if terms.points is None and months[0] == SECOND_MONTH:
            months = (1, months[1])
        for period in self._within(months):
            if terms.points is not None and period == carried:
                continue
            for payment in self._earning(terms, period):
                if payment is not carrier:
                    yield self._due("recurring", "referrer", payment)

    def _within(self, months: Months) -> list[int]:
        return [period for period in sorted(self._by_period) if months[0] <= period <= months[1]]

    def _earning(self, terms: AwardTerms, period: int) -> Sequence[Payment]:
        """A fixed award is given once in a period, a percentage of every payment."""
        payments = self._by_period[period]
        return payments if terms.points is None else payments[:1]

    def _due(self, event: AwardEvent, recipient: AwardRecipient, payment: Payment) -> Due:
        """A fixed award shares the fate of its period, a percentage that of its payment; there is one `qualified`."""
        terms: AwardTerms = getattr(self._program.awards, event)
        period = self._periods[payment.id]
        fixed = terms.points is not None
        paid = self._by_period[period] if fixed else [payment]
        return Due(
            event,
            recipient,
            _points(self._program, terms, payment),
            payment.paid_at,
            _trace(self._program, terms, payment),
            occasion=payment.key if not fixed else "1" if event == "qualified" else str(period),
            period=period,
            payment_id=payment.id,
            payments=tuple(each.id for each in paid),
            share=max(self._kept[each.id] for each in paid),
            hold_until=hold_until(terms, payment.paid_at),
            reason=_worthless(self._program, terms, payment),
        )

    def _kept_by(self, payment: Payment, at: datetime | None = None) -> Fraction:
        """The part of a payment that is still paid; with `at`, by what had happened until then."""
        gone = [
            Fraction(each.amount, each.whole or payment.gross_amount)
            for each in self._takebacks[payment.id]
            if each.state == "gone" and (at is None or each.began_at <= at)
        ]
        return max(WHOLE - sum(gone), NOTHING) if gone else WHOLE

    def _first_paid_by(self, at: datetime) -> Payment | None:
        """The first payment of which something was still paid at an instant."""
        made = (payment for payment in self._payments if payment.paid_at <= at)
        return next((payment for payment in made if self._kept_by(payment, at) > 0), None)

    def _last_unpaid_at(self) -> datetime | None:
        """The last instant at which money went back and nothing paid was left."""
        instants = {each.began_at for backs in self._takebacks.values() for each in backs if each.state == "gone"}
        return next((at for at in sorted(instants, reverse=True) if self._first_paid_by(at) is None), None)

    def _subscribed_by(self, at: datetime) -> bool:
        """Whether a subscription ran at an instant, or none had begun."""
        begun = [each for each in self._facts.subscriptions if each.began_at <= at]
        return not begun or any(each.ended_at is None or each.ended_at > at for each in begun)


def _trace(program: Program, terms: AwardTerms, payment: Payment) -> dict[str, object]:
    """All that the points of an award for money are reckoned from."""
    if terms.points is not None:
        return {"points": terms.points, "paid_at": payment.paid_at}
    return {
        "bps": terms.bps,
        "net_amount": payment.net_amount,
        "currency": payment.currency,
        "exponent": money.exponent(payment.currency) if payment.currency else None,
        "points_per_unit": program.points_per_unit.get(payment.currency or ""),
        "paid_at": payment.paid_at,
    }


def _points(program: Program, terms: AwardTerms, payment: Payment) -> int:
    """The points of an award for a payment; a currency without a worth earns nothing (docs/rules.md, Percentages)."""
    if terms.points is not None:
        return terms.points
    worth = program.points_per_unit.get(payment.currency or "")
    if worth is None or terms.bps is None or payment.currency is None:
        return 0
    return money.half_up(payment.net_amount * terms.bps * worth, 10_000 * 10 ** money.exponent(payment.currency))


def _worthless(program: Program, terms: AwardTerms, payment: Payment) -> str | None:
    configured = terms.points is not None or payment.currency in program.points_per_unit
    return None if configured else "currency_not_configured"
