"""Stripe's events: from a request body to provider-neutral facts.

A Stripe event is rendered in the API version of its endpoint, and endpoints keep their version for years. So no version
is looked at: every reader takes a value from wherever any version since 2018 puts it, and takes an id both as text and
as an expanded object. What is absent is None; money and time that are there and cannot be read raise EventUnreadable.

The readers stand in the pages beside this one. Nothing here knows a database, HTTP or Stripe's own library.
"""

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Final, cast

from goodword.facts.kinds import Fact
from goodword.payments.bodies import EventMalformed, EventUnreadable, read_object
from goodword.payments.reading import Object, identifier, inside, text
from goodword.payments.stripe.charges import read_charge, read_payment_intent
from goodword.payments.stripe.promotions import read_discount, read_promotion_code
from goodword.payments.stripe.reading import StripeEvent, read_time
from goodword.payments.stripe.sales import read_invoice, read_invoice_payment, read_session
from goodword.payments.stripe.subscriptions import read_customer, read_subscription
from goodword.payments.stripe.takebacks import read_dispute, read_refund, read_refunded_charge

HANDLED: Final[Mapping[str, Callable[[StripeEvent], tuple[Fact, ...]]]] = {
    "checkout.session.completed": read_session,
    "checkout.session.async_payment_succeeded": read_session,
    "invoice.paid": read_invoice,
    "invoice.payment_succeeded": read_invoice,
    "invoice_payment.paid": read_invoice_payment,
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
"""The types of events that say anything here, and what reads each."""


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
    reader = HANDLED.get(event.type)
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
