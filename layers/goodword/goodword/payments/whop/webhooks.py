"""Whop's webhook requests, as `goodword.payments.reception` takes them."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from goodword.core import ids
from goodword.facts.kinds import Fact
from goodword.payments.bodies import EventMalformed
from goodword.payments.inbox import Delivery, Endpoint
from goodword.payments.reception import Incoming
from goodword.payments.whop import events as whop
from goodword.payments.whop import signatures as whop_signatures
from goodword.payments.whop.events import WhopEvent

KEPT_HEADERS = (*whop_signatures.HEADERS, "content-type", "user-agent")


def incoming(
    raw: bytes, headers: Mapping[str, str], endpoint_id: UUID | None, now: float, event_id: str | None = None
) -> Incoming:
    """Read a request; `now` is real time, by which a signature's freshness is judged.

    What was not sent but asked for has no signature, and an `event_id` of ours.
    """
    event: WhopEvent | None = None
    malformed: EventMalformed | None = None
    try:
        event = whop.read_event(raw)
    except EventMalformed as fault:
        malformed = fault
    delivery_id = ids.new_id()
    event_id = event_id or whop_signatures.event_id(raw, headers)

    def delivery(endpoint: Endpoint) -> Delivery:
        if event is None or event_id is None or endpoint_id is None:
            raise LookupError("asked before the request was known to be an event for an endpoint")
        return Delivery(
            id=delivery_id,
            company_id=endpoint.company_id or endpoint.own_company_id,
            endpoint_company_id=endpoint.own_company_id,
            endpoint_id=endpoint_id,
            provider="whop",
            event_id=event_id,
            type=event.type,
            livemode=endpoint.livemode,  # Whop says nothing about it
            headers={name: headers[name] for name in KEPT_HEADERS if name in headers},
            body=raw,
            ignored="unknown_company" if endpoint.company_id is None else None,
        )

    def facts() -> Sequence[Fact]:
        return whop.facts(event) if event else ()

    return Incoming(
        provider="whop",
        endpoint_id=endpoint_id,
        event_id=event_id,
        provider_company=event.company if event else None,
        malformed=malformed,
        verify=lambda secrets: whop_signatures.verify(raw, headers, secrets, now),
        delivery=delivery,
        facts=facts,
    )
