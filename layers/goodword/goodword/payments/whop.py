"""Whop's events: from a request body to provider-neutral facts.

A Whop webhook keeps its shape for ever, and three are being sent: v5 (`action`, flat ids, fractions, Unix seconds), v1
(`type`, nested objects, numbers or texts, ISO 8601) and dated v1 (flat again, money as objects). No version is looked
at: every reader takes a value from wherever any shape puts it. What is absent is None; money and time that are there
and cannot be read raise EventUnreadable.

Nothing here knows a database, HTTP or Whop's own library.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Context, Decimal, DecimalException, Inexact, InvalidOperation, Overflow
from typing import Final, NamedTuple, cast

from pydantic import TypeAdapter, ValidationError

from goodword.core.fields import LATEST, Email, GivenInstant, Text, Url
from goodword.payments.bodies import EventMalformed, EventUnreadable, read_object
from goodword.payments.reading import Object, Person, distinct, identifier, inside, named, text
from goodword.referral import money
from goodword.referral.facts import Fact, IdentityLinked, PaymentSucceeded, ProfileSeen

# Whop's own money (`whop_usd`) and crypto (`eth`, `usdt`) stand beside ISO 4217.
_CURRENCY: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{1,15}")
_AMOUNT: Final = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?")
_LARGEST_AMOUNT: Final = 2**63 - 1
# Amounts are exact or refused: no context of the process may round them, and none is finer than crypto's 18 digits.
_EXACT: Final = Context(prec=40, Emin=-40, Emax=40, traps=[Inexact, InvalidOperation, Overflow])
_FINEST: Final = Decimal("1e-20")

_INSTANT: Final = TypeAdapter[datetime](GivenInstant)
_USERNAME, _EMAIL, _AVATAR = (TypeAdapter[str](kind) for kind in (Text, Email, Url))


@dataclass(frozen=True, slots=True)
class WhopEvent:
    """One event as Whop sent it; its id is the request's (`whop_signatures.event_id`).

    `company` is the `biz_…` that it is about, `sent_at` the envelope's time; both None where the body does not say.
    """

    type: str
    company: str | None
    sent_at: datetime | None
    object: Object


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
        sent_at = _time(body, "timestamp")
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
    objects, person = _objects(payment), _person(payment)
    told = _about_person(event, objects, person)
    paid = _paid(payment)
    if paid is None:
        return told
    key = identifier(payment.get("id"))
    if key is None:
        raise EventUnreadable("the payment has no id")
    return (
        *told,
        PaymentSucceeded(
            key=key,
            objects=objects,
            external_id=person.external_id,
            click_id=person.click_id,
            code=person.code,
            currency=paid.currency,
            gross_amount=paid.gross,
            net_amount=paid.net,
            paid_at=_dated(event, "paid_at", "created_at"),
            period_start=_period_start(payment),
        ),
    )


def _read_membership(event: WhopEvent) -> tuple[Fact, ...]:
    """A membership that began or ended: who it belongs to. What it opens is not ours to say yet."""
    return _about_person(event, _objects(event.object), _person(event.object))


_READERS: Final[Mapping[str, Callable[[WhopEvent], tuple[Fact, ...]]]] = {
    "payment.succeeded": _read_payment,
    "membership.activated": _read_membership,
    "membership.deactivated": _read_membership,
    "membership.went_valid": _read_membership,
    "membership.went_invalid": _read_membership,
}
# Whop's dashboard shows `payment_succeeded` where its events say `payment.succeeded`.
_ONE_SPELLING: Final = {name.replace("_", "."): name for name in _READERS}


def _company(*sources: Object) -> str | None:
    names = ("company_id", "account_id", "company", "account", "page_id")
    return next((found for source in sources for name in names if (found := identifier(source.get(name)))), None)


def _reference(source: Object, name: str) -> str | None:
    """The id of a related object: nested, plain or flat (`user_id`)."""
    return identifier(source.get(name)) or identifier(source.get(f"{name}_id"))


def _objects(source: Object) -> tuple[str, ...]:
    """The ids that belong to one person: whatever else stands on an event (plan, product, checkout) many share."""
    return distinct(*(_reference(source, name) for name in ("user", "membership", "member")), _reference(source, "id"))


def _person(source: Object) -> Person:
    """Who the checkout's metadata names; a promotion code stands in for a referral code."""
    person = named(
        inside(source, "metadata"),
        inside(source, "membership_metadata"),
        inside(source, "membership", "metadata"),
    )
    return person if person.code else person._replace(code=text(inside(source, "promo_code").get("code")))


