"""Whop's memberships: whose they are, and how they stand."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from goodword.facts.kinds import Fact, SubscriptionChanged, SubscriptionStatus
from goodword.payments.bodies import EventUnreadable
from goodword.payments.reading import Object, distinct, identifier, text
from goodword.payments.whop.reading import WhopEvent, about_person, as_of, objects_of, person_of, read_time, reference

# `completed` is a purchase that needs no renewal: it keeps what it opened. `drafted` and `unresolved` have not begun.
_STATUSES: Final[Mapping[str, SubscriptionStatus]] = {
    "trialing": "trialing",
    "active": "active",
    "canceling": "active",
    "completed": "active",
    "past_due": "past_due",
    "canceled": "ended",
    "expired": "ended",
}
_ENDS: Final = frozenset({"membership.deactivated", "membership.went_invalid"})


def read_membership(event: WhopEvent) -> tuple[Fact, ...]:
    """A membership as it is since the event. One that is deactivated has ended, whatever status it shows."""
    membership = event.object
    objects, person = objects_of(membership), person_of(membership)
    facts = about_person(event, objects, person)
    stated = text(membership.get("status")) or ""
    status = "ended" if event.type in _ENDS else _STATUSES.get(stated)
    if status is None or not objects:
        return facts
    key = identifier(membership.get("id"))
    if key is None:
        raise EventUnreadable("the membership has no id")
    at, period_ends_at = _as_of(event, status), _period_ends_at(membership)
    cancels = membership.get("cancel_at_period_end") is True or stated == "canceling"
    return (
        *facts,
        SubscriptionChanged(
            key=key,
            objects=objects,
            external_id=person.external_id,
            click_id=person.click_id,
            code=person.code,
            status=status,
            price_refs=distinct(reference(membership, "plan")),
            period_ends_at=period_ends_at,
            cancel_at_period_end=cancels,
            cancels_at=period_ends_at if cancels else None,
            ended_at=(read_time(membership, "ended_at") or at) if status == "ended" else None,
            at=at,
        ),
    )


def _as_of(event: WhopEvent, status: SubscriptionStatus) -> datetime:
    """v5 does not say when something changed: an end is then that of its period, anything else the period's begin."""
    names = (
        ("ended_at", "expires_at", "renewal_period_end", "updated_at", "created_at")
        if status == "ended"
        else ("updated_at", "renewal_period_start", "created_at")
    )
    return as_of(event, *names)


def _period_ends_at(membership: Object) -> datetime | None:
    names = ("current_period_end", "renewal_period_end", "expires_at")
    return next((end for name in names if (end := read_time(membership, name))), None)
