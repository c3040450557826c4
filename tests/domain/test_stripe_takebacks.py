"""What Stripe's events say of money that went back, in the shapes of every API version that is still being sent."""

from datetime import UTC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodword.facts.kinds import ObjectsLinked, TakenBack
from goodword.payments.bodies import EventUnreadable
from goodword.payments.stripe.events import facts
from tests.support import stripe_objects
from tests.support.odd import spoiled
from tests.support.stripe_objects import CREATED, SENT, as_read, at

REFUND_EVENTS = ("refund.created", "refund.updated", "refund.failed", "charge.refund.updated")
DISPUTE_EVENTS = tuple(
    f"charge.dispute.{name}" for name in ("created", "updated", "closed", "funds_withdrawn", "funds_reinstated")
)


def refund(**fields: object) -> dict[str, Any]:
    """5.00 of a charge."""
    return stripe_objects.refund(amount=500, metadata={"goodword_user": "ada"}, created=CREATED) | fields


def dispute(**fields: object) -> dict[str, Any]:
    """10.00 of a charge."""
    return stripe_objects.dispute(amount=1000, created=CREATED) | fields


def charge(**fields: object) -> dict[str, Any]:
    """A charge of 15.00 of which 5.00 were refunded, in the shape since 2022-11-15: its refunds are not shown."""
    return stripe_objects.charge(amount=1500, refunded=500, created=CREATED) | fields


def old_charge(*refunds: object, **fields: object) -> dict[str, Any]:
    """The shape before that: with its refunds, and the invoice it paid."""
    return stripe_objects.charge_before_2022_11_15(*refunds, amount=1500, refunded=500, created=CREATED) | fields


def takeback(event_type: str, value: dict[str, Any], created: int | None = SENT) -> TakenBack:
    (fact,) = facts(as_read(event_type, value, created))
    assert isinstance(fact, TakenBack)
    return fact


# The whole of it


def test_a_refund_begins_when_it_is_created() -> None:
    assert facts(as_read("refund.created", refund())) == (
        TakenBack("refund", "re_1", ("ch_1", "pi_1"), 500, "usd", "succeeded", began_at=at(CREATED), at=at(CREATED)),
    )


@pytest.mark.parametrize("event_type", ["refund.updated", "refund.failed", "charge.refund.updated"])
def test_a_refund_changes_when_its_event_says_so(event_type: str) -> None:
    assert facts(as_read(event_type, refund(status="failed"))) == (
        TakenBack("refund", "re_1", ("ch_1", "pi_1"), 500, "usd", "failed", began_at=at(CREATED), at=at(SENT)),
    )


def test_a_dispute_begins_when_it_is_created() -> None:
    assert facts(as_read("charge.dispute.created", dispute())) == (
        TakenBack("dispute", "dp_1", ("ch_1", "pi_1"), 1000, "usd", "open", began_at=at(CREATED), at=at(CREATED)),
    )


@pytest.mark.parametrize("event_type", DISPUTE_EVENTS[1:])
def test_a_dispute_changes_when_its_event_says_so(event_type: str) -> None:
    assert facts(as_read(event_type, dispute(status="won"))) == (
        TakenBack("dispute", "dp_1", ("ch_1", "pi_1"), 1000, "usd", "won", began_at=at(CREATED), at=at(SENT)),
    )


def test_a_refunded_charge_without_its_refunds_says_what_belongs_together() -> None:
    assert facts(as_read("charge.refunded", charge())) == (ObjectsLinked(("ch_1", "pi_1")),)
    assert facts(as_read("charge.refunded", charge(payment_intent=None))) == ()


def test_a_refunded_charge_shows_each_refund_by_itself() -> None:
    value = old_charge(
        refund(id="re_2", amount=300, status="pending", created=CREATED + 9),
        refund(id="re_1", amount=200, charge=None, payment_intent=None),
    )
    sale = ("ch_1", "pi_1", "in_1")
    assert facts(as_read("charge.refunded", value)) == (
        ObjectsLinked(sale),
        TakenBack("refund", "re_2", sale, 300, "usd", "pending", began_at=at(CREATED + 9), at=at(SENT)),
        TakenBack("refund", "re_1", sale, 200, "usd", "succeeded", began_at=at(CREATED), at=at(SENT)),
    )


