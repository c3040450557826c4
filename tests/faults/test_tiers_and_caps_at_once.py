"""Referrals of one referrer that qualify at the same moment: each is counted once, and no cap is overshot."""

from collections import Counter
from collections.abc import Callable

import psycopg
import pytest

from tests.support import books, rows
from tests.support.clients import Clients, call, delivery
from tests.support.companies import Company
from tests.support.growth import FLAT, Referrer, amend
from tests.support.stripe_objects import invoice_paid

PEOPLE = 64
REGISTERED, QUALIFIED = 5, 25


def awarded(superuser: psycopg.Connection, company: Company, event: str) -> list[dict[str, object]]:
    statement = """
        SELECT counted, tier, points, status, reason FROM awards
        WHERE company_id = %(company_id)s AND event = %(event)s ORDER BY counted
    """
    return [dict(row) for row in rows.find(superuser, statement, company_id=company.id, event=event)]


def pay_at_once(company: Company, clients: Clients, people: list[str]) -> None:
    events = [
        invoice_paid(f"evt_{each}", f"in_{each}", user=each, customer=f"cus_{each}", subscription=f"sub_{each}")
        for each in people
    ]
    answers = clients.fire_each(company.url, [delivery(company, each) for each in events])
    assert {answer.status for answer in answers} == {200}, answers
    assert {answer.json["outcome"] for answer in answers} == {"applied"}


def test_of_64_who_qualify_at_once_each_is_counted_once_and_has_the_tier_of_its_place(
    company: Company, clients: Clients, superuser: psycopg.Connection
) -> None:
    ada = Referrer(company)
    people = [f"user_{number}" for number in range(PEOPLE)]
    for person in people:
        ada.bring(person)
    pay_at_once(company, clients, people)
    found = awarded(superuser, company, "qualified")
    assert [each["counted"] for each in found] == list(range(PEOPLE))
    assert Counter(each["tier"] for each in found) == {"bronze": 5, "silver": 10, "gold": 15, "platinum": 34}
    assert company.balance("ada") == PEOPLE * REGISTERED + 5 * 25 + 10 * 38 + 15 * 50 + 34 * 75
    assert ada.profile() == (PEOPLE, "platinum")
    assert books.faults(superuser, company.id) == []


@pytest.mark.parametrize("cap", ["per_user_points", "per_user_per_day_points"])
def test_of_64_who_qualify_at_once_as_many_are_paid_for_as_fit_under_a_cap(
    company: Company, clients: Clients, superuser: psycopg.Connection, cap: str
) -> None:
    fit = 7
    amend(company, tiers=FLAT, caps={cap: PEOPLE * REGISTERED + fit * QUALIFIED + 3})
    ada = Referrer(company)
    people = [f"user_{number}" for number in range(PEOPLE)]
    for person in people:
        ada.bring(person)
    pay_at_once(company, clients, people)
    found = Counter((each["status"], each["reason"]) for each in awarded(superuser, company, "qualified"))
    assert found == {("paid", None): fit, ("rejected", "budget_exhausted"): PEOPLE - fit}
    assert company.balance("ada") == PEOPLE * REGISTERED + fit * QUALIFIED
    assert books.faults(superuser, company.id) == []


def test_of_64_signups_at_once_as_many_are_paid_for_as_fit_under_a_cap(
    company: Company, clients: Clients, superuser: psycopg.Connection
) -> None:
    amend(company, caps={"per_user_points": 37})
    ada = Referrer(company)
    signups = [
        call(company, "POST", "/v1/signups", {"user": {"external_id": f"user_{each}"}, "referral_code": ada.code})
        for each in range(PEOPLE)
    ]
    answers = clients.fire_each(company.url, signups)
    assert [answer.status for answer in answers] == [201] * PEOPLE
    assert Counter(answer.json["awards"][0]["reason"] for answer in answers) == {None: 7, "budget_exhausted": 57}
    assert company.balance("ada") == 35
    assert books.faults(superuser, company.id) == []


def test_people_who_refer_each_others_people_qualify_and_are_refunded_at_once_without_a_deadlock(
    company: Company, clients: Clients, superuser: psycopg.Connection, deadlocks: Callable[[], list[str]]
) -> None:
    """Under a cap the two people of a referral and the upline are held, in one order."""
    amend(company, caps={"per_user_points": 200})
    ada = Referrer(company)
    for name in ("ben", "cleo"):
        ada.bring(name)
    second = [Referrer.known(company, name) for name in ("ben", "cleo")]
    people = [f"user_{number}" for number in range(24)]
    for number, person in enumerate(people):
        second[number % 2].bring(person)
    pay_at_once(company, clients, [*people, "ben", "cleo"])
    assert deadlocks() == []
    assert max(company.balance(name) for name in ("ada", "ben", "cleo")) <= 200
    assert books.faults(superuser, company.id) == []
