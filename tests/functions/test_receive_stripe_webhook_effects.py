"""What payments lead to: whose they are, which of them is the first, and what it earns."""

from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import psycopg
import pytest

from tests.support import rows, stripe_objects
from tests.support.answers import time_of
from tests.support.companies import Company
from tests.support.growth import FLAT, amend
from tests.support.stripe_objects import invoice_paid

NOON = datetime(2027, 1, 15, 12, tzinfo=UTC)


def outcome(company: Company, event: dict[str, Any]) -> str:
    """Deliver an event that is no duplicate; its outcome."""
    answer = company.deliver(event)
    assert (answer.status, answer.json["duplicate"]) == (200, False), answer.raw
    return answer.json["outcome"]


def session(
    event_id: str, *, mode: str = "payment", user: str | None = None, at: datetime | None = None, **fields: object
) -> dict[str, Any]:
    """A finished Checkout session; a one-time purchase of 49.00, if not told otherwise."""
    value = stripe_objects.session(
        amount=4900, mode=mode, currency="eur", customer=None, payment_intent=None, client_reference_id=user,
        created=at or datetime.now(UTC),
    ) | fields  # fmt: skip
    return stripe_objects.event("checkout.session.completed", value, id=event_id)


def referral(company: Company, referrer: str = "ada") -> dict[str, Any]:
    """The one referral of a referrer."""
    (only,) = company.ok("GET", f"/v1/users/{referrer}/referrals")["data"]
    return only


def payments(superuser: psycopg.Connection, company: Company) -> list[tuple[str, int, bool]]:
    """Key, net amount, and whether a person is known, of every payment."""
    found = rows.find(superuser, "SELECT * FROM payments WHERE company_id = %(id)s ORDER BY payment_key", id=company.id)
    return [(row["payment_key"], row["net_amount"], row["user_id"] is not None) for row in found]


def test_a_first_payment_qualifies_and_pays_the_referrer(company: Company) -> None:
    company.set_clock(NOON)
    company.refer("ada", "ben")
    company.set_clock(NOON + timedelta(days=3))
    paid_at = NOON + timedelta(days=2)
    assert outcome(company, invoice_paid("evt_1", "in_1", user="ben", paid_at=paid_at)) == "applied"
    found = referral(company)
    assert (found["stage"], time_of(found["qualified_at"]), found["activated_at"]) == ("qualified", paid_at, None)
    assert found["revenue"] == [{"currency": "usd", "amount": 1900}]
    assert company.balance("ada") == 5 + 25
    assert company.ok("GET", "/v1/users/ada")["qualified_count"] == 1
    (award,) = [award for award in company.sign_up("ben")["awards"] if award["event"] == "qualified"]
    assert (award["user_id"], award["points"], award["period"], award["status"]) == ("ada", 25, 1, "paid")


def test_an_activation_after_the_payment_pays_once_and_leaves_the_stage(company: Company) -> None:
    company.set_clock(NOON)
    company.refer("ada", "ben")
    company.set_clock(NOON + timedelta(days=1))
    outcome(company, invoice_paid("evt_1", "in_1", user="ben", paid_at=NOON + timedelta(hours=1)))
    answer = company.ok("POST", "/v1/activations", {"user_id": "ben"})
    assert answer["referral"]["stage"] == "qualified"
    assert time_of(answer["referral"]["activated_at"]) == NOON + timedelta(days=1)
    assert company.balance("ada") == 5 + 10 + 25


def test_a_payment_before_its_signup_waits_and_counts_with_the_signup(
    company: Company, superuser: psycopg.Connection
) -> None:
    assert outcome(company, invoice_paid("evt_1", "in_1", user="ben")) == "parked"
    assert payments(superuser, company) == [("in_1", 1900, False)]
    answer = company.refer("ada", "ben")
    assert answer["referral"]["stage"] == "qualified"
    # periods count from the payment, the stage from the registration
    assert answer["referral"]["qualified_at"] == answer["referral"]["registered_at"]
    assert sorted(award["event"] for award in answer["awards"]) == ["qualified", "registered", "welcome"]
    assert company.balance("ada") == 5 + 25
    assert payments(superuser, company) == [("in_1", 1900, True)]


