"""The edge cases of payment webhooks, one test each, from signed bytes to points.

The numbers are those of the list of edge cases that the receiver was built to hold. Where the rules of the program
decide what a case leads to, they are what is asserted here.
"""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from goodword.payments import signatures
from local import setup
from local.client import Answer, Client
from local.postgres import Cluster
from tests.support import books, rows, stripe_objects, whop_objects
from tests.support.answers import problem, time_of
from tests.support.companies import Company
from tests.support.jobs import run_job
from tests.support.providers import Providers
from tests.support.stripe_objects import invoice_paid
from tests.support.waiting import wait_until_blocked
from tests.support.whop_objects import money, whop_payment

NOON = datetime(2031, 1, 15, 12, tzinfo=UTC)
DAY = timedelta(days=1)

# What has become of a referral: its stage, its revenue in minor units of one currency, its referrer's balance.
REGISTERED = ("registered", 0, 5)
QUALIFIED = ("qualified", 1900, 5 + 25)
CANCELLED = ("cancelled", 0, 5)


@pytest.fixture
def referred(company: Company) -> Company:
    """Ada brought Ben, at NOON, and has 5 points for that."""
    company.set_clock(NOON)
    company.refer("ada", "ben")
    return company


def stripe(event_type: str, value: dict[str, Any], at: datetime = NOON, *, suffix: str = "") -> dict[str, Any]:
    """An event, told at `at`; its id follows from what it says, and from `suffix`."""
    event_id = f"evt_{event_type}_{value['id']}_{value.get('status')}{suffix}"
    return stripe_objects.event(event_type, value, sent_at=at, id=event_id)


def invoice(
    number: int = 1, *, user: str | None = "ben", buyer: str = "1", at: datetime = NOON, **fields: object
) -> dict[str, Any]:
    """19.00 paid, for the subscription of a buyer; `fields` replace some of the invoice's."""
    key = f"{buyer}_{number}" if buyer != "1" else f"{number}"
    own: dict[str, Any] = {"customer": f"cus_{buyer}", "subscription": f"sub_{buyer}", **fields}
    return invoice_paid(f"evt_invoice_{key}", f"in_{key}", user=user, paid_at=at, **own)


def link(number: int = 1, invoice_number: int = 1) -> dict[str, Any]:
    """What ties an invoice to a payment intent since basil."""
    return stripe("invoice_payment.paid", stripe_objects.invoice_payment(number, invoice=f"in_{invoice_number}"))


def refund(amount: int, status: str = "succeeded", *, number: int = 1, **fields: object) -> dict[str, Any]:
    """A refund as an object, of the charge of the first sale."""
    return stripe_objects.refund(id=f"re_{number}", amount=amount, status=status, created=NOON) | fields


def dispute(status: str, amount: int = 1900, **fields: object) -> dict[str, Any]:
    """A dispute over the charge of the first sale, as an object."""
    return stripe_objects.dispute(amount=amount, status=status, created=NOON) | fields


def session(
    event: str = "completed", *, user: str | None = "ben", at: datetime = NOON, **fields: object
) -> dict[str, Any]:
    """A one-time purchase of 19.00."""
    value = stripe_objects.session(client_reference_id=user, created=at) | fields
    return stripe(f"checkout.session.{event}", value, at)


def subscription(event: str, status: str, at: datetime = NOON, **fields: object) -> dict[str, Any]:
    """What has happened to the subscription of the invoices."""
    value = stripe_objects.subscription(status=status, created=NOON) | fields
    return stripe(f"customer.subscription.{event}", value, at, suffix=f"_{int(at.timestamp())}")


def whop(message_id: str, event_type: str, data: dict[str, Any], at: datetime = NOON) -> dict[str, Any]:
    return whop_objects.event(event_type, data, sent_at=at, id=message_id)


def sale_on_whop(message_id: str = "msg_sale", **fields: object) -> dict[str, Any]:
    """19.00, paid on Whop at NOON."""
    return whop_payment(message_id, "pay_1", user="ben", sent_at=NOON, **{"total": "19.00", **fields})


def send(company: Company, event: dict[str, Any]) -> Answer:
    """Deliver an event to the endpoint of its provider."""
    return company.deliver(event) if event.get("object") == "event" else company.deliver_whop(event)


def outcomes(company: Company, *events: dict[str, Any]) -> list[str]:
    """Deliver events of which none is a duplicate; their outcomes."""
    answers = [send(company, event) for event in events]
    assert [(answer.status, answer.json["duplicate"]) for answer in answers] == [(200, False)] * len(answers)
    return [answer.json["outcome"] for answer in answers]


def referral(company: Company) -> dict[str, Any]:
    """The only referral of Ada."""
    (only,) = company.ok("GET", "/v1/users/ada/referrals")["data"]
    return only


def standing(company: Company) -> tuple[str, int, int]:
    """What has become of Ada's only referral."""
    found = referral(company)
    assert len(found["revenue"]) <= 1
    return found["stage"], sum(each["amount"] for each in found["revenue"]), company.balance("ada")


def earned(company: Company, event: str) -> list[tuple[int, str, int]]:
    """Ada's awards for one event: points, status, reversed points."""
    awards = company.ok("GET", "/v1/users/ada/awards")["data"]
    return [(each["points"], each["status"], each["reversed_points"]) for each in awards if each["event"] == event]