@pytest.mark.parametrize("refunds", [None, [], "re_1", {}, {"data": None}, {"data": []}, {"data": ["re_1", None]}])
def test_a_refunded_charge_may_show_nothing(refunds: object) -> None:
    assert facts(as_read("charge.refunded", charge(refunds=refunds))) == (ObjectsLinked(("ch_1", "pi_1")),)


# What has become of it


@pytest.mark.parametrize("event_type", REFUND_EVENTS)
@pytest.mark.parametrize(
    ("status", "read"),
    [
        ("pending", "pending"), ("requires_action", "pending"), ("succeeded", "succeeded"), ("failed", "failed"),
        ("canceled", "failed"),
    ],
)  # fmt: skip
def test_the_statuses_of_a_refund(event_type: str, status: str, read: str) -> None:
    assert takeback(event_type, refund(status=status)).status == read


@pytest.mark.parametrize("event_type", DISPUTE_EVENTS)
@pytest.mark.parametrize(
    ("status", "read"),
    [
        ("warning_needs_response", "warning"),
        ("warning_under_review", "warning"),
        ("warning_closed", "warning"),
        ("needs_response", "open"),
        ("under_review", "open"),
        ("charge_refunded", "won"),
        ("won", "won"),
        ("lost", "lost"),
        ("prevented", "lost"),
    ],
)
def test_the_statuses_of_a_dispute(event_type: str, status: str, read: str) -> None:
    assert takeback(event_type, dispute(status=status)).status == read


@pytest.mark.parametrize(
    "status", ["appeal_needs_response", "appeal_under_review", "something_new", "", None, 7, [], {"id": "lost"}]
)
def test_a_status_that_says_nothing_of_money_changes_nothing(status: object) -> None:
    for event_type in DISPUTE_EVENTS:
        assert facts(as_read(event_type, dispute(status=status))) == ()
    for event_type in REFUND_EVENTS:
        assert facts(as_read(event_type, refund(status=status))) == ()


# Of what


@pytest.mark.parametrize(
    ("fields", "objects"),
    [
        ({}, ("ch_1", "pi_1")),
        ({"payment_intent": None}, ("ch_1",)),
        ({"charge": None}, ("pi_1",)),
        ({"charge": {"id": "ch_1"}, "payment_intent": {"id": "pi_1"}}, ("ch_1", "pi_1")),
        ({"charge": charge(customer={"id": "cus_1"}), "payment_intent": None}, ("ch_1", "pi_1")),
        ({"charge": charge(invoice={"id": "in_1"}), "payment_intent": None}, ("ch_1", "pi_1", "in_1")),
    ],
)
def test_what_is_taken_back_is_named_by_its_sale_alone(fields: dict[str, Any], objects: tuple[str, ...]) -> None:
    assert takeback("refund.created", refund(**fields)).objects == objects
    assert takeback("charge.dispute.created", dispute(**fields)).objects == objects


@pytest.mark.parametrize("fields", [{"charge": None, "payment_intent": None}, {"charge": 7, "payment_intent": {}}])
def test_what_is_of_no_sale_says_nothing(fields: dict[str, Any]) -> None:
    """A customer's own balance may be paid out, too."""
    assert facts(as_read("refund.created", refund(**fields))) == ()
    assert facts(as_read("charge.dispute.created", dispute(**fields))) == ()


# How much


@pytest.mark.parametrize(
    ("fields", "amount", "currency"),
    [
        ({}, 500, "usd"),
        ({"currency": "EUR"}, 500, "eur"),
        ({"currency": None}, 500, None),
        ({"amount": 0}, 0, "usd"),
        ({"amount": 2**63 - 1}, 2**63 - 1, "usd"),
    ],
)
def test_the_amount_is_as_it_stands(fields: dict[str, Any], amount: int, currency: str | None) -> None:
    for event_type, value in (("refund.created", refund(**fields)), ("refund.updated", refund(**fields))):
        fact = takeback(event_type, value)
        assert (fact.amount, fact.currency, fact.other_amount) == (amount, currency, None)


