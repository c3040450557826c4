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
from tests.support import books, rows
from tests.support.companies import Company, invoice_paid, whop_payment
from tests.support.waiting import wait_until_blocked

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
    return {
        "id": f"evt_{event_type}_{value['id']}_{value.get('status')}{suffix}", "object": "event", "type": event_type,
        "livemode": False, "created": int(at.timestamp()), "api_version": "2026-10-28.endive",
        "data": {"object": value},
    }  # fmt: skip


def invoice(
    number: int = 1, *, user: str | None = "ben", buyer: str = "1", at: datetime = NOON, **fields: object
) -> dict[str, Any]:
    """19.00 paid, for the subscription of a buyer; `fields` replace some of the invoice's."""
    customer, key = f"cus_{buyer}", f"{buyer}_{number}" if buyer != "1" else f"{number}"
    event = invoice_paid(f"evt_invoice_{key}", f"in_{key}", user=user, customer=customer, paid_at=at)
    event["data"]["object"]["parent"]["subscription_details"]["subscription"] = f"sub_{buyer}"
    event["data"]["object"] |= fields
    return event


def link(number: int = 1, invoice_number: int = 1) -> dict[str, Any]:
    """What ties an invoice to a payment intent since basil."""
    payment = {"payment_intent": f"pi_{number}"}
    return stripe(
        "invoice_payment.paid", {"id": f"inpay_{number}", "invoice": f"in_{invoice_number}"} | {"payment": payment}
    )


def refund(amount: int, status: str = "succeeded", *, number: int = 1, **fields: object) -> dict[str, Any]:
    """A refund as an object, of the charge of the first sale."""
    return {
        "id": f"re_{number}", "object": "refund", "amount": amount, "charge": "ch_1", "currency": "usd",
        "created": int(NOON.timestamp()), "payment_intent": "pi_1", "status": status,
    } | fields  # fmt: skip


def dispute(status: str, amount: int = 1900, **fields: object) -> dict[str, Any]:
    """A dispute over the charge of the first sale, as an object."""
    return {
        "id": "dp_1", "object": "dispute", "amount": amount, "charge": "ch_1", "currency": "usd",
        "created": int(NOON.timestamp()), "payment_intent": "pi_1", "status": status,
    } | fields  # fmt: skip


def session(
    event: str = "completed", *, user: str | None = "ben", at: datetime = NOON, **fields: object
) -> dict[str, Any]:
    """A one-time purchase of 19.00."""
    value = {
        "id": "cs_1", "object": "checkout.session", "mode": "payment", "payment_status": "paid", "status": "complete",
        "created": int(at.timestamp()), "client_reference_id": user, "customer": "cus_1", "subscription": None,
        "invoice": None, "payment_intent": "pi_1", "metadata": {}, "currency": "usd", "amount_total": 1900,
        "total_details": {"amount_tax": 0},
    } | fields  # fmt: skip
    return stripe(f"checkout.session.{event}", value, at)


def subscription(event: str, status: str, at: datetime = NOON, **fields: object) -> dict[str, Any]:
    """What has happened to the subscription of the invoices."""
    value = {
        "id": "sub_1", "object": "subscription", "status": status, "customer": "cus_1", "metadata": {},
        "created": int(NOON.timestamp()), "cancel_at_period_end": False, "ended_at": None, "canceled_at": None,
        "items": {"data": [{"id": "si_1", "price": {"id": "price_1"}}]},
    } | fields  # fmt: skip
    return stripe(f"customer.subscription.{event}", value, at, suffix=f"_{int(at.timestamp())}")


def whop(message_id: str, event_type: str, data: dict[str, Any], at: datetime = NOON) -> dict[str, Any]:
    return {"id": message_id, "api_version": "v1", "timestamp": at.isoformat(), "type": event_type, "data": data}


