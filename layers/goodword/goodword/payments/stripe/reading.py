"""What all readers of Stripe's events share: the event itself, and taking money, times and people out of its object.

What is absent is None; money and time that are there and cannot be read raise EventUnreadable.
"""

import re
from datetime import UTC, datetime
from typing import Final, NamedTuple

from goodword.facts.kinds import Fact, IdentityLinked, ObjectsLinked, PaymentSucceeded, PromotionUsed
from goodword.payments.bodies import EventUnreadable
from goodword.payments.reading import Object, Person, distinct, elements, identifier, inside, text

_CURRENCY: Final = re.compile(r"[A-Za-z]{3}")
_LARGEST_AMOUNT: Final = 2**63 - 1
_YEAR_10000: Final = 253_402_300_800


class StripeEvent(NamedTuple):
    """One event as Stripe sent it.

    `account` names a connected account (Connect); it is None on an account's own events. `created` is None where the
    body does not say. A `thin` event (a v2 event, an EventBridge envelope) shows no object: it can only be kept.
    """

    id: str
    type: str
    created: datetime | None
    livemode: bool
    account: str | None
    api_version: str | None
    object: Object
    thin: bool = False


def created_at(event: StripeEvent) -> datetime:
    """When the event's object came into being; sessions of old versions do not say, their event does."""
    return _first_of(read_time(event.object, "created"), event.created)


def as_of(event: StripeEvent) -> datetime:
    """Since when what the event says of its object is so."""
    return _first_of(event.created, read_time(event.object, "created"))


def _first_of(*times: datetime | None) -> datetime:
    at = next((at for at in times if at is not None), None)
    if at is None:
        raise EventUnreadable("neither the object nor the event says when it was created")
    return at


def read_amount(source: Object, name: str) -> int | None:
    """Minor units. Raises EventUnreadable for anything but a whole number that the database can hold."""
    value = source.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > _LARGEST_AMOUNT:
        raise EventUnreadable(f"{name} is not an amount")
    return value


def required_amount(source: Object, name: str) -> int:
    """Minor units. Raises EventUnreadable also where there is nothing."""
    amount = read_amount(source, name)
    if amount is None:
        raise EventUnreadable(f"{name} is missing")
    return amount


def read_currency(source: Object) -> str | None:
    """The object's currency in lower case, as ISO 4217 spells it."""
    currency = text(source.get("currency"), _CURRENCY)
    return currency and currency.lower()


def read_time(source: Object, name: str) -> datetime | None:
    """Unix seconds. Raises EventUnreadable for anything else."""
    value = source.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _YEAR_10000:
        raise EventUnreadable(f"{name} is not a time")
    return datetime.fromtimestamp(value, UTC)


def customers(source: Object) -> tuple[str | None, str | None]:
    """Who pays, by either of Stripe's ids."""
    return identifier(source.get("customer")), identifier(source.get("customer_account"))


def with_promotion_code(person: Person, source: Object) -> Person:
    """The promotion code of a discount stands in for a referral code, where it is expanded."""
    if person.code:
        return person
    codes = (text(inside(discount, "promotion_code").get("code")) for discount in _discounts(source))
    return person._replace(code=next((code for code in codes if code), None))


def promotions(source: Object, person: Person, objects: tuple[str, ...], at: datetime) -> tuple[Fact, ...]:
    """The promotion codes of a source's discounts, by their ids, where no code is known.

    Each is used since its discount began, or since `at` where the discount does not say.
    """
    if person.code or not objects:
        return ()
    used = ((identifier(discount.get("promotion_code")), discount) for discount in _discounts(source))
    return tuple(
        PromotionUsed(objects, person.external_id, promotion, read_time(discount, "start") or at, person.reference)
        for promotion, discount in used
        if promotion
    )


def _discounts(source: Object) -> tuple[Object, ...]:
    """The discounts that are shown: a bare id (`di_`) says nothing."""
    return (inside(source, "discount"), *elements(source, "discounts"))


def linked(source: Object, person: Person, objects: tuple[str, ...], at: datetime) -> tuple[Fact, ...]:
    """Whose these objects are: where a person is named, or where a customer may have been named elsewhere."""
    if not any(person) and not distinct(*customers(source)):
        return ()
    return (IdentityLinked(objects, person.external_id, person.click_id, person.code, at, person.reference),)


def one_sale(*identifiers: str | None) -> tuple[Fact, ...]:
    """Which objects are parts of one sale: where one names another."""
    objects = distinct(*identifiers)
    return (ObjectsLinked(objects),) if len(objects) > 1 else ()


def payment(
    source: Object,
    key: str | None,
    person: Person,
    objects: tuple[str, ...],
    *,
    gross: int,
    net: int,
    paid_at: datetime,
    period_start: datetime | None = None,
    is_proration: bool = False,
    stands_in_for: str | None = None,
) -> tuple[Fact, ...]:
    """The money of a sale, in minor units; none for a trial, a full discount or a credit: nothing was paid there.

    Raises EventUnreadable for a payment without a key.
    """
    if net <= 0:
        return ()
    if key is None:
        raise EventUnreadable("the payment has no id")
    return (
        PaymentSucceeded(
            key=key,
            objects=objects,
            external_id=person.external_id,
            click_id=person.click_id,
            code=person.code,
            currency=read_currency(source),
            gross_amount=gross,
            net_amount=net,
            paid_at=paid_at,
            period_start=period_start,
            stands_in_for=stands_in_for,
            is_proration=is_proration,
            reference=person.reference,
        ),
    )