@pytest.mark.parametrize("amount", [None, "500", 5.0, True, [], {}, 2**63, -1, -(2**70)])
def test_money_is_never_guessed(amount: object) -> None:
    for event_type, value in (
        ("refund.created", refund(amount=amount)),
        ("charge.dispute.created", dispute(amount=amount)),
        ("charge.refunded", old_charge(refund(amount=amount))),
    ):
        with pytest.raises(EventUnreadable):
            facts(as_read(event_type, value))


@pytest.mark.parametrize("key", [None, 7, "", "two words", []])
def test_what_is_taken_back_has_an_id(key: object) -> None:
    for event_type, value in (
        ("refund.failed", refund(id=key)),
        ("charge.dispute.closed", dispute(id=key, charge="ch_1" if key is not None else None)),
        ("charge.refunded", old_charge(refund(id=key))),
    ):
        with pytest.raises(EventUnreadable):
            facts(as_read(event_type, value))


@pytest.mark.parametrize("charge", ["ch_1", {"id": "ch_1", "payment_intent": "pi_1"}])
def test_a_dispute_without_an_id_is_its_charges_one_dispute(charge: object) -> None:
    keys = list[str]()
    for event_type in ("charge.dispute.created", "charge.dispute.closed"):
        (back,) = facts(as_read(event_type, {**dispute(charge=charge), "id": None}))
        assert isinstance(back, TakenBack)
        keys.append(back.key)
    assert keys == ["ch_1", "ch_1"]


# When


@pytest.mark.parametrize(
    ("event_type", "created", "sent", "began_at", "changed_at"),
    [
        ("refund.created", CREATED, SENT, CREATED, CREATED),
        ("refund.created", None, SENT, SENT, SENT),
        ("refund.updated", CREATED, SENT, CREATED, SENT),
        ("refund.updated", CREATED, None, CREATED, CREATED),
        ("refund.updated", None, SENT, SENT, SENT),
    ],
)
def test_one_time_stands_in_for_the_other(
    event_type: str, created: int | None, sent: int | None, began_at: int, changed_at: int
) -> None:
    fact = takeback(event_type, refund(created=created), sent)
    assert (fact.began_at, fact.at) == (at(began_at), at(changed_at))


@pytest.mark.parametrize("event_type", [*REFUND_EVENTS, *DISPUTE_EVENTS, "charge.refunded"])
def test_a_fact_without_any_time_is_unreadable(event_type: str) -> None:
    value = (dispute if "dispute" in event_type else refund)(created=None)
    with pytest.raises(EventUnreadable):
        facts(as_read(event_type, value, sent_at=None))


@pytest.mark.parametrize("seconds", ["1700000000", 1.7e9, True, -1, 253_402_300_800, [], {}])
def test_a_time_is_never_guessed(seconds: object) -> None:
    for event_type, value in (
        ("refund.created", refund(created=seconds)),
        ("charge.dispute.closed", dispute(created=seconds)),
        ("charge.refunded", old_charge(refund(created=seconds))),
    ):
        with pytest.raises(EventUnreadable):
            facts(as_read(event_type, value))


# Whatever comes


ODD = st.sampled_from(
    [None, True, -1, 0, 7, 10**30, 0.5, "", "x", "cus_2", "lost", [], ["x"], [[]], [{}], {}, {"id": 7}, {"data": 7}]
)
HANDLED = st.sampled_from(
    [
        *((event_type, refund()) for event_type in REFUND_EVENTS),
        *((event_type, dispute()) for event_type in DISPUTE_EVENTS),
        ("refund.created", refund(charge=charge(), payment_intent={"id": "pi_1"})),
        ("charge.refunded", charge()),
        ("charge.refunded", old_charge(refund(), refund(id="re_2"))),
    ]
)


@given(HANDLED, st.data())
def test_nothing_odd_in_any_place_breaks_the_reader(handled: tuple[str, dict[str, Any]], data: st.DataObject) -> None:
    event_type, value = handled
    try:
        read = facts(as_read(event_type, data.draw(spoiled(value, ODD))))
    except EventUnreadable:
        return
    for fact in read:
        assert fact.objects
        assert all(isinstance(name, str) and name for name in fact.objects)
        if isinstance(fact, TakenBack):
            assert 0 <= fact.amount < 2**63
            assert fact.began_at.tzinfo is fact.at.tzinfo is UTC