def sale_on_whop(message_id: str = "msg_sale", **fields: object) -> dict[str, Any]:
    """19.00, paid on Whop at NOON."""
    stated = {"created_at": NOON.isoformat(), "paid_at": NOON.isoformat(), "total": "19.00"} | fields
    return whop_payment(message_id, "pay_1", user="ben", **stated) | {"timestamp": NOON.isoformat()}


def money(amount: str, currency: str = "usd") -> dict[str, Any]:
    return {"amount": amount, "currency": currency, "decimals": 2, "display_decimals": 2}


def send(company: Company, event: dict[str, Any]) -> Answer:
    """Deliver an event to the endpoint of its provider."""
    return company.deliver(event) if event.get("object") == "event" else company.deliver_whop(event)


def told(company: Company, *events: dict[str, Any]) -> list[str]:
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
    with psycopg.connect(cluster.superuser_url(setup.DATABASE)) as holder, ThreadPoolExecutor(1) as thread:
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
    assert told(referred, paid, succeeded, bought) == ["applied"] * 3

    secret = "whsec_the_second"
    url = referred.ok("POST", "/v1/provider-endpoints", {"provider": "stripe", "secrets": [secret]})["url"]
    raw = json.dumps(paid).encode()
    header = {"stripe-signature": signatures.sign(raw, secret, int(time.time()))}
    answer = referred.browser.send("POST", urlsplit(url).path, raw=raw, headers=header)
    assert answer.json == {"received": True, "duplicate": False, "outcome": "applied"}
    assert standing(referred) == QUALIFIED
    assert (booked(superuser, referred), payments(superuser, referred)) == ([25], 1)


def test_04_a_refund_waits_for_its_payment(referred: Company) -> None:
    assert told(referred, stripe("refund.created", refund(950))) == ["parked"]
    assert standing(referred) == REGISTERED
    assert told(referred, link(), invoice()) == ["applied"] * 2
    assert standing(referred) == ("qualified", 950, 5 + 13)


def test_05_an_invoice_before_its_session_and_its_signup_counts_under_its_own_date(company: Company) -> None:
    """Twice the signup comes last or the session does; the second time after the referral would have lapsed."""
    company.set_clock(NOON)
    code = company.sign_up("ada")["user"]["referral_code"]
    assert told(company, invoice(user=None)) == ["parked"]
    told(company, session(mode="subscription", invoice="in_1", subscription="sub_1", payment_intent=None))
    company.sign_up("ben", referral_code=code)
    assert standing(company) == QUALIFIED

    company.sign_up("eve", referral_code=code)
    company.set_clock(NOON + 100 * DAY)
    late = invoice(user=None, buyer="eve", at=NOON + 80 * DAY)
    named = session(id="cs_eve", user="eve", customer="cus_eve", mode="subscription", payment_intent=None)
    assert told(company, late, named) == ["parked", "applied"]
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
        told(company, invoice(user=person, buyer=person, at=NOON - age))
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
        told(company, first, *((gone, last) if deleted_first else (last, gone)))
    found = company.ok("GET", "/v1/users/ada/referrals")["data"]
    assert [(each["stage"], each["revenue"][0]["amount"]) for each in found] == [("qualified", 3800)] * 2
    assert earned(company, "recurring") == [(10, "paid", 0)] * 2
    assert company.balance("ada") == 2 * (5 + 25 + 10)


def test_08_refunds_in_parts_add_up_to_what_was_earned(referred: Company, superuser: psycopg.Connection) -> None:
    """Each is counted from the whole payment, and the last one brings the rest of the rounding."""
    told(referred, invoice(), link())
    for number, (amount, balance) in enumerate(((500, 23), (500, 17), (900, 5)), start=1):
        told(referred, stripe("refund.created", refund(amount, number=number)))
        assert referred.balance("ada") == balance
    assert standing(referred) == CANCELLED
    assert booked(superuser, referred) == [25, -7, -6, -12]


