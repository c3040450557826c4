"""Stripe's objects as its API versions send them: one builder for an object and version; a keyword replaces a field.

What is not said otherwise is the first sale of 19.00 dollars without tax: the invoice `in_1`, the intent `pi_1` and the
charge `ch_1` of the customer `cus_1` and the subscription `sub_1`, made now, naming nobody. Money is in cents. A time
may be a datetime, and is sent as Stripe sends it. Without a version in its name a builder gives the newest shape.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

from goodword.payments.stripe.events import StripeEvent

Object: TypeAlias = dict[str, Any]
Time: TypeAlias = datetime | int | None
"""A time, or seconds since 1970 as Stripe sends it."""

VERSION = "2026-10-28.endive"
BEFORE_BASIL = "2024-06-20"
CREATED = 1_700_000_000
SENT = 1_700_010_800
"""When an object that a test reads was made, and its event sent, in seconds."""


def at(seconds: int) -> datetime:
    """A time of Stripe's."""
    return datetime.fromtimestamp(seconds, UTC)


def seconds(time_: object) -> Any:
    """A value as Stripe sends it: a datetime in seconds since 1970."""
    return int(time_.timestamp()) if isinstance(time_, datetime) else time_


def _made(defaults: Object, fields: Object) -> Object:
    return {name: seconds(value) for name, value in ({"created": int(time.time())} | defaults | fields).items()}


# Events


def event(kind: str, value: Object, *, sent_at: Time = None, **fields: object) -> Object:
    """An event as it is sent; its id follows from what it says. By default it is sent when its object was made."""
    sent = seconds(sent_at) or value.get("created") or int(time.time())
    return {
        "id": f"evt_{kind}_{value.get('id')}_{value.get('status')}_{sent}", "object": "event", "type": kind,
        "livemode": False, "created": sent, "api_version": VERSION, "data": {"object": value},
    } | fields  # fmt: skip


def as_read(kind: str, value: Object, sent_at: int | None = SENT) -> StripeEvent:
    """An event as the inbox has read it."""
    return StripeEvent(
        id="evt_1",
        type=kind,
        created=None if sent_at is None else at(sent_at),
        livemode=False,
        account=None,
        api_version=None,
        object=value,
    )


def invoice_paid(
    event_id: str, invoice_id: str, *, user: str | None = None, paid_at: Time = None, livemode: bool = False,
    **fields: Any,
) -> Object:  # fmt: skip
    """An `invoice.paid` event; `user` is named by the subscription."""
    named = {"named": {"goodword_user": user}} if user else {}
    paid = seconds(paid_at) or int(time.time())
    value = invoice(**{"id": invoice_id, "created": paid, **named, **fields})
    return event("invoice.paid", value, id=event_id, livemode=livemode)


# Sales


def session(*, amount: int = 1900, tax: int = 0, **fields: object) -> Object:
    """A finished Checkout session: a one-time purchase."""
    return _made(
        {
            "id": "cs_1", "object": "checkout.session", "mode": "payment", "status": "complete",
            "payment_status": "paid", "customer": "cus_1", "subscription": None, "invoice": None,
            "payment_intent": "pi_1", "client_reference_id": None, "metadata": {}, "currency": "usd",
            "amount_total": amount, "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": tax},
        },
        fields,
    )  # fmt: skip


def subscribing(**fields: object) -> Object:
    """The session of a subscription, whose money the invoice is."""
    return session(**{"mode": "subscription", "subscription": "sub_1", "payment_intent": None, **fields})


def invoice(
    *, amount: int = 1900, tax: int = 0, subscription: str | None = "sub_1", named: Mapping[str, str] | None = None,
    lines: Sequence[Object] = (), **fields: object,
) -> Object:  # fmt: skip
    """A paid invoice of a subscription; `named` is that one's metadata."""
    details = {"subscription": subscription, "metadata": named or {}}
    value = _made(
        {
            "id": "in_1", "object": "invoice", "customer": "cus_1", "currency": "usd", "status": "paid",
            "billing_reason": "subscription_create", "amount_paid": amount, "total": amount,
            "total_excluding_tax": amount - tax,
            "total_taxes": [{"amount": tax, "tax_behavior": "exclusive"}] if tax else [],
            "parent": {"type": "subscription_details", "subscription_details": details},
            "lines": {"object": "list", "data": list(lines)},
        },
        fields,
    )  # fmt: skip
    return {"status_transitions": {"paid_at": value["created"]}} | value


def invoice_before_basil(
    *, amount: int = 1900, tax: int = 0, named: Mapping[str, str] | None = None, **fields: Any
) -> Object:
    """It names its subscription, its intent and its charge itself."""
    value = invoice(amount=amount, tax=tax, **fields) | {
        "subscription": "sub_1", "subscription_details": {"metadata": named or {}}, "payment_intent": "pi_1",
        "charge": "ch_1", "paid": True, "paid_out_of_band": False, "tax": tax,
        "total_tax_amounts": [{"amount": tax, "inclusive": False}] if tax else [],
    }  # fmt: skip
    del value["parent"], value["total_taxes"]
    return value | {name: seconds(each) for name, each in fields.items() if name != "lines"}


def line(start: object, *, proration: bool = False, **fields: object) -> Object:
    """A line of an invoice: a period of the subscription, or the rest of one."""
    details = {"subscription": "sub_1", "proration": proration}
    parent = {"type": "subscription_item_details", "subscription_item_details": details}
    return {"parent": parent, "period": {"start": seconds(start), "end": seconds(start)}} | fields


def invoice_item(start: object, *, proration: bool = False) -> Object:
    """A line that was added by hand."""
    details = {"invoice_item": "ii_1", "proration": proration}
    return line(start, parent={"type": "invoice_item_details", "invoice_item_details": details})


