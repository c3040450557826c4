"""What refunds and disputes take back, and give back, through the webhooks of both providers, in any order."""

from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import psycopg
import pytest

from local.client import Client
from tests.support import rows, stripe_objects, whop_objects
from tests.support.companies import Company
from tests.support.stripe_objects import invoice_paid
from tests.support.whop_objects import money, whop_payment

NOON = datetime(2031, 1, 15, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def referred(company: Company) -> Company:
    """Ada brought Ben, at NOON, and has 5 points for that."""
    company.set_clock(NOON)
    company.refer("ada", "ben")
    return company


def stripe(event_id: str, event_type: str, value: dict[str, Any], at: datetime = NOON) -> dict[str, Any]:
    """An event, told at `at`."""
    return stripe_objects.event(event_type, value, sent_at=at, id=event_id)


def refund(number: int, amount: int, status: str = "succeeded", *, sale: str = "1", **fields: object) -> dict[str, Any]:
    return stripe_objects.refund(sale, id=f"re_{sale}_{number}", amount=amount, status=status, created=NOON) | fields


def dispute(status: str, amount: int = 1900, **fields: object) -> dict[str, Any]:
    return stripe_objects.dispute(amount=amount, status=status, created=NOON) | fields


def link(sale: str = "1") -> dict[str, Any]:
    """What ties an invoice to its payment intent since basil."""
    return stripe(f"evt_link_{sale}", "invoice_payment.paid", stripe_objects.invoice_payment(sale))


def invoice(sale: str = "1", user: str | None = "ben") -> dict[str, Any]:
    """19.00, paid at noon."""
    return invoice_paid(f"evt_invoice_{sale}", f"in_{sale}", user=user, customer=f"cus_{sale}", paid_at=NOON)


def session(sale: str = "1", user: str | None = "ben", **fields: object) -> dict[str, Any]:
    """A one-time purchase of 59.50 with 9.50 tax."""
    of_sale = {"id": f"cs_{sale}", "customer": f"cus_{sale}", "payment_intent": f"pi_{sale}"}
    value = stripe_objects.session(amount=5950, tax=950, client_reference_id=user, created=NOON) | of_sale | fields
    return stripe(f"evt_session_{sale}", "checkout.session.completed", value)


def intent(sale: str = "1", amount: int = 5950, user: str = "ben") -> dict[str, Any]:
    """The payment intent of a sale, with what the company wrote on it."""
    value = stripe_objects.intent(
        id=f"pi_{sale}", amount=amount, customer=f"cus_{sale}", latest_charge=f"ch_{sale}",
        metadata={"goodword_user": user}, created=NOON - timedelta(minutes=1),
    )  # fmt: skip
    return stripe(f"evt_intent_{sale}", "payment_intent.succeeded", value)


def outcome(company: Company, event: dict[str, Any]) -> str:
    """Deliver an event that is no duplicate; its outcome."""
    answer = company.deliver(event) if event.get("object") == "event" else company.deliver_whop(event)
    assert (answer.status, answer.json["duplicate"]) == (200, False), answer.raw
    return answer.json["outcome"]


def award(company: Company, event: str = "qualified", user: str = "ada") -> dict[str, Any]:
    """The only award of a user for one event."""
    (only,) = [each for each in company.ok("GET", f"/v1/users/{user}/awards")["data"] if each["event"] == event]
    return only


def standing(company: Company, user: str = "ada") -> tuple[str, str, int, int]:
    """The stage of the only referral; status and reversed points of its award for the payment; the balance."""
    (referral,) = company.ok("GET", f"/v1/users/{user}/referrals")["data"]
    qualified = award(company, user=user)
    return referral["stage"], qualified["status"], qualified["reversed_points"], company.balance(user)


def revenue(company: Company) -> list[dict[str, Any]]:
    (referral,) = company.ok("GET", "/v1/users/ada/referrals")["data"]
    return referral["revenue"]


def booked(superuser: psycopg.Connection, company: Company) -> list[tuple[str, int]]:
    """What the payment, and what was taken and given back, came to in the ledger, in order."""
    found = rows.find(
        superuser,
        "SELECT type, delta FROM entries WHERE company_id = %(id)s"
        " AND type IN ('REFERRAL_FIRST_PAYMENT', 'REVERSAL', 'REINSTATEMENT') ORDER BY id",
        id=company.id,
    )
    return [(row["type"], row["delta"]) for row in found]


def run(company: Company, job: str) -> None:
    client = Client(company.url)
    answer = client.send("POST", f"/_local/functions/{job}Function/invocations", {})
    client.close()
    assert answer.status == 200, answer.raw


# Refunds


def test_refunds_take_back_their_share_and_the_last_one_the_rest(
    referred: Company, superuser: psycopg.Connection
) -> None:
    assert [outcome(referred, each) for each in (invoice(), link())] == ["applied", "applied"]
    assert standing(referred) == ("qualified", "paid", 0, 30)

    assert outcome(referred, stripe("evt_1", "refund.created", refund(1, 500))) == "applied"
    assert standing(referred) == ("qualified", "paid", 7, 23)  # 25 * 14/19 = 18.4
    assert revenue(referred) == [{"currency": "usd", "amount": 1400}]

    assert outcome(referred, stripe("evt_2", "refund.created", refund(2, 500))) == "applied"
    assert standing(referred) == ("qualified", "paid", 13, 17)  # 25 * 9/19 = 11.8
    assert revenue(referred) == [{"currency": "usd", "amount": 900}]

    assert outcome(referred, stripe("evt_3", "refund.created", refund(3, 900))) == "applied"
    assert standing(referred) == ("cancelled", "reversed", 25, 5)
    assert revenue(referred) == [{"currency": "usd", "amount": 0}]
    assert booked(superuser, referred) == [
        ("REFERRAL_FIRST_PAYMENT", 25), ("REVERSAL", -7), ("REVERSAL", -6), ("REVERSAL", -12),
    ]  # fmt: skip


def test_one_refund_is_one_refund_whatever_events_tell_of_it(referred: Company, superuser: psycopg.Connection) -> None:
    shown = {"object": "list", "data": [refund(1, 500)]}
    charge = {"id": "ch_1", "object": "charge", "amount": 1900, "amount_refunded": 500, "payment_intent": "pi_1"}
    refunds = [
        stripe("evt_1", "charge.refunded", charge),
        stripe("evt_2", "charge.refunded", charge | {"refunds": shown, "invoice": "in_1"}),
        stripe("evt_3", "refund.created", refund(1, 500)),
        stripe("evt_4", "refund.updated", refund(1, 500)),
        stripe("evt_5", "charge.refund.updated", refund(1, 500)),
    ]
    for event in (invoice(), link(), *refunds):
        assert outcome(referred, event) == "applied"
    assert booked(superuser, referred) == [("REFERRAL_FIRST_PAYMENT", 25), ("REVERSAL", -7)]


def test_a_refund_that_fails_gives_back_and_stays_failed(referred: Company, superuser: psycopg.Connection) -> None:
    for event in (invoice(), link(), stripe("evt_1", "refund.created", refund(1, 1900, "pending"))):
        assert outcome(referred, event) == "applied"
    assert standing(referred) == ("cancelled", "reversed", 25, 5)
    assert outcome(referred, stripe("evt_2", "refund.failed", refund(1, 1900, "failed"), NOON + DAY)) == "applied"
    assert standing(referred) == ("qualified", "paid", 0, 30)
    late = stripe("evt_3", "refund.updated", refund(1, 1900, "pending"), NOON + DAY - timedelta(seconds=1))
    assert outcome(referred, late) == "applied"
    assert standing(referred) == ("qualified", "paid", 0, 30)
    assert booked(superuser, referred) == [
        ("REFERRAL_FIRST_PAYMENT", 25), ("REVERSAL", -25), ("REINSTATEMENT", 25),
    ]  # fmt: skip


def test_a_refund_waits_for_its_payment_and_for_its_payments_person(
    company: Company, superuser: psycopg.Connection
) -> None:
    company.set_clock(NOON)
    assert outcome(company, stripe("evt_1", "refund.created", refund(1, 2975))) == "parked"
    assert outcome(company, session()) == "parked"
    assert outcome(company, stripe("evt_2", "refund.updated", refund(1, 2975), NOON + DAY)) == "parked"
    company.refer("ada", "ben")
    assert standing(company) == ("qualified", "paid", 12, 5 + 13)  # half up, of 25 / 2
    assert revenue(company) == [{"currency": "usd", "amount": 2500}]
    assert booked(superuser, company) == [("REFERRAL_FIRST_PAYMENT", 25), ("REVERSAL", -12)]


def test_a_whole_refund_before_its_payment_leaves_nothing_to_book(
    referred: Company, superuser: psycopg.Connection
) -> None:
    assert outcome(referred, stripe("evt_1", "refund.created", refund(1, 5950))) == "parked"
    assert outcome(referred, session()) == "applied"
    assert standing(referred) == ("cancelled", "reversed", 25, 5)
    assert booked(superuser, referred) == []


def test_an_invoice_its_link_and_its_refund_come_to_the_same_in_every_order(company: Company) -> None:
    company.set_clock(NOON)
    code = company.sign_up("ada")["user"]["referral_code"]
    for number, order in enumerate(permutations(range(4))):
        ben, sale = f"ben-{number}", f"{number}x"
        company.sign_up(ben, referral_code=code)
        charge = {"id": f"ch_{sale}", "object": "charge", "payment_intent": f"pi_{sale}"}
        events = [
            invoice(sale, ben),
            link(sale),
            # an old dispute or refund may name nothing but the charge
            stripe(f"evt_refund_{sale}", "refund.created", refund(1, 950, sale=sale, payment_intent=None)),
            stripe(f"evt_charge_{sale}", "charge.succeeded", charge),
        ]
        for position in order:
            outcome(company, events[position])
        (referral,) = company.ok("GET", "/v1/users/ada/referrals?limit=1")["data"]
        assert (referral["referee"], referral["revenue"]) == (ben, [{"currency": "usd", "amount": 950}]), order
    qualified = [each for each in company.ok("GET", "/v1/users/ada/awards?limit=100")["data"] if each["period"] == 1]
    assert len(qualified) == 24
    # whatever each was worth, it loses its half
    assert all(each["reversed_points"] == each["points"] // 2 for each in qualified)


def test_a_refund_of_more_than_was_paid_takes_back_no_more_than_was_earned(referred: Company) -> None:
    for event in (invoice(), link(), stripe("evt_1", "refund.created", refund(1, 1900))):
        outcome(referred, event)
    outcome(referred, stripe("evt_2", "charge.dispute.created", dispute("needs_response")))
    outcome(referred, stripe("evt_3", "charge.dispute.closed", dispute("lost"), NOON + DAY))
    assert standing(referred) == ("cancelled", "reversed", 25, 5)


def test_a_customers_other_payment_answers_for_no_refund(referred: Company) -> None:
    outcome(referred, invoice())
    assert outcome(referred, stripe("evt_1", "refund.created", refund(1, 500, customer="cus_1"))) == "parked"
    assert standing(referred) == ("qualified", "paid", 0, 30)


# Payments that only a payment intent tells


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_session_counts_instead_of_its_payment_intent(
    referred: Company, superuser: psycopg.Connection, order: tuple[int, int]
) -> None:
    events = [session(), intent()]
    for position in order:
        assert outcome(referred, events[position]) == "applied"
    assert revenue(referred) == [{"currency": "usd", "amount": 5000}]
    assert standing(referred) == ("qualified", "paid", 0, 30)
    assert booked(superuser, referred) == [("REFERRAL_FIRST_PAYMENT", 25)]


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_an_invoice_counts_instead_of_its_payment_intent(
    referred: Company, superuser: psycopg.Connection, order: tuple[int, ...]
) -> None:
    events = [invoice(), link(), intent(amount=1900), stripe("evt_1", "refund.created", refund(1, 950))]
    for position in order:
        outcome(referred, events[position])
    assert revenue(referred) == [{"currency": "usd", "amount": 950}]
    assert standing(referred) == ("qualified", "paid", 12, 18)
    entries = booked(superuser, referred)
    assert entries[0] == ("REFERRAL_FIRST_PAYMENT", 25)
    assert sum(delta for _, delta in entries) == 13


def test_a_percentage_is_of_the_sale_and_not_of_its_payment_intent(company: Company) -> None:
    """The intent does not know the tax; what it earned is taken back when the session comes."""
    program = company.ok("GET", "/v1/program")["program"]
    program["awards"]["qualified"] = {"bps": 1000, "hold_days": 0}
    company.ok("PUT", "/v1/program", program)
    company.set_clock(NOON)
    company.refer("ada", "ben")
    outcome(company, intent())
    assert company.balance("ada") == 5 + 595
    outcome(company, session())
    assert company.balance("ada") == 5 + 500


def test_a_payment_intent_alone_counts_and_can_be_refunded(referred: Company) -> None:
    assert outcome(referred, intent()) == "applied"
    assert standing(referred) == ("qualified", "paid", 0, 30)
    assert outcome(referred, stripe("evt_1", "refund.created", refund(1, 5950, payment_intent=None))) == "applied"
    assert standing(referred) == ("cancelled", "reversed", 25, 5)


# Disputes


def test_a_paid_award_stays_while_a_dispute_is_open_and_goes_and_comes_back_with_it(
    referred: Company, superuser: psycopg.Connection
) -> None:
    outcome(referred, invoice())
    outcome(referred, link())
    steps = [
        ("created", "warning_needs_response", ("qualified", "paid", 0, 30)),
        ("updated", "needs_response", ("qualified", "paid", 0, 30)),
        ("funds_withdrawn", "under_review", ("qualified", "paid", 0, 30)),
        ("closed", "lost", ("cancelled", "reversed", 25, 5)),
        ("updated", "appeal_needs_response", ("cancelled", "reversed", 25, 5)),
        ("closed", "won", ("qualified", "paid", 0, 30)),
        ("funds_reinstated", "won", ("qualified", "paid", 0, 30)),
    ]
    for number, (event, status, expected) in enumerate(steps):
        stripe_event = stripe(f"evt_{number}", f"charge.dispute.{event}", dispute(status), NOON + number * DAY)
        assert outcome(referred, stripe_event) == ("ignored" if status.startswith("appeal") else "applied")
        assert standing(referred) == expected, status
    assert booked(superuser, referred) == [
        ("REFERRAL_FIRST_PAYMENT", 25), ("REVERSAL", -25), ("REINSTATEMENT", 25),
    ]  # fmt: skip


def test_a_dispute_that_has_no_id_is_lost_and_won_by_its_charge(
    referred: Company, superuser: psycopg.Connection
) -> None:
    outcome(referred, invoice())
    outcome(referred, link())
    for number, (status, balance) in enumerate([("needs_response", 30), ("lost", 5), ("lost", 5), ("won", 30)]):
        nameless = {name: value for name, value in dispute(status).items() if name != "id"}
        event = stripe(f"evt_{number}", "charge.dispute.updated", nameless, NOON + number * DAY)
        assert (outcome(referred, event), referred.balance("ada")) == ("applied", balance)
    assert rows.count(superuser, referred.id)["takebacks"] == 1


@pytest.mark.parametrize("end", ["won", "lost", "prevented", "charge_refunded"])
def test_a_waiting_award_is_held_while_a_dispute_is_open(
    company: Company, superuser: psycopg.Connection, end: str
) -> None:
    company.set_clock(NOON)
    program = company.ok("GET", "/v1/program")["program"]
    program["awards"]["qualified"]["hold_days"] = 7
    company.ok("PUT", "/v1/program", program)
    company.refer("ada", "ben")
    outcome(company, invoice())
    outcome(company, link())
    assert award(company)["status"] == "pending"

    outcome(company, stripe("evt_1", "charge.dispute.created", dispute("needs_response")))
    assert (award(company)["status"], award(company)["hold_reason"]) == ("held", "dispute")
    company.set_clock(NOON + 8 * DAY)
    run(company, "ReleaseAwards")
    assert (award(company)["status"], company.balance("ada")) == ("held", 5)

    outcome(company, stripe("evt_2", "charge.dispute.closed", dispute(end), NOON + 8 * DAY))
    if end in {"lost", "prevented"}:
        assert standing(company) == ("cancelled", "reversed", 25, 5)
        assert booked(superuser, company) == []
    else:
        assert standing(company) == ("qualified", "paid", 0, 30)
        assert booked(superuser, company) == [("REFERRAL_FIRST_PAYMENT", 25)]


def test_a_dispute_before_its_payment_holds_what_the_payment_earns(referred: Company) -> None:
    assert outcome(referred, stripe("evt_1", "charge.dispute.created", dispute("needs_response"))) == "parked"
    outcome(referred, link())
    outcome(referred, invoice())
    assert award(referred)["status"] == "held"
    outcome(referred, stripe("evt_2", "charge.dispute.closed", dispute("won"), NOON + DAY))
    assert standing(referred) == ("qualified", "paid", 0, 30)


def test_a_dispute_over_a_part_takes_back_that_part(referred: Company) -> None:
    for event in (invoice(), link(), stripe("evt_1", "charge.dispute.closed", dispute("lost", 950))):
        outcome(referred, event)
    assert standing(referred) == ("qualified", "paid", 12, 18)


@pytest.mark.parametrize("fields", [{"amount": 999_999}, {"amount": 1, "currency": "jpy"}])
def test_a_dispute_that_cannot_be_a_part_is_over_all_of_it(referred: Company, fields: dict[str, Any]) -> None:
    for event in (invoice(), link(), stripe("evt_1", "charge.dispute.closed", dispute("lost", **fields))):
        outcome(referred, event)
    assert standing(referred) == ("cancelled", "reversed", 25, 5)


# Whop


def whop(message_id: str, event_type: str, data: dict[str, Any], at: datetime = NOON) -> dict[str, Any]:
    return whop_objects.event(event_type, data, sent_at=at, id=message_id)


def paid(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """29.00, paid at noon."""
    return whop_payment("msg_paid", "pay_1", user="ben", sent_at=NOON, **fields)


def whop_refund(number: int, amount: float, status: str = "succeeded") -> dict[str, Any]:
    return whop_objects.refund(id=f"rf_{number}", amount=amount, status=status, created_at=NOON)


def whop_dispute(status: str, **fields: object) -> dict[str, Any]:
    return whop_objects.dispute(status=status, created_at=NOON) | fields


def test_refunds_on_whop_take_back_their_share_and_the_last_one_the_rest(
    referred: Company, superuser: psycopg.Connection
) -> None:
    assert outcome(referred, paid()) == "applied"
    assert outcome(referred, whop("msg_1", "refund.created", whop_refund(1, 6.9))) == "applied"
    assert standing(referred) == ("qualified", "paid", 6, 24)  # 25 * 22.10/29 = 19.05
    assert revenue(referred) == [{"currency": "usd", "amount": 2210}]
    flat = {"id": "rf_2", "payment_id": "pay_1", "amount": 2.1, "currency": "usd", "status": "succeeded",
            "created_at": int(NOON.timestamp())}  # fmt: skip
    assert outcome(referred, {"action": "refund.created", "api_version": "v5", "data": flat}) == "applied"
    assert standing(referred) == ("qualified", "paid", 8, 22)  # 25 * 20/29 = 17.2
    native = {"id": "rf_3", "payment_id": "pay_1", "amount": money("20.00"), "original_amount": money("20.00"),
              "status": "pending", "created_at": NOON.isoformat(), "updated_at": NOON.isoformat()}  # fmt: skip
    assert outcome(referred, whop("msg_3", "refund.created", native)) == "applied"
    assert standing(referred) == ("cancelled", "reversed", 25, 5)
    assert outcome(referred, whop("msg_4", "refund.updated", native | {"status": "failed"}, NOON + DAY)) == "applied"
    assert standing(referred) == ("qualified", "paid", 8, 22)
    assert booked(superuser, referred) == [
        ("REFERRAL_FIRST_PAYMENT", 25), ("REVERSAL", -6), ("REVERSAL", -2), ("REVERSAL", -17), ("REINSTATEMENT", 17),
    ]  # fmt: skip


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_refund_at_another_days_rate_is_the_part_that_the_buyer_got(
    referred: Company, order: tuple[int, int]
) -> None:
    native = {
        "id": "rf_1", "payment_id": "pay_1", "status": "succeeded", "created_at": NOON.isoformat(),
        # half of it, for which more was due on that day
        "amount": money("15.40"), "original_amount": money("12.50", "eur"),
    }  # fmt: skip
    events = [
        paid(total=money("29.00"), presentment_total=money("25.00", "eur")),
        whop("msg_1", "refund.created", native),
    ]
    for position in order:
        outcome(referred, events[position])
    assert standing(referred) == ("qualified", "paid", 12, 18)
    assert revenue(referred) == [{"currency": "usd", "amount": 1450}]


def test_a_refund_on_whop_waits_for_its_payment(referred: Company, superuser: psycopg.Connection) -> None:
    assert outcome(referred, whop("msg_1", "refund.created", whop_refund(1, 29.0))) == "parked"
    assert outcome(referred, paid()) == "applied"
    assert standing(referred) == ("cancelled", "reversed", 25, 5)
    assert booked(superuser, referred) == []


def test_a_payment_on_whop_may_show_its_refunds_itself(referred: Company) -> None:
    refunds = [{"id": "rf_1", "amount": "14.50", "status": "succeeded", "created_at": NOON.isoformat()}]
    assert outcome(referred, paid(refunds=refunds)) == "applied"
    assert standing(referred) == ("qualified", "paid", 12, 18)
    assert outcome(referred, whop("msg_1", "refund.created", whop_refund(1, 14.5))) == "applied"
    assert standing(referred) == ("qualified", "paid", 12, 18)


def test_a_dispute_on_whop_takes_back_when_lost_and_gives_back_when_won(
    referred: Company, superuser: psycopg.Connection
) -> None:
    outcome(referred, paid())
    steps: list[tuple[str, dict[str, Any], tuple[str, str, int, int]]] = [
        ("created", whop_dispute("needs_response", inquiry=True), ("qualified", "paid", 0, 30)),
        ("updated", whop_dispute("under_review"), ("qualified", "paid", 0, 30)),
        ("updated", whop_dispute("lost"), ("cancelled", "reversed", 25, 5)),
        ("updated", whop_dispute("won"), ("qualified", "paid", 0, 30)),
        ("updated", whop_dispute("prevented"), ("cancelled", "reversed", 25, 5)),
    ]
    for number, (event, data, expected) in enumerate(steps):
        assert outcome(referred, whop(f"msg_{number}", f"dispute.{event}", data, NOON + number * DAY)) == "applied"
        assert standing(referred) == expected
    late = whop("msg_late", "dispute.updated", whop_dispute("won"), NOON + DAY)
    assert outcome(referred, late) == "applied"
    assert standing(referred) == ("cancelled", "reversed", 25, 5)
    assert booked(superuser, referred) == [
        ("REFERRAL_FIRST_PAYMENT", 25), ("REVERSAL", -25), ("REINSTATEMENT", 25), ("REVERSAL", -25),
    ]  # fmt: skip
