"""Whop's payments: who paid, and the money that came in, with and without its tax."""

from datetime import datetime
from typing import NamedTuple

from goodword.facts.kinds import Fact, PaymentSucceeded
from goodword.payments.bodies import EventUnreadable
from goodword.payments.reading import Object, identifier, inside
from goodword.payments.whop.reading import (
    EXACT,
    Sum,
    WhopEvent,
    about_person,
    dated,
    minor_units,
    objects_of,
    person_of,
    read_currency,
    read_money,
    read_time,
)
from goodword.payments.whop.takebacks import taken_back_inside


def read_payment(event: WhopEvent) -> tuple[Fact, ...]:
    """A payment that went through: who paid, and the money, which is nothing for a free purchase.

    `status` and `substatus` are not asked: a replay months later shows what has become of the payment since.
    """
    payment = event.object
    objects, person = objects_of(payment), person_of(payment)
    facts = about_person(event, objects, person)
    paid = _paid(payment)
    if paid is None:
        return facts
    key = identifier(payment.get("id"))
    if key is None:
        raise EventUnreadable("the payment has no id")
    return (
        *facts,
        *taken_back_inside(event),
        PaymentSucceeded(
            key=key,
            objects=objects,
            external_id=person.external_id,
            click_id=person.click_id,
            code=person.code,
            currency=paid.currency,
            gross_amount=paid.gross,
            net_amount=paid.net,
            paid_at=dated(event, "paid_at", "created_at"),
            period_start=_period_start(payment),
            other_amount=paid.other and paid.other.amount,
            other_currency=paid.other and paid.other.currency,
        ),
    )


class _Paid(NamedTuple):
    gross: int
    net: int
    currency: str
    other: Sum | None


def _paid(payment: Object) -> _Paid | None:
    """What was paid, with and without its tax, in minor units; None where it was nothing, or in no currency.

    `tax_amount` is inside `total` whether it was added on top or not; v5 calls it `final_amount` and shows no tax.
    """
    stated = read_currency(payment)
    total = read_money(payment, "total", stated) or read_money(payment, "final_amount", stated)
    if total is None:
        if stated is None:
            return None
        raise EventUnreadable("total is missing")
    if total.currency is None:
        return None
    net = total.amount
    tax = read_money(payment, "tax_amount", stated)
    if tax is not None and tax.amount > 0:
        if tax.currency != total.currency:
            raise EventUnreadable("tax_amount and total are in two currencies")
        net = EXACT.subtract(net, tax.amount)
    if net <= 0:
        return None
    gross = minor_units(total.amount, total.currency)
    return _Paid(
        gross, min(minor_units(net, total.currency), gross), total.currency, _other_sum(payment, total.currency)
    )


def _other_sum(payment: Object, currency: str) -> Sum | None:
    """The same total in the other currency of the sale, where there are two: the buyer's, or that of the settlement."""
    shown = read_money(payment, "presentment_total", None)
    settled = read_money(payment, "settlement_amount", read_currency(payment, "settlement_currency"))
    for each in (shown, settled):
        if each and each.currency not in (None, currency) and each.amount > 0:
            return Sum(minor_units(each.amount, each.currency), each.currency)
    return None


def _period_start(payment: Object) -> datetime | None:
    """When the paid billing period begins, where a shape says so."""
    names = ("renewal_period_start", "current_period_start")
    places = (inside(payment, "membership"), payment)
    return next((start for place in places for name in names if (start := read_time(place, name))), None)
