"""What all readers of Whop's events share: the event itself, and taking money, times and people out of its object.

What is absent is None; money and time that are there and cannot be read raise EventUnreadable.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Context, Decimal, DecimalException, Inexact, InvalidOperation, Overflow
from typing import Final, NamedTuple, cast

from pydantic import TypeAdapter, ValidationError

from goodword.core import money
from goodword.core.fields import LATEST, Email, GivenInstant, Text, Url
from goodword.facts.kinds import Fact, IdentityLinked, ProfileSeen
from goodword.payments.bodies import EventUnreadable
from goodword.payments.reading import Object, Person, distinct, identifier, inside, named, seen_email, text

# Whop's own money (`whop_usd`) and crypto (`eth`, `usdt`) stand beside ISO 4217.
_CURRENCY: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{1,15}")
_AMOUNT: Final = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?")
_LARGEST_AMOUNT: Final = 2**63 - 1
# Amounts are exact or refused: no context of the process may round them, and none is finer than crypto's 18 digits.
EXACT: Final = Context(prec=40, Emin=-40, Emax=40, traps=[Inexact, InvalidOperation, Overflow])
_FINEST: Final = Decimal("1e-20")

_INSTANT: Final = TypeAdapter[datetime](GivenInstant)
_USERNAME, _EMAIL, _AVATAR = (TypeAdapter[str](kind) for kind in (Text, Email, Url))


class WhopEvent(NamedTuple):
    """One event as Whop sent it; its id is the request's (`whop.signatures.event_id`).

    `company` is the `biz_…` that it is about, `sent_at` the envelope's time; both None where the body does not say.
    """

    type: str
    company: str | None
    sent_at: datetime | None
    object: Object


class Money(NamedTuple):
    """An exact amount of a currency's major units."""

    amount: Decimal
    currency: str | None


class Sum(NamedTuple):
    """An amount of a currency's minor units."""

    amount: int
    currency: str


def minor_units(amount: Decimal, currency: str) -> int:
    """An amount above zero, rounded half up, but never to nothing: a thousandth of an `eth` is a payment."""
    whole = int(EXACT.scaleb(amount, money.exponent(currency)).to_integral_value(ROUND_HALF_UP))
    if whole > _LARGEST_AMOUNT:
        raise EventUnreadable("an amount is too large")
    return max(whole, 1)


def read_money(source: Object, name: str, currency: str | None) -> Money | None:
    """A number, its text, or an object with a currency of its own. Raises EventUnreadable for anything else."""
    value = source.get(name)
    if value is None:
        return None
    if isinstance(value, dict):
        value = cast("Object", value)
        currency, value = read_currency(value) or currency, value.get("amount")
    fits = _AMOUNT.fullmatch(value) if isinstance(value, str) else isinstance(value, int | Decimal)
    if not fits or isinstance(value, bool):
        raise EventUnreadable(f"{name} is not an amount")
    try:
        amount = EXACT.quantize(EXACT.create_decimal(cast("str | int | Decimal", value)), _FINEST)
    except DecimalException as error:
        raise EventUnreadable(f"{name} is not an amount") from error
    if amount.copy_abs() > _LARGEST_AMOUNT:
        raise EventUnreadable(f"{name} is not an amount")
    return Money(amount, currency)


def read_currency(source: Object, name: str = "currency") -> str | None:
    """A currency, Whop's own and crypto included. Raises EventUnreadable for what is none."""
    value = source.get(name)
    if value is None:
        return None
    currency = text(value, _CURRENCY)
    if currency is None:
        raise EventUnreadable(f"{name} is not a currency")
    return currency.lower()


def dated(event: WhopEvent, *names: str, source: Object | None = None) -> datetime:
    """The first of these times that the object (or another `source`) shows, else the envelope's."""
    return _required(_first_time(event.object if source is None else source, names) or event.sent_at)


def as_of(event: WhopEvent, *names: str, source: Object | None = None) -> datetime:
    """Since when what the event says is so: the envelope's time, and the first of these where it has none (v5)."""
    return _required(event.sent_at or _first_time(event.object if source is None else source, names))


def _first_time(source: Object, names: Iterable[str]) -> datetime | None:
    return next((at for name in names if (at := read_time(source, name))), None)


def _required(at: datetime | None) -> datetime:
    if at is None:
        raise EventUnreadable("neither the object nor the event says when it was")
    return at


def read_time(source: Object, name: str) -> datetime | None:
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


def reference(source: Object, name: str) -> str | None:
    """The id of a related object: nested, plain or flat (`user_id`)."""
    return identifier(source.get(name)) or identifier(source.get(f"{name}_id"))


def objects_of(source: Object) -> tuple[str, ...]:
    """The ids that belong to one person: whatever else stands on an event (plan, product, checkout) many share."""
    return distinct(*(reference(source, name) for name in ("user", "membership", "member")), reference(source, "id"))


def person_of(source: Object) -> Person:
    """Who the checkout's metadata names; a promotion code stands in for a referral code."""
    person = named(
        inside(source, "metadata"),
        inside(source, "membership_metadata"),
        inside(source, "membership", "metadata"),
    )
    return person if person.code else person._replace(code=text(inside(source, "promo_code").get("code")))


def about_person(event: WhopEvent, objects: tuple[str, ...], person: Person) -> tuple[Fact, ...]:
    """Whose these objects are, and what Whop knows of them."""
    if not objects:
        return ()
    at = dated(event, "created_at", "paid_at")
    linked = IdentityLinked(objects, person.external_id, person.click_id, person.code, at)
    source, user = event.object, inside(event.object, "user")
    emails = (user.get("email"), *(source.get(name) for name in ("customer_email", "user_email", "email")))
    facts = (linked, *seen_email(objects, *emails))
    user_id = reference(source, "user")
    if user_id is None:
        return facts  # the buyer is a company, or the app may not see who it is
    return (
        *facts,
        ProfileSeen(
            objects,
            whop_user_id=user_id,
            username=_fitting(_USERNAME, user.get("username"), source.get("user_username")),
            email=_fitting(_EMAIL, *emails),
            avatar_url=_fitting(
                _AVATAR, inside(user, "profile_picture").get("url"), user.get("profile_pic_url"), user.get("avatar_url")
            ),
        ),
    )


def _fitting(kind: TypeAdapter[str], *values: object) -> str | None:
    """The first value that a signup could have given."""
    for value in values:
        try:
            return kind.validate_python(value)
        except ValidationError:
            continue
    return None