def booked(superuser: psycopg.Connection, company: Company) -> list[int]:
    """What the first payment, and what was taken and given back, came to in the ledger, in order."""
    found = rows.find(
        superuser,
        "SELECT delta FROM entries WHERE company_id = %(id)s"
        " AND type IN ('REFERRAL_FIRST_PAYMENT', 'REVERSAL', 'REINSTATEMENT') ORDER BY id",
        id=company.id,
    )
    return [row["delta"] for row in found]


def payments(superuser: psycopg.Connection, company: Company) -> int:
    return rows.count(superuser, company.id)["payments"]


def take_tenth(company: Company, **worth: int) -> None:
    """From now on the first payment earns a tenth of it, at so many points for a unit of each currency."""
    program = company.ok("GET", "/v1/program")["program"]
    program["awards"]["qualified"] = {"bps": 1000, "hold_days": 0}
    company.ok("PUT", "/v1/program", program | {"points_per_unit": worth})


def test_01_one_event_delivered_again_and_at_once_has_one_effect(
    referred: Company, superuser: psycopg.Connection
) -> None:
    raw = json.dumps(invoice()).encode()
    header = {"stripe-signature": signatures.sign(raw, referred.line["stripe_secret"], int(time.time()))}

    def deliver(_: int) -> Answer:
        client = Client(referred.url)
        answer = client.send("POST", urlsplit(referred.line["stripe_endpoint"]).path, raw=raw, headers=header)
        client.close()
        return answer

    with ThreadPoolExecutor(4) as threads:
        answers = [*threads.map(deliver, range(4)), deliver(5)]
    assert {(answer.status, answer.json["outcome"]) for answer in answers} == {(200, "applied")}
    assert [answer.json["duplicate"] for answer in answers].count(False) == 1
    assert standing(referred) == QUALIFIED
    assert (booked(superuser, referred), payments(superuser, referred)) == ([25], 1)


def test_02_a_crash_before_the_effect_leaves_nothing_seen(
    referred: Company, superuser: psycopg.Connection, cluster: Cluster
) -> None:
    """The event is kept and the wallet is wanted when the connection dies; nothing of it counts as seen."""
    kept = "SELECT count(*) AS events FROM inbox_events WHERE company_id = %(id)s"
    with ThreadPoolExecutor(1) as thread, psycopg.connect(cluster.superuser_url(setup.DATABASE)) as holder:
        holder.execute("SELECT 1 FROM goodword.wallets WHERE company_id = %s FOR UPDATE", (referred.id,))
        answering = thread.submit(referred.deliver, invoice())
        wait_until_blocked(superuser)
        superuser.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'goodword\\_%'"
            " AND datname = current_database() AND wait_event_type = 'Lock'"
        )
        assert rows.find_one(superuser, kept, id=referred.id)["events"] == 0
        holder.rollback()
        assert answering.result().status in {200, 503}
    again = referred.deliver(invoice())
    assert (again.status, again.json["outcome"]) == (200, "applied")
    assert standing(referred) == QUALIFIED
    assert (booked(superuser, referred), books.faults(superuser, referred.id)) == ([25], [])


def test_03_one_sale_told_by_three_events_and_at_two_endpoints_is_one(
    referred: Company, superuser: psycopg.Connection
) -> None:
    paid = invoice()
    succeeded = paid | {"id": "evt_succeeded", "type": "invoice.payment_succeeded"}
    bought = session(mode="subscription", invoice="in_1", subscription="sub_1", payment_intent=None)
    assert outcomes(referred, paid, succeeded, bought) == ["applied"] * 3

    secret = "whsec_the_second"
    url = referred.ok("POST", "/v1/provider-endpoints", {"provider": "stripe", "secrets": [secret]})["url"]
    raw = json.dumps(paid).encode()
    header = {"stripe-signature": signatures.sign(raw, secret, int(time.time()))}
    answer = referred.browser.send("POST", urlsplit(url).path, raw=raw, headers=header)
    assert answer.json == {"received": True, "duplicate": False, "outcome": "applied"}
    assert standing(referred) == QUALIFIED
    assert (booked(superuser, referred), payments(superuser, referred)) == ([25], 1)


def test_04_a_refund_waits_for_its_payment(referred: Company) -> None:
    assert outcomes(referred, stripe("refund.created", refund(950))) == ["parked"]
    assert standing(referred) == REGISTERED
    assert outcomes(referred, link(), invoice()) == ["applied"] * 2
    assert standing(referred) == ("qualified", 950, 5 + 13)


def test_05_an_invoice_before_its_session_and_its_signup_counts_under_its_own_date(company: Company) -> None:
    """Twice the signup comes last or the session does; the second time after the referral would have lapsed."""
    company.set_clock(NOON)
    code = company.sign_up("ada")["user"]["referral_code"]
    assert outcomes(company, invoice(user=None)) == ["parked"]
    outcomes(company, session(mode="subscription", invoice="in_1", subscription="sub_1", payment_intent=None))
    company.sign_up("ben", referral_code=code)
    assert standing(company) == QUALIFIED

    company.sign_up("eve", referral_code=code)
    company.set_clock(NOON + 100 * DAY)
    late = invoice(user=None, buyer="eve", at=NOON + 80 * DAY)
    named = session(id="cs_eve", user="eve", customer="cus_eve", mode="subscription", payment_intent=None)
    assert outcomes(company, late, named) == ["parked", "applied"]
    stages = {each["referee"]: each["stage"] for each in company.ok("GET", "/v1/users/ada/referrals")["data"]}
    assert stages == {"ben": "qualified", "eve": "qualified"}


