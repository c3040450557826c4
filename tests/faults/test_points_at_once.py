"""Many clients at one balance, one quota, one stock and one key: each is exact, and nobody sees a fault."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest

from local.client import Answer
from tests.support import books, rows
from tests.support.clients import Call, Clients, call
from tests.support.companies import Company

BUYERS = 16
CLIENTS = 64


def offer(company: Company, **fields: object) -> str:
    """The id of a new redemption option."""
    body = {"kind": "quota", "name": "Calls", "feature": "ai_calls", "quantity": 1, "cost_points": 1, **fields}
    return company.ok("POST", "/v1/redemption-options", body, status=201)["id"]


def give(company: Company, user: str, points: int) -> None:
    company.ok("POST", f"/v1/users/{user}/points", {"points": points, "note": ""}, key=uuid4().hex, status=201)


def redemption(company: Company, option: str, user: str = "ada", key: str | None = None) -> Call:
    body = {"option_id": option}
    return call(company, "POST", f"/v1/users/{user}/redemptions", body, key=key or uuid4().hex)


def statuses(heard: list[list[Answer]]) -> list[int]:
    return sorted(answer.status for answers in heard for answer in answers)


def test_exactly_as_many_redemptions_succeed_as_the_balance_pays_for(
    company: Company, clients: Clients, superuser: psycopg.Connection
) -> None:
    company.sign_up("ada")
    for points in (30, 30, 41):  # three lots, which do not end where prices do
        give(company, "ada", points)
    option = offer(company, cost_points=7)
    heard = clients.fire(company.url, [[redemption(company, option) for _ in range(3)] for _ in range(BUYERS)])
    paid_for = 101 // 7
    assert statuses(heard) == [201] * paid_for + [422] * (BUYERS * 3 - paid_for)
    codes = {answer.json["code"] for answers in heard for answer in answers if answer.status == 422}
    assert codes == {"insufficient_points"}
    left = sorted(answer.json["balance_after"] for answers in heard for answer in answers if answer.status == 201)
    assert left == [101 - 7 * (paid_for - sold) for sold in range(paid_for)]
    assert company.balance("ada") == 101 - 7 * paid_for
    assert rows.count(superuser, company.id)["redemptions"] == paid_for
    assert books.faults(superuser, company.id) == []


def test_one_key_from_16_clients_is_one_redemption_and_16_equal_answers(
    company: Company, clients: Clients, superuser: psycopg.Connection
) -> None:
    company.sign_up("ada")
    give(company, "ada", 100)
    option = offer(company, cost_points=10)
    answers = clients.fire_each(company.url, [redemption(company, option, key="once")] * BUYERS)
    assert {(answer.status, answer.raw) for answer in answers} == {(201, answers[0].raw)}
    replayed = sorted(answer.headers.get("idempotent-replay", "") for answer in answers)
    assert replayed == [""] + ["true"] * (BUYERS - 1)
    assert company.balance("ada") == 90
    assert rows.count(superuser, company.id)["redemptions"] == 1
    assert books.faults(superuser, company.id) == []


def test_one_key_with_two_bodies_is_decided_by_whoever_is_first(company: Company, clients: Clients) -> None:
    company.sign_up("ada")
    give(company, "ada", 100)
    dear, cheap = offer(company, cost_points=10), offer(company, cost_points=1)
    calls = [redemption(company, option, key="once") for option in (dear, cheap) for _ in range(BUYERS // 2)]
    answers = clients.fire_each(company.url, calls)
    assert sorted(answer.status for answer in answers) == [201] * (BUYERS // 2) + [409] * (BUYERS // 2)
    assert {answer.json["code"] for answer in answers if answer.status == 409} == {"idempotency_key_reused"}
    assert company.balance("ada") in {90, 99}


def test_a_stock_of_5_is_sold_to_5_of_16_buyers(
    company: Company, clients: Clients, superuser: psycopg.Connection
) -> None:
    buyers = [f"buyer_{each}" for each in range(BUYERS)]
    for buyer in buyers:
        company.sign_up(buyer)
        give(company, buyer, 10)
    option = offer(company, stock=5)
    answers = clients.fire_each(company.url, [redemption(company, option, buyer) for buyer in buyers])
    assert sorted(answer.status for answer in answers) == [201] * 5 + [422] * 11
    assert {answer.json["code"] for answer in answers if answer.status == 422} == {"out_of_stock"}
    assert sorted(company.balance(buyer) for buyer in buyers) == [9] * 5 + [10] * 11
    assert company.ok("GET", "/v1/redemption-options")["data"][0]["stock"] == 0
    assert books.faults(superuser, company.id) == []


@pytest.mark.parametrize("kind", ["unlock", "reward"])
def test_the_last_one_goes_to_one_of_64_and_the_others_keep_their_points(
    company: Company, clients: Clients, superuser: psycopg.Connection, kind: str
) -> None:
    buyers = [f"buyer_{each}" for each in range(CLIENTS)]
    for buyer in buyers:
        company.sign_up(buyer)
        give(company, buyer, 10)
    what = {"unlock": {"plan": "premium", "days": 30}, "reward": {}}[kind]
    body = {"kind": kind, "name": "The last", "cost_points": 7, "stock": 1, **what}
    option = company.ok("POST", "/v1/redemption-options", body, status=201)["id"]
    answers = clients.fire_each(company.url, [redemption(company, option, buyer) for buyer in buyers])
    assert sorted(answer.status for answer in answers) == [201] + [422] * (CLIENTS - 1)
    assert {answer.json["code"] for answer in answers if answer.status == 422} == {"out_of_stock"}
    (sold,) = (answer.json for answer in answers if answer.status == 201)
    assert {buyer for buyer in buyers if company.balance(buyer) == 3} == {sold["user_id"]}
    assert sum(company.balance(buyer) for buyer in buyers) == 10 * CLIENTS - 7
    assert company.ok("GET", f"/v1/redemption-options/{option}")["stock"] == 0
    counted = rows.count(superuser, company.id)
    assert (counted["redemptions"], counted["access_grants"]) == (1, 1 if kind == "unlock" else 0)
    assert books.faults(superuser, company.id) == []


def test_one_decision_on_a_reward_is_made_by_16_who_make_different_ones(
    company: Company, clients: Clients, superuser: psycopg.Connection
) -> None:
    company.sign_up("ada")
    give(company, "ada", 10)
    body = {"kind": "reward", "name": "A mug", "cost_points": 7, "stock": 1}
    option = company.ok("POST", "/v1/redemption-options", body, status=201)["id"]
    (bought,) = clients.fire_each(company.url, [redemption(company, option)])
    path = f"/v1/redemptions/{bought.json['id']}"
    calls = [
        decision
        for number in range(BUYERS // 4)
        for decision in (
            call(company, "POST", f"{path}/fail", {}), call(company, "POST", f"{path}/fulfil", {}),
            call(company, "POST", f"{path}/fail", {}, key=f"fail-{number}"),
            call(company, "POST", f"{path}/fulfil", {}, key=f"fulfil-{number}"),
        )
    ]  # fmt: skip
    answers = clients.fire_each(company.url, calls)
    assert sorted(answer.status for answer in answers) == [200] + [409] * (BUYERS - 1)
    assert {answer.json["code"] for answer in answers if answer.status == 409} == {"redemption_not_pending"}
    (decided,) = (answer.json for answer in answers if answer.status == 200)
    stands = (decided["status"], company.balance("ada"), company.ok("GET", f"/v1/redemption-options/{option}")["stock"])
    assert stands in {("failed", 10, 1), ("fulfilled", 3, 0)}
    assert books.faults(superuser, company.id) == []


def test_a_limit_per_user_holds_against_that_users_own_haste(
    company: Company, clients: Clients, superuser: psycopg.Connection
) -> None:
    company.sign_up("ada")
    give(company, "ada", 100)
    option = offer(company, per_user_limit=3)
    heard = clients.fire(company.url, [[redemption(company, option)] for _ in range(BUYERS)])
    assert statuses(heard) == [201] * 3 + [422] * (BUYERS - 3)
    assert company.balance("ada") == 97
    assert books.faults(superuser, company.id) == []


@pytest.mark.parametrize("quantity", [1, 3])
def test_a_quota_is_used_exactly(
    company: Company, clients: Clients, superuser: psycopg.Connection, quantity: int
) -> None:
    company.sign_up("ada")
    give(company, "ada", 100)
    for bought in (4, 6):
        key = uuid4().hex
        body = {"option_id": offer(company, quantity=bought)}
        company.ok("POST", "/v1/users/ada/redemptions", body, key=key, status=201)
    use = call(company, "POST", "/v1/users/ada/usage", {"feature": "ai_calls", "quantity": quantity})
    heard = clients.fire(company.url, [[use, use]] * BUYERS)
    done = 10 // quantity
    assert statuses(heard) == [200] * done + [422] * (BUYERS * 2 - done)
    left = company.ok("GET", "/v1/users/ada/entitlements/ai_calls")
    assert (left["remaining"], left["extra"]) == (10 - done * quantity, 10 - done * quantity)
    ids = {answer.json["usage_id"] for answers in heard for answer in answers if answer.status == 200}
    assert len(ids) == done
    assert books.faults(superuser, company.id) == []


def test_giving_taking_and_spending_at_once_add_up(
    company: Company, clients: Clients, superuser: psycopg.Connection
) -> None:
    company.sign_up("ada")
    give(company, "ada", 50)
    option = offer(company, cost_points=9)
    changes = [
        [call(company, "POST", "/v1/users/ada/points", {"points": points, "note": ""}, key=uuid4().hex)
         for points in (11, -13, 5, -2)]
        for _ in range(BUYERS // 2)
    ]  # fmt: skip
    spending = [[redemption(company, option) for _ in range(4)] for _ in range(BUYERS // 2)]
    heard = clients.fire(company.url, changes + spending)
    assert set(statuses(heard)) <= {201, 422}
    done = [answer.json for answers in heard for answer in answers if answer.status == 201]
    assert company.balance("ada") == 50 + sum(
        each["delta"] if "delta" in each else -each["cost_points"] for each in done
    )
    assert books.faults(superuser, company.id) == []


def test_a_set_clock_is_seen_by_the_very_next_request(company: Company, clients: Clients) -> None:
    """By every process of every function, however warm."""
    company.sign_up("ada")
    give(company, "ada", 1)
    clients.fire(company.url, [[call(company, "GET", "/v1/users/ada/balance")] * 2] * 4)  # warm all processes
    now = datetime.now(UTC).replace(microsecond=0)
    for days in range(1, 7):
        moment = now + timedelta(days=days)
        company.set_clock(moment)
        answers = clients.fire_each(company.url, [call(company, "GET", "/v1/users/ada/balance")] * 4)
        assert {answer.json["as_of"] for answer in answers} == {f"{moment:%Y-%m-%dT%H:%M:%S}.000000Z"}
        given = company.ok("POST", "/v1/users/ada/points", {"points": 1, "note": ""}, key=str(days))
        assert given["created_at"] == f"{moment:%Y-%m-%dT%H:%M:%S}.000000Z"
