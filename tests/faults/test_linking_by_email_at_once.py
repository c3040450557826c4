"""What only an e-mail joins, told at the same moment: nobody is missed, and nothing is somebody's twice.

Every number has a person and a referrer of its own, so that no limit on registrations is in the way.
"""

import psycopg
import pytest

from tests.faults.test_payments_at_once import session_completed
from tests.support import books, rows
from tests.support.clients import Call, Clients, call, delivery
from tests.support.companies import Company
from tests.support.stripe_objects import invoice_paid

PAIRS = 20
REFERRED, PAID = 5, 5 + 25

_OWNERS = """
    SELECT u.external_id, p.claimed_by FROM payments p
    LEFT JOIN users u ON u.company_id = p.company_id AND u.id = p.user_id
    WHERE p.company_id = %(id)s ORDER BY p.payment_key
"""


def payment(company: Company, number: int, *, email: str | None = "buyer", user: str | None = None) -> Call:
    """An invoice of one number's customer, which shows an e-mail of that number."""
    own = {"customer": f"cus_{number}", "subscription": f"sub_{number}", "customer_email": email_of(email, number)}
    return delivery(company, invoice_paid(f"evt_{number}", f"in_{number:02}", user=user, **own))


def session(company: Company, number: int, *, email: str | None = None, user: str | None = None) -> Call:
    event = session_completed(
        f"evt_session_{number}", f"cs_{number}", customer=f"cus_{number}", subscription=f"sub_{number}", user=user or ""
    )
    event["data"]["object"]["customer_email"] = email_of(email, number)
    return delivery(company, event)


def email_of(email: str | None, number: int) -> str | None:
    return email and f"{email}_{number}@app.example"


def signups(company: Company, who: str = "buyer", email: str = "buyer", *, names_customer: bool = False) -> list[Call]:
    """Of one person a number, each through a referrer of their own, whose names begin like theirs.

    They have verified an e-mail or, instead, name the number's customer as their own.
    """
    codes = [company.sign_up(f"{who}s_referrer_{number}")["user"]["referral_code"] for number in range(PAIRS)]
    users = [
        {"external_id": f"{who}_{number}", "stripe_customer_id": f"cus_{number}"}
        if names_customer
        else {"external_id": f"{who}_{number}", "email": f"{email}_{number}@APP.example", "email_verified": True}
        for number in range(PAIRS)
    ]
    return [
        call(company, "POST", "/v1/signups", {"user": user, "referral_code": code})
        for user, code in zip(users, codes, strict=True)
    ]


def at_once(clients: Clients, company: Company, *sides: list[Call]) -> None:
    """Fire the calls of one number at once, number after number; all must be answered as done."""
    for calls in zip(*sides, strict=True):
        for answer in clients.fire_each(company.url, calls):
            assert answer.status in {200, 201}, answer.raw


def ends(superuser: psycopg.Connection, company: Company, who: str | None, by: str | None, **earned: int) -> None:
    """Each payment is its number's `who`'s, and so much is what the referrers of each kind of people have."""
    owners = [tuple(row.values()) for row in rows.find(superuser, _OWNERS, id=company.id)]
    assert owners == [(who and f"{who}_{number}", by) for number in range(PAIRS)]
    for kind, points in earned.items():
        assert [company.balance(f"{kind}s_referrer_{number}") for number in range(PAIRS)] == [points] * PAIRS, kind
    assert books.faults(superuser, company.id) == []


@pytest.mark.parametrize("shown", ["by the payment", "by a session before it"])
def test_a_payment_and_the_signup_of_its_e_mail(
    company: Company, clients: Clients, superuser: psycopg.Connection, shown: str
) -> None:
    emails = {"email": "buyer" if shown == "by the payment" else None}
    if shown == "by a session before it":
        for number in range(PAIRS):
            clients.fire_each(company.url, [session(company, number, email="buyer")])
    payments = [payment(company, number, **emails) for number in range(PAIRS)]
    at_once(clients, company, signups(company), payments)
    ends(superuser, company, "buyer", "email", buyer=PAID)


def test_a_payment_the_signup_of_its_e_mail_and_a_session_that_names_another(
    company: Company, clients: Clients, superuser: psycopg.Connection
) -> None:
    payments = [payment(company, number) for number in range(PAIRS)]
    sessions = [session(company, number, user=f"payer_{number}") for number in range(PAIRS)]
    payers = signups(company, "payer", "another")
    at_once(clients, company, signups(company), payments, sessions, payers)
    ends(superuser, company, "payer", "key", buyer=REFERRED, payer=PAID)


def test_two_people_with_one_e_mail_and_its_payment(
    company: Company, clients: Clients, superuser: psycopg.Connection
) -> None:
    payments = [payment(company, number) for number in range(PAIRS)]
    at_once(clients, company, signups(company), signups(company, "twin"), payments)
    ends(superuser, company, None, None, buyer=REFERRED, twin=REFERRED)


def test_two_people_with_two_e_mails_of_one_payment(
    company: Company, clients: Clients, superuser: psycopg.Connection
) -> None:
    for number in range(PAIRS):
        clients.fire_each(company.url, [session(company, number, email="payer")])
        clients.fire_each(company.url, [payment(company, number)])
    at_once(clients, company, signups(company), signups(company, "payer", "payer"))
    ends(superuser, company, None, None, buyer=REFERRED, payer=REFERRED)


def test_a_guest_and_the_user_who_names_the_customer_sign_up(
    company: Company, clients: Clients, superuser: psycopg.Connection
) -> None:
    for number in range(PAIRS):
        clients.fire_each(company.url, [session(company, number, user=f"guest_{number}")])
    payers = signups(company, "payer", names_customer=True)
    payments = [payment(company, number, email=None) for number in range(PAIRS)]
    at_once(clients, company, signups(company, "guest", "guest"), payers, payments)
    ends(superuser, company, "guest", "key", guest=PAID, payer=REFERRED)
