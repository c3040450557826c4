"""Stripe's subscriptions, and what its customers say of who they are."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from goodword.facts.kinds import Fact, SubscriptionChanged, SubscriptionStatus
from goodword.payments.bodies import EventUnreadable
from goodword.payments.reading import Object, Person, distinct, elements, identifier, inside, named, seen_email, text
from goodword.payments.stripe.reading import (
    StripeEvent,
    as_of,
    created_at,
    customers,
    linked,
    promotions,
    read_time,
    with_promotion_code,
)

# A subscription whose first payment is still open (`incomplete`) has not begun.
_STATUSES: Final[Mapping[str, SubscriptionStatus]] = {
    "trialing": "trialing",
    "active": "active",
    "past_due": "past_due",
    "unpaid": "unpaid",
    "paused": "paused",
    "canceled": "ended",
    "incomplete_expired": "ended",
}


def read_subscription(event: StripeEvent) -> tuple[Fact, ...]:
    """A subscription as it is since the event: whose it is, and how it stands."""
    subscription = event.object
    objects = distinct(identifier(subscription.get("id")), *customers(subscription))
    person = with_promotion_code(
        named(inside(subscription, "metadata"), inside(subscription, "customer", "metadata")), subscription
    )
    facts: tuple[Fact, ...] = ()
    if objects:
        created = created_at(event)
        facts = (
            *linked(subscription, person, objects, created),
            *promotions(subscription, person, objects, created),
            *seen_email(objects, inside(subscription, "customer").get("email")),
        )
    deleted = event.type == "customer.subscription.deleted"
    status = "ended" if deleted else _STATUSES.get(text(subscription.get("status")) or "")
    return facts if status is None else (*facts, _change(event, objects, person, status))


def _change(
    event: StripeEvent, objects: tuple[str, ...], person: Person, status: SubscriptionStatus
) -> SubscriptionChanged:
    subscription = event.object
    key = identifier(subscription.get("id"))
    if key is None:
        raise EventUnreadable("the subscription has no id")
    at, period_ends_at = as_of(event), _period_ends_at(subscription)
    cancels_at = read_time(subscription, "cancel_at")
    at_period_end = subscription.get("cancel_at_period_end") is True
    return SubscriptionChanged(
        key=key,
        objects=objects,
        external_id=person.external_id,
        click_id=person.click_id,
        code=person.code,
        status=status,
        price_refs=_price_refs(subscription),
        period_ends_at=period_ends_at,
        cancel_at_period_end=at_period_end or cancels_at is not None,
        cancels_at=cancels_at or (period_ends_at if at_period_end else None),
        ended_at=_ended_at(subscription, at) if status == "ended" else None,
        at=at,
    )


def read_customer(event: StripeEvent) -> tuple[Fact, ...]:
    """A customer's e-mail and, where the company has given it one, the app's own id, maybe long after it came to be."""
    person = named(inside(event.object, "metadata"))
    objects = distinct(identifier(event.object.get("id")))
    is_named = person.external_id is not None and objects
    facts = linked(event.object, person, objects, as_of(event)) if is_named else ()
    return (*facts, *seen_email(objects, event.object.get("email")))


def _price_refs(subscription: Object) -> tuple[str, ...]:
    places = (*elements(inside(subscription, "items"), "data"), subscription)
    return distinct(*(identifier(place.get(name)) for place in places for name in ("price", "plan")))


def _period_ends_at(subscription: Object) -> datetime | None:
    """The latest end among the items, which have one each since basil."""
    places = (subscription, *elements(inside(subscription, "items"), "data"))
    ends = (read_time(place, "current_period_end") for place in places)
    return max((end for end in ends if end is not None), default=None)


def _ended_at(subscription: Object, at: datetime) -> datetime:
    return read_time(subscription, "ended_at") or read_time(subscription, "canceled_at") or at
