"""Stripe's refunds and disputes: money that went back out of a sale, or may, known by the ids of the sale alone.

A customer's other payments must never answer for a refund, so no fact of this page names a customer.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from goodword.facts.kinds import Fact, TakenBack
from goodword.payments.bodies import EventUnreadable
from goodword.payments.reading import Object, distinct, elements, identifier, inside, text
from goodword.payments.stripe.reading import (
    StripeEvent,
    as_of,
    created_at,
    one_sale,
    read_currency,
    read_time,
    required_amount,
)
from goodword.payments.takebacks import DISPUTE_STATUSES, REFUND_STATUSES, Kind, Status

# A lost dispute stays lost while it is appealed (`appeal_…`), so that status is not listed.
_DISPUTE_STATUSES: Final[Mapping[str, Status]] = {
    **DISPUTE_STATUSES,
    "charge_refunded": "won",  # the money went back as a refund, which has an event of its own
}


def read_refund(event: StripeEvent) -> tuple[Fact, ...]:
    """A refund: it begins when it is created, and each later status when its event says so."""
    at = created_at(event) if event.type == "refund.created" else as_of(event)
    return _taken_back("refund", REFUND_STATUSES, event.object, began_at=created_at(event), at=at)


def read_dispute(event: StripeEvent) -> tuple[Fact, ...]:
    """A dispute, whatever has happened to it: its status says all."""
    at = created_at(event) if event.type == "charge.dispute.created" else as_of(event)
    return _taken_back("dispute", _DISPUTE_STATUSES, event.object, began_at=created_at(event), at=at)


def read_refunded_charge(event: StripeEvent) -> tuple[Fact, ...]:
    """A charge of which something was refunded: each refund by itself, where they are shown (until 2022-11-15).

    Where they are not, `refund.created` is the refund, and the charge only says what belongs together: a sum of all its
    refunds could not be told apart from them.
    """
    charge = event.object
    at = as_of(event)
    refunds = (
        _taken_back(
            "refund", REFUND_STATUSES, refund, began_at=read_time(refund, "created") or at, at=at, charge=charge
        )
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
    kind: Kind,
    statuses: Mapping[str, Status],
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