def test_09_a_refund_told_by_its_charge_and_by_itself_is_one(referred: Company, superuser: psycopg.Connection) -> None:
    charge = {
        "id": "ch_1", "object": "charge", "amount": 1900, "amount_refunded": 950, "payment_intent": "pi_1",
        "invoice": "in_1", "refunds": {"object": "list", "data": [refund(950)]},
    }  # fmt: skip
    told(referred, invoice(), stripe("charge.refunded", charge), stripe("refund.created", refund(950)))
    bare = {name: value for name, value in charge.items() if name != "refunds"}
    told(referred, stripe("charge.refunded", bare, suffix="_bare"), stripe("charge.refund.updated", refund(950)))
    assert standing(referred) == ("qualified", 950, 5 + 13)
    assert booked(superuser, referred) == [25, -12]


@pytest.mark.parametrize(("event", "status"), [("refund.failed", "failed"), ("refund.updated", "canceled")])
def test_10_a_refund_that_comes_to_nothing_is_undone(
    referred: Company, superuser: psycopg.Connection, event: str, status: str
) -> None:
    told(referred, invoice(), link(), stripe("refund.created", refund(1900, "pending")))
    assert standing(referred) == CANCELLED
    told(referred, stripe(event, refund(1900, status), NOON + DAY))
    assert standing(referred) == QUALIFIED
    assert booked(superuser, referred) == [25, -25, 25]


@pytest.mark.parametrize("spent", [0, 30])
def test_11_what_was_paid_out_is_taken_back_from_the_balance_and_the_rest_is_owed(
    referred: Company, spent: int
) -> None:
    """No balance is ever below zero: what it cannot cover is debt, which the next points repay."""
    told(referred, invoice(), link())
    if spent:
        option = {"kind": "quota", "name": "Calls", "feature": "ai_calls", "quantity": 5, "cost_points": spent}
        bought = {"option_id": referred.ok("POST", "/v1/redemption-options", option)["id"]}
        referred.ok("POST", "/v1/users/ada/redemptions", bought, key="calls")
    told(referred, stripe("refund.created", refund(1900)))
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
    assert told(referred, sale, whop("msg_1", "refund.created", half)) == ["applied"] * 2
    assert standing(referred) == ("qualified", 950, 5 + 13)


def test_13_a_dispute_holds_then_takes_back_or_gives_back(referred: Company, superuser: psycopg.Connection) -> None:
    """A paid award stays while the dispute is open; an inquiry moves nothing, and an appeal leaves what was."""
    told(referred, invoice(), link())
    steps = [
        ("created", "warning_needs_response", "applied", QUALIFIED),
        ("updated", "needs_response", "applied", QUALIFIED),
        ("closed", "lost", "applied", CANCELLED),
        ("updated", "appeal_under_review", "ignored", CANCELLED),
        ("closed", "won", "applied", QUALIFIED),
        ("updated", "prevented", "applied", CANCELLED),
    ]
    for number, (event, status, outcome, expected) in enumerate(steps):
        assert told(referred, stripe(f"charge.dispute.{event}", dispute(status), NOON + number * DAY)) == [outcome]
        assert standing(referred) == expected, status
    assert booked(superuser, referred) == [25, -25, 25, -25]


def test_13_an_award_that_waits_is_held_while_a_dispute_is_open(company: Company) -> None:
    program = company.ok("GET", "/v1/program")["program"]
    program["awards"]["qualified"]["hold_days"] = 7
    company.ok("PUT", "/v1/program", program)
    company.set_clock(NOON)
    company.refer("ada", "ben")
    told(company, invoice(), link(), stripe("charge.dispute.created", dispute("needs_response")))
    assert earned(company, "qualified") == [(25, "held", 0)]
    told(company, stripe("charge.dispute.closed", dispute("won"), NOON + DAY))
    assert earned(company, "qualified") == [(25, "pending", 0)]


