"""Many clients at one coupon and at one user's grants: caps are exact, each person once, and no second is lost."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psycopg

from tests.support import rows
from tests.support.clients import Call, Clients, call
from tests.support.companies import Company

CLIENTS, EACH = 16, 4
NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)


def offer(company: Company, **fields: object) -> None:
    coupon = {"type": "period", "plan": "premium", "duration_days": 30, "code": "SPRING-26"}
    company.ok("POST", "/v1/coupons", coupon | fields, status=201)


def entering(company: Company, user: str, code: str = "SPRING-26") -> Call:
    return call(company, "POST", f"/v1/users/{user}/coupons", {"code": code}, key=uuid4().hex)


def test_a_coupon_with_three_left_gives_three_people_one_grant_each(
    company: Company, clients: Clients, superuser: psycopg.Connection
) -> None:
    people = [f"person_{number}" for number in range(CLIENTS)]
    for person in people:
        company.sign_up(person)
    offer(company, max_redemptions=3)
    heard = clients.fire(company.url, [[entering(company, person) for _ in range(EACH)] for person in people])
    redeemed = [answer.json for answers in heard for answer in answers if answer.status == 201]
    refused = {answer.json["code"] for answers in heard for answer in answers if answer.status == 422}
    assert (len(redeemed), refused) == (3, {"coupon_used_up", "coupon_already_redeemed"})
    assert sorted(each["coupon"]["redemption_count"] for each in redeemed) == [1, 2, 3]
    stored = rows.count(superuser, company.id)
    assert (stored["access_grants"], stored["coupon_redemptions"]) == (3, 3)
    assert [sum(answer.status == 201 for answer in answers) for answers in heard].count(1) == 3


def test_accounts_of_one_person_have_a_coupon_once(company: Company, clients: Clients) -> None:
    accounts = [f"account_{number}" for number in range(CLIENTS)]
    for number, account in enumerate(accounts):
        user = {"external_id": account, "email": f"ada+{number}@x.example", "email_verified": True}
        company.ok("POST", "/v1/signups", {"user": user}, status=201)
    offer(company)
    answers = clients.fire_each(company.url, [entering(company, account) for account in accounts])
    assert sorted(answer.status for answer in answers) == [201] + [422] * (CLIENTS - 1)
    given = [company.ok("GET", f"/v1/users/{account}/grants")["data"] for account in accounts]
    sources = sorted(grant["source"] for grants in given for grant in grants)
    assert sources == ["coupon", "trial"], "of all these accounts one has the trial"


def test_grants_and_wellpasses_of_one_user_at_once_keep_every_second(company: Company, clients: Clients) -> None:
    company.sign_up("ada")
    company.set_clock(NOW)
    for number in range(EACH):
        offer(company, type="wellpass", code=f"PASS-{number}", duration_days=2)
    by_hand = call(company, "POST", "/v1/users/ada/grants", {"plan": "basic", "days": 3, "reason": "x"})
    passes = [entering(company, "ada", f"PASS-{number}") for number in range(EACH)]
    heard = clients.fire(company.url, [[by_hand] * 2 for _ in range(CLIENTS - EACH)] + [[each] for each in passes])
    assert {answer.status for answers in heard for answer in answers} == {201}
    grants: list[dict[str, Any]] = company.ok("GET", "/v1/users/ada/grants?limit=100")["data"]
    assert sum(grant["remaining_days"] for grant in grants) == 3 * 2 * (CLIENTS - EACH) + 2 * EACH
    assert sorted(grant["status"] for grant in grants) == [
        "active", "paused", *["scheduled"] * (2 * (CLIENTS - EACH) + EACH - 2),
    ]  # fmt: skip
    last = max(grant["ends_at"] for grant in grants if grant["ends_at"])
    assert last == "2027-05-20T12:00:00.000000Z"