def test_06_a_referrer_named_after_the_payment_gets_what_it_earns_once(
    company: Company, superuser: psycopg.Connection
) -> None:
    """Only a payment within the window of attribution before the referrer was named makes the referral qualified."""
    company.set_clock(NOON)
    body = {"referral_code": company.sign_up("ada")["user"]["referral_code"], "reason": "told us on the phone"}
    for person, age in (("ben", 90 * DAY), ("eve", 90 * DAY + timedelta(seconds=1))):
        company.sign_up(person)
        outcomes(company, invoice(user=person, buyer=person, at=NOON - age))
    assert company.ok("PUT", "/v1/users/ben/referrer", body)["referral"]["stage"] == "qualified"
    assert company.ok("PUT", "/v1/users/eve/referrer", body)["referral"]["stage"] == "registered"
    again = company.api.send("PUT", "/v1/users/ben/referrer", body)
    assert again.status == 200, again.raw
    assert booked(superuser, company) == [25]
    assert company.balance("ada") == 5 + 25 + 5


def test_07_a_cancelled_subscription_loses_no_commission_whenever_it_is_told(company: Company) -> None:
    company.set_clock(NOON)
    code = company.sign_up("ada")["user"]["referral_code"]
    for person, deleted_first in (("ben", False), ("eve", True)):
        company.sign_up(person, referral_code=code)
        first, last = (invoice(k, user=person, buyer=person, at=NOON + k * DAY) for k in (0, 31))
        gone = subscription("deleted", "canceled", NOON + 31 * DAY, customer=f"cus_{person}", id=f"sub_{person}")
        outcomes(company, first, *((gone, last) if deleted_first else (last, gone)))
    found = company.ok("GET", "/v1/users/ada/referrals")["data"]
    assert [(each["stage"], each["revenue"][0]["amount"]) for each in found] == [("qualified", 3800)] * 2
    assert earned(company, "recurring") == [(10, "paid", 0)] * 2
    assert company.balance("ada") == 2 * (5 + 25 + 10)


def test_08_refunds_in_parts_add_up_to_what_was_earned(referred: Company, superuser: psycopg.Connection) -> None:
    """Each is counted from the whole payment, and the last one brings the rest of the rounding."""
    outcomes(referred, invoice(), link())
    for number, (amount, balance) in enumerate(((500, 23), (500, 17), (900, 5)), start=1):
        outcomes(referred, stripe("refund.created", refund(amount, number=number)))
        assert referred.balance("ada") == balance
    assert standing(referred) == CANCELLED
    assert booked(superuser, referred) == [25, -7, -6, -12]


def test_09_a_refund_told_by_its_charge_and_by_itself_is_one(referred: Company, superuser: psycopg.Connection) -> None:
    charge = {
        "id": "ch_1", "object": "charge", "amount": 1900, "amount_refunded": 950, "payment_intent": "pi_1",
        "invoice": "in_1", "refunds": {"object": "list", "data": [refund(950)]},
    }  # fmt: skip
    outcomes(referred, invoice(), stripe("charge.refunded", charge), stripe("refund.created", refund(950)))
    bare = {name: value for name, value in charge.items() if name != "refunds"}
    outcomes(referred, stripe("charge.refunded", bare, suffix="_bare"), stripe("charge.refund.updated", refund(950)))
    assert standing(referred) == ("qualified", 950, 5 + 13)
    assert booked(superuser, referred) == [25, -12]


@pytest.mark.parametrize(("event", "status"), [("refund.failed", "failed"), ("refund.updated", "canceled")])
def test_10_a_refund_that_comes_to_nothing_is_undone(
    referred: Company, superuser: psycopg.Connection, event: str, status: str
) -> None:
    outcomes(referred, invoice(), link(), stripe("refund.created", refund(1900, "pending")))
    assert standing(referred) == CANCELLED
    outcomes(referred, stripe(event, refund(1900, status), NOON + DAY))
    assert standing(referred) == QUALIFIED
    assert booked(superuser, referred) == [25, -25, 25]


@pytest.mark.parametrize("spent", [0, 30])
def test_11_what_was_paid_out_is_taken_back_from_the_balance_and_the_rest_is_owed(
    referred: Company, spent: int
) -> None:
    """No balance is ever below zero: what it cannot cover is debt, which the next points repay."""
    outcomes(referred, invoice(), link())
    if spent:
        option = {"kind": "quota", "name": "Calls", "feature": "ai_calls", "quantity": 5, "cost_points": spent}
        bought = {"option_id": referred.ok("POST", "/v1/redemption-options", option)["id"]}
        referred.ok("POST", "/v1/users/ada/redemptions", bought, key="calls")
    outcomes(referred, stripe("refund.created", refund(1900)))
    found = referred.ok("GET", "/v1/users/ada/balance")
    assert (found["balance"], found["debt"]) == ((0, 25) if spent else (5, 0))
    assert referral(referred)["stage"] == "cancelled"
    referred.ok("POST", "/v1/users/ada/points", {"points": 30, "note": ""}, key="more")
    assert referred.balance("ada") == (5 if spent else 35)


