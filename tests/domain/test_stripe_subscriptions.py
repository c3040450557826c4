"""What Stripe's events say of subscriptions and customers, in the shapes of every API version still being sent."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodword.facts.kinds import EmailSeen, IdentityLinked, SubscriptionChanged
from goodword.payments.bodies import EventUnreadable
from goodword.payments.stripe.events import facts
from tests.support import stripe_objects
from tests.support.odd import spoiled
from tests.support.stripe_objects import CREATED, SENT, as_read, at

NAMED: dict[str, Any] = {"metadata": {"goodword_user": "ada"}, "created": CREATED}
RENEWS = 1_702_592_000
CANCELED = 1_700_005_000
ENDED = 1_700_009_000

EVENTS = tuple(
    f"customer.subscription.{name}" for name in ("created", "updated", "paused", "resumed", "trial_will_end")
)
DELETED = "customer.subscription.deleted"


def item(price: str = "price_1", ends: object = RENEWS) -> dict[str, Any]:
    return stripe_objects.item(price, ends)


def subscription(*items: dict[str, Any], **fields: object) -> dict[str, Any]:
    """The shape since basil: periods are those of the items."""
    return stripe_objects.subscription(*(items or [item()]), **NAMED) | fields


def old_subscription(**fields: object) -> dict[str, Any]:
    """The shape of 2018: one plan, whose period is the subscription's."""
    return stripe_objects.subscription_of_2018(ends=RENEWS, **NAMED) | fields


def customer(**fields: object) -> dict[str, Any]:
    return stripe_objects.customer(email="ada@example.net", **NAMED) | fields


def changed(
    value: dict[str, Any], event_type: str = EVENTS[1], created: int | None = SENT
) -> SubscriptionChanged | None:
    found = facts(as_read(event_type, value, created))
    return next((fact for fact in found if isinstance(fact, SubscriptionChanged)), None)


# The whole of it


@pytest.mark.parametrize("event_type", EVENTS)
@pytest.mark.parametrize(
    ("value", "price_refs"),
    [(subscription(), ("price_1",)), (old_subscription(), ("gold",))],
    ids=["since basil", "of 2018"],
)
def test_a_subscription_says_the_same_in_every_shape(
    event_type: str, value: dict[str, Any], price_refs: tuple[str, ...]
) -> None:
    assert facts(as_read(event_type, value)) == (
        IdentityLinked(("sub_1", "cus_1"), external_id="ada", click_id=None, code=None, at=at(CREATED)),
        SubscriptionChanged(
            key="sub_1",
            objects=("sub_1", "cus_1"),
            external_id="ada",
            click_id=None,
            code=None,
            status="active",
            price_refs=price_refs,
            period_ends_at=at(RENEWS),
            cancel_at_period_end=False,
            ended_at=None,
            at=at(SENT),
        ),
    )


@pytest.mark.parametrize(
    ("status", "read"),
    [
        ("trialing", "trialing"), ("active", "active"), ("past_due", "past_due"), ("unpaid", "unpaid"),
        ("paused", "paused"), ("canceled", "ended"), ("incomplete_expired", "ended"),
    ],
)  # fmt: skip
def test_the_statuses_of_a_subscription(status: str, read: str) -> None:
    fact = changed(subscription(status=status, ended_at=ENDED))
    assert fact is not None
    assert (fact.status, fact.ended_at) == (read, at(ENDED) if read == "ended" else None)


@pytest.mark.parametrize("status", ["incomplete", "something_new", "", None, 7, {}])
def test_a_subscription_that_has_not_begun_is_only_somebodys(status: object) -> None:
    for event_type in EVENTS:
        found = facts(as_read(event_type, subscription(status=status)))
        assert [type(fact) for fact in found] == [IdentityLinked]
    assert facts(as_read(EVENTS[0], subscription(status=status, customer=None, metadata={}))) == ()


@pytest.mark.parametrize("status", ["canceled", "active", "incomplete", None])
def test_a_deleted_subscription_has_ended_whatever_its_status(status: object) -> None:
    fact = changed(subscription(status=status), DELETED)
    assert fact is not None
    assert fact.status == "ended"


@pytest.mark.parametrize(
    ("fields", "ended_at"),
    [
        ({"ended_at": ENDED, "canceled_at": CANCELED}, ENDED),
        ({"canceled_at": CANCELED}, CANCELED),
        ({}, SENT),
    ],
)
def test_an_end_has_the_time_it_says(fields: dict[str, Any], ended_at: int) -> None:
    fact = changed(subscription(status="canceled", **fields), DELETED)
    assert fact is not None
    assert (fact.ended_at, fact.at) == (at(ended_at), at(SENT))


@pytest.mark.parametrize(
    ("fields", "cancels_at"),
    [
        ({"cancel_at_period_end": True, "canceled_at": CANCELED}, RENEWS),
        ({"cancel_at_period_end": True, "cancel_at": RENEWS}, RENEWS),
        ({"cancel_at": RENEWS + 1}, RENEWS + 1),
        ({"cancel_at_period_end": False, "canceled_at": None}, None),
        ({"cancel_at_period_end": None}, None),
        ({"cancel_at_period_end": "true"}, None),
    ],
)
def test_a_subscription_may_say_when_it_will_end(fields: dict[str, Any], cancels_at: int | None) -> None:
    fact = changed(subscription(**fields))
    assert fact is not None
    assert (fact.status, fact.cancel_at_period_end, fact.ended_at) == ("active", cancels_at is not None, None)
    assert fact.cancels_at == (cancels_at and at(cancels_at))


