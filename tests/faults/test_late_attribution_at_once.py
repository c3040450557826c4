"""Late attributions at once: nobody is bound twice, no circle is closed, and no code is used more than it may be."""

import psycopg

from tests.support import books, rows
from tests.support.clients import Call, Clients, call, delivery
from tests.support.companies import Company
from tests.support.growth import FLAT, amend
from tests.support.stripe_objects import invoice_paid

PAIRS = 8

_CIRCLES = """
    WITH RECURSIVE above AS (
        SELECT referee_id AS user_id, referrer_id FROM referrals WHERE company_id = %(id)s
        UNION
        SELECT above.user_id, referrals.referrer_id
        FROM above JOIN referrals ON company_id = %(id)s AND referrals.referee_id = above.referrer_id
    )
    SELECT user_id FROM above WHERE referrer_id = user_id
"""


def bind(company: Company, user: str, **body: str) -> Call:
    return call(company, "PUT", f"/v1/users/{user}/referrer", {"reason": "by hand", **body})


def test_two_bound_to_each_other_at_once_make_no_circle(
    company: Company, clients: Clients, superuser: psycopg.Connection
) -> None:
    for each in range(PAIRS):
        company.sign_up(f"a-{each}")
        company.sign_up(f"b-{each}")
    calls = [
        bind(company, f"{user}-{each}", referrer_id=f"{referrer}-{each}")
        for each in range(PAIRS) for user, referrer in (("a", "b"), ("b", "a"))
    ]  # fmt: skip
    answers = clients.fire_each(company.url, calls)
    assert [answer.status for answer in answers] == [200] * 2 * PAIRS
    outcomes = [(answer.json["attribution"]["outcome"], answer.json["attribution"]["reason"]) for answer in answers]
    for each in range(PAIRS):
        assert sorted(outcomes[2 * each : 2 * each + 2], key=str) == [("attributed", None), ("rejected", "cycle")]
    assert rows.find(superuser, _CIRCLES, id=company.id) == []
    assert books.faults(superuser, company.id) == []


def test_a_ring_bound_at_once_stays_open_at_one_place(
    company: Company, clients: Clients, superuser: psycopg.Connection
) -> None:
    for each in range(16):
        company.sign_up(f"user-{each}")
    calls = [bind(company, f"user-{each}", referrer_id=f"user-{(each + 1) % 16}") for each in range(16)]
    answers = clients.fire_each(company.url, calls)
    reasons = [answer.json["attribution"]["reason"] for answer in answers]
    assert sorted(map(str, reasons)) == ["None"] * 15 + ["cycle"]
    assert rows.find(superuser, _CIRCLES, id=company.id) == []
    assert rows.count(superuser, company.id)["referrals"] == 15


def test_one_user_is_bound_to_one_of_16_who_want_them(
    company: Company, clients: Clients, superuser: psycopg.Connection
) -> None:
    company.sign_up("ben")
    for each in range(16):
        company.sign_up(f"user-{each}")
    calls = [bind(company, "ben", referrer_id=f"user-{each}") for each in range(16)]
    answers = clients.fire_each(company.url, calls)
    reasons = [answer.json["attribution"]["reason"] for answer in answers]
    assert sorted(map(str, reasons)) == ["None"] + ["already_referred"] * 15
    assert {answer.json["referral"]["id"] for answer in answers} == {answers[0].json["referral"]["id"]}
    assert company.balance("ben") == 25
    assert sum(company.balance(f"user-{each}") for each in range(16)) == 5
    assert books.faults(superuser, company.id) == []


def test_a_code_with_10_uses_binds_and_brings_exactly_10_of_32(
    company: Company, clients: Clients, superuser: psycopg.Connection
) -> None:
    """Half of them sign up through it, half are bound to it later."""
    code = company.sign_up("ada")["user"]["referral_code"]
    superuser.execute("UPDATE codes SET max_uses = 10 WHERE code = %s", (code,))
    for each in range(16):
        company.sign_up(f"late-{each}")
    answers = clients.fire_each(company.url, [
        each for number in range(16)
        for each in (
            bind(company, f"late-{number}", referral_code=code),
            call(company, "POST", "/v1/signups", {"user": {"external_id": f"new-{number}"}, "referral_code": code}),
        )
    ])  # fmt: skip
    outcomes = [(answer.json["attribution"]["outcome"], answer.json["attribution"]["reason"]) for answer in answers]
    assert sorted(outcomes, key=str) == [("attributed", None)] * 10 + [("rejected", "code_used_up")] * 22
    assert rows.find(superuser, "SELECT uses FROM codes WHERE code = %(code)s", code=code) == [{"uses": 10}]
    assert rows.count(superuser, company.id)["referrals"] == 10
    assert company.balance("ada") == 10 * 5
    assert books.faults(superuser, company.id) == []


def test_a_payment_and_the_binding_of_its_payer_at_once_both_count(
    company: Company, clients: Clients, superuser: psycopg.Connection
) -> None:
    amend(company, tiers=FLAT)
    company.sign_up("ada")
    calls: list[Call] = []
    for each in range(8):
        company.sign_up(f"user-{each}")
        paid = invoice_paid(f"evt_{each}", f"in_{each}", user=f"user-{each}", customer=f"cus_{each}")
        calls += [bind(company, f"user-{each}", referrer_id="ada"), delivery(company, paid)]
    answers = clients.fire_each(company.url, calls)
    assert [answer.status for answer in answers] == [200] * 16
    stages = [each["stage"] for each in company.ok("GET", "/v1/referrals")["data"]]
    assert stages == ["qualified"] * 8
    assert company.balance("ada") == 8 * (5 + 25)
    assert books.faults(superuser, company.id) == []
