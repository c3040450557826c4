"""Refunds of redemptions: all points back into the lots they came from, once, and what they bought ends."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from goodword.accounts import api_keys
from goodword.core.auth import Scope
from local.client import Answer, Client
from tests.support import books, rows
from tests.support.answers import fields, problem, time_of
from tests.support.companies import Company
from tests.support.points import buy, give, offer, post, redeem, refund, transactions

NOON = datetime(2027, 1, 15, 12, tzinfo=UTC)
DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)


@pytest.fixture
def rich(company: Company) -> Company:
    """A company where Ada has 100 points."""
    company.set_clock(NOON)
    company.sign_up("ada")
    give(company, 100, key="start")
    return company


@pytest.fixture(autouse=True)
def the_books_are_right(company: Company, superuser: psycopg.Connection) -> Iterator[None]:
    """Whatever a test did, the ledger agrees with itself afterwards."""
    yield
    assert books.faults(superuser, company.id) == []


def as_of(company: Company, at: datetime) -> int:
    return company.ok("GET", f"/v1/users/ada/balance?as_of={at:%Y-%m-%dT%H:%M:%S.%fZ}")["balance"]


def extra(company: Company) -> int:
    return company.ok("GET", "/v1/users/ada/entitlements/ai_calls")["extra"]


def test_a_refund_gives_all_points_back(rich: Company) -> None:
    option_id = offer(rich)
    bought = redeem(rich, option_id, key="r1", quantity=2).json
    rich.set_clock(NOON + DAY)
    answer = refund(rich, bought["id"], key="f1")
    assert answer.status == 200
    assert answer.json == bought | {
        "status": "refunded", "balance_after": 100, "refunded_at": "2027-01-16T12:00:00.000000Z",
        "updated_at": "2027-01-16T12:00:00.000000Z",
    }  # fmt: skip
    entry = transactions(rich)["data"][0]
    assert (entry["type"], entry["delta"], entry["balance_after"], entry["ref"]) == (
        "REDEMPTION_REFUND", 60, 100, bought["id"],
    )  # fmt: skip
    assert time_of(entry["effective_at"]) == NOON + DAY
    balance = rich.ok("GET", "/v1/users/ada/balance")
    assert (balance["balance"], balance["total_earned"], balance["total_spent"]) == (100, 100, 0)


def test_a_refund_is_told_and_remembered(rich: Company, superuser: psycopg.Connection) -> None:
    refunded = refund(rich, buy(rich, key="r1"), key="f1").json
    event = rows.find_one(
        superuser,
        "SELECT data FROM outbox_events WHERE company_id = %(id)s AND type = 'redemption.refunded'",
        id=rich.id,
    )
    assert refunded.pop("note") is None
    assert event["data"] == refunded
    assert refunded["user_id"] == "ada"
    done = rows.find_one(
        superuser,
        "SELECT details FROM activity WHERE company_id = %(id)s AND action = 'redemption_refunded'",
        id=rich.id,
    )
    assert done["details"] == {"redemption_id": refunded["id"], "points": 30}


def test_the_same_key_gives_the_first_answer_byte_for_byte(rich: Company, superuser: psycopg.Connection) -> None:
    redemption_id = buy(rich, key="r1")
    first = refund(rich, redemption_id, key="f1")
    before = rows.count(superuser, rich.id)
    rich.set_clock(NOON + DAY)
    for body in (None, {}):  # both say nothing
        again = refund(rich, redemption_id, key="f1", body=body)
        assert (again.status, again.raw, again.headers["idempotent-replay"]) == (200, first.raw, "true")
    assert "idempotent-replay" not in first.headers
    assert rows.count(superuser, rich.id) == before


def test_the_same_key_with_another_request_is_a_conflict(rich: Company) -> None:
    first, second = buy(rich, key="r1"), buy(rich, key="r2")
    refund(rich, first, key="f1")
    problem(refund(rich, second, key="f1"), 409, "idempotency_key_reused")
    problem(refund(rich, first, key="r1"), 409, "idempotency_key_reused")
    problem(redeem(rich, offer(rich), key="f1"), 409, "idempotency_key_reused")
    assert rich.balance("ada") == 70


def test_points_come_back_once(rich: Company) -> None:
    redemption_id = buy(rich, key="r1")
    refund(rich, redemption_id, key="f1")
    refused = refund(rich, redemption_id, key="f2")
    problem(refused, 409, "redemption_refunded")
    again = refund(rich, redemption_id, key="f2")
    assert (again.status, again.raw, again.headers["idempotent-replay"]) == (409, refused.raw, "true")
    assert rich.balance("ada") == 100


def test_a_refund_needs_an_idempotency_key(rich: Company) -> None:
    path = f"/v1/redemptions/{buy(rich, key='r1')}/refund"
    problem(rich.api.send("POST", path), 400, "idempotency_key_required")
    assert rich.balance("ada") == 70


def test_a_refund_takes_no_fields(rich: Company) -> None:
    redemption_id = buy(rich, key="r1")
    assert fields(refund(rich, redemption_id, key="f1", body={"points": 1000})) == {"points"}
    path, headers = f"/v1/redemptions/{redemption_id}/refund", {"idempotency-key": "f1"}
    for raw in (b" ", b"nope", b"[]", b"null", b"\xff"):
        problem(rich.api.send("POST", path, raw=raw, headers=headers), 400, "malformed_body")
    assert rich.balance("ada") == 70
    assert refund(rich, redemption_id, key="f1").status == 200


@pytest.mark.parametrize("scope", [Scope.READ, Scope.WRITE])
def test_only_an_administrator_gives_back(rich: Company, superuser: psycopg.Connection, scope: Scope) -> None:
    path, headers = f"/v1/redemptions/{buy(rich, key='r1')}/refund", {"idempotency-key": "f1"}
    lesser = Client(rich.url, api_keys.create(superuser, rich.id, livemode=False, scope=scope))
    problem(lesser.send("POST", path, headers=headers), 403, "scope_insufficient")
    lesser.close()
    problem(rich.browser.send("POST", path, headers=headers), 401, "key_missing")
    assert rich.balance("ada") == 70


def test_what_was_not_bought_here_is_not_found(rich: Company, other: Company) -> None:
    redemption_id = buy(rich, key="r1")
    problem(refund(other, redemption_id, key="f1"), 404, "redemption_not_found")
    unknown = ["red_" + "0" * 32, redemption_id.replace("red", "opt"), redemption_id.upper(), "nonsense", "%00", "%FF"]
    for number, each in enumerate(unknown):
        problem(refund(rich, each, key=f"f{number}"), 404, "redemption_not_found")
    assert rich.balance("ada") == 70


def test_points_go_back_into_the_lots_they_came_from(rich: Company) -> None:
    for key, days in (("soon", 10), ("sooner", 5)):
        give(rich, 20, key=key, expires_at=(NOON + days * DAY).isoformat())
    before = rich.ok("GET", "/v1/users/ada/balance")["expiring"]
    redemption_id = buy(rich, key="r1", cost_points=50)
    assert [each["points"] for each in rich.ok("GET", "/v1/users/ada/balance")["expiring"]] == [90]
    refund(rich, redemption_id, key="f1")
    assert rich.ok("GET", "/v1/users/ada/balance")["expiring"] == before


def test_what_has_expired_meanwhile_expires_again_at_once(rich: Company) -> None:
    soon = NOON + DAY
    give(rich, 20, key="soon", expires_at=soon.isoformat())
    redemption_id = buy(rich, key="r1", cost_points=50)
    refunded_at = NOON + 7 * DAY
    rich.set_clock(refunded_at)
    answer = refund(rich, redemption_id, key="f1")
    assert answer.json["balance_after"] == rich.balance("ada") == 100
    newest, second, *_ = transactions(rich)["data"]
    assert [(each["type"], each["delta"], each["balance_after"]) for each in (newest, second)] == [
        ("EXPIRY", -20, 100), ("REDEMPTION_REFUND", 50, 120),
    ]  # fmt: skip
    assert time_of(newest["effective_at"]) == time_of(second["effective_at"]) == refunded_at
    # what the days before the refund said, they still say
    assert [as_of(rich, at) for at in (soon - TICK, soon, refunded_at - TICK, refunded_at)] == [70, 70, 70, 100]


def test_a_refund_of_expired_points_only_leaves_nothing(rich: Company) -> None:
    give(rich, 20, key="soon", expires_at=(NOON + DAY).isoformat())
    redemption_id = buy(rich, key="r1", cost_points=20)
    rich.set_clock(NOON + 2 * DAY)
    assert refund(rich, redemption_id, key="f1").json["balance_after"] == 100
    balance = rich.ok("GET", "/v1/users/ada/balance")
    assert (balance["balance"], balance["total_spent"], balance["total_expired"]) == (100, 0, -20)


def test_what_is_due_when_a_refund_comes_is_booked_at_its_own_instant(rich: Company) -> None:
    soon = NOON + DAY
    give(rich, 20, key="soon", expires_at=soon.isoformat())
    redemption_id = buy(rich, key="r1", cost_points=15)
    rich.set_clock(NOON + 7 * DAY)
    assert refund(rich, redemption_id, key="f1").json["balance_after"] == 100
    expiries = transactions(rich, "?type=EXPIRY")["data"]
    assert [(each["delta"], time_of(each["effective_at"])) for each in expiries] == [
        (-15, NOON + 7 * DAY), (-5, soon),
    ]  # fmt: skip


def test_a_refund_repays_debt_first(rich: Company, superuser: psycopg.Connection) -> None:
    post(superuser, rich.id, "IMPORT", 50, reference="old")
    redemption_id = buy(rich, key="r1", cost_points=120)
    post(superuser, rich.id, "REVERSAL", 50, reference="old")
    balance = rich.ok("GET", "/v1/users/ada/balance")
    assert (balance["balance"], balance["debt"]) == (0, 20)
    assert refund(rich, redemption_id, key="f1").json["balance_after"] == 100
    balance = rich.ok("GET", "/v1/users/ada/balance")
    assert (balance["balance"], balance["debt"], balance["total_reversed"]) == (100, 0, -50)
    repaid, refunded = transactions(rich, "?limit=2")["data"]
    assert (repaid["type"], repaid["delta"], repaid["debt_delta"], repaid["debt_after"]) == (
        "DEBT_REPAYMENT", -20, -20, 0,
    )  # fmt: skip
    assert (refunded["delta"], refunded["balance_after"], refunded["debt_after"]) == (120, 120, 20)


def test_stock_and_limit_come_back(rich: Company) -> None:
    option_id = offer(rich, cost_points=1, stock=3, per_user_limit=3)

    def stock() -> int:
        return rich.ok("GET", "/v1/redemption-options")["data"][0]["stock"]

    redemption_id = redeem(rich, option_id, key="r1", quantity=3).json["id"]
    assert stock() == 0
    problem(redeem(rich, option_id, key="r2"), 422, "out_of_stock")
    refund(rich, redemption_id, key="f1")
    assert stock() == 3
    assert redeem(rich, option_id, key="r3", quantity=3).status == 201
    assert stock() == 0


def test_what_has_no_stock_gets_none(rich: Company) -> None:
    refund(rich, buy(rich, key="r1"), key="f1")
    assert [option["stock"] for option in rich.ok("GET", "/v1/redemption-options")["data"]] == [None]


def test_bought_quota_ends(rich: Company) -> None:
    redemption_id, kept = buy(rich, key="r1"), buy(rich, key="r2", quantity=2)

    def use(quantity: int) -> Answer:
        return rich.api.send("POST", "/v1/users/ada/usage", {"feature": "ai_calls", "quantity": quantity})

    assert extra(rich) == 60
    assert use(5).json["extra"] == 55
    assert refund(rich, redemption_id, key="f1").json["balance_after"] == 40  # all of it, though some was used
    assert extra(rich) == 40
    problem(use(41), 422, "limit_reached")
    refund(rich, kept, key="f2")
    entitlement = rich.ok("GET", "/v1/users/ada/entitlements/ai_calls")
    assert (entitlement["allowed"], entitlement["extra"], entitlement["remaining"]) == (False, 0, 0)
    assert use(1).status == 422
    assert rich.balance("ada") == 100
