"""What Stripe's payment intents and charges say: what belongs to one sale, and money that has no other teller."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodword.facts.kinds import EmailSeen, Fact, IdentityLinked, ObjectsLinked, PaymentSucceeded
from goodword.payments.bodies import EventUnreadable
from goodword.payments.stripe.events import facts
from tests.support import stripe_objects
from tests.support.odd import spoiled
from tests.support.stripe_objects import CREATED, as_read, at

NAMED = {"goodword_user": "ada"}
SALE: dict[str, Any] = {"amount": 11_900, "currency": "eur", "metadata": NAMED, "created": CREATED}


def intent(**fields: object) -> dict[str, Any]:
    """119.00 in the shape since basil, which names no invoice even where it paid one."""
    return stripe_objects.intent(**SALE) | fields


def old_intent(**fields: object) -> dict[str, Any]:
    """The shape before 2022-11-15: with its charges, and the invoice if there is one."""
    return stripe_objects.intent_before_2022_11_15(**SALE) | fields


def charge(**fields: object) -> dict[str, Any]:
    """A charge made without a payment intent."""
    return stripe_objects.charge(**SALE, payment_intent=None) | fields


def payment(*found: Fact) -> PaymentSucceeded | None:
    return next((fact for fact in found if isinstance(fact, PaymentSucceeded)), None)


def kinds(event_type: str, value: dict[str, Any]) -> list[type[Fact]]:
    return [type(fact) for fact in facts(as_read(event_type, value))]


# The whole of it


@pytest.mark.parametrize(
    ("value", "sale"),
    [(intent(), ("pi_1", "ch_1")), (old_intent(), ("pi_1", "ch_0", "ch_1"))],
    ids=["since basil", "before 2022-11-15"],
)
def test_a_payment_intent_that_names_somebody_stands_in_for_its_sale(
    value: dict[str, Any], sale: tuple[str, ...]
) -> None:
    objects = (*sale, "cus_1")
    assert facts(as_read("payment_intent.succeeded", value)) == (
        IdentityLinked(objects, external_id="ada", click_id=None, code=None, at=at(CREATED)),
        ObjectsLinked(sale),
        PaymentSucceeded(
            key="intent:pi_1",
            objects=objects,
            external_id="ada",
            click_id=None,
            code=None,
            currency="eur",
            gross_amount=11_900,
            net_amount=11_900,
            paid_at=at(CREATED),
            period_start=None,
            stands_in_for="pi_1",
        ),
    )


@pytest.mark.parametrize(
    ("event_type", "value"),
    [
        ("payment_intent.succeeded", intent(metadata={}, receipt_email="a@b.example")),
        ("charge.succeeded", charge(metadata={}, payment_intent="pi_1", receipt_email="a@b.example")),
        ("charge.succeeded", charge(metadata={}, payment_intent="pi_1", billing_details={"email": "a@b.example"})),
        (
            "charge.succeeded",
            charge(metadata={}, payment_intent="pi_1", customer={"id": "cus_1", "email": "a@b.example"}),
        ),
    ],
)
def test_an_e_mail_is_no_money_and_is_shown_beside_the_sale_and_its_customer(
    event_type: str, value: dict[str, Any]
) -> None:
    found = facts(as_read(event_type, value))
    assert [type(fact) for fact in found] == [EmailSeen, ObjectsLinked]
    assert {*found[0].objects} == {"pi_1", "ch_1", "cus_1"}


@pytest.mark.parametrize("event_type", ["charge.succeeded", "charge.captured"])
def test_a_charge_without_a_payment_intent_is_all_there_is(event_type: str) -> None:
    objects = ("ch_1", "cus_1")
    assert facts(as_read(event_type, charge())) == (
        IdentityLinked(objects, external_id="ada", click_id=None, code=None, at=at(CREATED)),
        PaymentSucceeded(
            key="ch_1",
            objects=objects,
            external_id="ada",
            click_id=None,
            code=None,
            currency="eur",
            gross_amount=11_900,
            net_amount=11_900,
            paid_at=at(CREATED),
            period_start=None,
            stands_in_for="ch_1",
        ),
    )


@pytest.mark.parametrize(
    ("event_type", "value", "sale"),
    [
        ("payment_intent.succeeded", intent(metadata={}), ("pi_1", "ch_1")),
        ("payment_intent.succeeded", intent(metadata={"order": "7"}, invoice="in_1"), ("pi_1", "ch_1", "in_1")),
        ("payment_intent.succeeded", intent(metadata=None, latest_charge={"id": "ch_1"}), ("pi_1", "ch_1")),
        ("charge.succeeded", charge(metadata={}, payment_intent="pi_1"), ("ch_1", "pi_1")),
        ("charge.succeeded", charge(metadata={}, payment_intent="pi_1", invoice="in_1"), ("ch_1", "pi_1", "in_1")),
        ("charge.succeeded", charge(metadata={}, payment_intent={"id": "pi_1", "invoice": "in_1"}),
         ("ch_1", "pi_1", "in_1")),
    ],
)  # fmt: skip
def test_most_of_them_only_say_what_belongs_together(
    event_type: str, value: dict[str, Any], sale: tuple[str, ...]
) -> None:
    assert facts(as_read(event_type, value)) == (ObjectsLinked(sale),)


@pytest.mark.parametrize(
    ("event_type", "value"),
    [
        ("payment_intent.succeeded", intent(metadata={}, latest_charge=None)),
        ("charge.succeeded", charge(metadata={})),
        ("payment_intent.succeeded", {}),
        ("charge.succeeded", {}),
    ],
)
def test_one_alone_says_nothing(event_type: str, value: dict[str, Any]) -> None:
    assert facts(as_read(event_type, value)) == ()


@pytest.mark.parametrize(
    ("event_type", "value"),
    [
        pytest.param("payment_intent.succeeded", intent(invoice="in_1"), id="an invoice's"),
        pytest.param("payment_intent.succeeded", old_intent(invoice={"id": "in_1"}), id="an expanded invoice's"),
        pytest.param("charge.succeeded", charge(invoice="in_1"), id="a charge of an invoice"),
        pytest.param("charge.succeeded", charge(payment_intent="pi_1"), id="the intent has an event of its own"),
    ],
)
def test_what_is_told_elsewhere_only_names_its_person(event_type: str, value: dict[str, Any]) -> None:
    assert kinds(event_type, value) == [IdentityLinked, ObjectsLinked]


@pytest.mark.parametrize(
    ("event_type", "value"),
    [
        ("payment_intent.succeeded", intent(amount_received=0)),
        ("charge.succeeded", charge(amount_captured=0)),
        ("charge.succeeded", charge(captured=False, amount_captured=0)),
        ("charge.succeeded", charge(captured=False, amount_captured=None)),
    ],
)
def test_what_was_only_authorised_is_not_paid(event_type: str, value: dict[str, Any]) -> None:
    assert PaymentSucceeded not in kinds(event_type, value)


def test_an_old_charge_was_captured_whole() -> None:
    paid = payment(*facts(as_read("charge.succeeded", charge(amount_captured=None))))
    assert paid is not None
    assert paid.gross_amount == 11_900


@pytest.mark.parametrize(
    ("metadata", "person"),
    [
        ({"goodword_user": "ada"}, ("ada", None, None)),
        ({"goodword_click": "clk_1"}, (None, "clk_1", None)),
        ({"goodword_code": "ADA"}, (None, None, "ADA")),
    ],
)
def test_any_of_our_keys_will_do(metadata: dict[str, str], person: tuple[str | None, ...]) -> None:
    for event_type, value in (("payment_intent.succeeded", intent), ("charge.succeeded", charge)):
        paid = payment(*facts(as_read(event_type, value(metadata=metadata))))
        assert paid is not None
        assert (paid.external_id, paid.click_id, paid.code) == person


@pytest.mark.parametrize("amount", [None, "11900", 119.0, True, [], {}, 2**63])
def test_money_is_never_guessed(amount: object) -> None:
    for event_type, value in (
        ("payment_intent.succeeded", intent(amount_received=amount)),
        ("charge.succeeded", charge(amount_captured=amount, amount=amount)),
    ):
        with pytest.raises(EventUnreadable):
            facts(as_read(event_type, value))


def test_money_without_any_id_is_unreadable() -> None:
    for event_type, value in (("payment_intent.succeeded", intent(id=7)), ("charge.succeeded", charge(id=None))):
        with pytest.raises(EventUnreadable):
            facts(as_read(event_type, value))


ODD = st.sampled_from(
    [None, True, -1, 0, 7, 10**30, 0.5, "", "x", "cus_2", [], ["x"], [[]], [{}], {}, {"id": 7}, {"data": 7}]
)
HANDLED = st.sampled_from(
    [
        ("payment_intent.succeeded", intent()),
        ("payment_intent.succeeded", old_intent()),
        ("charge.succeeded", charge()),
        ("charge.captured", charge(payment_intent={"id": "pi_1", "invoice": None})),
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
        if isinstance(fact, PaymentSucceeded):
            assert 0 < fact.net_amount < 2**63
            assert fact.stands_in_for in fact.objects
