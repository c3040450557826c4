"""Stripe's sales: finished Checkout sessions and paid invoices, with who bought and the money that came in."""

from datetime import datetime

from goodword.core.money import net_of_tax
from goodword.facts.kinds import Fact
from goodword.payments.reading import Object, Person, distinct, elements, identifier, inside, named, seen_email
from goodword.payments.stripe.reading import (
    StripeEvent,
    created_at,
    customers,
    linked,
    one_sale,
    payment,
    promotions,
    read_amount,
    read_time,
    required_amount,
    with_promotion_code,
)


def read_session(event: StripeEvent) -> tuple[Fact, ...]:
    """A finished Checkout session: who bought, and the money of a one-time purchase without an invoice.

    Where there is or will be an invoice, its own event is the money: renewals have no session, and one sale must have
    one key. A session that only saves a payment method (`setup`) sells nothing.
    """
    session = event.object
    if session.get("mode") == "setup":
        return ()
    objects = distinct(
        identifier(session.get("id")),
        *customers(session),
        *(identifier(session.get(name)) for name in ("subscription", "invoice", "payment_intent")),
    )
    person, at = _buyer(session), created_at(event)
    facts = (
        *linked(session, person, objects, at),
        *promotions(session, person, objects, at),
        *seen_email(
            objects,
            inside(session, "customer_details").get("email"),
            session.get("customer_email"),
            inside(session, "customer").get("email"),
        ),
        *one_sale(identifier(session.get("invoice")), identifier(session.get("payment_intent"))),
    )
    if not _is_paid_by_itself(session):
        return facts
    # Shipping is part of what was paid. Amounts are in the currency that was charged, never a converted one.
    total = required_amount(session, "amount_total")
    tax = read_amount(inside(session, "total_details"), "amount_tax") or 0
    net = net_of_tax(total, total, tax)
    key = identifier(session.get("payment_intent")) or identifier(session.get("id"))
    return facts + payment(session, key, person, objects, gross=total, net=net, paid_at=at)


def read_invoice(event: StripeEvent) -> tuple[Fact, ...]:
    """A paid invoice: who paid, and the money that came through Stripe."""
    invoice = event.object
    objects, person, created = _objects_of_invoice(invoice), _payer(invoice), created_at(event)
    facts = (
        *linked(invoice, person, objects, created),
        *promotions(invoice, person, objects, created),
        *seen_email(objects, invoice.get("customer_email"), inside(invoice, "customer").get("email")),
    )
    if invoice.get("status") not in (None, "paid"):
        return facts  # one of several payments on this invoice: the last one brings the whole amount
    gross, net = _invoice_amounts(invoice)
    return facts + payment(
        invoice,
        identifier(invoice.get("id")) or identifier(invoice.get("payment_intent")),
        person,
        objects,
        gross=gross,
        net=net,
        paid_at=read_time(inside(invoice, "status_transitions"), "paid_at") or created,
        period_start=_period_start(invoice),
        is_proration=_is_proration(invoice),
    )


def read_invoice_payment(event: StripeEvent) -> tuple[Fact, ...]:
    """The one event that ties invoice and payment intent since API version basil, where neither names the other."""
    paid_with = inside(event.object, "payment")
    return one_sale(
        identifier(event.object.get("invoice")),
        identifier(paid_with.get("payment_intent")),
        identifier(paid_with.get("charge")),
    )


def _buyer(session: Object) -> Person:
    person = named(
        inside(session, "metadata"),
        inside(session, "subscription", "metadata"),
        inside(session, "payment_intent", "metadata"),
        reference=session.get("client_reference_id"),
    )
    return with_promotion_code(person, session)


def _is_paid_by_itself(session: Object) -> bool:
    """Whether the money of a session is its own, and no invoice brings it."""
    has_invoice = session.get("invoice") is not None or inside(session, "invoice_creation").get("enabled") is True
    return session.get("mode") == "payment" and session.get("payment_status") == "paid" and not has_invoice


def _payer(invoice: Object) -> Person:
    person = named(
        inside(invoice, "metadata"),
        inside(invoice, "parent", "subscription_details", "metadata"),
        inside(invoice, "subscription_details", "metadata"),
        inside(invoice, "subscription", "metadata"),
        inside(invoice, "payment_intent", "metadata"),
    )
    return with_promotion_code(person, invoice)


def _objects_of_invoice(invoice: Object) -> tuple[str, ...]:
    subscription = inside(invoice, "parent", "subscription_details").get("subscription")
    payments = [inside(element, "payment") for element in elements(inside(invoice, "payments"), "data")]
    return distinct(
        identifier(invoice.get("id")),
        *customers(invoice),
        identifier(invoice.get("subscription")) or identifier(subscription),
        *(identifier(source.get(name)) for source in (invoice, *payments) for name in ("payment_intent", "charge")),
    )


def _invoice_amounts(invoice: Object) -> tuple[int, int]:
    """What reached the company through Stripe, with and without tax; 0 for what was settled in any other way."""
    amount_paid = required_amount(invoice, "amount_paid")
    if invoice.get("paid_out_of_band") is True:
        return 0, 0
    total = read_amount(invoice, "total")
    if total is None:
        total = amount_paid
    untaxed = read_amount(invoice, "total_excluding_tax")
    tax = _invoice_tax(invoice) if untaxed is None else total - untaxed
    gross = amount_paid - max(read_amount(invoice, "amount_paid_off_stripe") or 0, 0)
    return gross, net_of_tax(gross, total, tax)


def _invoice_tax(invoice: Object) -> int:
    tax = read_amount(invoice, "tax")
    if tax is not None:
        return tax
    taxes = (*elements(invoice, "total_taxes"),) or (*elements(invoice, "total_tax_amounts"),)
    return sum(read_amount(entry, "amount") or 0 for entry in taxes)


def _period_start(invoice: Object) -> datetime | None:
    """When the paid billing period begins: the latest start among the lines of the subscription itself.

    Invoice items and prorations have dates of their own. Usage billed afterwards stands beside the new period's fee
    under the start of the old one, hence the latest.
    """
    starts = (
        read_time(inside(line, "period"), "start")
        for line in elements(inside(invoice, "lines"), "data")
        if _is_of_subscription(line)
    )
    return max((start for start in starts if start is not None), default=None)


def _is_of_subscription(line: Object) -> bool:
    is_item = line.get("type") == "invoiceitem" or inside(line, "parent").get("type") == "invoice_item_details"
    return not is_item and not _is_prorated(line)


def _is_proration(invoice: Object) -> bool:
    """Whether all lines are prorations. Of a long invoice only the first lines are shown: then nobody can say."""
    lines = inside(invoice, "lines")
    shown = [*elements(lines, "data")]
    return bool(shown) and lines.get("has_more") is not True and all(_is_prorated(line) for line in shown)


def _is_prorated(line: Object) -> bool:
    parent = inside(line, "parent")
    details = (line, inside(parent, "subscription_item_details"), inside(parent, "invoice_item_details"))
    return any(each.get("proration") is True for each in details)