def line_before_basil(
    start: object, kind: str = "subscription", *, proration: bool = False, **fields: object
) -> Object:
    """A line that says what it is itself."""
    period = {"start": seconds(start), "end": seconds(start)}
    return {"type": kind, "subscription": "sub_1", "proration": proration, "period": period} | fields


def invoice_payment(sale: object = 1, **fields: object) -> Object:
    """What ties an invoice to its payment intent since basil."""
    return {"id": f"inpay_{sale}", "invoice": f"in_{sale}", "payment": {"payment_intent": f"pi_{sale}"}} | fields


def intent(*, amount: int = 1900, **fields: object) -> Object:
    """A payment intent since basil, which names no invoice even where it paid one."""
    return _made(
        {
            "id": "pi_1", "object": "payment_intent", "amount": amount, "amount_received": amount, "currency": "usd",
            "customer": "cus_1", "latest_charge": "ch_1", "metadata": {}, "status": "succeeded",
        },
        fields,
    )  # fmt: skip


def intent_before_2022_11_15(**fields: Any) -> Object:
    """It shows its charges, and the invoice if there is one."""
    charges = {"object": "list", "data": [{"id": "ch_0", "paid": False}, {"id": "ch_1", "paid": True}]}
    value = intent(**{"invoice": None, "charges": charges, **fields})
    if "latest_charge" not in fields:
        del value["latest_charge"]
    return value


def charge(*, amount: int = 1900, refunded: int = 0, **fields: object) -> Object:
    """A charge of an intent, of which so much was refunded."""
    return _made(
        {
            "id": "ch_1", "object": "charge", "amount": amount, "amount_captured": amount, "captured": True,
            "amount_refunded": refunded, "currency": "usd", "customer": "cus_1", "metadata": {}, "paid": True,
            "payment_intent": "pi_1", "refunded": 0 < amount == refunded, "status": "succeeded",
        },
        fields,
    )  # fmt: skip


def charge_before_2022_11_15(*refunds: object, **fields: Any) -> Object:
    """It shows its refunds, and the invoice it paid."""
    shown = {"object": "list", "data": list(refunds), "has_more": False, "total_count": len(refunds)}
    return charge(**{"invoice": "in_1", "refunds": shown, **fields})


# Money that went back


def refund(sale: object = 1, **fields: object) -> Object:
    """All of a sale's charge; the shape has hardly changed since there are payment intents."""
    return _made(
        {
            "id": f"re_{sale}", "object": "refund", "amount": 1900, "balance_transaction": "txn_1",
            "charge": f"ch_{sale}", "currency": "usd", "metadata": {}, "payment_intent": f"pi_{sale}",
            "destination_details": {"card": {"type": "reversal"}, "type": "card"},
            "reason": "requested_by_customer", "status": "succeeded",
        },
        fields,
    )  # fmt: skip


def dispute(*, amount: int = 1900, **fields: object) -> Object:
    """A chargeback of the first sale."""
    return _made(
        {
            "id": "dp_1", "object": "dispute", "amount": amount, "charge": "ch_1", "currency": "usd",
            "balance_transactions": [
                {"id": "txn_1", "amount": -amount, "currency": "usd", "fee": 1500, "net": -amount - 1500}
            ],
            "evidence": {"customer_email_address": "ben@example.net"}, "is_charge_refundable": False, "metadata": {},
            "payment_intent": "pi_1", "reason": "fraudulent", "status": "needs_response",
            "payment_method_details": {"card": {"brand": "visa", "case_type": "chargeback"}, "type": "card"},
        },
        fields,
    )  # fmt: skip


# Subscriptions, customers, promotion codes


def item(price: str = "price_1", ends: object = None) -> Object:
    """A price of a subscription, whose period ends then."""
    return {
        "id": f"si_{price}", "object": "subscription_item", "current_period_end": seconds(ends),
        "price": {"id": price, "object": "price", "product": "prod_1"},
        "plan": {"id": price, "object": "plan", "product": "prod_1"}, "quantity": 2,
    }  # fmt: skip


def subscription(*items: Object, **fields: object) -> Object:
    """A running subscription since basil, where periods are those of its items."""
    value = _made(
        {
            "id": "sub_1", "object": "subscription", "cancel_at": None, "cancel_at_period_end": False,
            "canceled_at": None, "customer": "cus_1", "discounts": [], "ended_at": None,
            "items": {"object": "list", "data": list(items) or [item()]}, "latest_invoice": "in_1", "metadata": {},
            "status": "active",
        },
        fields,
    )  # fmt: skip
    return {"start_date": value["created"]} | value


def subscription_of_2018(*, ends: object = None, **fields: Any) -> Object:
    """It has one plan, whose period is the subscription's."""
    value = subscription(
        **{
            "current_period_end": ends, "plan": {"id": "gold", "object": "plan", "product": "prod_1"},
            "items": {"object": "list", "data": [{"id": "si_1", "plan": {"id": "gold"}, "quantity": 1}]}, **fields,
        }
    )  # fmt: skip
    if "cancel_at" not in fields:
        del value["cancel_at"]
    return value


def customer(**fields: object) -> Object:
    """Who pays; by the metadata, who that is in the app."""
    return _made({"id": "cus_1", "object": "customer", "metadata": {}}, fields)


def promotion_code(code: str, **fields: object) -> Object:
    """A code that customers type at Stripe's checkout."""
    return _made(
        {
            "id": "promo_1", "object": "promotion_code", "active": True, "code": code, "livemode": False,
            "metadata": {}, "promotion": {"coupon": "10off", "type": "coupon"},
        },
        fields,
    )  # fmt: skip