def test_12_a_refund_at_another_rate_is_the_part_that_the_buyer_got(referred: Company) -> None:
    """Half of what was paid in euros, for which more than half was due in dollars on that day."""
    half = {
        "id": "rf_1", "payment_id": "pay_1", "status": "succeeded", "created_at": NOON.isoformat(),
        "amount": money("11.00"), "original_amount": money("8.00", "eur"),
    }  # fmt: skip
    sale = sale_on_whop(total=money("19.00"), presentment_total=money("16.00", "eur"))
    assert outcomes(referred, sale, whop("msg_1", "refund.created", half)) == ["applied"] * 2
    assert standing(referred) == ("qualified", 950, 5 + 13)


def test_13_a_dispute_holds_then_takes_back_or_gives_back(referred: Company, superuser: psycopg.Connection) -> None:
    """A paid award stays while the dispute is open; an inquiry moves nothing, and an appeal leaves what was."""
    outcomes(referred, invoice(), link())
    steps = [
        ("created", "warning_needs_response", "applied", QUALIFIED),
        ("updated", "needs_response", "applied", QUALIFIED),
        ("closed", "lost", "applied", CANCELLED),
        ("updated", "appeal_under_review", "ignored", CANCELLED),
        ("closed", "won", "applied", QUALIFIED),
        ("updated", "prevented", "applied", CANCELLED),
    ]
    for number, (event, status, outcome, expected) in enumerate(steps):
        assert outcomes(referred, stripe(f"charge.dispute.{event}", dispute(status), NOON + number * DAY)) == [outcome]
        assert standing(referred) == expected, status
    assert booked(superuser, referred) == [25, -25, 25, -25]


def test_13_an_award_that_waits_is_held_while_a_dispute_is_open(company: Company) -> None:
    program = company.ok("GET", "/v1/program")["program"]
    program["awards"]["qualified"]["hold_days"] = 7
    company.ok("PUT", "/v1/program", program)
    company.set_clock(NOON)
    company.refer("ada", "ben")
    outcomes(company, invoice(), link(), stripe("charge.dispute.created", dispute("needs_response")))
    assert earned(company, "qualified") == [(25, "held", 0)]
    outcomes(company, stripe("charge.dispute.closed", dispute("won"), NOON + DAY))
    assert earned(company, "qualified") == [(25, "pending", 0)]


@pytest.mark.parametrize("refund_first", [True, False])
def test_14_a_refund_and_a_dispute_together_take_back_no_more_than_was_earned(
    referred: Company, superuser: psycopg.Connection, *, refund_first: bool
) -> None:
    taken = [stripe("refund.created", refund(1200)), stripe("charge.dispute.closed", dispute("lost"))]
    outcomes(referred, invoice(), link(), *(taken if refund_first else reversed(taken)))
    assert standing(referred) == CANCELLED
    assert sum(booked(superuser, referred)) == 0


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"amount": 950}, ("qualified", 950, 5 + 13)),
        ({"amount": 999_999}, CANCELLED),
        ({"amount": 1, "currency": "jpy"}, CANCELLED),
    ],
    ids=["a part", "more than the charge", "in another currency"],
)
def test_15_a_dispute_takes_back_its_part_and_no_more_than_the_charge(
    referred: Company, fields: dict[str, Any], expected: tuple[str, int, int]
) -> None:
    outcomes(referred, invoice(), link(), stripe("charge.dispute.closed", dispute("lost", **fields)))
    assert standing(referred) == expected


def test_16_a_change_of_plan_counts_as_what_its_invoice_came_to(referred: Company) -> None:
    def line(amount: int, *, proration: bool) -> dict[str, Any]:
        details = {"subscription": "sub_1", "proration": proration}
        parent = {"type": "subscription_item_details", "subscription_item_details": details}
        return {"amount": amount, "parent": parent, "period": {"start": int(NOON.timestamp())}}

    def changed(number: int, paid: int, *amounts: int) -> dict[str, Any]:
        total = sum(amounts)
        lines = {"data": [line(amount, proration=True) for amount in amounts]}
        stated: dict[str, Any] = {"amount_paid": paid, "total": total, "total_excluding_tax": total, "lines": lines}
        return invoice(number, at=NOON + number * DAY, billing_reason="subscription_update", **stated)

    outcomes(referred, invoice(), changed(2, 1000, 2000, -1000))
    assert standing(referred) == ("qualified", 2900, 30)
    outcomes(referred, changed(3, 0, 500, -2500), changed(4, 0, -100))
    assert standing(referred) == ("qualified", 2900, 30)


def test_17_the_first_payment_after_a_trial_is_the_first_once(referred: Company, superuser: psycopg.Connection) -> None:
    free: dict[str, Any] = {"amount_paid": 0, "total": 0, "total_excluding_tax": 0}
    outcomes(referred, subscription("created", "trialing"), invoice(1, **free))
    assert standing(referred) == REGISTERED
    cycle = invoice(2, at=NOON + 14 * DAY, billing_reason="subscription_cycle")
    outcomes(referred, cycle, cycle | {"id": "evt_again", "type": "invoice.payment_succeeded"})
    assert standing(referred) == QUALIFIED
    assert booked(superuser, referred) == [25]


def test_18_what_a_coupon_made_free_earns_nothing_until_there_is_money(referred: Company) -> None:
    free = session(amount_total=0, payment_status="no_payment_required", payment_intent=None)
    unpaid: dict[str, Any] = {"amount_paid": 0, "total": 0, "total_excluding_tax": 0}
    assert outcomes(referred, free, invoice(1, **unpaid), invoice(2, at=NOON + 31 * DAY, **unpaid)) == ["applied"] * 3
    assert standing(referred) == REGISTERED
    outcomes(referred, invoice(3, at=NOON + 62 * DAY))
    assert standing(referred) == QUALIFIED
    assert earned(referred, "recurring") == []


