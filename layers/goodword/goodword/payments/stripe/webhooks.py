"""Stripe's webhook requests, as `goodword.payments.reception` takes them."""

from collections.abc import Mapping
from typing import TypeVar
from uuid import UUID

from goodword.core import ids
from goodword.payments import signatures
from goodword.payments.bodies import EventMalformed
from goodword.payments.inbox import Delivery, Endpoint
from goodword.payments.reception import Incoming
from goodword.payments.stripe import events as stripe
from goodword.payments.stripe.reading import StripeEvent

T = TypeVar("T")

KEPT_HEADERS = ("stripe-signature", "content-type", "user-agent")


def incoming(raw: bytes, headers: Mapping[str, str], endpoint_id: UUID | None, now: float) -> Incoming:
    """Read a request; `now` is real time, by which a signature's freshness is judged."""
    event: StripeEvent | None = None
    malformed: EventMalformed | None = None
    try:
        event = stripe.read_event(raw)
    except EventMalformed as fault:
        malformed = fault
    delivery_id = ids.new_id()

    def delivery(endpoint: Endpoint) -> Delivery:
        read = _authentic(event)
        return Delivery(
            id=delivery_id,
            company_id=endpoint.own_company_id,
            endpoint_company_id=endpoint.own_company_id,
            endpoint_id=_authentic(endpoint_id),
            provider="stripe",
            event_id=read.id,
            type=read.type,
            livemode=read.livemode,
            headers={name: headers[name] for name in KEPT_HEADERS if name in headers},
            body=raw,
            ignored=_why_ignored(read, endpoint),
            error="thin_event" if read.thin else None,
        )

    return Incoming(
        provider="stripe",
        endpoint_id=endpoint_id,
        event_id=event.id if event else None,
        provider_company=None,
        malformed=malformed,
        verify=lambda secrets: signatures.verify(raw, headers.get("stripe-signature"), secrets, now),
        delivery=delivery,
        facts=lambda: stripe.facts(_authentic(event)),
    )


def _authentic(value: T | None) -> T:
    """What is there for certain once the endpoint is found and the body is known to be an event."""
    if value is None:
        raise LookupError("asked before the request was known to be an event for an endpoint")
    return value


def _why_ignored(event: StripeEvent, endpoint: Endpoint) -> str | None:
    if event.thin:
        return None
    if event.account is not None:
        return "connect_account"
    return None if event.livemode == endpoint.livemode else "livemode_mismatch"