def test_a_payment_finds_its_person_by_the_customer_a_signup_names(company: Company) -> None:
    assert outcome(company, invoice_paid("evt_1", "in_1", customer="cus_ben")) == "parked"
    code = company.sign_up("ada")["user"]["referral_code"]
    ben = {"user": {"external_id": "ben", "stripe_customer_id": "cus_ben"}, "referral_code": code}
    assert company.ok("POST", "/v1/signups", ben)["referral"]["stage"] == "qualified"
    assert outcome(company, invoice_paid("evt_2", "in_2", customer="cus_ben")) == "applied"
    assert referral(company)["revenue"] == [{"currency": "usd", "amount": 3800}]


def test_a_session_says_whose_an_earlier_invoice_was(company: Company) -> None:
    company.refer("ada", "ben")
    assert outcome(company, invoice_paid("evt_1", "in_1", customer="cus_ben")) == "parked"
    assert company.balance("ada") == 5
    link = session("evt_2", mode="subscription", user="ben", customer="cus_ben", invoice="in_1", subscription="sub_1")
    assert outcome(company, link) == "applied"
    assert company.balance("ada") == 5 + 25
    assert referral(company)["stage"] == "qualified"


def test_a_session_before_the_signup_says_whose_an_invoice_is(company: Company) -> None:
    link = session("evt_1", mode="subscription", user="ben", customer="cus_ben", subscription="sub_1")
    outcome(company, link)
    assert outcome(company, invoice_paid("evt_2", "in_1", customer="cus_ben")) == "parked"
    assert company.refer("ada", "ben")["referral"]["stage"] == "qualified"


def test_an_invoice_payment_ties_a_payment_intent_to_its_invoice(company: Company) -> None:
    company.refer("ada", "ben")
    assert outcome(company, invoice_paid("evt_1", "in_1", customer="cus_ben")) == "parked"
    tie = {
        "id": "evt_2", "type": "invoice_payment.paid", "livemode": False, "created": 1,
        "data": {"object": {"id": "inpay_1", "invoice": "in_1", "payment": {"payment_intent": "pi_1"}}},
    }  # fmt: skip
    assert outcome(company, tie) == "applied"
    assert outcome(company, session("evt_3", mode="setup", user="ben", payment_intent="pi_1")) == "ignored"
    named = session("evt_4", mode="payment", user="ben", payment_intent="pi_1", payment_status="unpaid")
    assert outcome(company, named) == "applied"
    assert referral(company)["stage"] == "qualified"


def test_one_sale_is_one_sale_whatever_events_tell_of_it(company: Company, superuser: psycopg.Connection) -> None:
    amend(company, tiers=FLAT)
    code = company.sign_up("ada")["user"]["referral_code"]
    orders = list(permutations(range(3)))
    for number, order in enumerate(orders):
        ben, customer, key = f"ben-{number}", f"cus_{number}", f"in_{number}"
        company.sign_up(ben, referral_code=code)
        invoice = invoice_paid(f"evt_{number}_paid", key, user=ben, customer=customer)
        events = [
            invoice,
            invoice | {"id": f"evt_{number}_succeeded", "type": "invoice.payment_succeeded"},
            session(f"evt_{number}_session", mode="subscription", user=ben, customer=customer, invoice=key),
        ]
        for position in order:
            outcome(company, events[position])
    assert payments(superuser, company) == [(f"in_{number}", 1900, True) for number in range(len(orders))]
    assert company.balance("ada") == (5 + 25) * len(orders)


def test_a_one_time_purchase_counts_by_its_session(company: Company, superuser: psycopg.Connection) -> None:
    company.refer("ada", "ben")
    assert outcome(company, session("evt_1", user="ben", payment_intent="pi_1")) == "applied"
    assert payments(superuser, company) == [("pi_1", 4900, True)]
    assert referral(company)["revenue"] == [{"currency": "eur", "amount": 4900}]
    assert company.balance("ada") == 5 + 25


def test_tax_is_nobodys_revenue(company: Company) -> None:
    company.refer("ada", "ben")
    taxed = session("evt_1", user="ben", amount_total=5950, total_details={"amount_tax": 950})
    outcome(company, taxed)
    assert referral(company)["revenue"] == [{"currency": "eur", "amount": 5000}]


