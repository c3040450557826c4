"""Stripe's events: from a request body to provider-neutral facts.

A Stripe event is rendered in the API version of its endpoint, and endpoints keep their version for years. So no version
is looked at: every reader takes a value from wherever any version since 2018 puts it, and takes an id both as text and
as an expanded object. What is absent is None; money and time that are there and cannot be read raise EventUnreadable.

Sales (sessions and invoices) are read here, everything else in the pages beside this one. Nothing here knows a
database, HTTP or Stripe's own library.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Final, cast

from goodword.core.money import net_of_tax
from goodword.facts.kinds import Fact, PaymentSucceeded
from goodword.payments.bodies import EventMalformed, EventUnreadable, read_object
from goodword.payments.reading import Object, Person, distinct, elements, identifier, inside, named, seen_email, text
from goodword.payments.stripe.charges import read_charge, read_payment_intent
from goodword.payments.stripe.promotions import read_discount, read_promotion_code
from goodword.payments.stripe.reading import (
    StripeEvent,
    created_at,
    customers,
    linked,
    one_sale,
    promotions,
    read_amount,
    read_currency,
    read_time,
    required_amount,
    with_promotion_code,
)
from goodword.payments.stripe.subscriptions import read_customer, read_subscription
from goodword.payments.stripe.takebacks import read_dispute, read_refund, read_refunded_charge


def read_event(raw: bytes) -> StripeEvent:
    """The event in a body. Raises EventMalformed, and nothing else, for every other body.

    Cheap enough to run on a body whose signature is still unverified, to learn the id under which an answer may be
    stored. Until the signature holds, nothing else of it may be believed.
    """
    body = read_object(raw)
    if body.get("object") == "v2.core.event":
        return _thin(raw, body, type_=body.get("type"), livemode=body.get("livemode"))
    if "detail-type" in body and "detail" in body:
        return _thin(raw, body, type_=body.get("detail-type"), livemode=inside(body, "detail").get("livemode"))
    event_id = text(body.get("id"))
    event_type = text(body.get("type"))
    data_object = inside(body, "data").get("object")
    if event_id is None or event_type is None or not isinstance(data_object, dict):
        raise EventMalformed("an event has an id, a type and a data.object")
    try:
        created = read_time(body, "created")
    except EventUnreadable:
        created = None  # only facts that need it may fail for it
    return StripeEvent(
        id=event_id,
        type=event_type,
        created=created,
        livemode=body.get("livemode") is True,
        account=identifier(body.get("account")),
        api_version=text(body.get("api_version")),
        object=cast("Object", data_object),
    )


def facts(event: StripeEvent) -> tuple[Fact, ...]:
    """What `event` says that matters here; nothing for kinds we do not handle, nor where its object is deleted.

    An event of a connected account is read like any other: whether to use it is the caller's decision.
    Raises EventUnreadable.
    """
    reader = _READERS.get(event.type)
    if reader is None or event.thin or event.object.get("deleted") is True:
        return ()
    return reader(event)


def _thin(raw: bytes, body: Object, *, type_: object, livemode: object) -> StripeEvent:
    """An event without its object, under its own id: an envelope's is not the id of the event it wraps.

    `account` stays None: an EventBridge envelope uses that word for the AWS account.
    """
    return StripeEvent(
        id=text(body.get("id")) or f"thin:{sha256(raw).hexdigest()}",
        type=text(type_) or "unknown",
        created=None,
        livemode=livemode is True,
        account=None,
        api_version=None,
        object={},
        thin=True,
    )


def _read_session(event: StripeEvent) -> tuple[Fact, ...]:
    """A finished Checkout session: who bought, and the money of a one-time purchase without an invoice.

    Where there is or will be an invoice, its own event is the money: renewals have no session, and one sale must have
    one key. A session that only saves a payment method (`setup`) sells nothing.
    """
    session = event.object
    mode = session.get("mode")
    if mode == "setup":
        return ()
    objects = distinct(
        identifier(session.get("id")),
        *customers(session),
        identifier(session.get("subscription")),
        identifier(session.get("invoice")),
        identifier(session.get("payment_intent")),
    )
    person = with_promotion_code(
        named(
            inside(session, "metadata"),
            inside(session, "subscription", "metadata"),
            inside(session, "payment_intent", "metadata"),
            reference=session.get("client_reference_id"),
        ),
        session,
    )
    at = created_at(event)
    told = (
        *linked(session, person, objects, at),
        *promotions(session, person, objects, at),
        *seen_email(
            objects,
            inside(session, "customer_details").get("email"),
            session.get("customer_email"),
            inside(session, "customer").get("email"),
        ),
        *one_sale(identifier(session.get("invoice")), identifier(session.get("payment_intent"))),
    )
    invoiced = session.get("invoice") is not None or inside(session, "invoice_creation").get("enabled") is True
    if mode != "payment" or session.get("payment_status") != "paid" or invoiced:
        return told
    # Shipping is part of what was paid. Amounts are in the currency that was charged, never a converted one.
    total = required_amount(session, "amount_total")
    tax = read_amount(inside(session, "total_details"), "amount_tax") or 0
    net = net_of_tax(total, total, tax)
    key = identifier(session.get("payment_intent")) or identifier(session.get("id"))
    return told + _payment(event, key, person, objects, gross=total, net=net, paid_at=at)


def _read_invoice(event: StripeEvent) -> tuple[Fact, ...]:
    """A paid invoice: who paid, and the money that came through Stripe."""
    invoice = event.object
    subscription = inside(invoice, "parent", "subscription_details")
    payments = [inside(payment, "payment") for payment in elements(inside(invoice, "payments"), "data")]
    key = identifier(invoice.get("id")) or identifier(invoice.get("payment_intent"))
    objects = distinct(
        identifier(invoice.get("id")),
        *customers(invoice),
        identifier(invoice.get("subscription")) or identifier(subscription.get("subscription")),
        *(identifier(source.get(name)) for source in (invoice, *payments) for name in ("payment_intent", "charge")),
    )
    person = with_promotion_code(
        named(
            inside(invoice, "metadata"),
            inside(subscription, "metadata"),
            inside(invoice, "subscription_details", "metadata"),
            inside(invoice, "subscription", "metadata"),
            inside(invoice, "payment_intent", "metadata"),
        ),
        invoice,
    )
    created = created_at(event)
    told = (
        *linked(invoice, person, objects, created),
        *promotions(invoice, person, objects, created),
        *seen_email(objects, invoice.get("customer_email"), inside(invoice, "customer").get("email")),
    )
    if invoice.get("status") not in (None, "paid"):
        return told  # one of several payments on this invoice: the last one brings the whole amount
    gross, net = _invoice_amounts(invoice)
    return told + _payment(
        event,
        key,
        person,
        objects,
        gross=gross,
        net=net,
        paid_at=read_time(inside(invoice, "status_transitions"), "paid_at") or created,
        period_start=_period_start(invoice),
        is_proration=_is_proration(invoice),
    )


def _invoice_amounts(invoice: Object) -> tuple[int, int]:
    """What reached the company through Stripe, with and without tax; 0 for what was settled in any other way."""
    amount_paid = required_amount(invoice, "amount_paid")
    if invoice.get("paid_out_of_band") is True:
        return 0, 0
    total = read_amount(invoice, "total")
    if total is None:
        total = amount_paid
    untaxed = read_amount(invoice, "total_excluding_tax")
    tax = _invoice_tax(invoice) if untaxed is None else total - untaxed
    gross = amount_paid - max(read_amount(invoice, "amount_paid_off_stripe") or 0, 0)
    return gross, net_of_tax(gross, total, tax)


def _invoice_tax(invoice: Object) -> int:
    tax = read_amount(invoice, "tax")
    if tax is not None:
        return tax
    taxes = (*elements(invoice, "total_taxes"),) or (*elements(invoice, "total_tax_amounts"),)
    return sum(read_amount(entry, "amount") or 0 for entry in taxes)


def _period_start(invoice: Object) -> datetime | None:
    """When the paid billing period begins: the latest start among the lines of the subscription itself.

    Invoice items and prorations have dates of their own. Usage billed afterwards stands beside the new period's fee
    under the start of the old one, hence the latest.
    """
    starts = (
        read_time(inside(line, "period"), "start")
        for line in elements(inside(invoice, "lines"), "data")
        if _is_of_subscription(line)
    )
    return max((start for start in starts if start is not None), default=None)


def _is_of_subscription(line: Object) -> bool:
    is_item = line.get("type") == "invoiceitem" or inside(line, "parent").get("type") == "invoice_item_details"
    return not is_item and not _is_prorated(line)


def _is_proration(invoice: Object) -> bool:
    """Whether all lines are prorations. Of a long invoice only the first lines are shown: then nobody can say."""
    lines = inside(invoice, "lines")
    shown = [*elements(lines, "data")]
    return bool(shown) and lines.get("has_more") is not True and all(_is_prorated(line) for line in shown)


def _is_prorated(line: Object) -> bool:
    parent = inside(line, "parent")
    details = (line, inside(parent, "subscription_item_details"), inside(parent, "invoice_item_details"))
    return any(each.get("proration") is True for each in details)


def _read_invoice_payment(event: StripeEvent) -> tuple[Fact, ...]:
    """The one event that ties invoice and payment intent since API version basil, where neither names the other."""
    payment = inside(event.object, "payment")
    return one_sale(
        identifier(event.object.get("invoice")),
        identifier(payment.get("payment_intent")),
        identifier(payment.get("charge")),
    )


_READERS: Final[Mapping[str, Callable[[StripeEvent], tuple[Fact, ...]]]] = {
    "checkout.session.completed": _read_session,
    "checkout.session.async_payment_succeeded": _read_session,
    "invoice.paid": _read_invoice,
    "invoice.payment_succeeded": _read_invoice,
    "invoice_payment.paid": _read_invoice_payment,
    "payment_intent.succeeded": read_payment_intent,
    "charge.succeeded": read_charge,
    "charge.captured": read_charge,
    "charge.refunded": read_refunded_charge,
    "charge.refund.updated": read_refund,
    "refund.created": read_refund,
    "refund.updated": read_refund,
    "refund.failed": read_refund,
    "charge.dispute.created": read_dispute,
    "charge.dispute.updated": read_dispute,
    "charge.dispute.closed": read_dispute,
    "charge.dispute.funds_withdrawn": read_dispute,
    "charge.dispute.funds_reinstated": read_dispute,
    "customer.created": read_customer,
    "customer.updated": read_customer,
    "customer.subscription.created": read_subscription,
    "customer.subscription.updated": read_subscription,
    "customer.subscription.deleted": read_subscription,
    "customer.subscription.paused": read_subscription,
    "customer.subscription.resumed": read_subscription,
    "customer.subscription.trial_will_end": read_subscription,
    "customer.discount.created": read_discount,
    "customer.discount.updated": read_discount,
    "promotion_code.created": read_promotion_code,
    "promotion_code.updated": read_promotion_code,
}
HANDLED: Final = tuple(_READERS)
"""The types of events that say anything here."""


def _payment(
    event: StripeEvent,
    key: str | None,
    person: Person,
    objects: tuple[str, ...],
    *,
    gross: int,
    net: int,
    paid_at: datetime,
    period_start: datetime | None = None,
    is_proration: bool = False,
) -> tuple[Fact, ...]:
    if net <= 0:
        return ()  # a trial, a full discount, a credit: it happened, but nothing was paid
    if key is None:
        raise EventUnreadable("the payment has no id")
    return (
        PaymentSucceeded(
            key=key,
            objects=objects,
            external_id=person.external_id,
            click_id=person.click_id,
            code=person.code,
            currency=read_currency(event.object),
            gross_amount=gross,
            net_amount=net,
            paid_at=paid_at,
            period_start=period_start,
            is_proration=is_proration,
            reference=person.reference,
        ),
    )
