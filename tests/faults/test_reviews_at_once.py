"""Reviews that many decide on at the same moment: each has one effect, and the balances are exact."""

from collections import Counter
from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.support import books, rows
from tests.support.clients import Call, Clients, call
from tests.support.companies import Company
from tests.support.growth import Referrer
from tests.support.suspects import (
    NOON,
    PHONE,
    WARY,
    ada_of,
    announced,
    awards_for,
    decide,
    queue,
    review_of,
    suspect,
)

AT_ONCE = 20
REFERRERS, EACH = 10, 50
NOTE = "Looked into."


@pytest.fixture
def shop(server: str, opener: psycopg.Connection) -> Iterator[Company]:
    shop = Company.write(opener, server, program=WARY)
    shop.set_clock(NOON)
    yield shop
    shop.close()


def decision(shop: Company, review_id: str, number: int) -> Call:
    """One after the other approves, rejects and hands on."""
    body = {"decision": ("approve", "reject", "escalate")[number % 3], "note": f"By {number}."}
    return call(shop, "POST", f"/v1/reviews/{review_id}/decision", body)


def test_of_20_decisions_at_once_one_is_taken(
    shop: Company, clients: Clients, superuser: psycopg.Connection, deadlocks: Callable[[], list[str]]
) -> None:
    ada = ada_of(shop)
    review_id = suspect(ada, "ben")
    ada.pay("ben")
    answers = clients.fire_each(shop.url, [decision(shop, review_id, number) for number in range(AT_ONCE)])
    review = shop.ok("GET", f"/v1/reviews/{review_id}")
    taken = {"approved": 0, "rejected": 1}[review["status"]]
    heard = {
        kind: Counter(answer.status for answer in answers[place::3])
        for place, kind in enumerate(("approved", "rejected", "escalated"))
    }
    same, other = heard[review["status"]], heard[("rejected", "approved")[taken]]
    assert same == {200: len(answers[taken::3])}
    assert other == {409: len(answers[1 - taken :: 3])}
    assert heard["escalated"].keys() <= {200, 409}
    assert review["notes"] in {f"By {number}." for number in range(taken, AT_ONCE, 3)}
    assert len(announced(superuser, shop, "review.decided")) == 1
    assert len(announced(superuser, shop, "review.escalated")) <= 1
    balances = (shop.balance("ada"), shop.balance("ben"), ada.profile()[0])
    assert balances == ((30, 25, 1) if review["status"] == "approved" else (0, 0, 0))
    assert deadlocks() == []
    assert books.faults(superuser, shop.id) == []


def test_a_decision_and_a_payment_at_once_end_as_one_after_the_other(
    shop: Company, clients: Clients, superuser: psycopg.Connection, deadlocks: Callable[[], list[str]]
) -> None:
    ada = ada_of(shop)
    people = [f"person_{number}" for number in range(10)]
    reviews = [suspect(ada, person) for person in people]
    used = [call(shop, "POST", "/v1/activations", {"user_id": person}) for person in people]
    answers = clients.fire_each(shop.url, [*used, *(decision(shop, id_, 0) for id_ in reviews)])
    assert {answer.status for answer in answers} == {200}
    for person in people:
        assert set(awards_for(shop, person).values()) == {("paid", None)}
    assert shop.balance("ada") == len(people) * 5
    assert deadlocks() == []
    assert books.faults(superuser, shop.id) == []


@pytest.fixture
def farm(shop: Company, clients: Clients, superuser: psycopg.Connection) -> list[str]:
    """The ids of 500 reviews: of the people whom ten referrers have brought, each with the phone of its own."""
    plans = list[list[Call]]()
    for number in range(REFERRERS):
        phone = f"{PHONE}_{number}"
        code = shop.sign_up(f"referrer_{number}", device_fingerprint=phone)["user"]["referral_code"]
        referrer = Referrer(shop, f"referrer_{number}", NOON, code)
        plans.append([signup(referrer, f"person_{number}_{each}", phone) for each in range(EACH)])
    for heard in clients.fire(shop.url, plans):
        assert {answer.status for answer in heard} == {201}
    statement = "SELECT public_id('rvw', id) AS id FROM reviews WHERE company_id = %(company_id)s ORDER BY id"
    reviews = [row["id"] for row in rows.find(superuser, statement, company_id=shop.id)]
    assert len(reviews) == REFERRERS * EACH
    return reviews


def signup(referrer: Referrer, person: str, phone: str) -> Call:
    body = {"user": {"external_id": person}, "referral_code": referrer.code, "device_fingerprint": phone}
    return call(referrer.company, "POST", "/v1/signups", body)


def test_500_are_decided_on_in_different_orders_at_once_and_each_once(
    shop: Company, clients: Clients, superuser: psycopg.Connection, farm: list[str], deadlocks: Callable[[], list[str]]
) -> None:
    decisions = [
        call(shop, "POST", "/v1/reviews/decisions", {"ids": ids, "decision": kind, "note": NOTE}, key=f"{kind}{number}")
        for number, ids in enumerate((farm, farm[::-1], farm[1::2] + farm[::2]))
        for kind in ("approve", "reject")
    ]
    alone = [decision(shop, review_id, number) for number, review_id in enumerate(farm[::100])]
    # whoever waits too long for the others is told to come back
    answers = [answer for (answer,) in clients.insist(shop.url, [[each] for each in (*decisions, *alone)])]
    assert {answer.status for answer in answers[: len(decisions)]} == {200}
    by_many = sum(answer.json["decided"] for answer in answers[: len(decisions)])
    for answer in answers[: len(decisions)]:
        assert answer.json["decided"] + len(answer.json["skipped"]) == len(farm)
    events = announced(superuser, shop, "review.decided")
    assert sorted(str(event["id"]) for event in events) == sorted(farm)
    assert len(farm) - len(alone) <= by_many <= len(farm)
    approved = Counter(event["decision"] for event in events)["approve"]
    balances = sum(shop.balance(f"referrer_{number}") for number in range(REFERRERS))
    assert balances == approved * 5
    assert queue(shop, status="pending") == queue(shop, status="escalated") == []
    assert deadlocks() == []
    assert books.faults(superuser, shop.id) == []


def test_whoever_decides_while_the_review_is_changed_loses_nothing(
    shop: Company, clients: Clients, superuser: psycopg.Connection, deadlocks: Callable[[], list[str]]
) -> None:
    ada = ada_of(shop)
    review_id = suspect(ada, "ben")
    path = f"/v1/reviews/{review_id}"
    assigned = [call(shop, "PATCH", path, {"assigned_to": f"Agent {number}"}) for number in range(8)]
    answers = clients.fire_each(shop.url, [*assigned, decision(shop, review_id, 0)])
    assert {answer.status for answer in answers} == {200}
    review = review_of(shop, "ben")
    assert (review["status"], review["notes"]) == ("approved", "By 0.")
    assert review["assigned_to"].startswith("Agent ")
    assert decide(shop, review_id, "approve") == review
    assert deadlocks() == []
    assert books.faults(superuser, shop.id) == []
