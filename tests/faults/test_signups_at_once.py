"""Signups at once: of one person, through one code, of people who claim one identity."""

import psycopg

from tests.support import books, rows
from tests.support.clients import Clients, call
from tests.support.companies import Company


def test_one_signup_sent_16_times_at_once_is_one_person(
    company: Company, clients: Clients, superuser: psycopg.Connection
) -> None:
    code = company.sign_up("ada")["user"]["referral_code"]
    before = rows.count(superuser, company.id)
    signup = call(company, "POST", "/v1/signups", {"user": {"external_id": "ben"}, "referral_code": code})
    answers = clients.fire_each(company.url, [signup] * 16)
    assert sorted(answer.status for answer in answers) == [200] * 15 + [201]
    assert {answer.raw for answer in answers} == {answers[0].raw}
    assert [award["event"] for award in answers[0].json["awards"]] == ["registered", "welcome"]
    stored = rows.count(superuser, company.id) - before
    assert (stored["users"], stored["signups"], stored["referrals"], stored["codes"]) == (1, 1, 1, 1)
    assert (stored["awards"], stored["entries"]) == (2, 2)
    assert (company.balance("ada"), company.balance("ben")) == (5, 25)
    assert books.faults(superuser, company.id) == []


def test_one_signup_under_one_key_16_times_at_once_has_one_answer(company: Company, clients: Clients) -> None:
    signup = call(company, "POST", "/v1/signups", {"user": {"external_id": "ben"}}, key="once")
    answers = clients.fire_each(company.url, [signup] * 16)
    assert {(answer.status, answer.raw) for answer in answers} == {(201, answers[0].raw)}
    assert sorted("idempotent-replay" in answer.headers for answer in answers) == [False] + [True] * 15


def test_a_code_with_10_uses_brings_exactly_10_of_32(
    company: Company, clients: Clients, superuser: psycopg.Connection
) -> None:
    code = company.sign_up("ada")["user"]["referral_code"]
    superuser.execute("UPDATE codes SET max_uses = 10 WHERE code = %s", (code,))
    signups = [
        call(company, "POST", "/v1/signups", {"user": {"external_id": f"user_{each}"}, "referral_code": code})
        for each in range(32)
    ]
    answers = clients.fire_each(company.url, signups)
    assert [answer.status for answer in answers] == [201] * 32
    attributions = [answer.json["attribution"] for answer in answers]
    assert [each["outcome"] for each in attributions].count("attributed") == 10
    rejected = [each["reason"] for each in attributions if each["outcome"] == "rejected"]
    assert rejected == ["code_used_up"] * 22
    assert rows.find(superuser, "SELECT uses FROM codes WHERE code = %(code)s", code=code) == [{"uses": 10}]
    assert rows.count(superuser, company.id)["referrals"] == 10
    assert company.balance("ada") == 10 * 5
    assert books.faults(superuser, company.id) == []


def test_an_identity_claimed_by_16_people_at_once_goes_to_one(company: Company, clients: Clients) -> None:
    """The others are told so, and are not there."""
    people = [f"user_{each}" for each in range(16)]
    answers = clients.fire_each(company.url, [
        call(company, "POST", "/v1/signups", {"user": {"external_id": person, "stripe_customer_id": "cus_1"}})
        for person in people
    ])  # fmt: skip
    assert sorted(answer.status for answer in answers) == [201] + [409] * 15
    assert {answer.json["code"] for answer in answers if answer.status == 409} == {"identity_taken"}
    found = [company.api.send("GET", f"/v1/users/{person}").status for person in people]
    assert sorted(found) == [200] + [404] * 15


def test_activations_at_once_pay_once(company: Company, clients: Clients, superuser: psycopg.Connection) -> None:
    """A use dated an hour after the signup, reported by 16 clients for several apps."""
    company.refer("ada", "ben")
    superuser.execute(
        "UPDATE referrals SET registered_at = registered_at - interval '1 hour' WHERE company_id = %s", (company.id,)
    )
    uses = [
        call(company, "POST", "/v1/activations", {"user_id": "ben", "app_id": f"app_{each % 4}"}) for each in range(16)
    ]
    answers = clients.fire_each(company.url, uses)
    assert [answer.status for answer in answers] == [200] * 16
    assert rows.count(superuser, company.id)["activations"] == 4
    given = rows.find(
        superuser, "SELECT id FROM awards WHERE company_id = %(id)s AND event = 'activated'", id=company.id
    )
    assert len(given) == 1
    assert books.faults(superuser, company.id) == []
