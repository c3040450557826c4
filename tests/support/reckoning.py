"""A second reckoning of what payments earn, straight from the words of docs/rules.md, Stages and Payments.

It is slow and plain, and shares with the engine nothing but the facts and the program: no page of it is used here.
"""

from calendar import monthrange
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import floor
from typing import NamedTuple

from goodword.awards.history import Facts, Payment
from goodword.program.document import AwardTerms, Program

ZERO_DECIMALS = {"jpy"}


class Earned(NamedTuple):
    """What is due of an award, and for which month and payment."""

    period: int | None
    payment: str | None
    points: int
    due: int


Reckoned = dict[tuple[str, str], Earned]
"""By event and occasion."""


def reckoned(program: Program, facts: Facts, at: datetime) -> Reckoned:
    """Everything that payments earn when the job of retention comes by at `at`."""
    payments = counting(program, facts, at)
    if not payments:
        return {}
    months = {payment.key: month(payments[0], payment) for payment in payments}
    carrier = carried_by(facts, payments)
    given = [("qualified", carrier)]
    given += [("recurring", each) for each in payments if recurs(program, months, each, carrier)]
    given += [("l2", each) for each in payments if program.l2_months[0] <= months[each.key] <= program.l2_months[1]]
    reckoned: Reckoned = {}
    for event, payment in given:
        terms: AwardTerms = getattr(program.awards, event)
        period = months[payment.key]
        if terms.points is None:
            points, kept = percentage(program, terms, payment), part_kept(facts, payment)
            occasion = payment.key
        else:
            points, kept = terms.points, max(part_kept(facts, each) for each in payments if months[each.key] == period)
            occasion = "1" if event == "qualified" else str(period)
        if points:
            reckoned.setdefault((event, occasion), Earned(period, payment.key, points, half_up(points * kept)))
    return reckoned | retention(program, facts, payments, at)


def recurs(program: Program, months: Mapping[str, int], payment: Payment, carrier: Payment) -> bool:
    """Whether a payment, or the month it was made in, gives a recurring award."""
    begins, ends = program.recurring_months
    period = months[payment.key]
    if program.awards.recurring.points is None:
        return payment is not carrier and (begins <= period <= ends or (period == 1 and begins in {1, 2}))
    return period != months[carrier.key] and begins <= period <= ends


def retention(program: Program, facts: Facts, payments: list[Payment], at: datetime) -> Reckoned:
    """The award for being retained, whole where it is fixed."""
    kept, since = retained(program, facts, payments)
    if kept is None or since is None or since > at:
        return {}
    terms = program.awards.retained
    if terms.points is not None:
        return {("retained", ""): Earned(None, None, terms.points, terms.points)}
    points = percentage(program, terms, kept)
    due = half_up(points * part_kept(facts, kept))
    return {("retained", kept.key): Earned(None, kept.key, points, due)} if points else {}


def counting(program: Program, facts: Facts, at: datetime) -> list[Payment]:
    """Inside the window, where the referral did not expire before anything happened to it."""
    oldest = facts.touched_at - timedelta(days=program.attribution.window_days)
    expires = facts.registered_at + timedelta(days=program.timing.pending_expiry_days)
    earliest_use = facts.registered_at + timedelta(minutes=program.timing.activation_min_minutes)
    payments = sorted((each for each in facts.payments if each.paid_at >= oldest), key=lambda each: each.key)
    payments.sort(key=lambda each: each.paid_at)
    happened = [each.paid_at for each in payments]
    used = (max(use.occurred_at, earliest_use) for use in facts.uses)
    happened += [each for each in used if each <= at]
    return payments if any(each < expires for each in happened) else []


def month(first: Payment, payment: Payment) -> int:
    """The month whose anniversary lies nearest or, of prorations, the month that contains it."""
    anchor = (first.period_start or first.paid_at).astimezone(UTC)
    anniversaries = [later(anchor, months) for months in range(60)]
    if payment.is_proration:
        return max(1, sum(each <= payment.paid_at for each in anniversaries))
    start = payment.period_start or payment.paid_at
    away = [abs(each - start) for each in anniversaries]
    return 1 + away.index(min(away))


def later(anchor: datetime, months: int) -> datetime:
    """So many calendar months later, one by one; the day is clamped to the month's end."""
    year, number = anchor.year, anchor.month
    for _ in range(months):
        year, number = (year + 1, 1) if number == 12 else (year, number + 1)
    return anchor.replace(year=year, month=number, day=min(anchor.day, monthrange(year, number)[1]))


def part_kept(facts: Facts, payment: Payment, at: datetime | None = None) -> Fraction:
    """What is still paid of a payment, or was at an instant."""
    back = sum(
        each.amount for each in facts.takebacks
        if each.payment_id == payment.id and each.state == "gone" and not (at and each.began_at > at)
    )  # fmt: skip
    return Fraction(max(payment.gross_amount - back, 0), payment.gross_amount)


def carried_by(facts: Facts, payments: list[Payment]) -> Payment:
    """The earliest of which more than half is still paid, else of which something is, else the earliest."""
    for kept in (Fraction(1, 2), Fraction(0)):
        for payment in payments:
            if part_kept(facts, payment) > kept:
                return payment
    return payments[0]


def retained(program: Program, facts: Facts, payments: list[Payment]) -> tuple[Payment | None, datetime | None]:
    """A walk through every instant at which something happens, with what was known to have happened by then."""
    days = timedelta(days=program.timing.retention_days)
    falls_due = {each.key: max(each.paid_at, facts.registered_at) + days for each in payments}
    instants = {*falls_due.values(), *(each.began_at for each in facts.takebacks)}
    stands: Payment | None = None
    for now in sorted(instants):
        still_paid = [each for each in payments if each.paid_at <= now and part_kept(facts, each, now) > 0]
        if not still_paid:
            stands = None
            continue
        begun = [each for each in facts.subscriptions if each.began_at <= now]
        runs = not begun or any(each.ended_at is None or now < each.ended_at for each in begun)
        if stands is None and falls_due[still_paid[0].key] == now and runs:
            stands = still_paid[0]
    return stands, falls_due[stands.key] if stands else None


def percentage(program: Program, terms: AwardTerms, payment: Payment) -> int:
    """Of the net amount in major units, at what one of them is worth."""
    worth = program.points_per_unit.get(payment.currency or "", 0)
    major = Fraction(payment.net_amount, 1 if payment.currency in ZERO_DECIMALS else 100)
    return half_up(major * Fraction(terms.bps or 0, 10_000) * worth)


def half_up(value: Fraction) -> int:
    """To the nearest integer, halves up."""
    return floor(value + Fraction(1, 2))