@pytest.mark.parametrize(
    ("value", "price_refs", "ends"),
    [
        (subscription(item("price_1", RENEWS), item("price_2", RENEWS + 9)), ("price_1", "price_2"), RENEWS + 9),
        (subscription(item("price_1", None)), ("price_1",), None),
        (subscription(items=None), (), None),
        (subscription(items={"data": [{"price": "price_1", "plan": "plan_1"}]}), ("price_1", "plan_1"), None),
        (subscription(items={"data": [None, "si_1", {"price": 7}]}), (), None),
    ],
)
def test_what_is_subscribed_to_and_until_when(
    value: dict[str, Any], price_refs: tuple[str, ...], ends: int | None
) -> None:
    fact = changed(value)
    assert fact is not None
    assert fact.price_refs == price_refs
    assert fact.period_ends_at == (None if ends is None else at(ends))


# Who


@pytest.mark.parametrize(
    ("fields", "person"),
    [
        ({}, ("ada", None, None)),
        ({"metadata": {"goodword_click": "clk_1", "goodword_code": "BEN"}}, (None, "clk_1", "BEN")),
        ({"metadata": {}, "customer": customer()}, ("ada", None, None)),
        ({"metadata": {}, "discounts": [{"promotion_code": {"code": "ADA10"}}]}, (None, None, "ADA10")),
        ({"metadata": {}, "discount": {"promotion_code": {"code": "ADA10"}}}, (None, None, "ADA10")),
        ({"metadata": None}, (None, None, None)),
    ],
)
def test_a_subscription_names_its_person(fields: dict[str, Any], person: tuple[str | None, ...]) -> None:
    found = [fact for fact in facts(as_read(EVENTS[0], subscription(**fields))) if not isinstance(fact, EmailSeen)]
    for fact in found:
        assert isinstance(fact, IdentityLinked | SubscriptionChanged)
        assert fact.objects == ("sub_1", "cus_1")
        assert (fact.external_id, fact.click_id, fact.code) == person


@pytest.mark.parametrize("event_type", ["customer.created", "customer.updated"])
def test_a_customer_may_be_named_at_any_time(event_type: str) -> None:
    assert facts(as_read(event_type, customer())) == (
        IdentityLinked(("cus_1",), external_id="ada", click_id=None, code=None, at=at(SENT)),
        EmailSeen(("cus_1",), "ada@example.net"),
    )


@pytest.mark.parametrize(
    "fields",
    [{"metadata": {}}, {"metadata": None}, {"metadata": {"goodword_user": "not an id"}},
     {"metadata": {"goodword_code": "ADA"}}],
)  # fmt: skip
def test_most_customers_name_nobody(fields: dict[str, Any]) -> None:
    seen = (EmailSeen(("cus_1",), "ada@example.net"),)
    assert facts(as_read("customer.updated", customer(**fields))) == seen
    assert facts(as_read("customer.updated", customer(**fields, email=None))) == ()


def test_a_customer_without_an_id_says_nothing() -> None:
    assert facts(as_read("customer.updated", customer(id=None))) == ()


# What cannot be read


@pytest.mark.parametrize("key", [None, 7, "", "two words", []])
def test_a_subscription_has_an_id(key: object) -> None:
    with pytest.raises(EventUnreadable):
        facts(as_read(EVENTS[0], subscription(id=key)))


@pytest.mark.parametrize("seconds", ["1700000000", 1.7e9, True, -1, 253_402_300_800, [], {}])
def test_a_time_is_never_guessed(seconds: object) -> None:
    for value in (
        subscription(created=seconds),
        subscription(item(ends=seconds)),
        subscription(cancel_at=seconds),
        subscription(status="canceled", ended_at=seconds),
        subscription(status="canceled", canceled_at=seconds),
        old_subscription(current_period_end=seconds),
    ):
        with pytest.raises(EventUnreadable):
            facts(as_read(EVENTS[1], value))


def test_a_change_without_any_time_is_unreadable() -> None:
    with pytest.raises(EventUnreadable):
        facts(as_read(EVENTS[1], subscription(created=None), sent_at=None))


ODD = st.sampled_from(
    [None, True, -1, 0, 7, 10**30, 0.5, "", "x", "cus_2", "canceled", [], ["x"], [[]], [{}], {}, {"id": 7}, {"data": 7}]
)
HANDLED = st.sampled_from(
    [
        *((event_type, subscription()) for event_type in (*EVENTS, DELETED)),
        (EVENTS[1], old_subscription()),
        ("customer.updated", customer()),
    ]
)


@given(HANDLED, st.data())
def test_nothing_odd_in_any_place_breaks_the_reader(handled: tuple[str, dict[str, Any]], data: st.DataObject) -> None:
    event_type, value = handled
    try:
        found = facts(as_read(event_type, data.draw(spoiled(value, ODD))))
    except EventUnreadable:
        return
    for fact in found:
        assert all(isinstance(name, str) and name for name in fact.objects)
        if isinstance(fact, SubscriptionChanged):
            assert fact.key in fact.objects
            assert (fact.status == "ended") == (fact.ended_at is not None)
