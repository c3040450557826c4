"""Stripe's payment intents and charges: money that moved, by what moved it instead of by what was sold.

Every sale through Checkout or an invoice has a payment intent too, which since API version basil does not say so. So
most of these events only say which ids belong to one sale. Where their metadata names somebody, a payment that may be
nothing but that stands in for its sale: it counts for as long as no session or invoice is known to be the sale.
"""

from datetime import datetime

from goodword.facts.kinds import Fact
from goodword.payments.reading import Object, Person, distinct, elements, identifier, inside, named, seen_email
from goodword.payments.stripe.reading import (
    StripeEvent,
    created_at,
    customers,
    linked,
    one_sale,
    payment,
    read_amount,
    required_amount,
)
from goodword.payments.stripe.takebacks import charge_and_sale


def read_payment_intent(event: StripeEvent) -> tuple[Fact, ...]:
    """A payment intent that succeeded."""
    intent = event.object
    charges = (intent.get("latest_charge"), *elements(inside(intent, "charges"), "data"))
    sale = distinct(
        identifier(intent.get("id")),
        *(identifier(charge) for charge in charges),
        identifier(intent.get("invoice")),
    )
    person = named(inside(intent, "metadata"))
    facts = _facts_of_sale(event, sale, person)
    if not any(person) or intent.get("invoice") is not None:
        return facts
    received = required_amount(intent, "amount_received")
    # a session's payment has the intent's id for its key, and this one is another
    return facts + _stand_in(intent, sale, person, received, paid_at=created_at(event), prefix="intent:")


def read_charge(event: StripeEvent) -> tuple[Fact, ...]:
    """A charge that succeeded. One without a payment intent is all there is of its payment."""
    charge = event.object
    sale = distinct(*charge_and_sale(charge))
    person = named(inside(charge, "metadata"), inside(charge, "payment_intent", "metadata"))
    facts = _facts_of_sale(event, sale, person)
    belongs_to_another = charge.get("payment_intent") is not None or charge.get("invoice") is not None
    if not any(person) or belongs_to_another or charge.get("captured") is False:
        return facts
    captured = read_amount(charge, "amount_captured")
    received = required_amount(charge, "amount") if captured is None else captured
    return facts + _stand_in(charge, sale, person, received, paid_at=created_at(event))


def _facts_of_sale(event: StripeEvent, sale: tuple[str, ...], person: Person) -> tuple[Fact, ...]:
    source, objects = event.object, distinct(*sale, *customers(event.object))
    return (
        *(linked(source, person, objects, created_at(event)) if any(person) else ()),
        *seen_email(
            objects,
            inside(source, "billing_details").get("email"),
            source.get("receipt_email"),
            inside(source, "customer").get("email"),
        ),
        *one_sale(*sale),
    )


def _stand_in(
    source: Object, sale: tuple[str, ...], person: Person, received: int, *, paid_at: datetime, prefix: str = ""
) -> tuple[Fact, ...]:
    """A payment that counts until its sale is known; nothing here says how much of it is tax."""
    part = identifier(source.get("id"))
    return payment(
        source,
        part and f"{prefix}{part}",
        person,
        distinct(*sale, *customers(source)),
        gross=received,
        net=received,
        paid_at=paid_at,
        stands_in_for=part,
    )