def _about_person(event: WhopEvent, objects: tuple[str, ...], person: Person) -> tuple[Fact, ...]:
    if not objects:
        return ()
    linked = IdentityLinked(objects, *person, at=_dated(event, "created_at", "paid_at"))
    source, user = event.object, inside(event.object, "user")
    user_id = _reference(source, "user")
    if user_id is None:
        return (linked,)  # the buyer is a company, or the app may not see who it is
    return (
        linked,
        ProfileSeen(
            objects,
            whop_user_id=user_id,
            username=_fitting(_USERNAME, user.get("username"), source.get("user_username")),
            email=_fitting(
                _EMAIL, user.get("email"), source.get("customer_email"), source.get("user_email"), source.get("email")
            ),
            avatar_url=_fitting(
                _AVATAR, inside(user, "profile_picture").get("url"), user.get("profile_pic_url"), user.get("avatar_url")
            ),
        ),
    )


def _fitting(kind: TypeAdapter[str], *values: object) -> str | None:
    """The first value that an app might have told us at a signup."""
    for value in values:
        try:
            return kind.validate_python(value)
        except ValidationError:
            continue
    return None


class _Paid(NamedTuple):
    gross: int
    net: int
    currency: str


class _Money(NamedTuple):
    amount: Decimal
    currency: str | None


def _paid(payment: Object) -> _Paid | None:
    """What was paid, with and without its tax, in minor units; None where it was nothing, or in no currency.

    `tax_amount` is inside `total` whether it was added on top or not; v5 calls it `final_amount` and shows no tax.
    """
    stated = _currency(payment)
    total = _money(payment, "total", stated) or _money(payment, "final_amount", stated)
    if total is None:
        if stated is None:
            return None
        raise EventUnreadable("total is missing")
    if total.currency is None:
        return None
    net = total.amount
    tax = _money(payment, "tax_amount", stated)
    if tax is not None and tax.amount > 0:
        if tax.currency != total.currency:
            raise EventUnreadable("tax_amount and total are in two currencies")
        net = _EXACT.subtract(net, tax.amount)
    if net <= 0:
        return None
    gross = _minor_units(total.amount, total.currency)
    return _Paid(gross, min(_minor_units(net, total.currency), gross), total.currency)


def _minor_units(amount: Decimal, currency: str) -> int:
    """Rounded half up, but never to nothing: a thousandth of an `eth` is a payment."""
    whole = int(_EXACT.scaleb(amount, money.exponent(currency)).to_integral_value(ROUND_HALF_UP))
    if whole > _LARGEST_AMOUNT:
        raise EventUnreadable("total is too large")
    return max(whole, 1)


def _money(source: Object, name: str, currency: str | None) -> _Money | None:
    """A number, its text, or an object with a currency of its own. Raises EventUnreadable for anything else."""
    value = source.get(name)
    if value is None:
        return None
    if isinstance(value, dict):
        value = cast("Object", value)
        currency, value = _currency(value) or currency, value.get("amount")
    fits = _AMOUNT.fullmatch(value) if isinstance(value, str) else isinstance(value, int | Decimal)
    if not fits or isinstance(value, bool):
        raise EventUnreadable(f"{name} is not an amount")
    try:
        amount = _EXACT.quantize(_EXACT.create_decimal(cast("str | int | Decimal", value)), _FINEST)
    except DecimalException as error:
        raise EventUnreadable(f"{name} is not an amount") from error
    if amount.copy_abs() > _LARGEST_AMOUNT:
        raise EventUnreadable(f"{name} is not an amount")
    return _Money(amount, currency)


def _currency(source: Object) -> str | None:
    value = source.get("currency")
    if value is None:
        return None
    currency = text(value, _CURRENCY)
    if currency is None:
        raise EventUnreadable("currency is not a currency")
    return currency.lower()


def _period_start(payment: Object) -> datetime | None:
    """When the paid billing period begins, where a shape says so."""
    names = ("renewal_period_start", "current_period_start")
    places = (inside(payment, "membership"), payment)
    return next((start for place in places for name in names if (start := _time(place, name))), None)


def _dated(event: WhopEvent, *names: str) -> datetime:
    """The first of these times that the object shows, else the envelope's."""
    at = next((at for name in names if (at := _time(event.object, name))), event.sent_at)
    if at is None:
        raise EventUnreadable("neither the object nor the event says when it was")
    return at


def _time(source: Object, name: str) -> datetime | None:
    """Unix seconds or ISO 8601 with an offset. Raises EventUnreadable for anything else."""
    value = source.get(name)
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < LATEST.timestamp():
        return datetime.fromtimestamp(value, UTC)
    try:
        return _INSTANT.validate_python(value)
    except ValidationError as error:
        raise EventUnreadable(f"{name} is not a time") from error
