"""Stripe's deliveries: the event in one, the signature that proves it, and the record of Stripe as a provider."""

from collections.abc import Sequence
from typing import Final

from goodword.payments import signatures
from goodword.payments.bodies import EventMalformed
from goodword.payments.inbox import Recipient
from goodword.payments.provider import Delivery, NotAnEvent, Provider, ProviderEvent
from goodword.payments.stripe import events
from goodword.payments.stripe.listing import LISTING
from goodword.payments.stripe.reading import StripeEvent


def read(delivery: Delivery) -> ProviderEvent[StripeEvent] | NotAnEvent:
    """The event that a delivery brings; a thin one shows no object and can only be kept."""
    try:
        event = events.read_event(delivery.body)
    except EventMalformed as fault:
        return NotAnEvent(fault)
    return ProviderEvent(event.id, event.type, event.livemode, event, error="thin_event" if event.thin else None)


def verify(delivery: Delivery, secrets: Sequence[str], now: float) -> None:
    """Return if one of `secrets` signed the delivery just now. Raises SignatureRejected."""
    signatures.verify(delivery.body, delivery.headers.get("stripe-signature"), secrets, now)


def why_ignored(event: StripeEvent, recipient: Recipient) -> str | None:
    """An event of a connected account, or of the other mode, means nothing here."""
    if event.thin:
        return None
    if event.account is not None:
        return "connect_account"
    return None if event.livemode == recipient.livemode else "livemode_mismatch"


STRIPE: Final = Provider(
    name="stripe",
    kept_headers=("stripe-signature", "content-type", "user-agent"),
    read=read,
    verify=verify,
    why_ignored=why_ignored,
    facts=events.facts,
    listing=LISTING,
)
