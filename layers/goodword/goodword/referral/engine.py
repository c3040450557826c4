"""The award engine: from the SET of facts known about a referral to what should stand.

Pure, and the only place that decides. It neither knows the order in which facts arrived nor how often; whoever applies
a fact inserts it, locks the referral, asks here what should stand, and books the difference (DESIGN.md, rule 3).
RULES.md §3 and §4 are its source.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Literal, NamedTuple
from uuid import UUID

from goodword.referral import money, periods
from goodword.referral.program import AwardTerms, Months, Program

Event = Literal["registered", "welcome", "activated", "qualified", "recurring", "l2", "retained", "cross_app"]
Stage = Literal["registered", "activated", "qualified", "retained", "expired", "cancelled"]
Recipient = Literal["referrer", "referee", "upline"]
Key = tuple[Event, str, str]
"""What names an award within its referral: event, app and occasion."""

WHOLE = Fraction(1)


@dataclass(frozen=True, slots=True)
class Activation:
    """First use of an app; '' where the app did not say which."""

    app_id: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class Payment:
    """Money received, in minor units: `gross_amount` as charged, `net_amount` of it without tax and discounts.

    `key` is the sale's own, by which two payments of one instant have an order.
    """

    id: UUID
    key: str
    net_amount: int
    gross_amount: int
    currency: str | None
    paid_at: datetime
    period_start: datetime | None = None


@dataclass(frozen=True, slots=True)
class Takeback:
    """Money that went back, or is in dispute, out of one payment: of its gross amount, or of the same `whole` of it.

    A refund is `gone` until it fails; a dispute is `disputed` while it is open, `gone` once lost, `kept` once won.
    """

    payment_id: UUID
    amount: int
    state: Literal["gone", "disputed", "kept"]
    began_at: datetime
    whole: int | None = None


@dataclass(frozen=True, slots=True)
class Subscription:
    """From when on a subscription was known of, and whether and when it ended."""

    began_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything known about one referral. `touched_at` is when the click or the code was used."""

    registered_at: datetime
    touched_at: datetime
    app_id: str | None = None
    activations: tuple[Activation, ...] = ()
    payments: tuple[Payment, ...] = ()
    takebacks: tuple[Takeback, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()


@dataclass(frozen=True, slots=True)
class Due:
    """An award that is due, before the decisions that depend on other people.

    `share` is the part of the money behind it that is still paid, of all the `payments` whose fate it shares; `reason`
    says why it earns nothing.
    """

    event: Event
    recipient: Recipient
    base_points: int
    due_at: datetime
    trace: Mapping[str, object]
    app_id: str = ""
    occasion: str = ""
    period: int | None = None
    payment_id: UUID | None = None
    payments: tuple[UUID, ...] = ()
    share: Fraction = WHOLE
    hold_until: datetime | None = None
    reason: str | None = None

    @property
    def key(self) -> Key:
        """The natural key within the referral."""
        return (self.event, self.app_id, self.occasion)


@dataclass(frozen=True, slots=True)
class Standing:
    """What should stand: the stage, when it was reached, and every award that is due.

    `disputed` says that money behind the referral is in dispute. `next_at` is when all this may change by itself, which
    may have passed where a job has not come by yet.
    """

    stage: Stage
    activated_at: datetime | None = None
    qualified_at: datetime | None = None
    retained_at: datetime | None = None
    expired_at: datetime | None = None
    disputed: bool = False
    next_at: datetime | None = None
    due: tuple[Due, ...] = field(default=())


class Counting(NamedTuple):
    """The facts that count: uses with when each takes effect, those that have by now, and payments, the first first."""

    uses: Sequence[tuple[Activation, datetime]]
    effective: Sequence[tuple[Activation, datetime]]
    paid: Sequence[Payment]


def lapses_at(program: Program, registered_at: datetime) -> datetime:
    """When a referral that nothing happened to expires."""
    return registered_at + timedelta(days=program.timing.pending_expiry_days)


def standing(program: Program, facts: Facts, at: datetime, *, retention: bool = False) -> Standing:
    """What should stand at `at`, whatever order the facts came in.

    Retention comes into being only where the job has come by after its due time: `retention` says that it has, now or
    before.
    """
    lapse = lapses_at(program, facts.registered_at)
    uses, effective, paid = counting(program, facts, at)
    money_ = _Money(program, facts, paid)
    activated_at = effective[0][1] if effective else None
    qualified_at = max(paid[0].paid_at, facts.registered_at) if paid else None
    retains_at = qualified_at + timedelta(days=program.timing.retention_days) if qualified_at else None
    lasting = retains_at is not None and money_.lasts_until(retains_at)
    retained = lasting and retention and retains_at is not None and retains_at <= at
    cancelled = bool(paid) and money_.kept() == 0
    due = [
        _fixed(program, "registered", "referrer", facts.registered_at),
        _fixed(program, "welcome", "referee", facts.registered_at),
        *_for_uses(program, facts, effective),
        *money_.due(),
    ]
    if retained and retains_at is not None:
        due.append(_retained(program, paid, retains_at, Fraction(0) if cancelled else WHOLE))
    expired = not paid and not effective and at >= lapse
    return Standing(
        stage=_stage(
            expired=expired, cancelled=cancelled, retained=retained, qualified=bool(paid), activated=bool(effective)
        ),
        activated_at=activated_at,
        qualified_at=qualified_at,
        retained_at=retains_at if retained and not cancelled else None,
        expired_at=lapse if expired else None,
        disputed=money_.disputed,
        next_at=min(
            (
                *(effective_at for _, effective_at in uses if effective_at > at),
                *([lapse] if not paid and not effective and at < lapse else []),
                *([retains_at] if retains_at and lasting and not retained and not cancelled else []),
            ),
            default=None,
        ),
        due=tuple(each for each in due if each and (each.base_points > 0 or each.reason)),
    )


def _stage(*, expired: bool, cancelled: bool, retained: bool, qualified: bool, activated: bool) -> Stage:
    if expired:
        return "expired"
    if cancelled:
        return "cancelled"
    if retained:
        return "retained"
    return "qualified" if qualified else "activated" if activated else "registered"


def counts_from(program: Program, facts: Facts) -> datetime:
    """From when on payments count: the touch, or before it by no more than the attribution window."""
    return facts.touched_at - timedelta(days=program.attribution.window_days)


def counting(program: Program, facts: Facts, at: datetime) -> Counting:
    """What counts at `at`. Where nothing does before the referral expires, nothing that comes later does."""
    lapse = lapses_at(program, facts.registered_at)
    oldest = counts_from(program, facts)
    uses = first_uses(program, facts)
    effective = [use for use in uses if use[1] <= at]
    paid = sorted(
        (payment for payment in facts.payments if payment.paid_at >= oldest),
        key=lambda payment: (payment.paid_at, payment.key),
    )
    moments = [*(payment.paid_at for payment in paid[:1]), *(effective_at for _, effective_at in effective[:1])]
    if not moments or min(moments) >= lapse:
        return Counting([use for use in uses if use[1] < lapse], [], [])
    return Counting(uses, effective, paid)


def period_of(first: Payment, payment: Payment) -> int:
    """The period of a payment, from 1, by the first one of its referral."""
    return periods.index(first.period_start or first.paid_at, payment.period_start or payment.paid_at)


def first_uses(program: Program, facts: Facts) -> list[tuple[Activation, datetime]]:
    """Every first use of an app, with when it takes effect: too early a use counts when the minimum has passed."""
    earliest = facts.registered_at + timedelta(minutes=program.timing.activation_min_minutes)
    uses = sorted(facts.activations, key=lambda use: (use.occurred_at, use.app_id))
    return [(use, max(use.occurred_at, earliest)) for use in uses]


def _for_uses(program: Program, facts: Facts, uses: Sequence[tuple[Activation, datetime]]) -> Iterable[Due | None]:
    """The first use activates; the first use of each further app is worth its own award."""
    for number, (use, effective_at) in enumerate(uses):
        trace = {"app_id": use.app_id or None, "occurred_at": use.occurred_at, "effective_at": effective_at}
        if number == 0:
            yield _fixed(program, "activated", "referrer", effective_at, trace)
            continue
        if use.app_id in {"", facts.app_id, uses[0][0].app_id}:
            continue
        if program.apps is None or use.app_id in program.apps:
            yield _fixed(program, "cross_app", "referrer", effective_at, trace, app_id=use.app_id)


def _fixed(
    program: Program,
    event: Event,
    recipient: Recipient,
    due_at: datetime,
    trace: Mapping[str, object] | None = None,
    app_id: str = "",
) -> Due | None:
    terms: AwardTerms = getattr(program.awards, event)
    if terms.points is None:
        return None  # basis points of what? no money came with this event
    told = {"points": terms.points, **(trace or {})}
    return Due(event, recipient, terms.points, due_at, told, app_id=app_id, hold_until=_hold_until(terms, due_at))


def _retained(program: Program, paid: Sequence[Payment], due_at: datetime, share: Fraction) -> Due:
    """One per referral; a percentage is the first payment's own, so that another first payment is another award."""
    terms, first = program.awards.retained, paid[0]
    fixed = terms.points is not None
    points = money.points_due(program, terms, first.net_amount, first.currency)
    trace = _money_trace(program, terms, first)
    return Due(
        "retained", "referrer", points, due_at, trace, occasion="" if fixed else first.key,
        payment_id=None if fixed else first.id, payments=tuple(payment.id for payment in paid), share=share,
        hold_until=_hold_until(terms, due_at),
        reason=_worthless(program, terms, first),
    )  # fmt: skip


class _Money:
    """The counting payments of a referral, the first one first, by their periods, with what is still paid of them."""

    def __init__(self, program: Program, facts: Facts, paid: Sequence[Payment]) -> None:
        self._program = program
        self._facts = facts
        self._paid = paid
        known = {payment.id for payment in paid}
        self._takebacks = [each for each in facts.takebacks if each.payment_id in known]
        self._by_period: dict[int, list[Payment]] = {}
        for payment in paid:
            self._by_period.setdefault(period_of(paid[0], payment), []).append(payment)

    @property
    def disputed(self) -> bool:
        return any(each.state == "disputed" for each in self._takebacks)

    def kept(self, before: datetime | None = None) -> Fraction:
        """What is still paid, net; with `before`, by what had happened until then."""
        paid = (payment for payment in self._paid if before is None or payment.paid_at <= before)
        return sum((self._kept(payment, before) * payment.net_amount for payment in paid), Fraction(0))

    def lasts_until(self, at: datetime) -> bool:
        """Whether something is still paid at `at` and a subscription goes on, or there has been none by then."""
        begun = [each for each in self._facts.subscriptions if each.began_at <= at]
        ended = [each.ended_at is not None and each.ended_at <= at for each in begun]
        return self.kept(at) > 0 and not (ended and all(ended))

    def due(self) -> Iterable[Due]:
        """What the payments are worth: the first of all, and those of each paid month."""
        if not self._paid:
            return
        yield self._one("qualified", "referrer", 1, self._paid[0])
        repeated: Sequence[tuple[Event, Recipient, Months]] = (
            ("recurring", "referrer", self._program.recurring_months),
            ("l2", "upline", self._program.l2_months),
        )
        for event, recipient, months in repeated:
            terms: AwardTerms = getattr(self._program.awards, event)
            for period in sorted(self._by_period):
                if not months[0] <= period <= months[1]:
                    continue
                payments = self._by_period[period]
                for payment in payments if terms.points is None else payments[:1]:
                    yield self._one(event, recipient, period, payment)

    def _one(self, event: Event, recipient: Recipient, period: int, payment: Payment) -> Due:
        """A fixed award is one per period and shares the fate of its payments; a percentage is the payment's own."""
        terms: AwardTerms = getattr(self._program.awards, event)
        fixed = terms.points is not None
        return Due(
            event,
            recipient,
            money.points_due(self._program, terms, payment.net_amount, payment.currency),
            payment.paid_at,
            _money_trace(self._program, terms, payment),
            occasion=str(period) if fixed else payment.key,
            period=period,
            payment_id=payment.id,
            payments=tuple(each.id for each in self._by_period[period]) if fixed else (payment.id,),
            share=self._share(period) if fixed else self._kept(payment),
            hold_until=_hold_until(terms, payment.paid_at),
            reason=_worthless(self._program, terms, payment),
        )

    def _share(self, period: int) -> Fraction:
        payments = self._by_period[period]
        kept = sum((self._kept(payment) * payment.net_amount for payment in payments), Fraction(0))
        return kept / sum(payment.net_amount for payment in payments)

    def _kept(self, payment: Payment, before: datetime | None = None) -> Fraction:
        gone = (
            Fraction(each.amount, each.whole or payment.gross_amount)
            for each in self._takebacks
            if each.payment_id == payment.id and each.state == "gone" and (before is None or each.began_at <= before)
        )
        return WHOLE - min(WHOLE, sum(gone, Fraction(0)))


def _money_trace(program: Program, terms: AwardTerms, payment: Payment) -> dict[str, object]:
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


def _worthless(program: Program, terms: AwardTerms, payment: Payment) -> str | None:
    configured = terms.points is not None or payment.currency in program.points_per_unit
    return None if configured else "currency_not_configured"


def _hold_until(terms: AwardTerms, due_at: datetime) -> datetime | None:
    return due_at + timedelta(days=terms.hold_days) if terms.hold_days else None
