"""Whop's events: from a request body to provider-neutral facts.

A Whop webhook keeps its shape for ever, and three are being sent: v5 (`action`, flat ids, fractions, Unix seconds), v1
(`type`, nested objects, numbers or texts, ISO 8601) and dated v1 (flat again, money as objects). No version is looked
at: every reader takes a value from wherever any shape puts it. What is absent is None; money and time that are there
and cannot be read raise EventUnreadable.

Payments are read here, everything else in the pages beside this one. Nothing here knows a database, HTTP or Whop's own
library.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, NamedTuple, cast

from goodword.facts.kinds import Fact, PaymentSucceeded
from goodword.payments.bodies import EventMalformed, EventUnreadable, read_object
from goodword.payments.reading import Object, identifier, inside, text
from goodword.payments.whop.memberships import read_membership
from goodword.payments.whop.reading import (
    EXACT,
    WhopEvent,
    about_person,
    dated,
    minor_units,
    objects_of,
    person_of,
    read_currency,
    read_money,
    read_time,
)
from goodword.payments.whop.takebacks import read_dispute, read_refund, taken_back_inside


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
    reader = _READERS.get(event.type)
    return reader(event) if reader else ()


def _read_payment(event: WhopEvent) -> tuple[Fact, ...]:
    """A payment that went through: who paid, and the money, which is nothing for a free purchase.

    `status` and `substatus` are not asked: a replay months later shows what has become of the payment since.
    """
    payment = event.object
    objects, person = objects_of(payment), person_of(payment)
    told = about_person(event, objects, person)
    paid = _paid(payment)
    if paid is None:
        return told
    key = identifier(payment.get("id"))
    if key is None:
        raise EventUnreadable("the payment has no id")
    return (
        *told,
        *taken_back_inside(event),
        PaymentSucceeded(
            key=key,
            objects=objects,
            external_id=person.external_id,
            click_id=person.click_id,
            code=person.code,
            currency=paid.currency,
            gross_amount=paid.gross,
            net_amount=paid.net,
            paid_at=dated(event, "paid_at", "created_at"),
            period_start=_period_start(payment),
            other_amount=paid.other and paid.other.amount,
            other_currency=paid.other and paid.other.currency,
        ),
    )


_READERS: Final[Mapping[str, Callable[[WhopEvent], tuple[Fact, ...]]]] = {
    "payment.succeeded": _read_payment,
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
# Whop's dashboard shows `payment_succeeded` where its events say `payment.succeeded`.
_ONE_SPELLING: Final = {name.replace("_", "."): name for name in _READERS}


def _company(*sources: Object) -> str | None:
    names = ("company_id", "account_id", "company", "account", "page_id")
    return next((found for source in sources for name in names if (found := identifier(source.get(name)))), None)


class _Sum(NamedTuple):
    amount: int
    currency: str


class _Paid(NamedTuple):
    gross: int
    net: int
    currency: str
    other: _Sum | None


def _paid(payment: Object) -> _Paid | None:
    """What was paid, with and without its tax, in minor units; None where it was nothing, or in no currency.

    `tax_amount` is inside `total` whether it was added on top or not; v5 calls it `final_amount` and shows no tax.
    """
    stated = read_currency(payment)
    total = read_money(payment, "total", stated) or read_money(payment, "final_amount", stated)
    if total is None:
        if stated is None:
            return None
        raise EventUnreadable("total is missing")
    if total.currency is None:
        return None
    net = total.amount
    tax = read_money(payment, "tax_amount", stated)
    if tax is not None and tax.amount > 0:
        if tax.currency != total.currency:
            raise EventUnreadable("tax_amount and total are in two currencies")
        net = EXACT.subtract(net, tax.amount)
    if net <= 0:
        return None
    gross = minor_units(total.amount, total.currency)
    return _Paid(
        gross, min(minor_units(net, total.currency), gross), total.currency, _other_sum(payment, total.currency)
    )


def _other_sum(payment: Object, currency: str) -> _Sum | None:
    """The same total in the other currency of the sale, where there are two: the buyer's, or that of the settlement."""
    shown = read_money(payment, "presentment_total", None)
    settled = read_money(payment, "settlement_amount", read_currency(payment, "settlement_currency"))
    for each in (shown, settled):
        if each and each.currency not in (None, currency) and each.amount > 0:
            return _Sum(minor_units(each.amount, each.currency), each.currency)
    return None


def _period_start(payment: Object) -> datetime | None:
    """When the paid billing period begins, where a shape says so."""
    names = ("renewal_period_start", "current_period_start")
    places = (inside(payment, "membership"), payment)
    return next((start for place in places for name in names if (start := read_time(place, name))), None)