def test_19_a_session_that_saves_a_payment_method_sells_nothing(
    referred: Company, superuser: psycopg.Connection
) -> None:
    setup_only = session(mode="setup", amount_total=None, payment_intent=None, payment_status="no_payment_required")
    assert outcomes(referred, setup_only) == ["ignored"]
    assert standing(referred) == REGISTERED
    assert payments(superuser, referred) == 0


@pytest.mark.parametrize(
    ("event", "expected"),
    [("async_payment_succeeded", QUALIFIED), ("async_payment_failed", REGISTERED), ("expired", REGISTERED)],
)
def test_20_a_session_that_is_paid_later_counts_when_it_is_paid(
    referred: Company, event: str, expected: tuple[str, int, int]
) -> None:
    outcomes(referred, session(payment_status="unpaid"))
    assert standing(referred) == REGISTERED
    later = session(event, payment_status="paid" if expected == QUALIFIED else "unpaid")
    assert outcomes(referred, later) == ["applied" if expected == QUALIFIED else "ignored"]
    assert standing(referred) == expected


def test_21_only_what_came_through_stripe_counts_and_it_counts_whenever_it_comes(referred: Company) -> None:
    """Paid out of band, in the old shape and in the new one; then void; then written off, and paid after all."""
    by_hand = [invoice(1, paid_out_of_band=True), invoice(2, amount_paid_off_stripe=1900)]
    assert outcomes(referred, *by_hand) == ["applied"] * 2
    undone: dict[str, Any] = {"id": "in_3", "object": "invoice", "customer": "cus_1", "amount_paid": 0, "total": 1900}
    void = stripe("invoice.voided", undone | {"status": "void"})
    uncollectible = stripe("invoice.marked_uncollectible", undone | {"status": "uncollectible"})
    assert outcomes(referred, void, uncollectible) == ["ignored"] * 2
    assert standing(referred) == REGISTERED
    outcomes(referred, invoice(3, at=NOON + 9 * DAY))
    assert standing(referred) == QUALIFIED


def test_22_an_invoice_paid_in_parts_counts_once_and_each_part_can_be_refunded(
    referred: Company, superuser: psycopg.Connection
) -> None:
    part = invoice(1, status="open", amount_paid=900) | {"id": "evt_part", "type": "invoice.payment_succeeded"}
    outcomes(referred, part, link(1), link(2, invoice_number=1))
    assert standing(referred) == REGISTERED
    outcomes(referred, invoice(1))
    assert standing(referred) == QUALIFIED
    outcomes(referred, stripe("refund.created", refund(450, number=1)))
    second = refund(500, number=2, charge="ch_2", payment_intent="pi_2")
    assert outcomes(referred, stripe("refund.created", second)) == ["applied"]
    assert standing(referred) == ("qualified", 950, 5 + 13)
    assert (sum(booked(superuser, referred)), payments(superuser, referred)) == (13, 1)


def test_23_a_customers_credit_is_no_payment(company: Company) -> None:
    company.set_clock(NOON)
    take_tenth(company, usd=100)
    company.refer("ada", "ben")
    outcomes(company, invoice(1, amount_paid=0, starting_balance=-2900, ending_balance=-1000))
    assert standing(company) == REGISTERED
    outcomes(company, invoice(2, amount_paid=900, starting_balance=-1000, ending_balance=0))
    assert standing(company) == ("qualified", 900, 5 + 90)


@pytest.mark.parametrize(
    "taxed",
    [
        {"total_excluding_tax": 2000},
        {"total_excluding_tax": None, "tax": 380},
        {"total_excluding_tax": None, "total_taxes": [{"amount": 300}, {"amount": 80}]},
    ],
    ids=["told without tax", "one tax", "several taxes"],
)
def test_24_tax_is_nobodys_revenue_and_no_part_of_a_refund(referred: Company, taxed: dict[str, Any]) -> None:
    outcomes(referred, invoice(amount_paid=2380, total=2380, **taxed), link())
    assert standing(referred) == ("qualified", 2000, 30)
    outcomes(referred, stripe("refund.created", refund(1190)))
    assert standing(referred) == ("qualified", 1000, 5 + 13)


def test_24_tax_inside_or_on_top_of_a_price_on_whop_is_inside_its_total(referred: Company) -> None:
    half = {"id": "rf_1", "payment": {"id": "pay_1"}, "amount": 11.9, "currency": "usd", "status": "succeeded",
            "created_at": NOON.isoformat()}  # fmt: skip
    outcomes(referred, sale_on_whop(total="23.80", tax_amount="3.80"), whop("msg_1", "refund.created", half))
    assert standing(referred) == ("qualified", 1000, 5 + 13)


@pytest.mark.parametrize(
    ("currency", "amount", "points"),
    [
        ("jpy", 5000, 500),
        ("kwd", 1500, 15),
        ("isk", 100_000, 100),
        ("ugx", 380_000, 380),
        ("zzz", 5000, 0),
        (None, 5000, 0),
    ],
)
def test_25_every_currency_has_its_own_minor_unit(
    company: Company, superuser: psycopg.Connection, currency: str | None, amount: int, points: int
) -> None:
    """A tenth of 5000 yen, 1.500 dinars, 1000 krónur, 3800 shillings; what is in no known currency earns nothing."""
    company.set_clock(NOON)
    take_tenth(company, jpy=1, kwd=100, isk=1, ugx=1)
    company.refer("ada", "ben")
    stated: dict[str, Any] = {
        "amount_paid": amount,
        "total": amount,
        "total_excluding_tax": amount,
        "currency": currency,
    }
    assert outcomes(company, invoice(**stated)) == ["applied"]
    kept = rows.find_one(superuser, "SELECT * FROM payments WHERE company_id = %(id)s", id=company.id)
    assert (kept["currency"], kept["net_amount"]) == (currency, amount)
    assert company.balance("ada") == 5 + points


