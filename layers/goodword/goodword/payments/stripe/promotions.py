"""Stripe's promotion codes: what a customer types in for each, and who is given a discount by one.

A session, a subscription and a discount show a promotion code by its id, an invoice not even that: only the code's own
events say its text.
"""

from goodword.facts.kinds import Fact, PromotionCodeTold
from goodword.payments.reading import Person, distinct, identifier, text
from goodword.payments.stripe.reading import (
    StripeEvent,
    as_of,
    customers,
    linked,
    promotions,
    read_time,
    with_promotion_code,
)


def read_promotion_code(event: StripeEvent) -> tuple[Fact, ...]:
    """The text of a promotion code, whatever else of it has changed."""
    key, code = identifier(event.object.get("id")), text(event.object.get("code"))
    return (PromotionCodeTold((key,), code),) if key and code else ()


def read_discount(event: StripeEvent) -> tuple[Fact, ...]:
    """A discount that a customer is given, which may be by a promotion code. Where it ends is no matter."""
    discount = event.object
    objects = distinct(*customers(discount))
    shown = {"discount": discount}
    person = with_promotion_code(Person(None, None, None), shown)
    at = read_time(discount, "start") or as_of(event)
    if person.code:
        return linked(discount, person, objects, at) if objects else ()
    return promotions(shown, person, objects, at)
