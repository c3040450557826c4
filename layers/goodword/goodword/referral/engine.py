"""The award engine: from the SET of facts known about a referral to what should stand.

Pure, and the only place that decides. It neither knows the order in which facts arrived nor how often; whoever applies
a fact inserts it, locks the referral, asks here what should stand, and books the difference (DESIGN.md, rule 3).
RULES.md §3 and §4 are its source.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from goodword.referral import money
from goodword.referral.program import AwardTerms, Program

Event = Literal["registered", "welcome", "activated", "qualified", "recurring", "l2", "retained", "cross_app"]
Stage = Literal["registered", "activated", "qualified", "retained", "expired", "cancelled"]


@dataclass(frozen=True, slots=True)
class Activation:
    """First use of an app; '' where the app did not say which."""

    app_id: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class Payment:
    """Money received: minor units net of tax and discounts."""

    id: UUID
    net_amount: int
    currency: str | None
    paid_at: datetime


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything known about one referral. `touched_at` is when the click or the code was used."""

    registered_at: datetime
    touched_at: datetime
    activations: tuple[Activation, ...] = ()
    payments: tuple[Payment, ...] = ()


@dataclass(frozen=True, slots=True)
class Due:
    """Points due to one person for one event. (event, app_id, occasion) names it within its referral."""

    event: Event
    points: int
    due_at: datetime
    trace: Mapping[str, object]
    app_id: str = ""
    occasion: str = ""
    period: int | None = None
    payment_id: UUID | None = None
    hold_until: datetime | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """The natural key within the referral."""
        return (self.event, self.app_id, self.occasion)


@dataclass(frozen=True, slots=True)
class Standing:
    """What should stand: the stage, when it was reached, and every award that is due."""

    stage: Stage
    activated_at: datetime | None = None
    qualified_at: datetime | None = None
    expired_at: datetime | None = None
    due: tuple[Due, ...] = field(default=())


def lapses_at(program: Program, registered_at: datetime) -> datetime:
    """When a referral that nothing happened to expires."""
    return registered_at + timedelta(days=program.timing.pending_expiry_days)


def standing(program: Program, facts: Facts, at: datetime) -> Standing:
    """What should stand at `at`, whatever order the facts came in."""
    lapse = lapses_at(program, facts.registered_at)
    payment = _first_payment(program, facts)
    activation = _activation(program, facts, at)
    moments = [moment for moment in (payment and payment.paid_at, activation and activation[1]) if moment]
    if not moments or min(moments) >= lapse:
        payment = activation = None  # it had expired before anything counted; what came later pays nothing
    due = [
        _fixed(program, "registered", facts.registered_at, {"registered_at": facts.registered_at}),
        _fixed(program, "welcome", facts.registered_at, {"registered_at": facts.registered_at}),
    ]
    if activation:
        first, effective_at = activation
        trace = {"app_id": first.app_id, "occurred_at": first.occurred_at, "effective_at": effective_at}
        due.append(_fixed(program, "activated", effective_at, trace))
    if payment:
        due.append(_qualified(program, payment))
    return Standing(
        stage="qualified" if payment else "activated" if activation else "registered" if at < lapse else "expired",
        activated_at=activation[1] if activation else None,
        qualified_at=max(payment.paid_at, facts.registered_at) if payment else None,
        expired_at=lapse if not payment and not activation and at >= lapse else None,
        due=tuple(each for each in due if each and each.points > 0),
    )


def _first_payment(program: Program, facts: Facts) -> Payment | None:
    """The earliest payment after the touch, or before it by no more than the attribution window."""
    oldest = facts.touched_at - timedelta(days=program.attribution.window_days)
    counting = [payment for payment in facts.payments if payment.paid_at >= oldest]
    return min(counting, key=lambda payment: (payment.paid_at, payment.id), default=None)


def _activation(program: Program, facts: Facts, at: datetime) -> tuple[Activation, datetime] | None:
    """The first use with the instant it takes effect: too early a use counts once the minimum has passed."""
    first = min(facts.activations, key=lambda use: (use.occurred_at, use.app_id), default=None)
    if first is None:
        return None
    earliest = facts.registered_at + timedelta(minutes=program.timing.activation_min_minutes)
    effective_at = max(first.occurred_at, earliest)
    return (first, effective_at) if effective_at <= at else None


def _fixed(program: Program, event: Event, due_at: datetime, trace: Mapping[str, object]) -> Due | None:
    terms: AwardTerms = getattr(program.awards, event)
    if terms.points is None:
        return None  # basis points of what? no money came with this event
    return Due(event, terms.points, due_at, trace, hold_until=_hold_until(terms, due_at))


def _qualified(program: Program, payment: Payment) -> Due:
    terms = program.awards.qualified
    points = money.points_due(program, terms, payment.net_amount, payment.currency)
    trace: dict[str, object] = {
        "paid_at": payment.paid_at, "net_amount": payment.net_amount, "currency": payment.currency, "bps": terms.bps,
    }  # fmt: skip
    return Due(
        "qualified",
        points,
        payment.paid_at,
        trace,
        occasion="1",
        period=1,
        payment_id=payment.id,
        hold_until=_hold_until(terms, payment.paid_at),
    )


def _hold_until(terms: AwardTerms, due_at: datetime) -> datetime | None:
    return due_at + timedelta(days=terms.hold_days) if terms.hold_days else None