def test_26_a_payer_is_known_by_the_session_and_never_by_an_e_mail_that_is_not_verified(company: Company) -> None:
    company.set_clock(NOON)
    code = company.sign_up("ada")["user"]["referral_code"]
    ben = {"external_id": "ben", "email": "ben@app.example"}
    company.ok("POST", "/v1/signups", {"user": ben, "referral_code": code})
    seen: dict[str, Any] = {
        "customer": None,
        "customer_details": {"email": "ben@app.example"},
        "customer_email": "ben@app.example",
    }
    assert outcomes(company, session(id="cs_email", payment_intent="pi_email", user=None, **seen)) == ["parked"]
    deleted = {"id": "cus_1", "object": "customer", "deleted": True}
    assert outcomes(company, invoice(user=None, customer=deleted)) == ["parked"]
    assert standing(company) == REGISTERED
    named = session(mode="subscription", invoice="in_1", payment_intent=None)
    assert outcomes(company, named) == ["applied"]
    assert standing(company) == QUALIFIED


def test_26_a_guest_is_known_by_the_reference_of_the_session(referred: Company) -> None:
    assert outcomes(referred, session(customer=None)) == ["applied"]
    assert standing(referred) == QUALIFIED


def test_27_all_lines_of_an_invoice_are_one_payment(referred: Company) -> None:
    """A program is of the whole company: which product a line is of, and how many, makes no difference."""
    start = {"start": int(NOON.timestamp())}
    lines = [
        {"amount": 1400, "quantity": 7, "period": start, "pricing": {"price_details": {"product": "prod_1"}}},
        {"amount": 500, "quantity": 1, "period": start, "price": {"id": "price_2", "product": "prod_2"}},
    ]
    outcomes(referred, invoice(lines={"data": lines}))
    assert standing(referred) == QUALIFIED
    assert earned(referred, "qualified") == [(25, "paid", 0)]


def test_28_nobody_earns_by_paying_themselves(company: Company) -> None:
    """Known by the e-mail, and by the customer, whom two users cannot share. Nobody looks at a card."""
    company.set_clock(NOON)
    ada = {"external_id": "ada", "email": "ada@app.example", "stripe_customer_id": "cus_1"}
    code = company.ok("POST", "/v1/signups", {"user": ada})["user"]["referral_code"]
    twin = {"external_id": "twin", "email": "Ada@App.example"}
    answer = company.ok("POST", "/v1/signups", {"user": twin, "referral_code": code})
    assert answer["attribution"]["reason"] == "self_referral"
    same = {"user": {"external_id": "other", "stripe_customer_id": "cus_1"}, "referral_code": code}
    problem(company.api.send("POST", "/v1/signups", same), 409, "identity_taken")
    with_code: dict[str, Any] = {"metadata": {"goodword_code": code}}
    bought = session(id="cs_2", user="twin", customer="cus_2", payment_intent="pi_2", **with_code)
    assert outcomes(company, bought, session(user="ada", **with_code)) == ["applied"] * 2
    assert company.ok("GET", "/v1/users/ada/referrals")["data"] == []
    assert company.balance("ada") == 0


def test_29_a_cancellation_taken_back_and_made_again_reverses_nothing_paid(
    referred: Company, superuser: psycopg.Connection
) -> None:
    outcomes(
        referred,
        invoice(),
        subscription("updated", "active", NOON + 3 * DAY, cancel_at_period_end=True),
        subscription("updated", "active", NOON + 5 * DAY),
        subscription("deleted", "canceled", NOON + 31 * DAY),
    )
    assert standing(referred) == QUALIFIED
    assert booked(superuser, referred) == [25]


def test_30_a_test_event_and_another_accounts_event_are_kept_and_pay_nothing(live: Company) -> None:
    live.refer("ada", "ben")
    real = invoice_paid("evt_real", "in_1", user="ben", livemode=True)
    of_a_test = invoice_paid("evt_test", "in_1", user="ben")
    assert outcomes(live, of_a_test, real | {"id": "evt_account", "account": "acct_1"}) == ["ignored"] * 2
    notes = {each["event_id"]: each["note"] for each in live.ok("GET", "/v1/inbox")["data"]}
    assert notes == {"evt_test": "livemode_mismatch", "evt_account": "connect_account"}
    assert standing(live) == REGISTERED
    assert outcomes(live, real) == ["applied"]
    assert standing(live) == QUALIFIED


@pytest.mark.parametrize("age", [timedelta(seconds=301), timedelta(seconds=-310), timedelta(days=-365)])
def test_31_an_old_signature_is_refused_and_so_is_one_of_the_future(
    company: Company, superuser: psycopg.Connection, age: timedelta
) -> None:
    problem(company.deliver(invoice(), age=age), 400, "timestamp_out_of_range")
    problem(company.deliver_whop(sale_on_whop(), age=age), 400, "timestamp_out_of_range")
    assert not rows.count(superuser, company.id)["inbox_events"]


