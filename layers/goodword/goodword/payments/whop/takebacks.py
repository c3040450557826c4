"""Whop's refunds and disputes: money that went back out of a payment, or may.

Whop states a refund in the currency that was moved (`original_amount`) and in that of the settlement, at the rate of
the day of the refund (`amount`). Both are kept: only in a currency that does not move is a part of a payment a part.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from goodword.facts.kinds import Fact, TakenBack
from goodword.payments.bodies import EventUnreadable
from goodword.payments.reading import Object, elements, identifier, inside, text
from goodword.payments.takebacks import DISPUTE_STATUSES, REFUND_STATUSES, Kind, Status
from goodword.payments.whop.reading import (
    Money,
    Sum,
    WhopEvent,
    as_of,
    dated,
    minor_units,
    read_currency,
    read_money,
    reference,
)

_STATUSES: Final[Mapping[Kind, Mapping[str, Status]]] = {
    "refund": REFUND_STATUSES,
    "dispute": {**DISPUTE_STATUSES, "open": "open"},
}


def read_refund(event: WhopEvent) -> tuple[Fact, ...]:
    """A refund: it begins when it is created, and each later status when its event says so."""
    return _of_its_own("refund", event, began_with="refund.created")


def read_dispute(event: WhopEvent) -> tuple[Fact, ...]:
    """A dispute, whatever has happened to it: its status says all."""
    return _of_its_own("dispute", event, began_with="dispute.created")


def taken_back_inside(event: WhopEvent) -> tuple[Fact, ...]:
    """The refunds and disputes that a payment shows, as they stand at its event; mostly none yet."""
    payment = event.object
    payment_id = identifier(payment.get("id"))
    kinds: tuple[tuple[Kind, str], ...] = (("refund", "refunds"), ("dispute", "disputes"))
    return tuple(
        fact
        for kind, name in kinds
        for source in elements(payment, name)
        if identifier(source.get("id")) is not None and source.get("amount") is not None
        for fact in _taken_back(
            kind,
            source,
            payment_id,
            read_currency(payment),
            began_at=dated(event, "created_at", source=source),
            at=as_of(event, "updated_at", "created_at", source=source),
        )
    )


def _of_its_own(kind: Kind, event: WhopEvent, *, began_with: str) -> tuple[Fact, ...]:
    source = event.object
    payment = inside(source, "payment")
    began_at = dated(event, "created_at", "provider_created_at")
    at = began_at if event.type == began_with else as_of(event, "updated_at", "created_at")
    return _taken_back(kind, source, reference(source, "payment"), read_currency(payment), began_at=began_at, at=at)


def _taken_back(
    kind: Kind,
    source: Object,
    payment_id: str | None,
    payment_currency: str | None,
    *,
    began_at: datetime,
    at: datetime,
) -> tuple[Fact, ...]:
    status = _STATUSES[kind].get(text(source.get("status")) or "")
    if status is not None and kind == "dispute" and source.get("inquiry") is True:
        status = "warning"
    if status is None or payment_id is None:
        return ()
    key = identifier(source.get("id"))
    if key is None:
        raise EventUnreadable(f"the {kind} has no id")
    stated = read_currency(source) or payment_currency
    moved = _sum(read_money(source, "original_amount", payment_currency or stated))
    settled = _sum(read_money(source, "amount", stated))
    first = moved or settled
    if first is None:
        raise EventUnreadable("amount is missing")
    other = settled if moved and settled and settled.currency != moved.currency else None
    return (
        TakenBack(
            kind,
            key,
            (payment_id,),
            first.amount,
            first.currency,
            status,
            began_at,
            at,
            other_amount=other and other.amount,
            other_currency=other and other.currency,
        ),
    )


def _sum(money: Money | None) -> Sum | None:
    """In minor units. Raises EventUnreadable for an amount below zero or without a currency."""
    if money is None:
        return None
    if money.amount < 0:
        raise EventUnreadable("amount is below zero")
    if money.currency is None:
        raise EventUnreadable("currency is missing")
    return Sum(minor_units(money.amount, money.currency) if money.amount else 0, money.currency)
