"""Whop's events: from a request body to provider-neutral facts.

A Whop webhook keeps its shape for ever, and three are being sent: v5 (`action`, flat ids, fractions, Unix seconds), v1
(`type`, nested objects, numbers or texts, ISO 8601) and dated v1 (flat again, money as objects). No version is looked
at: every reader takes a value from wherever any shape puts it. What is absent is None; money and time that are there
and cannot be read raise EventUnreadable.

The readers stand in the pages beside this one. Nothing here knows a database, HTTP or Whop's own library.
"""

from collections.abc import Callable, Mapping
from typing import Final, cast

from goodword.facts.kinds import Fact
from goodword.payments.bodies import EventMalformed, EventUnreadable, read_object
from goodword.payments.reading import Object, identifier, text
from goodword.payments.whop.memberships import read_membership
from goodword.payments.whop.reading import WhopEvent, read_time
from goodword.payments.whop.sales import read_payment
from goodword.payments.whop.takebacks import read_dispute, read_refund

HANDLED: Final[Mapping[str, Callable[[WhopEvent], tuple[Fact, ...]]]] = {
    "payment.succeeded": read_payment,
    "refund.created": read_refund,
    "refund.updated": read_refund,
    "dispute.created": read_dispute,
    "dispute.updated": read_dispute,
    "membership.activated": read_membership,
    "membership.deactivated": read_membership,
    "membership.updated": read_membership,
    "membership.trial_ending_soon": read_membership,
    "membership.cancel_at_period_end_changed": read_membership,
    "membership.went_valid": read_membership,
    "membership.went_invalid": read_membership,
    "membership.metadata_updated": read_membership,
}
"""The types of events that say anything here, and what reads each."""

# Whop's dashboard shows `payment_succeeded` where its events say `payment.succeeded`.
_ONE_SPELLING: Final = {name.replace("_", "."): name for name in HANDLED}


def read_event(raw: bytes) -> WhopEvent:
    """The event in a body. Raises EventMalformed, and nothing else, for every other body.

    Cheap enough to run on a body whose signature is still unverified, to learn which company it is about. Until the
    signature holds, nothing else of it may be believed.
    """
    body = read_object(raw, exact=True)
    event_type = text(body.get("type")) or text(body.get("action"))
    data = body.get("data")
    if event_type is None or not isinstance(data, dict):
        raise EventMalformed("an event has a type or an action, and a data object")
    try:
        sent_at = read_time(body, "timestamp")
    except EventUnreadable:
        sent_at = None  # only facts that need it may fail for it
    return WhopEvent(
        type=_ONE_SPELLING.get(event_type.replace("_", "."), event_type),
        company=_company(body, cast("Object", data)),
        sent_at=sent_at,
        object=cast("Object", data),
    )


def facts(event: WhopEvent) -> tuple[Fact, ...]:
    """What `event` says that matters here; nothing for kinds we do not handle. Raises EventUnreadable."""
    reader = HANDLED.get(event.type)
    return reader(event) if reader else ()


def _company(*sources: Object) -> str | None:
    names = ("company_id", "account_id", "company", "account", "page_id")
    shown = (identifier(source.get(name)) for source in sources for name in names)
    return next((company for company in shown if company), None)