def test_31_a_little_skew_of_a_clock_is_taken(company: Company) -> None:
    assert company.deliver(invoice(), age=timedelta(seconds=250)).status == 200
    assert company.deliver_whop(sale_on_whop(), age=timedelta(seconds=-250)).status == 200


def test_32_the_old_secret_and_the_new_one_sign_and_so_do_both(referred: Company) -> None:
    old, new = "whsec_the_old_one", "whsec_the_new_one"
    url = referred.ok("POST", "/v1/provider-endpoints", {"provider": "stripe", "secrets": [old, new]})["url"]
    at = int(time.time())
    for number, secrets in enumerate(([old], [new], ["whsec_a_third", new], ["whsec_a_third"])):
        raw = json.dumps(invoice(number)).encode()
        signed = [signatures.sign(raw, secret, at).partition(",")[2] for secret in secrets]
        header = {"stripe-signature": ",".join([f"t={at}", *signed])}
        answer = referred.browser.send("POST", urlsplit(url).path, raw=raw, headers=header)
        assert answer.status == (400 if secrets == ["whsec_a_third"] else 200), secrets


def test_33_what_is_no_event_is_refused_and_nothing_of_it_is_kept(
    referred: Company, superuser: psycopg.Connection
) -> None:
    good = json.dumps(invoice()).encode()
    malformed = [
        b"", b"not JSON", b"[]", b"null", b"{}",
        b"\xef\xbb\xbf" + good,
        good.replace(b'"livemode"', b'"id": "evt_2", "livemode"', 1),
        good.replace(b"1900", b"NaN"),
        good.replace(b"1900", b"1e999"),
        good.replace(b"1900", b"9" * 5000),
        b'{"id": "evt_1", "type": "invoice.paid", "data": {}}',
        b'{"id": "evt_1", "type": "invoice.paid", "data": {"object": []}}',
    ]  # fmt: skip
    for raw in malformed:
        problem(referred.deliver(None, raw=raw), 400, "malformed_body")
    # what is called text but is none may have been changed on its way, and then its signature does not fit either
    assert referred.deliver(None, raw=good.replace(b"cus_1", b"cus_\xff")).status == 400
    problem(referred.deliver(None, raw=good + b" " * 1024 * 1024), 413, "body_too_large")
    assert not rows.count(superuser, referred.id)["inbox_events"]
    # well-formed, but more than any bank has: kept for an operator
    assert outcomes(referred, invoice(amount_paid=2**63)) == ["failed"]
    assert standing(referred) == REGISTERED


@pytest.mark.parametrize(
    "event",
    [
        {"id": "evt_1", "object": "v2.core.event", "type": "v1.invoice.paid", "related_object": {"id": "in_1"}},
        {"id": "9f6d", "version": "0", "detail-type": "invoice.paid", "source": "aws.partner/stripe", "detail": {}},
    ],
    ids=["thin", "EventBridge"],
)
def test_34_an_event_without_its_object_is_shown_to_an_operator(company: Company, event: dict[str, Any]) -> None:
    answer = company.deliver(event)
    assert (answer.status, answer.json["outcome"]) == (200, "failed")
    (kept,) = company.ok("GET", "/v1/inbox?status=failed")["data"]
    assert (kept["error"], kept["next_attempt_at"]) == ("thin_event", None)


def test_35_a_kind_or_a_status_yet_to_be_invented_changes_nothing(
    referred: Company, superuser: psycopg.Connection
) -> None:
    outcomes(referred, invoice(), link())
    unheard_of = [
        stripe("invoice.teleported", {"id": "in_1", "object": "invoice"}),
        stripe("charge.dispute.updated", dispute("under_divination")),
        stripe("refund.updated", refund(1900, "evaporated")),
        stripe("customer.subscription.updated", {"id": "sub_2", "object": "subscription", "status": "dreaming"}),
        whop("msg_1", "payment.teleported", {"id": "pay_1"}),
        whop("msg_2", "dispute.updated", {"id": "dspt_1", "status": "dreaming", "payment": {"id": "pay_1"}}),
    ]
    assert outcomes(referred, *unheard_of) == ["ignored"] * len(unheard_of)
    assert rows.count(superuser, referred.id)["inbox_events"] == 2 + len(unheard_of)
    assert standing(referred) == QUALIFIED


def test_36_an_expanded_object_stands_for_its_id(referred: Company) -> None:
    customer = {"id": "cus_1", "object": "customer", "email": "ben@app.example"}
    details: dict[str, Any] = {
        "subscription": {"id": "sub_1", "object": "subscription", "metadata": {"goodword_user": "ben"}}
    }
    parent = {"type": "subscription_details", "subscription_details": details}
    expanded = invoice(user=None, customer=customer, parent=parent)
    expanded["data"]["object"]["subscription"] = details["subscription"]
    assert outcomes(referred, expanded) == ["applied"]
    charge: dict[str, Any] = {
        "id": "ch_1",
        "object": "charge",
        "payment_intent": {"id": "pi_1", "invoice": {"id": "in_1"}},
    }
    given_back = refund(950, charge=charge, payment_intent=charge["payment_intent"])
    assert outcomes(referred, stripe("refund.created", given_back)) == ["applied"]
    assert standing(referred) == ("qualified", 950, 5 + 13)


