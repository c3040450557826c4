"""Payments that arrive many times, or at the same moment as what they depend on."""

from typing import Any

import psycopg

from tests.support import books, rows, stripe_objects
from tests.support.clients import Call, Clients, call, delivery
from tests.support.companies import Company
from tests.support.growth import FLAT, amend
from tests.support.stripe_objects import invoice_paid

PAIRS = 20
"""Each with a referrer of its own, so that no limit on registrations is in the way."""


def first_payments(superuser: psycopg.Connection, company: Company) -> int:
    statement = "SELECT id FROM entries WHERE company_id = %(company_id)s AND type = 'REFERRAL_FIRST_PAYMENT'"
    return len(rows.find(superuser, statement, company_id=company.id))


def parked(superuser: psycopg.Connection, company: Company) -> int:
    statement = "SELECT id FROM payments WHERE company_id = %(company_id)s AND user_id IS NULL"
    return len(rows.find(superuser, statement, company_id=company.id))


def session_completed(event_id: str, session_id: str, *, customer: str, subscription: str, user: str) -> dict[str, Any]:
    """A `checkout.session.completed` of a subscription, which links customer and subscription to a person."""
    value = stripe_objects.subscribing(
        id=session_id, customer=customer, subscription=subscription, client_reference_id=user
    )
    return stripe_objects.event("checkout.session.completed", value, id=event_id)


def test_one_invoice_sent_20_times_at_once_is_one_payment(
    company: Company, clients: Clients, superuser: psycopg.Connection
) -> None:
    company.refer("ada", "ben")
    answers = clients.fire_each(company.url, [delivery(company, invoice_paid("evt_1", "in_1", user="ben"))] * 20)
    assert [answer.status for answer in answers] == [200] * 20
    assert {answer.json["outcome"] for answer in answers} == {"applied"}
    assert sorted(answer.json["duplicate"] for answer in answers) == [False] + [True] * 19
    assert company.balance("ada") == 5 + 25
    assert first_payments(superuser, company) == 1
    stored = rows.count(superuser, company.id)
    assert (stored["inbox_events"], stored["payments"], stored["awards"]) == (1, 1, 3)
    assert books.faults(superuser, company.id) == []


def test_one_invoice_under_20_event_ids_at_once_is_one_sale(
    company: Company, clients: Clients, superuser: psycopg.Connection
) -> None:
    company.refer("ada", "ben")
    calls = [delivery(company, invoice_paid(f"evt_{number}", "in_1", user="ben")) for number in range(20)]
    answers = clients.fire_each(company.url, calls)
    assert [(answer.status, answer.json["duplicate"]) for answer in answers] == [(200, False)] * 20
    assert company.balance("ada") == 5 + 25
    assert first_payments(superuser, company) == 1
    stored = rows.count(superuser, company.id)
    assert (stored["inbox_events"], stored["payments"], stored["awards"]) == (20, 1, 3)
    assert books.faults(superuser, company.id) == []


def referral_codes(company: Company, number: int) -> list[str]:
    return [company.sign_up(f"referrer_{each}")["user"]["referral_code"] for each in range(number)]


def everybody_is_paid_once(company: Company, superuser: psycopg.Connection) -> None:
    assert parked(superuser, company) == 0
    assert rows.count(superuser, company.id)["payments"] == PAIRS
    assert first_payments(superuser, company) == PAIRS
    assert [company.balance(f"referrer_{each}") for each in range(PAIRS)] == [5 + 25] * PAIRS
    assert [company.balance(f"buyer_{each}") for each in range(PAIRS)] == [25] * PAIRS
    assert books.faults(superuser, company.id) == []


def payment(company: Company, number: int, *, named: bool = False) -> Call:
    """An invoice of the customer and the subscription of one number, which may say who its person is."""
    user = f"buyer_{number}" if named else None
    own: dict[str, Any] = {"customer": f"cus_{number}", "subscription": f"sub_{number}"}
    return delivery(company, invoice_paid(f"evt_{number}", f"in_{number}", user=user, **own))


def fire_beside(clients: Clients, company: Company, *sides: list[Call]) -> None:
    """Fire the calls of one number at once, number after number; all must be answered as done."""
    for calls in zip(*sides, strict=True):
        for answer in clients.fire_each(company.url, calls):
            assert answer.status in {200, 201}, answer.raw


def test_a_payment_and_the_signup_of_its_person_at_the_same_moment(
    company: Company, clients: Clients, superuser: psycopg.Connection
) -> None:
    """Half of the payments name their person, half come from a customer that the signup names."""
    codes = referral_codes(company, PAIRS)
    signups = [
        call(company, "POST", "/v1/signups", {
            "user": {"external_id": f"buyer_{each}", "stripe_customer_id": f"cus_{each}"}, "referral_code": code,
        })
        for each, code in enumerate(codes)
    ]  # fmt: skip
    payments = [payment(company, each, named=each % 2 == 0) for each in range(PAIRS)]
    fire_beside(clients, company, signups, payments)
    everybody_is_paid_once(company, superuser)


def links_and_payments(company: Company) -> tuple[list[Call], list[Call]]:
    """For each pair a session that links the customer, and an invoice that knows nothing but the customer."""
    links = [
        delivery(company, session_completed(
            f"evt_link_{each}", f"cs_{each}", customer=f"cus_{each}", subscription=f"sub_{each}", user=f"buyer_{each}",
        ))
        for each in range(PAIRS)
    ]  # fmt: skip
    return links, [payment(company, each) for each in range(PAIRS)]


def test_a_payment_and_the_link_to_its_person_at_the_same_moment(
    company: Company, clients: Clients, superuser: psycopg.Connection
) -> None:
    for each, code in enumerate(referral_codes(company, PAIRS)):
        company.sign_up(f"buyer_{each}", referral_code=code)
    fire_beside(clients, company, *links_and_payments(company))
    everybody_is_paid_once(company, superuser)


def test_a_payment_its_link_and_its_signup_at_the_same_moment(
    company: Company, clients: Clients, superuser: psycopg.Connection
) -> None:
    signups = [
        call(company, "POST", "/v1/signups", {"user": {"external_id": f"buyer_{each}"}, "referral_code": code})
        for each, code in enumerate(referral_codes(company, PAIRS))
    ]
    fire_beside(clients, company, signups, *links_and_payments(company))
    everybody_is_paid_once(company, superuser)


def test_different_people_of_one_referrer_pay_at_once(
    company: Company, clients: Clients, superuser: psycopg.Connection
) -> None:
    """All of them credit one wallet; nobody's payment is lost to another's."""
    payers = 12
    amend(company, tiers=FLAT)
    code = company.sign_up("ada")["user"]["referral_code"]
    for each in range(payers):
        company.sign_up(f"buyer_{each}", referral_code=code)
    calls = [payment(company, each, named=True) for each in range(payers)]
    assert [answer.status for answer in clients.fire_each(company.url, calls)] == [200] * payers
    assert company.balance("ada") == payers * (5 + 25)
    assert books.faults(superuser, company.id) == []
