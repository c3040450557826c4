"""Receiving a provider's event: who sent it, was it here before, what does it cause.

Provider-neutral. The order is fixed: one SELECT by endpoint and (still unverified) event id, then the signature, and
only then is anything of the body believed. What cannot be applied is kept as failed in a second transaction, never
lost; only when nothing could be stored, or the secret cannot be read, does the provider hear 503 and send again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from goodword.core import database, secrets_manager
from goodword.core.errors import Malformed, NotFound, Unavailable
from goodword.core.observability import logger
from goodword.core.settings import settings
from goodword.facts.kinds import Fact
from goodword.payments import inbox
from goodword.payments.bodies import EventMalformed
from goodword.payments.inbox import Delivery, Endpoint, Receipt
from goodword.payments.signatures import SignatureRejected

KEPT_AS_FAILED = "event kept as failed"
"""The message of the error line for an event that could not be applied; it raises an alarm (template.yaml)."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request as one provider's module reads it.

    `event_id` is None, and `malformed` set, when the body is no event. `provider_company` is the provider's own id of
    the company that the event is about, by which an app's endpoint finds ours. `verify` takes the endpoint's secrets
    and raises SignatureRejected; `delivery` makes what is kept; `facts` finds what it means and may raise
    EventUnreadable.
    """

    provider: Literal["stripe", "whop"]
    endpoint_id: UUID | None
    event_id: str | None
    provider_company: str | None
    malformed: EventMalformed | None
    verify: Callable[[Sequence[str]], None]
    delivery: Callable[[Endpoint], Delivery]
    facts: Callable[[], Sequence[Fact]]


def receive(incoming: Incoming) -> Receipt:
    """Take one event in. Raises NotFound for an unknown endpoint, Malformed for what is no authentic event."""
    endpoint = _endpoint(incoming)
    try:
        _verify(incoming, endpoint.secrets)
    except SignatureRejected as rejected:
        raise Malformed(rejected.code, "The signature does not prove that the provider sent this just now.") from None
    if incoming.malformed is not None:
        raise Malformed("malformed_body", "The body is not an event.") from incoming.malformed
    return keep(incoming, endpoint)


def keep(incoming: Incoming, endpoint: Endpoint) -> Receipt:
    """Keep and apply an event that is known to be authentic. Raises Unavailable when nothing could be stored."""
    if endpoint.outcome not in {None, "failed"}:
        return Receipt(duplicate=True, outcome=endpoint.outcome or "failed")
    delivery = incoming.delivery(endpoint)
    try:
        return database.transact(lambda connection: inbox.receive(connection, delivery, incoming.facts))
    except Unavailable:
        raise  # nothing is stored: it shall come again
    except Exception as fault:  # noqa: BLE001 - whatever is wrong with applying it, an authentic event is kept
        # without the fault's message: Postgres puts the values of a row into it
        logger.error(
            KEPT_AS_FAILED,
            extra={
                "provider": delivery.provider,
                "type": delivery.type,
                "fault": type(fault).__name__,
                "sqlstate": getattr(fault, "sqlstate", None),
            },
        )
        failed = fault
    return database.transact(lambda connection: inbox.keep_failed(connection, delivery, failed))


def _verify(incoming: Incoming, secrets: Sequence[str]) -> None:
    """Raises SignatureRejected, and Unavailable when a secret cannot be read.

    A signature that does not fit may have been made with a secret that is newer than what is remembered of it.
    """
    keys = secrets_manager.resolved(secrets)
    try:
        incoming.verify(keys)
    except SignatureRejected as rejected:
        newer = keys
        if rejected.code == "signature_invalid":
            newer = secrets_manager.resolved(secrets, secrets_manager.NEWER_SECONDS)
        if newer == keys:
            raise
        incoming.verify(newer)


def _endpoint(incoming: Incoming) -> Endpoint:
    endpoint_id, allows_app = incoming.endpoint_id, settings().allow_app_endpoints
    found = endpoint_id and database.once(
        lambda connection: inbox.endpoint(
            connection, incoming.provider, endpoint_id, incoming.event_id, incoming.provider_company,
            allows_app=allows_app,
        )
    )  # fmt: skip
    if not found:
        raise NotFound("endpoint_not_found", "There is no such webhook endpoint.")
    return found
