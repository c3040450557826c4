"""Milestones that are reached, claimed and delivered by many requests at the same moment: each is given once."""

from typing import Any

import psycopg
import pytest

from tests.support import books, rows, stripe_objects
from tests.support.clients import Clients, call, delivery
from tests.support.companies import Company
from tests.support.counted import T0, bring, paid, pay

PAYMENTS = 20


@pytest.fixture
def crowd(company: Company) -> list[str]:
    """Those whom Ada has brought, of whom nobody has paid."""
    company.set_clock(T0)
    people = [f"referee_{number}" for number in range(PAYMENTS)]
    bring(company, company.sign_up("ada")["user"]["referral_code"], *people)
    return people


def offer(company: Company, threshold: int, reward_type: str, *, auto_apply: bool = True, **data: object) -> str:
    milestone = {"name": "x", "threshold": threshold, "reward_type": reward_type, "reward_data": data}
    return company.ok("POST", "/v1/milestones", milestone | {"auto_apply": auto_apply}, status=201)["id"]


def statuses(company: Company) -> dict[str, str | None]:
    return {each["id"]: each["status"] for each in company.ok("GET", "/v1/users/ada/milestones")["data"]}


def given(company: Company) -> tuple[list[int], int]:
    """The points that milestones gave Ada, and the number of plans."""
    entries = company.ok("GET", "/v1/users/ada/transactions?type=MILESTONE")["data"]
    return [entry["delta"] for entry in entries], len(company.ok("GET", "/v1/users/ada/grants")["data"])


def events(superuser: psycopg.Connection, company: Company) -> list[str]:
    statement = """SELECT type FROM outbox_events WHERE company_id = %(id)s AND type LIKE 'milestone.%%'
        AND type <> 'milestone.created' ORDER BY type"""
    return [row["type"] for row in rows.find(superuser, statement, id=company.id)]


def test_twenty_payments_that_reach_a_milestone_at_once_are_given_it_once(
    company: Company, clients: Clients, superuser: psycopg.Connection, crowd: list[str]
) -> None:
    reached = [
        offer(company, 1, "points", points=7),
        offer(company, PAYMENTS // 2, "product_unlock", plan="premium", days=30),
        offer(company, PAYMENTS, "points", points=50),
    ]
    beyond = offer(company, PAYMENTS + 1, "points", points=1000)
    answers = clients.fire_each(company.url, [delivery(company, paid(referee)) for referee in crowd])
    assert [(answer.status, answer.json["outcome"]) for answer in answers] == [(200, "applied")] * PAYMENTS
    assert statuses(company) == {**dict.fromkeys(reached, "granted"), beyond: None}
    assert given(company) == ([50, 7], 1)
    assert events(superuser, company) == ["milestone.granted"] * 3
    assert books.faults(superuser, company.id) == []


def test_payments_and_refunds_at_once_leave_what_is_counted_and_given_right(
    company: Company, clients: Clients, superuser: psycopg.Connection, crowd: list[str]
) -> None:
    """Half of them pay while the payments of the others go back: whoever counts in between may reach the milestone."""
    milestone_id = offer(company, PAYMENTS // 2 + 1, "points", points=50)
    leaving, coming = crowd[::2], crowd[1::2]
    pay(company, *leaving)
    refunds = [delivery(company, refund_of(referee)) for referee in leaving]
    payments = [delivery(company, paid(referee)) for referee in coming]
    answers = clients.fire_each(company.url, refunds + payments)
    assert {answer.status for answer in answers} == {200}
    counted = company.ok("GET", "/v1/users/ada")["qualified_count"]
    assert counted == len(coming)
    assert given(company)[0] == ([50] if statuses(company)[milestone_id] == "granted" else [])
    assert books.faults(superuser, company.id) == []


def refund_of(referee: str) -> dict[str, Any]:
    """A charge with all of its money gone, which names the invoice that it paid."""
    back = stripe_objects.refund(referee, created=T0)
    charge = stripe_objects.charge_before_2022_11_15(
        back, id=f"ch_{referee}", invoice=f"in_{referee}", payment_intent=f"pi_{referee}", amount_refunded=1900,
        refunded=True, customer=f"cus_{referee}", created=T0,
    )  # fmt: skip
    return stripe_objects.event("charge.refunded", charge, sent_at=T0, id=f"evt_back_{referee}")


@pytest.mark.parametrize("auto_apply", [True, False])
def test_a_milestone_that_is_claimed_twenty_times_at_once_is_given_once(
    company: Company, clients: Clients, superuser: psycopg.Connection, crowd: list[str], *, auto_apply: bool
) -> None:
    points = offer(company, 1, "points", points=50, auto_apply=auto_apply)
    unlock = offer(company, 1, "product_unlock", plan="premium", days=30, auto_apply=auto_apply)
    pay(company, crowd[0])
    claims = [
        call(company, "POST", f"/v1/users/ada/milestones/{milestone_id}/claim", key=f"{milestone_id}-{number}")
        for number in range(10)
        for milestone_id in (points, unlock)
    ]
    answers = clients.fire_each(company.url, claims)
    assert [(answer.status, answer.json["status"]) for answer in answers] == [(200, "claimed")] * len(claims)
    assert len({answer.raw for answer in answers}) == 2
    assert given(company) == ([50], 1)
    first = [] if auto_apply else ["milestone.reached"] * 2
    assert events(superuser, company) == ["milestone.claimed"] * 2 + ["milestone.granted"] * 2 + first
    assert books.faults(superuser, company.id) == []


def test_claims_payments_and_deliveries_at_once_never_wait_for_each_other_in_a_circle(
    company: Company, clients: Clients, superuser: psycopg.Connection, crowd: list[str]
) -> None:
    low = offer(company, 1, "product_unlock", plan="premium", days=30, auto_apply=False)
    high = offer(company, 5, "product_unlock", plan="basic", days=30)
    pay(company, crowd[0])
    calls = [delivery(company, paid(referee)) for referee in crowd[1:]]
    calls += [call(company, "POST", f"/v1/users/ada/milestones/{low}/claim", key=f"low-{each}") for each in range(10)]
    calls += [call(company, "POST", f"/v1/milestones/{high}/users/ada/fulfil", {}) for _ in range(10)]
    given_by_hand = {"plan": "basic", "days": 1, "reason": "x"}
    calls += [call(company, "POST", "/v1/users/ada/grants", given_by_hand) for _ in range(10)]
    answers = clients.fire_each(company.url, calls)
    assert {answer.status for answer in answers} <= {200, 201, 404}
    assert statuses(company)[low] == "claimed"
    assert statuses(company)[high] in {"granted", "claimed"}
    assert given(company)[1] == 12
    assert books.faults(superuser, company.id) == []
