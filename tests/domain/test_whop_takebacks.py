"""What Whop's events say of money that went back, in every shape that is still being sent."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodword.facts.kinds import PaymentSucceeded, TakenBack
from goodword.payments.bodies import EventUnreadable
from goodword.payments.whop.events import WhopEvent, facts
from tests.support import whop_objects
from tests.support.odd import spoiled
from tests.support.whop_objects import iso, money

CREATED = datetime(2026, 2, 1, 12, 0, tzinfo=UTC)
UPDATED = CREATED + timedelta(hours=3)
SENT = CREATED + timedelta(hours=4)


def event(value: dict[str, Any], event_type: str = "refund.created", sent_at: datetime | None = SENT) -> WhopEvent:
    return whop_objects.as_read(event_type, value, sent_at)


def refund(**fields: object) -> dict[str, Any]:
    """6.90 of a payment in the shape of v1 without a date, with the payment nested."""
    sale = {
        "id": "pay_1", "currency": "usd", "total": Decimal("29.99"), "member": {"id": "mber_1"},
        "user": {"id": "user_1", "email": "cleo@example.net"}, "membership": {"id": "mem_1", "status": "active"},
    }  # fmt: skip
    return whop_objects.refund(amount=Decimal("6.9"), payment=sale, created_at=CREATED) | fields


def dated_refund(**fields: object) -> dict[str, Any]:
    """The native shape since 2026-09-02-1."""
    return whop_objects.dated_refund(amount="6.90", created_at=CREATED, updated_at=UPDATED) | fields


def flat_refund(**fields: object) -> dict[str, Any]:
    """The shape of v5."""
    return whop_objects.v5_refund(amount=Decimal("6.9"), created_at=CREATED) | fields


def dispute(**fields: object) -> dict[str, Any]:
    """49.99 in the shape of v1 without a date."""
    return whop_objects.dispute(amount=Decimal("49.99"), created_at=CREATED) | fields


def dated_dispute(**fields: object) -> dict[str, Any]:
    """The native shape since 2026-07-25, where an amount is still a number."""
    return whop_objects.dated_dispute(amount=Decimal("49.99"), created_at=CREATED, updated_at=UPDATED) | fields


def flat_dispute(**fields: object) -> dict[str, Any]:
    """The shape of v5."""
    return whop_objects.v5_dispute(amount=Decimal("49.99"), created_at=CREATED) | fields


REFUNDS = {"v1": refund, "dated v1": dated_refund, "v5": flat_refund}
DISPUTES = {"v1": dispute, "dated v1": dated_dispute, "v5": flat_dispute}
each_refund = pytest.mark.parametrize("shape", REFUNDS.values(), ids=REFUNDS)
each_dispute = pytest.mark.parametrize("shape", DISPUTES.values(), ids=DISPUTES)


def takeback(value: dict[str, Any], event_type: str, sent_at: datetime | None = SENT) -> TakenBack:
    (fact,) = facts(event(value, event_type, sent_at))
    assert isinstance(fact, TakenBack)
    return fact


# The whole of it


@each_refund
def test_a_refund_says_the_same_in_every_shape(shape: Any) -> None:  # noqa: ANN401 - a function with keywords
    assert facts(event(shape(), "refund.created")) == (
        TakenBack("refund", "rf_1", ("pay_1",), 690, "usd", "succeeded", began_at=CREATED, at=CREATED),
    )


@each_dispute
def test_a_dispute_says_the_same_in_every_shape(shape: Any) -> None:  # noqa: ANN401 - as above
    assert facts(event(shape(), "dispute.created")) == (
        TakenBack("dispute", "dspt_1", ("pay_1",), 4_999, "usd", "open", began_at=CREATED, at=CREATED),
    )


@each_refund
@pytest.mark.parametrize(
    ("status", "read"),
    [
        ("pending", "pending"), ("requires_action", "pending"), ("succeeded", "succeeded"), ("failed", "failed"),
        ("canceled", "failed"),
    ],
)  # fmt: skip
def test_the_statuses_of_a_refund(shape: Any, status: str, read: str) -> None:  # noqa: ANN401 - as above
    assert takeback(shape(status=status), "refund.updated").status == read


@each_dispute
@pytest.mark.parametrize(
    ("fields", "read"),
    [
        ({"status": "needs_response"}, "open"),
        ({"status": "under_review"}, "open"),
        ({"status": "open"}, "open"),
        ({"status": "won"}, "won"),
        ({"status": "lost"}, "lost"),
        ({"status": "prevented"}, "lost"),
        ({"status": "warning_needs_response"}, "warning"),
        ({"status": "warning_under_review"}, "warning"),
        ({"status": "warning_closed"}, "warning"),
        ({"status": "needs_response", "inquiry": True}, "warning"),
        ({"status": "lost", "inquiry": True}, "warning"),
    ],
)
def test_the_statuses_of_a_dispute(shape: Any, fields: dict[str, Any], read: str) -> None:  # noqa: ANN401 - as above
    assert takeback(shape(**fields), "dispute.updated").status == read


@pytest.mark.parametrize("status", [None, "", "closed", "something_new", 7, [], {"id": "won"}])
def test_an_unknown_status_says_nothing(status: object) -> None:
    assert facts(event(refund(status=status), "refund.updated")) == ()
    assert facts(event(dispute(status=status), "dispute.updated")) == ()


@pytest.mark.parametrize("payment", [None, {}, {"id": None}, {"id": 7}, []])
def test_what_names_no_payment_says_nothing(payment: object) -> None:
    assert facts(event(refund(payment=payment), "refund.created")) == ()
    assert facts(event(dispute(payment=payment), "dispute.created")) == ()


# How much


@pytest.mark.parametrize(
    ("fields", "amount", "other"),
    [
        pytest.param({}, (690, "usd"), (None, None), id="one currency"),
        pytest.param(
            {"amount": money("14.10"), "original_amount": money("13.25", "eur")}, (1_325, "eur"), (1_410, "usd"),
            id="the currency that was moved comes first",
        ),
        pytest.param({"amount": None, "original_amount": money("13.25", "eur")}, (1_325, "eur"), (None, None),
                     id="no rate is recorded"),
        pytest.param({"amount": money("6.90"), "original_amount": None}, (690, "usd"), (None, None), id="only settled"),
        pytest.param({"amount": money("7"), "original_amount": money("1000", "jpy")}, (1_000, "jpy"), (700, "usd"),
                     id="yen"),
        pytest.param({"amount": money("0.00"), "original_amount": money("0")}, (0, "usd"), (None, None), id="nothing"),
        pytest.param({"amount": money("0.001", "eth"), "original_amount": None}, (1, "eth"), (None, None),
                     id="never down to nothing"),
    ],
)  # fmt: skip
def test_a_refund_is_told_in_one_or_two_currencies(
    fields: dict[str, Any], amount: tuple[int, str], other: tuple[int | None, str | None]
) -> None:
    fact = takeback(dated_refund(**fields), "refund.created")
    assert (fact.amount, fact.currency) == amount
    assert (fact.other_amount, fact.other_currency) == other


def test_an_amount_without_a_currency_has_the_payments() -> None:
    assert (
        takeback(refund(currency=None, payment={"id": "pay_1", "currency": "eur"}), "refund.created").currency == "eur"
    )


UNREADABLE_AMOUNTS = ["a lot", "", True, [], {}, {"amount": None}, 10**30, Decimal("1e300"), -1, "-0.01"]


@pytest.mark.parametrize("amount", UNREADABLE_AMOUNTS, ids=repr)
def test_money_is_never_guessed(amount: object) -> None:
    for value in (refund(amount=amount), dated_refund(original_amount=amount)):
        with pytest.raises(EventUnreadable):
            facts(event(value, "refund.created"))
    with pytest.raises(EventUnreadable):
        facts(event(dispute(amount=amount), "dispute.created"))


@pytest.mark.parametrize(
    ("value", "event_type"),
    [
        (refund(amount=None), "refund.created"),
        (refund(currency=None, payment={"id": "pay_1"}), "refund.created"),
        (refund(currency="€"), "refund.created"),
        (refund(id=None), "refund.created"),
        (dated_refund(amount=None, original_amount=None), "refund.updated"),
        (dispute(amount=None), "dispute.created"),
        (dispute(id=7), "dispute.updated"),
    ],
)
def test_what_must_be_there_is(value: dict[str, Any], event_type: str) -> None:
    with pytest.raises(EventUnreadable):
        facts(event(value, event_type))


# When


@pytest.mark.parametrize(
    ("fields", "event_type", "sent_at", "at"),
    [
        ({}, "refund.created", SENT, CREATED),
        ({}, "refund.updated", SENT, SENT),
        ({}, "refund.updated", None, UPDATED),
        ({"updated_at": None}, "refund.updated", None, CREATED),
    ],
)
def test_a_refund_begins_when_created_and_changes_when_told(
    fields: dict[str, Any], event_type: str, sent_at: datetime | None, at: datetime
) -> None:
    fact = takeback(dated_refund(**fields), event_type, sent_at)
    assert (fact.began_at, fact.at) == (CREATED, at)


@pytest.mark.parametrize(
    ("event_type", "sent_at", "at"),
    [("dispute.created", SENT, CREATED), ("dispute.updated", SENT, SENT), ("dispute.updated", None, UPDATED)],
)
def test_a_dispute_begins_when_created_and_changes_when_told(
    event_type: str, sent_at: datetime | None, at: datetime
) -> None:
    fact = takeback(dated_dispute(), event_type, sent_at)
    assert (fact.began_at, fact.at) == (CREATED, at)


def test_a_refund_without_any_time_is_unreadable() -> None:
    with pytest.raises(EventUnreadable):
        facts(event(flat_refund(created_at=None), "refund.created", sent_at=None))


# Inside a payment


def payment(**fields: object) -> dict[str, Any]:
    """A payment as it is shown when it is told again after something of it went back."""
    return whop_objects.payment(substatus="partially_refunded", total="29.99", created_at=CREATED) | fields


def inside(value: dict[str, Any]) -> list[TakenBack]:
    return [fact for fact in facts(event(value, "payment.succeeded")) if isinstance(fact, TakenBack)]


def test_a_payment_shows_what_has_gone_back_of_it() -> None:
    refunds = [
        {"id": "rf_1", "amount": "5.00", "status": "succeeded", "created_at": iso(UPDATED)},
        {"id": "rf_2", "amount": money("1.00"), "status": "failed"},
    ]
    disputes = [{"id": "dspt_1", "amount": 20, "currency": "usd", "status": "lost", "created_at": iso(UPDATED)}]
    assert inside(payment(refunds=refunds, disputes=disputes)) == [
        TakenBack("refund", "rf_1", ("pay_1",), 500, "usd", "succeeded", began_at=UPDATED, at=SENT),
        TakenBack("refund", "rf_2", ("pay_1",), 100, "usd", "failed", began_at=SENT, at=SENT),
        TakenBack("dispute", "dspt_1", ("pay_1",), 2_000, "usd", "lost", began_at=UPDATED, at=SENT),
    ]


@pytest.mark.parametrize(
    "refunds",
    [None, [], "rf_1", ["rf_1"], [{}], [{"amount": "5.00", "status": "succeeded"}], [{"id": "rf_1", "amount": "5"}],
     [{"id": "rf_1", "status": "succeeded"}]],
)  # fmt: skip
def test_a_refund_that_is_only_hinted_at_is_not_one(refunds: object) -> None:
    value = payment(refunds=refunds, disputes=refunds)
    assert inside(value) == []
    assert [fact for fact in facts(event(value, "payment.succeeded")) if isinstance(fact, PaymentSucceeded)] != []


# Whatever comes


ODD = st.sampled_from(
    [None, True, -1, 0, 7, 10**30, Decimal("0.5"), Decimal("1e300"), "", "x", "usd", "lost", [], ["x"], [{}], {},
     {"id": 7}, {"amount": 7}, {"amount": "1", "currency": "eur"}]
)  # fmt: skip
HANDLED = st.sampled_from(
    [
        *((event_type, shape()) for shape in REFUNDS.values() for event_type in ("refund.created", "refund.updated")),
        *(
            (event_type, shape())
            for shape in DISPUTES.values()
            for event_type in ("dispute.created", "dispute.updated")
        ),
        ("payment.succeeded", payment(refunds=[dated_refund()], disputes=[flat_dispute()])),
    ]
)


@given(HANDLED, st.data())
def test_nothing_odd_in_any_place_breaks_the_reader(handled: tuple[str, dict[str, Any]], data: st.DataObject) -> None:
    event_type, value = handled
    try:
        read = facts(event(data.draw(spoiled(value, ODD)), event_type))
    except EventUnreadable:
        return
    for fact in read:
        assert all(isinstance(name, str) and name for name in fact.objects)
        if isinstance(fact, TakenBack):
            assert 0 <= fact.amount < 2**63
            assert len(fact.objects) == 1
            assert (fact.other_amount is None) == (fact.other_currency is None)