@pytest.mark.parametrize("refund_first", [True, False])
def test_14_a_refund_and_a_dispute_together_take_back_no_more_than_was_earned(
    referred: Company, superuser: psycopg.Connection, *, refund_first: bool
) -> None:
    taken = [stripe("refund.created", refund(1200)), stripe("charge.dispute.closed", dispute("lost"))]
    told(referred, invoice(), link(), *(taken if refund_first else reversed(taken)))
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
    told(referred, invoice(), link(), stripe("charge.dispute.closed", dispute("lost", **fields)))
    assert standing(referred) == expected


def test_16_a_change_of_plan_counts_as_what_its_invoice_came_to(referred: Company) -> None:
    def line(amount: int, *, proration: bool) -> dict[str, Any]:
        details = {"subscription": "sub_1", "proration": proration}
        parent = {"type": "subscription_item_details", "subscription_item_details": details}
        return {"amount": amount, "parent": parent, "period": {"start": int(NOON.timestamp())}}

    def changed(number: int, paid: int, *amounts: int) -> dict[str, Any]:
        total = sum(amounts)
        lines = {"data": [line(amount, proration=True) for amount in amounts]}
        stated = {"amount_paid": paid, "total": total, "total_excluding_tax": total, "lines": lines}
        return invoice(number, at=NOON + number * DAY, billing_reason="subscription_update", **stated)

    told(referred, invoice(), changed(2, 1000, 2000, -1000))
    assert standing(referred) == ("qualified", 2900, 30)
    told(referred, changed(3, 0, 500, -2500), changed(4, 0, -100))
    assert standing(referred) == ("qualified", 2900, 30)


def test_17_the_first_payment_after_a_trial_is_the_first_once(referred: Company, superuser: psycopg.Connection) -> None:
    free = {"amount_paid": 0, "total": 0, "total_excluding_tax": 0}
    told(referred, subscription("created", "trialing"), invoice(1, **free))
    assert standing(referred) == REGISTERED
    cycle = invoice(2, at=NOON + 14 * DAY, billing_reason="subscription_cycle")
    told(referred, cycle, cycle | {"id": "evt_again", "type": "invoice.payment_succeeded"})
    assert standing(referred) == QUALIFIED
    assert booked(superuser, referred) == [25]


def test_18_what_a_coupon_made_free_earns_nothing_until_there_is_money(referred: Company) -> None:
    free = session(amount_total=0, payment_status="no_payment_required", payment_intent=None)
    unpaid = {"amount_paid": 0, "total": 0, "total_excluding_tax": 0}
    assert told(referred, free, invoice(1, **unpaid), invoice(2, at=NOON + 31 * DAY, **unpaid)) == ["applied"] * 3
    assert standing(referred) == REGISTERED
    told(referred, invoice(3, at=NOON + 62 * DAY))
    assert standing(referred) == QUALIFIED
    assert earned(referred, "recurring") == []


def test_19_a_session_that_saves_a_payment_method_sells_nothing(
    referred: Company, superuser: psycopg.Connection
) -> None:
    setup_only = session(mode="setup", amount_total=None, payment_intent=None, payment_status="no_payment_required")
    assert told(referred, setup_only) == ["ignored"]
    assert standing(referred) == REGISTERED
    assert payments(superuser, referred) == 0


@pytest.mark.parametrize(
    ("event", "expected"),
    [("async_payment_succeeded", QUALIFIED), ("async_payment_failed", REGISTERED), ("expired", REGISTERED)],
)
def test_20_a_session_that_is_paid_later_counts_when_it_is_paid(
    referred: Company, event: str, expected: tuple[str, int, int]
) -> None:
    told(referred, session(payment_status="unpaid"))
    assert standing(referred) == REGISTERED
    later = session(event, payment_status="paid" if expected == QUALIFIED else "unpaid")
    assert told(referred, later) == ["applied" if expected == QUALIFIED else "ignored"]
    assert standing(referred) == expected
