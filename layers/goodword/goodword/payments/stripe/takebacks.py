"""Stripe's refunds and disputes: money that went back out of a sale, or may, told by the ids of the sale alone.

A customer's other payments must never answer for a refund, so no fact of this page names a customer.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal

from goodword.facts.kinds import Fact, TakenBack
from goodword.payments.bodies import EventUnreadable
from goodword.payments.reading import Object, distinct, elements, identifier, inside, text
from goodword.payments.stripe.reading import (
    StripeEvent,
    created_at,
    one_sale,
    read_currency,
    read_time,
    required_amount,
    told_at,
)

_Status = Literal["pending", "succeeded", "failed", "warning", "open", "lost", "won"]

_REFUNDS: Final[Mapping[str, _Status]] = {
    "pending": "pending",
    "requires_action": "pending",
    "succeeded": "succeeded",
    "failed": "failed",
    "canceled": "failed",
}
# An inquiry moves no money. While a lost dispute is appealed (`appeal_…`) it stays lost, so that says nothing, and
# neither does a status that is yet to be invented.
_DISPUTES: Final[Mapping[str, _Status]] = {
    "warning_needs_response": "warning",
    "warning_under_review": "warning",
    "warning_closed": "warning",
    "needs_response": "open",
    "under_review": "open",
    "won": "won",
    "charge_refunded": "won",  # the money went back as a refund, which has an event of its own
    "lost": "lost",
    "prevented": "lost",
}


def read_refund(event: StripeEvent) -> tuple[Fact, ...]:
    """A refund: it begins when it is created, and each later status when its event says so."""
    at = created_at(event) if event.type == "refund.created" else told_at(event)
    return _taken_back("refund", _REFUNDS, event.object, began_at=created_at(event), at=at)


def read_dispute(event: StripeEvent) -> tuple[Fact, ...]:
    """A dispute, whatever has happened to it: its status says all."""
    at = created_at(event) if event.type == "charge.dispute.created" else told_at(event)
    return _taken_back("dispute", _DISPUTES, event.object, began_at=created_at(event), at=at)


def read_refunded_charge(event: StripeEvent) -> tuple[Fact, ...]:
    """A charge of which something was refunded: each refund by itself, where they are shown (until 2022-11-15).

    Where they are not, `refund.created` is the refund, and the charge only says what belongs together: a sum of all its
    refunds could not be told apart from them.
    """
    charge = event.object
    at = told_at(event)
    refunds = (
        _taken_back("refund", _REFUNDS, refund, began_at=read_time(refund, "created") or at, at=at, charge=charge)
        for refund in elements(inside(charge, "refunds"), "data")
    )
    return (*one_sale(*charge_and_sale(charge)), *(fact for refund in refunds for fact in refund))


def charge_and_sale(charge: Object) -> tuple[str | None, ...]:
    """A charge and what else of its sale it names, itself or inside its expanded payment intent."""
    return (
        identifier(charge.get("id")),
        identifier(charge.get("payment_intent")),
        identifier(charge.get("invoice")),
        identifier(inside(charge, "payment_intent").get("invoice")),
    )


def _taken_back(
    kind: Literal["refund", "dispute"],
    statuses: Mapping[str, _Status],
    source: Object,
    *,
    began_at: datetime,
    at: datetime,
    charge: Object | None = None,
) -> tuple[Fact, ...]:
    """`charge` is the one that `source` stands in, where it does."""
    status = statuses.get(text(source.get("status")) or "")
    objects = distinct(
        identifier(source.get("charge")),
        identifier(source.get("payment_intent")),
        *charge_and_sale(inside(source, "charge")),
        *(charge_and_sale(charge) if charge else ()),
    )
    if status is None or not objects:
        return ()
    key = identifier(source.get("id"))
    if kind == "dispute" and source.get("id") is None:
        key = identifier(source.get("charge"))  # before API version 2014 a charge had one dispute, without an id
    if key is None:
        raise EventUnreadable(f"the {kind} has no id")
    amount = required_amount(source, "amount")
    if amount < 0:
        raise EventUnreadable("amount is below zero")
    return (TakenBack(kind, key, objects, amount, read_currency(source), status, began_at, at),)
