"""Points: what they buy, buying it exactly once, and what stands in a wallet."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.support import books, rows
from tests.support.answers import fields, problem, time_of
from tests.support.companies import Company
from tests.support.points import OPTION, buy, give, offer, post, redeem, transactions
from tests.support.waiting import again_and_again, wait_until

NOON = datetime(2027, 1, 15, 12, tzinfo=UTC)
NOTHING = "opt_" + "0" * 32


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


def test_points_buy_quota(rich: Company) -> None:
    option_id = offer(rich)
    answer = redeem(rich, option_id, key="r1")
    assert answer.status == 201
    redemption = answer.json
    assert redemption.pop("id").startswith("red_")
    assert {time_of(redemption.pop(name)) for name in ("created_at", "updated_at", "fulfilled_at")} == {NOON}
    assert redemption == {
        "user_id": "ada", "option_id": option_id, "kind": "quota", "quantity": 1, "cost_points": 30,
        "status": "fulfilled", "balance_after": 70, "grant": None, "note": None, "failed_at": None,
        "refunded_at": None,
    }  # fmt: skip
    entitlement = rich.ok("GET", "/v1/users/ada/entitlements/ai_calls")
    assert (entitlement["allowed"], entitlement["extra"], entitlement["remaining"]) == (True, 20, 20)
    (entry,) = transactions(rich, "?type=REDEMPTION_QUOTA")["data"]
    assert (entry["delta"], entry["balance_after"], entry["ref"]) == (-30, 70, answer.json["id"])


def test_a_quantity_multiplies_cost_and_quota(rich: Company) -> None:
    answer = redeem(rich, offer(rich), key="r1", quantity=3)
    assert (answer.json["quantity"], answer.json["cost_points"], answer.json["balance_after"]) == (3, 90, 10)
    assert rich.ok("GET", "/v1/users/ada/entitlements/ai_calls")["extra"] == 60


def test_a_redemption_needs_an_idempotency_key(rich: Company) -> None:
    body = {"option_id": offer(rich)}
    problem(rich.api.send("POST", "/v1/users/ada/redemptions", body), 400, "idempotency_key_required")
    assert rich.balance("ada") == 100


def test_the_same_key_gives_the_first_answer_byte_for_byte(rich: Company, superuser: psycopg.Connection) -> None:
    option_id = offer(rich)
    first = redeem(rich, option_id, key="r1")
    before = rows.count(superuser, rich.id)
    again = redeem(rich, option_id, key="r1")
    assert (first.status, again.status, again.raw) == (201, 201, first.raw)
    assert "idempotent-replay" not in first.headers
    assert again.headers["idempotent-replay"] == "true"
    assert rows.count(superuser, rich.id) == before
    assert rich.balance("ada") == 70


def test_the_same_key_with_another_request_is_a_conflict(rich: Company) -> None:
    option_id = offer(rich)
    rich.sign_up("bob")
    redeem(rich, option_id, key="r1")
    problem(redeem(rich, option_id, key="r1", quantity=2), 409, "idempotency_key_reused")
    problem(redeem(rich, option_id, key="r1", user="bob"), 409, "idempotency_key_reused")
    assert rich.balance("ada") == 70


def test_a_refusal_is_kept_under_its_key_too(rich: Company) -> None:
    option_id = offer(rich, cost_points=101)
    first = redeem(rich, option_id, key="r1")
    problem(first, 422, "insufficient_points")
    give(rich, 50, key="more")
    again = redeem(rich, option_id, key="r1")
    assert (again.status, again.raw, again.headers["idempotent-replay"]) == (422, first.raw, "true")
    assert redeem(rich, option_id, key="r2").status == 201


def test_too_few_points_buy_nothing_and_are_told(rich: Company) -> None:
    body = problem(redeem(rich, offer(rich, cost_points=34), key="r1", quantity=3), 422, "insufficient_points")
    assert (body["balance"], body["required"]) == (100, 102)
    assert rich.balance("ada") == 100


def test_somebody_without_a_wallet_has_no_points(rich: Company) -> None:
    rich.sign_up("bob")
    body = problem(redeem(rich, offer(rich), key="r1", user="bob"), 422, "insufficient_points")
    assert (body["balance"], body["required"]) == (0, 30)


def test_prices_come_from_the_option_only(rich: Company) -> None:
    assert fields(redeem(rich, offer(rich), key="r1", cost_points=1)) == {"cost_points"}


def test_a_stock_is_exact(rich: Company) -> None:
    option_id = offer(rich, cost_points=1, stock=3)
    problem(redeem(rich, option_id, key="r0", quantity=4), 422, "out_of_stock")
    assert redeem(rich, option_id, key="r1", quantity=2).status == 201
    problem(redeem(rich, option_id, key="r2", quantity=2), 422, "out_of_stock")
    assert redeem(rich, option_id, key="r3").status == 201
    problem(redeem(rich, option_id, key="r4"), 422, "out_of_stock")
    assert [option["stock"] for option in rich.ok("GET", "/v1/redemption-options")["data"]] == [0]


def test_what_was_too_expensive_stays_in_stock(rich: Company) -> None:
    option_id = offer(rich, cost_points=101, stock=1)
    problem(redeem(rich, option_id, key="r1"), 422, "insufficient_points")
    assert [option["stock"] for option in rich.ok("GET", "/v1/redemption-options")["data"]] == [1]


def test_a_users_limit_counts_quantities_and_is_each_users_own(rich: Company) -> None:
    option_id = offer(rich, cost_points=1, per_user_limit=2)
    problem(redeem(rich, option_id, key="r0", quantity=3), 422, "limit_reached")
    assert redeem(rich, option_id, key="r1", quantity=2).status == 201
    problem(redeem(rich, option_id, key="r2"), 422, "limit_reached")
    rich.sign_up("bob")
    rich.ok("POST", "/v1/users/bob/points", {"points": 1, "note": "x"}, key="bob")
    assert redeem(rich, option_id, key="r3", user="bob").status == 201


def test_an_inactive_option_buys_nothing(rich: Company) -> None:
    problem(redeem(rich, offer(rich, active=False), key="r1"), 422, "option_inactive")


def test_what_does_not_exist_here_is_not_found(rich: Company, other: Company) -> None:
    problem(redeem(rich, NOTHING, key="r1"), 404, "option_not_found")
    problem(redeem(rich, offer(other), key="r2"), 404, "option_not_found")
    problem(redeem(rich, offer(rich), key="r3", user="nobody"), 404, "user_not_found")
    for path in ("/v1/users/nobody/balance", "/v1/users/nobody/transactions"):
        problem(rich.api.send("GET", path), 404, "user_not_found")
        problem(other.api.send("GET", path.replace("nobody", "ada")), 404, "user_not_found")


def test_options_are_listed_newest_first_and_page_by_page(company: Company, other: Company) -> None:
    ids = [offer(company, name=f"option {number}") for number in range(5)]
    offer(other)
    pages, after = [], ""
    while after is not None:
        page = company.ok("GET", f"/v1/redemption-options?limit=2{after}")
        pages.append([option["id"] for option in page["data"]])
        after = f"&after={pages[-1][-1]}" if page["has_more"] else None
    assert pages == [[ids[4], ids[3]], [ids[2], ids[1]], [ids[0]]]
    option = company.ok("GET", "/v1/redemption-options?limit=1")["data"][0]
    assert option == company.ok("GET", f"/v1/redemption-options/{ids[4]}")
    assert option.pop("created_at") == option.pop("updated_at")
    assert option == OPTION | {
        "id": ids[4], "name": "option 4", "days": None, "plan": None, "stock": None, "per_user_limit": None,
        "active": True,
    }  # fmt: skip


def test_an_option_that_is_none_cannot_be_followed(company: Company, other: Company) -> None:
    option_id = offer(company)
    assert company.ok("GET", f"/v1/redemption-options?after={option_id}") == {"data": [], "has_more": False}
    for stranger in (NOTHING, offer(other)):
        assert fields(company.api.send("GET", f"/v1/redemption-options?after={stranger}")) == {"after"}


def test_a_balance_says_what_it_is_made_of(rich: Company) -> None:
    redeem(rich, offer(rich), key="r1")
    give(rich, -10, key="back")
    give(rich, 5, key="soon", expires_at=(NOON + timedelta(days=1)).isoformat())
    balance = rich.ok("GET", "/v1/users/ada/balance")
    assert time_of(balance.pop("as_of")) == NOON
    assert balance.pop("expiring") == [
        {"points": 5, "expires_at": "2027-01-16T12:00:00.000000Z"},
        {"points": 60, "expires_at": "2028-01-15T12:00:00.000000Z"},
    ]
    assert balance == {
        "user_id": "ada", "balance": 65, "pending": 0, "debt": 0, "total_earned": 105, "total_spent": -40,
        "total_expired": 0, "total_reversed": 0,
    }  # fmt: skip


def test_points_expire_to_the_microsecond_with_no_job_running(rich: Company) -> None:
    soon = NOON + timedelta(days=1)
    give(rich, 5, key="soon", expires_at=soon.isoformat())
    rich.set_clock(soon - timedelta(microseconds=1))
    assert rich.balance("ada") == 105
    rich.set_clock(soon)
    balance = rich.ok("GET", "/v1/users/ada/balance")
    assert (balance["balance"], balance["total_earned"], balance["total_expired"]) == (100, 105, -5)
    assert rich.ok("GET", "/v1/users/ada")["balance"] == 100
    problem(redeem(rich, offer(rich, cost_points=101), key="r1"), 422, "insufficient_points")
    assert redeem(rich, offer(rich, cost_points=100), key="r2").json["balance_after"] == 0


def test_a_balance_can_be_asked_for_at_any_past_instant(rich: Company) -> None:
    instants = [NOON + timedelta(days=day) for day in range(4)]
    rich.set_clock(instants[1])
    give(rich, 11, key="second", expires_at=instants[3].isoformat())
    rich.set_clock(instants[2])
    redeem(rich, offer(rich), key="r1")
    rich.set_clock(instants[3])

    def as_of(at: datetime) -> int:
        answer = rich.ok("GET", f"/v1/users/ada/balance?as_of={at:%Y-%m-%dT%H:%M:%S.%fZ}")
        assert time_of(answer["as_of"]) == at
        return answer["balance"]

    moment = timedelta(microseconds=1)
    assert [as_of(at) for at in instants] == [100, 111, 81, 81]
    assert [as_of(at - moment) for at in instants] == [0, 100, 111, 81]
    late = instants[3] + moment
    problem(
        rich.api.send("GET", f"/v1/users/ada/balance?as_of={late:%Y-%m-%dT%H:%M:%S.%fZ}"), 422, "as_of_in_the_future"
    )


@pytest.mark.parametrize("booked", [False, True])
def test_yesterday_asked_today_says_what_yesterday_said(rich: Company, booked: bool) -> None:  # noqa: FBT001 - a case
    """Around an expiry that nobody has booked, and when it was booked much later."""
    soon, moment = NOON + timedelta(days=1), timedelta(microseconds=1)
    give(rich, 25, key="soon", expires_at=soon.isoformat())
    buy(rich, key="r1", cost_points=20)
    said: dict[datetime, object] = {}
    for at in (NOON, soon - moment, soon, soon + moment, soon + timedelta(days=1)):
        rich.set_clock(at)
        said[at] = rich.ok("GET", "/v1/users/ada/balance") | {"expiring": []}
    rich.set_clock(NOON + timedelta(days=30))
    if booked:
        give(rich, 1, key="books-expiry")
    for at, balance in said.items():
        assert rich.ok("GET", f"/v1/users/ada/balance?as_of={at:%Y-%m-%dT%H:%M:%S.%fZ}") == balance
    assert [each["delta"] for each in transactions(rich, "?type=EXPIRY")["data"]] == [-5] * booked


def test_debt_too_is_what_it_was(rich: Company, superuser: psycopg.Connection) -> None:
    post(superuser, rich.id, "IMPORT", 50, reference="old")
    buy(rich, key="r1", cost_points=120)
    for days, act in enumerate(
        (
            lambda: post(superuser, rich.id, "REVERSAL", 50, reference="old"),
            lambda: give(rich, 5, key="more"),
            lambda: post(superuser, rich.id, "REINSTATEMENT", 50, reference="old"),
        ),
        start=1,
    ):
        rich.set_clock(NOON + timedelta(days=days))
        act()
    asked = [
        rich.ok("GET", f"/v1/users/ada/balance?as_of={NOON + timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}")
        for days in range(4)
    ]
    assert [(each["balance"], each["debt"], each["total_reversed"]) for each in asked] == [
        (30, 0, 0), (0, 20, -30), (0, 15, -35), (35, 0, 0),
    ]  # fmt: skip


def test_points_are_burned_in_the_order_they_expire(rich: Company) -> None:
    give(rich, 10, key="soon", expires_at=(NOON + timedelta(days=1)).isoformat())
    redeem(rich, offer(rich, cost_points=15), key="r1")
    assert [each["points"] for each in rich.ok("GET", "/v1/users/ada/balance")["expiring"]] == [95]


def test_entries_are_listed_newest_first(rich: Company) -> None:
    give(rich, -10, key="back")
    newest, oldest = transactions(rich)["data"]
    assert newest.keys() == {
        "id", "type", "delta", "debt_delta", "balance_after", "debt_after", "version", "ref", "note", "effective_at",
        "created_at",
    }  # fmt: skip
    assert (newest["type"], newest["delta"], newest["balance_after"], newest["version"], newest["note"]) == (
        "ADMIN_GRANT", -10, 90, 2, "back",
    )  # fmt: skip
    assert (oldest["delta"], oldest["balance_after"], oldest["version"]) == (100, 100, 1)
    assert (oldest["debt_delta"], oldest["debt_after"]) == (0, 0)
    assert time_of(oldest["effective_at"]) == time_of(oldest["created_at"]) == NOON
    assert newest["id"].startswith("txn_")


def test_pages_of_entries_hold_still_while_new_ones_come(rich: Company) -> None:
    for number in range(5):
        give(rich, 1, key=f"give-{number}")
    first = transactions(rich, "?limit=2")
    give(rich, 1, key="meanwhile")
    second = transactions(rich, f"?limit=2&after={first['data'][-1]['id']}")
    last = transactions(rich, f"?limit=2&after={second['data'][-1]['id']}")
    assert [entry["version"] for page in (first, second, last) for entry in page["data"]] == [6, 5, 4, 3, 2, 1]
    assert [page["has_more"] for page in (first, second, last)] == [True, True, False]


def test_a_walk_through_the_pages_sees_every_entry_once_while_new_ones_are_written(rich: Company) -> None:
    for number in range(40):
        give(rich, 1, key=f"give-{number}")
    there = {entry["id"] for entry in transactions(rich, "?limit=100")["data"]}
    assert len(there) == 41
    writer, numbers = Company(rich.line), itertools.count()
    seen: list[str] = []
    with again_and_again(lambda: give(writer, 1, key=f"new-{next(numbers)}"), pause_seconds=0) as written:
        query = "?limit=3"
        while query:
            before = written["done"]
            page = transactions(rich, query)
            seen += [entry["id"] for entry in page["data"]]
            query = f"?limit=3&after={seen[-1]}" if page["has_more"] else ""
            wait_until(lambda before=before: written["done"] > before, "somebody writes between two pages")
    writer.close()
    assert len(seen) == len(set(seen))
    assert there <= set(seen)


def test_an_entry_that_is_none_of_this_user_cannot_be_followed(rich: Company, other: Company) -> None:
    (mine,) = transactions(rich)["data"]
    assert transactions(rich, f"?after={mine['id']}") == {"data": [], "has_more": False}
    assert transactions(rich, f"?after={mine['id']}&type=EXPIRY") == {"data": [], "has_more": False}
    rich.sign_up("bob")
    other.sign_up("ada")
    strangers = ["txn_0", "txn_" + "9" * 18, give(rich, 1, key="bob", user="bob")["id"], give(other, 1, key="x")["id"]]
    for stranger in strangers:
        answer = rich.api.send("GET", f"/v1/users/ada/transactions?after={stranger}")
        assert fields(answer) == {"after"}
        assert answer.json["errors"][0]["message"] == "is no entry of this user"


def test_days_are_the_companys_own(rich: Company, superuser: psycopg.Connection) -> None:
    superuser.execute("UPDATE companies SET time_zone = 'America/New_York' WHERE id = %(id)s", {"id": rich.id})
    for key, at in (("last", "2027-01-17T04:59:59.999999Z"), ("next", "2027-01-17T05:00:00Z")):
        rich.set_clock(datetime.fromisoformat(at))
        give(rich, 1, key=key)

    def notes(query: str) -> list[str]:
        return [entry["note"] for entry in transactions(rich, query)["data"]]

    assert notes("?from=2027-01-17") == ["next"]
    assert notes("?to=2027-01-17") == ["last", "start"]
    assert notes("?from=2027-01-16&to=2027-01-17") == ["last"]
    assert notes("?from=2027-01-16&to=2027-01-17T04:59:59.999999Z") == []


def test_entries_can_be_filtered(rich: Company) -> None:
    rich.set_clock(NOON + timedelta(days=1))
    redeem(rich, offer(rich), key="r1")
    rich.set_clock(NOON + timedelta(days=2))
    give(rich, 7, key="last")

    def deltas(query: str) -> list[int]:
        return [entry["delta"] for entry in transactions(rich, query)["data"]]

    assert deltas("?type=ADMIN_GRANT") == [7, 100]
    assert deltas("?type=EXPIRY") == []
    assert deltas("?from=2027-01-16T12:00:00Z") == [7, -30]
    assert deltas("?to=2027-01-16T12:00:00Z") == [100]
    assert deltas("?from=2027-01-16T12:00:00Z&to=2027-01-17T12:00:00Z&limit=1") == [-30]
    assert deltas("?from=2027-01-16T13:00:00%2B01:00&type=REDEMPTION_QUOTA") == [-30]
