"""Whop's deliveries: the event in one, the signature that proves it, and the record of Whop as a provider."""

from collections.abc import Sequence
from typing import Final

from goodword.payments.bodies import EventMalformed
from goodword.payments.inbox import Recipient
from goodword.payments.provider import Delivery, NotAnEvent, Provider, ProviderEvent
from goodword.payments.whop import events, signatures
from goodword.payments.whop.listing import LISTING
from goodword.payments.whop.reading import WhopEvent


def read(delivery: Delivery) -> ProviderEvent[WhopEvent] | NotAnEvent:
    """The event that a delivery brings; its id is the request's. Whop does not say which mode it is of."""
    event_id = delivery.event_id or signatures.event_id(delivery.body, delivery.headers)
    try:
        event = events.read_event(delivery.body)
    except EventMalformed as fault:
        return NotAnEvent(fault)
    if event_id is None:
        return NotAnEvent(EventMalformed("the headers name no message"))
    return ProviderEvent(event_id, event.type, None, event, company=event.company)


def verify(delivery: Delivery, secrets: Sequence[str], now: float) -> None:
    """Return if one of `secrets` signed the delivery just now. Raises SignatureRejected."""
    signatures.verify(delivery.body, delivery.headers, secrets, now)


def why_ignored(_event: WhopEvent, recipient: Recipient) -> str | None:
    """An event of an app is ignored where the company it names is none of ours."""
    return "unknown_company" if recipient.company_id is None else None


WHOP: Final = Provider(
    name="whop",
    kept_headers=(*signatures.HEADERS, "content-type", "user-agent"),
    read=read,
    verify=verify,
    why_ignored=why_ignored,
    facts=events.facts,
    listing=LISTING,
)
