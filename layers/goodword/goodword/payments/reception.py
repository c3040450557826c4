"""Receiving a provider's event: who sent it, was it here before, what does it cause.

Provider-neutral. The order is fixed: one SELECT by endpoint and (still unverified) event id, then the signature, and
only then is anything of the body believed. What cannot be applied is kept as failed in a second transaction, never
lost; only when nothing could be stored, or the secret cannot be read, does the provider hear 503 and send again.
"""

from collections.abc import Sequence
from uuid import UUID

from goodword.core import database, faults, ids, secrets_manager
from goodword.core.errors import Malformed, NotFound, Unavailable
from goodword.core.observability import logger
from goodword.core.settings import settings
from goodword.payments import inbox
from goodword.payments.inbox import KeptEvent, Receipt, Recipient
from goodword.payments.provider import Content, Delivery, NotAnEvent, Provider, ProviderEvent
from goodword.payments.signatures import SignatureRejected

KEPT_AS_FAILED = "event kept as failed"
"""The message of the error line for an event that could not be applied; it raises an alarm (template.yaml)."""


def receive(provider: Provider[Content], endpoint_id: UUID | None, delivery: Delivery, now: float) -> Receipt:
    """Take one event in; `now` is real time (Unix, seconds), by which a signature's freshness is judged.

    Raises NotFound for an unknown endpoint, Malformed for what is no authentic event.
    """
    event = provider.read(delivery)
    recipient = _recipient(provider, endpoint_id, event)
    try:
        _verify(provider, delivery, recipient.secrets, now)
    except SignatureRejected as rejected:
        raise Malformed(rejected.code, "The signature does not prove that the provider sent this just now.") from None
    if isinstance(event, NotAnEvent):
        raise Malformed("malformed_body", "The body is not an event.") from event.fault
    return keep(provider, event, delivery, recipient)


def keep(
    provider: Provider[Content], event: ProviderEvent[Content], delivery: Delivery, recipient: Recipient
) -> Receipt:
    """Keep and apply an event that is known to be authentic. Raises Unavailable when nothing could be stored."""
    if recipient.outcome is not None and recipient.outcome != "failed":
        return Receipt(duplicate=True, outcome=recipient.outcome)
    kept_event = _kept_event(provider, event, delivery, recipient)
    try:
        is_read = not kept_event.error and not kept_event.note
        facts = provider.facts(event.content) if is_read else ()
        return database.transact(inbox.receive, kept_event, facts)
    except inbox.HandledBeforeError:
        return database.once(inbox.duplicate, kept_event)
    except Unavailable:
        raise  # nothing is stored: it shall come again
    except Exception as fault:  # noqa: BLE001 - whatever is wrong with applying it, an authentic event is kept
        where = {"provider": provider.name, "type": event.type}
        logger.error(KEPT_AS_FAILED, extra={**where, **faults.described(fault)})
        failure = fault
    return database.transact(inbox.keep_failed, kept_event, failure)


def _kept_event(
    provider: Provider[Content], event: ProviderEvent[Content], delivery: Delivery, recipient: Recipient
) -> KeptEvent:
    return KeptEvent(
        id=ids.new_id(),
        company_id=recipient.company_id or recipient.own_company_id,
        endpoint_company_id=recipient.own_company_id,
        endpoint_id=recipient.endpoint_id,
        provider=provider.name,
        event_id=event.id,
        type=event.type,
        livemode=recipient.livemode if event.livemode is None else event.livemode,
        headers={name: delivery.headers[name] for name in provider.kept_headers if name in delivery.headers},
        body=delivery.body,
        note=provider.why_ignored(event.content, recipient),
        error=event.error,
    )


def _verify(provider: Provider[Content], delivery: Delivery, secrets: Sequence[str], now: float) -> None:
    """Raises SignatureRejected, and Unavailable when a secret cannot be read.

    A signature that does not fit may have been made with a secret that is newer than the one remembered here.
    """
    keys = secrets_manager.resolved(secrets)
    try:
        provider.verify(delivery, keys, now)
    except SignatureRejected as rejected:
        newer = keys
        if rejected.code == "signature_invalid":
            newer = secrets_manager.resolved(secrets, secrets_manager.NEWER_SECONDS)
        if newer == keys:
            raise
        provider.verify(delivery, newer, now)


def _recipient(
    provider: Provider[Content], endpoint_id: UUID | None, event: ProviderEvent[Content] | NotAnEvent
) -> Recipient:
    event_id, company = (None, None) if isinstance(event, NotAnEvent) else (event.id, event.company)
    recipient = endpoint_id and database.once(
        inbox.recipient, provider.name, endpoint_id, event_id, company, allows_app=settings().allow_app_endpoints
    )
    if not recipient:
        raise NotFound("endpoint_not_found", "There is no such webhook endpoint.")
    return recipient
