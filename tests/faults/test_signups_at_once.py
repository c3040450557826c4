"""Signups at once: of one person, through one code, of people who claim one identity."""

import psycopg

from tests.support import books, rows
from tests.support.clients import Call, Clients, call
from tests.support.companies import Company


def uses(superuser: psycopg.Connection, code: str) -> tuple[int, int]:
    """What a code says of its uses, and how many there are."""
    statement = """
        SELECT uses, (SELECT count(*) FROM referrals WHERE code_id = codes.id) AS referrals
        FROM codes WHERE code = %(code)s
    """
    row = rows.find_one(superuser, statement, code=code)
    return row["uses"], row["referrals"]


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


def test_a_code_with_10_uses_left_brings_exactly_10_of_64(
    company: Company, clients: Clients, superuser: psycopg.Connection
) -> None:
    """Whether they name the code or bring a click of it; two had come before it was capped."""
    code = company.sign_up("ada")["user"]["referral_code"]
    by = [{"referral_code": code}, {"click_id": company.ok("POST", "/v1/clicks", {"code": code})["id"]}]
    for person in ("ben", "cleo"):
        company.sign_up(person, referral_code=code)
    company.ok("PATCH", f"/v1/codes/{code}", {"max_uses": 12})
    signups = [
        call(company, "POST", "/v1/signups", {"user": {"external_id": f"user_{each}"}, **by[each % 2]})
        for each in range(64)
    ]
    answers = clients.fire_each(company.url, signups)
    assert [answer.status for answer in answers] == [201] * 64
    attributions = [answer.json["attribution"] for answer in answers]
    assert [each["outcome"] for each in attributions].count("attributed") == 10
    rejected = [each["reason"] for each in attributions if each["outcome"] == "rejected"]
    assert rejected == ["code_used_up"] * 54
    assert uses(superuser, code) == (12, 12)
    assert company.balance("ada") == 12 * 5
    assert books.faults(superuser, company.id) == []


def test_a_cap_that_is_set_among_signups_holds_for_all_of_them(
    company: Company, clients: Clients, superuser: psycopg.Connection
) -> None:
    """It is sent in the middle of three clients' signups. Where it comes too late it is refused and changes nothing."""
    code = company.sign_up("ada")["user"]["referral_code"]

    def signups(client: int) -> list[Call]:
        people = [{"external_id": f"user_{client}_{each}"} for each in range(6)]
        return [call(company, "POST", "/v1/signups", {"user": each, "referral_code": code}) for each in people]

    plans = [signups(client) for client in range(16)]
    for client in range(3):
        plans[client].insert(client + 1, call(company, "PATCH", f"/v1/codes/{code}", {"max_uses": 40}))
    answers = clients.fire(company.url, plans)
    capped = [answer for plan in answers for answer in plan if "uses" in answer.json or answer.status != 201]
    signed_up = [answer for plan in answers for answer in plan if answer not in capped]
    assert {answer.status for answer in capped} <= {200, 422}
    assert len(capped) == 3
    brought = [answer.json["attribution"]["outcome"] for answer in signed_up].count("attributed")
    last = company.ok("PATCH", f"/v1/codes/{code}", {})
    assert (last["uses"], brought) == (brought, last["max_uses"] or 96)
    assert uses(superuser, code) == (last["uses"] if last["max_uses"] else 0, brought)
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