def test_37_a_sale_told_by_both_kinds_of_whops_webhooks_is_one(
    referred: Company, superuser: psycopg.Connection
) -> None:
    at = int(NOON.timestamp())
    flat = {
        "id": "pay_1", "membership_id": "mem_user_1", "user_id": "user_1", "created_at": at, "paid_at": at,
        "status": "paid", "subtotal": 19.0, "final_amount": 19.0, "currency": "usd",
        "membership_metadata": {"goodword_user": "ben"},
    }  # fmt: skip
    v5 = {"action": "payment.succeeded", "api_version": "v5", "data": flat}
    assert outcomes(referred, v5, sale_on_whop()) == ["applied"] * 2
    assert standing(referred) == QUALIFIED
    assert (booked(superuser, referred), payments(superuser, referred)) == ([25], 1)


def test_38_a_replay_on_whop_is_one_sale_under_its_old_id_and_under_a_new_one(
    referred: Company, superuser: psycopg.Connection
) -> None:
    sale = sale_on_whop()
    answers = [referred.deliver_whop(sale, message_id=each).json for each in ("msg_1", "msg_1", "msg_regenerated")]
    assert [(answer["duplicate"], answer["outcome"]) for answer in answers] == [
        (False, "applied"), (True, "applied"), (False, "applied"),
    ]  # fmt: skip
    assert standing(referred) == QUALIFIED
    assert (booked(superuser, referred), payments(superuser, referred)) == ([25], 1)


@pytest.mark.parametrize("free", [{"total": "0.0", "currency": None}, {"total": 0}, {"total": money("0.00")}])
def test_39_a_free_purchase_on_whop_earns_nothing(
    referred: Company, superuser: psycopg.Connection, free: dict[str, Any]
) -> None:
    assert outcomes(referred, sale_on_whop(billing_reason="one_time", **free)) == ["applied"]
    assert standing(referred) == REGISTERED
    assert payments(superuser, referred) == 0


def test_40_a_membership_without_a_payment_is_only_a_membership(
    referred: Company, superuser: psycopg.Connection
) -> None:
    """It says how it stands, and whose later payments are."""
    stages = [("activated", "active"), ("deactivated", "expired"), ("activated", "active")]
    for days, (event, status) in enumerate(stages):
        data = {
            "id": "mem_user_1", "status": status, "created_at": NOON.isoformat(), "user": {"id": "user_1"},
            "plan": {"id": "plan_free"}, "metadata": {"goodword_user": "ben"},
        }  # fmt: skip
        assert outcomes(referred, whop(f"msg_{days}", f"membership.{event}", data, NOON + days * DAY)) == ["applied"]
    assert standing(referred) == REGISTERED
    kept = rows.find_one(superuser, "SELECT * FROM subscriptions WHERE company_id = %(id)s", id=referred.id)
    assert (kept["status"], kept["ended_at"]) == ("active", None)
    assert outcomes(referred, sale_on_whop(metadata={})) == ["applied"]
    assert standing(referred) == QUALIFIED


@pytest.mark.parametrize("by", ["sent again", "asked for"])
def test_41_what_an_endpoint_missed_counts_under_its_own_date_when_it_is_told_after_all(
    referred: Company, providers: Providers, by: str
) -> None:
    """The provider is asked what it could not deliver, or somebody has it sent again, however late.

    What comes so arrives in any order, long after the referral would have lapsed, and leads to what it would have led
    to in its time.
    """
    referred.set_clock(NOON + 120 * DAY)
    returned = stripe("refund.created", refund(900, created=int((NOON + 3 * DAY).timestamp())), NOON + 3 * DAY)
    missed = [returned, invoice(2, at=NOON + 32 * DAY), link(), invoice(1, at=NOON + DAY)]
    if by == "sent again":
        assert outcomes(referred, *missed) == ["parked", "applied", "applied", "applied"]
    else:
        endpoint = f"/v1/provider-endpoints/{referred.line['stripe_endpoint'].rpartition('/')[2]}"
        referred.ok("PATCH", endpoint, {"api_key": providers.open(missed).key})
        assert run_job(referred.url, "ReconcilePaymentsFunction")["events"] == len(missed)
        referred.ok("PATCH", endpoint, {"api_key": None})
    found = referral(referred)
    assert (found["stage"], time_of(found["qualified_at"])) == ("qualified", NOON + DAY)
    assert found["revenue"] == [{"currency": "usd", "amount": 2900}]
    assert earned(referred, "qualified") == [(25, "paid", 12)]
    assert earned(referred, "recurring") == [(10, "paid", 0)]


def test_42_a_delivery_of_months_ago_is_still_the_same_one(referred: Company, superuser: psycopg.Connection) -> None:
    """Its body is forgotten after ninety days; that it was here, and what it sold, never is."""
    sale = sale_on_whop()
    outcomes(referred, invoice(), sale)
    superuser.execute(
        "UPDATE inbox_events SET received_at = received_at - interval '400 days' WHERE company_id = %s", (referred.id,)
    )
    client = Client(referred.url)
    assert client.send("POST", "/_local/functions/EnforceRetentionFunction/invocations", {}).status == 200
    client.close()
    referred.set_clock(NOON + 400 * DAY)
    before = rows.count(superuser, referred.id)
    for event in (invoice(), sale):
        assert send(referred, event).json == {"received": True, "duplicate": True, "outcome": "applied"}
    assert rows.count(superuser, referred.id) == before
    assert outcomes(referred, sale | {"id": "msg_regenerated"}, invoice() | {"id": "evt_again"}) == ["applied"] * 2
    assert (booked(superuser, referred), payments(superuser, referred)) == ([25], 2)