def test_currencies_are_never_converted(company: Company) -> None:
    company.refer("ada", "ben")
    outcome(company, session("evt_1", user="ben", id="cs_1"))
    outcome(company, invoice_paid("evt_2", "in_1", user="ben"))
    assert referral(company)["revenue"] == [{"currency": "eur", "amount": 4900}, {"currency": "usd", "amount": 1900}]
    assert company.balance("ada") == 5 + 25


@pytest.mark.parametrize(
    "event",
    [
        invoice_paid("evt_1", "in_1", user="ben", amount=0),
        session("evt_1", user="ben", payment_status="unpaid"),
        session("evt_1", user="ben", amount_total=0, payment_status="no_payment_required"),
    ],
    ids=["trial", "unpaid", "free"],
)
def test_what_was_not_paid_qualifies_nobody(
    company: Company, superuser: psycopg.Connection, event: dict[str, Any]
) -> None:
    company.refer("ada", "ben")
    assert outcome(company, event) == "applied"
    assert payments(superuser, company) == []
    assert referral(company)["stage"] == "registered"


def test_a_payer_whom_nobody_referred_earns_nobody_anything(company: Company, superuser: psycopg.Connection) -> None:
    company.sign_up("ben")
    assert outcome(company, invoice_paid("evt_1", "in_1", user="ben")) == "applied"
    assert payments(superuser, company) == [("in_1", 1900, True)]
    assert not rows.count(superuser, company.id)["awards"]


def test_a_code_alone_names_no_payer(company: Company, superuser: psycopg.Connection) -> None:
    code = company.sign_up("ada")["user"]["referral_code"]
    event = session("evt_1", metadata={"goodword_code": code})
    assert outcome(company, event) == "parked"
    assert payments(superuser, company) == [("cs_1", 4900, False)]


def test_a_customer_is_known_to_one_company_only(company: Company, other: Company) -> None:
    other.ok("POST", "/v1/signups", {"user": {"external_id": "ben", "stripe_customer_id": "cus_1"}})
    assert outcome(company, invoice_paid("evt_1", "in_1")) == "parked"
    assert outcome(company, invoice_paid("evt_2", "in_2", user="ben")) == "parked"


@pytest.mark.parametrize(
    ("before", "stage"), [(timedelta(days=90), "qualified"), (timedelta(days=90, seconds=1), "registered")]
)
def test_a_payment_counts_up_to_a_window_before_the_touch(company: Company, before: timedelta, stage: str) -> None:
    company.set_clock(NOON)
    outcome(company, invoice_paid("evt_1", "in_1", user="ben", paid_at=NOON - before))
    assert company.refer("ada", "ben")["referral"]["stage"] == stage


@pytest.mark.parametrize(
    ("before", "stage", "earned"), [(timedelta(seconds=1), "qualified", 30), (timedelta(), "expired", 5)]
)
def test_a_payment_counts_until_the_referral_lapses_however_late_it_is_told(
    company: Company, before: timedelta, stage: str, earned: int
) -> None:
    company.set_clock(NOON)
    company.refer("ada", "ben")
    company.set_clock(NOON + timedelta(days=200))
    paid_at = NOON + timedelta(days=90) - before
    outcome(company, invoice_paid("evt_1", "in_1", user="ben", paid_at=paid_at))
    assert referral(company)["stage"] == stage
    assert company.balance("ada") == earned


def test_an_earlier_payment_that_comes_late_is_the_first(company: Company) -> None:
    company.set_clock(NOON)
    company.refer("ada", "ben")
    company.set_clock(NOON + timedelta(days=9))
    for number, days in enumerate((5, 2, 7)):
        paid_at = NOON + timedelta(days=days)
        outcome(company, invoice_paid(f"evt_{number}", f"in_{number}", user="ben", paid_at=paid_at))
    assert time_of(referral(company)["qualified_at"]) == NOON + timedelta(days=2)
    assert company.balance("ada") == 5 + 25


def test_a_payment_dated_in_the_future_counts_at_once(company: Company) -> None:
    company.set_clock(NOON)
    company.refer("ada", "ben")
    paid_at = NOON + timedelta(days=1)
    outcome(company, invoice_paid("evt_1", "in_1", user="ben", paid_at=paid_at))
    assert time_of(referral(company)["qualified_at"]) == paid_at
    assert company.balance("ada") == 5 + 25
