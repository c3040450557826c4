"""Users changed at once: two of them want one identity, one of them is told two things, a payment comes in between."""

from typing import Any

import psycopg

from tests.support import books
from tests.support.answers import problem
from tests.support.clients import Call, Clients, call, delivery
from tests.support.companies import Company
from tests.support.stripe_objects import invoice_paid

EMAIL = "ben@app.example"
PAID = 5 + 25


def change(company: Company, user: str, **wanted: object) -> Call:
    return call(company, "PATCH", f"/v1/users/{user}", wanted)


def test_of_16_users_who_want_one_customer_one_has_it(
    company: Company, clients: Clients, superuser: psycopg.Connection
) -> None:
    people = [f"user_{number}" for number in range(16)]
    for person in people:
        company.sign_up(person)
    company.deliver(invoice_paid("evt_1", "in_1", customer="cus_1"))
    answers = clients.fire_each(company.url, [change(company, each, stripe_customer_id="cus_1") for each in people])
    (owner,) = [answer.json["external_id"] for answer in answers if answer.status == 200]
    for answer in answers:
        if answer.status != 200:
            problem(answer, 409, "identity_taken")
    owned = superuser.execute(
        "SELECT users.external_id FROM payments JOIN users ON users.id = user_id WHERE payments.company_id = %s",
        (company.id,),
    ).fetchall()
    assert owned == [(owner,)]


def test_what_is_told_of_one_user_at_once_is_all_kept(company: Company, clients: Clients) -> None:
    company.sign_up("ben")
    changes = {
        "email": EMAIL, "username": "Ben", "avatar_url": "https://img.example/ben.png", "whop_user_id": "user_1",
        "stripe_customer_id": "cus_1",
    }  # fmt: skip
    answers = clients.fire_each(company.url, [change(company, "ben", **{name: changes[name]}) for name in changes] * 3)
    assert {answer.status for answer in answers} == {200}
    ben = company.ok("GET", "/v1/users/ben")
    assert {name: ben[name] for name in changes} == changes


def test_a_payment_and_the_change_that_finds_its_person_meet(
    company: Company, clients: Clients, superuser: psycopg.Connection
) -> None:
    """Whichever comes first: no payment stays parked whose person is known."""
    for number in range(8):
        company.refer(f"ada_{number}", f"ben_{number}")
    shown: list[dict[str, Any]] = [
        {"customer": f"cus_{each}", "subscription": f"sub_{each}", "customer_email": f"ben_{each}@app.example"}
        for each in range(8)
    ]
    paying = [delivery(company, invoice_paid(f"evt_{each}", f"in_{each}", **shown[each])) for each in range(8)]
    changing = [
        change(company, f"ben_{each}", email=f"ben_{each}@app.example", email_verified=True)
        if each % 2
        else change(company, f"ben_{each}", stripe_customer_id=f"cus_{each}")
        for each in range(8)
    ]
    answers = clients.fire_each(company.url, [*paying, *changing])
    assert {answer.status for answer in answers} == {200}
    assert [company.balance(f"ada_{each}") for each in range(8)] == [PAID] * 8
    assert books.faults(superuser, company.id) == []
