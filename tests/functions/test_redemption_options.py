"""What points can buy: each kind has its own fields, and what is changed counts for the redemptions from then on."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.support import rows
from tests.support.answers import fields, problem, time_of
from tests.support.companies import Company
from tests.support.points import OPTION, REWARD, UNLOCK, give, offer, redeem, refund, stock

NOON = datetime(2027, 1, 15, 12, tzinfo=UTC)
DAY = timedelta(days=1)
NOTHING = f"opt_{'0' * 32}"


@pytest.fixture
def rich(company: Company) -> Company:
    """A company where Ada has 100 points."""
    company.set_clock(NOON)
    company.sign_up("ada")
    give(company, 100, key="start")
    return company


@pytest.mark.parametrize("option", [OPTION, OPTION | {"days": 30}, UNLOCK, REWARD])
def test_an_option_of_every_kind_is_shown_as_it_was_offered(company: Company, option: dict[str, object]) -> None:
    nothing = dict.fromkeys(("feature", "quantity", "days", "plan", "stock", "per_user_limit"))
    made = company.ok("POST", "/v1/redemption-options", option, status=201)
    assert made == company.ok("GET", f"/v1/redemption-options/{made['id']}")
    shown = {name: value for name, value in made.items() if name not in {"id", "created_at", "updated_at"}}
    assert shown == nothing | {"active": True} | option


@pytest.mark.parametrize(
    ("option", "change", "wrong"),
    [
        (OPTION, {"plan": "premium"}, {"plan"}),
        (OPTION, {"plan": None}, {"plan"}),
        (OPTION, {"quantity": None}, {"quantity"}),
        (OPTION, {"days": 0}, {"days"}),
        (OPTION, {"days": 3651}, {"days"}),
        (OPTION, {"kind": "gift"}, {"kind"}),
        (UNLOCK, {"feature": "ai_calls", "quantity": 1}, {"feature", "quantity"}),
        (UNLOCK, {"days": None}, {"days"}),
        (UNLOCK, {"plan": "no such plan"}, {"plan"}),
        (REWARD, {"days": 30}, {"days"}),
        (REWARD, {"feature": None}, {"feature"}),
        (REWARD, {"kind": "unlock"}, {"plan", "days"}),
        (REWARD, {"kind": "quota"}, {"feature", "quantity"}),
        (UNLOCK, {"kind": "quota"}, {"plan", "feature", "quantity"}),
    ],
)
def test_a_field_of_another_kind_or_none_of_its_own_is_named(
    company: Company, superuser: psycopg.Connection, option: dict[str, object], change: dict[str, object],
    wrong: set[str],
) -> None:  # fmt: skip
    headers = {"idempotency-key": "offer"}
    answer = company.api.send("POST", "/v1/redemption-options", option | change, headers=headers)
    assert fields(answer) == wrong
    assert rows.count(superuser, company.id)["redemption_options"] == 0
    # the key is as good as new: nothing was decided
    assert company.api.send("POST", "/v1/redemption-options", option, headers=headers).status == 201


def test_a_feature_and_a_plan_have_to_be_there(company: Company) -> None:
    body = problem(
        company.api.send("POST", "/v1/redemption-options", OPTION | {"feature": "x"}), 422, "feature_unknown"
    )
    assert [wrong["field"] for wrong in body["errors"]] == ["feature"]
    assert fields(company.api.send("POST", "/v1/redemption-options", UNLOCK | {"plan": "gold"})) == {"plan"}


def test_a_plan_that_is_not_in_the_shop_can_be_unlocked(rich: Company) -> None:
    rich.ok("PATCH", "/v1/plans/premium", {"active": False})
    assert redeem(rich, offer(rich, UNLOCK), key="r1").json["grant"]["plan"] == "premium"


def test_what_is_left_out_of_a_change_stays(company: Company, superuser: psycopg.Connection) -> None:
    company.set_clock(NOON)
    option_id = offer(company, days=30, stock=5, per_user_limit=2)
    path = f"/v1/redemption-options/{option_id}"
    before = company.ok("GET", path)
    assert company.ok("PATCH", path, {}) == before
    company.set_clock(NOON + DAY)
    changes: dict[str, object] = {"name": "More", "quantity": 7, "cost_points": 8, "active": False, "stock": 9}
    changed = company.ok("PATCH", path, changes)
    assert changed == before | changes | {"updated_at": changed["updated_at"]}
    assert time_of(changed["updated_at"]) == NOON + DAY
    cleared = dict.fromkeys(("days", "stock", "per_user_limit"))
    assert company.ok("PATCH", path, cleared) == changed | cleared
    statement = """
        SELECT type, data FROM outbox_events WHERE company_id = %(id)s AND type LIKE 'redemption_option%%' ORDER BY id
    """
    events = rows.find(superuser, statement, id=company.id)
    assert [event["type"].partition(".")[2] for event in events] == ["created", "updated", "updated"]
    assert events[1]["data"] | {"name": "More"} == changed


@pytest.mark.parametrize(
    ("option", "change", "wrong"),
    [
        (OPTION, {"kind": "reward"}, {"kind"}),
        (OPTION, {"feature": "photos"}, {"feature"}),
        (UNLOCK, {"plan": "basic"}, {"plan"}),
        (UNLOCK, {"quantity": 2}, {"quantity"}),
        (UNLOCK, {"days": None}, {"days"}),
        (REWARD, {"days": 3, "quantity": 1}, {"days", "quantity"}),
        (OPTION, {"cost_points": None}, {"cost_points"}),
        (OPTION, {"stock": -1}, {"stock"}),
        (OPTION, {"id": NOTHING, "created_at": "2027-01-15T12:00:00Z"}, {"id", "created_at"}),
    ],
)
def test_what_cannot_be_changed_is_named_and_nothing_is(
    company: Company, option: dict[str, object], change: dict[str, object], wrong: set[str]
) -> None:
    path = f"/v1/redemption-options/{offer(company, option)}"
    before = company.ok("GET", path)
    assert fields(company.api.send("PATCH", path, change | {"name": "x"})) == wrong
    assert company.ok("GET", path) == before


def test_an_option_that_is_not_there_is_not_found(company: Company, other: Company) -> None:
    for option_id in (NOTHING, offer(other), "nonsense", "%00", offer(company).replace("opt", "red")):
        path = f"/v1/redemption-options/{option_id}"
        problem(company.api.send("GET", path), 404, "option_not_found")
        problem(company.api.send("PATCH", path, {"name": "x"}), 404, "option_not_found")


def test_a_changed_price_counts_from_then_on(rich: Company) -> None:
    option_id = offer(rich, cost_points=10)
    first = redeem(rich, option_id, key="r1").json
    rich.ok("PATCH", f"/v1/redemption-options/{option_id}", {"cost_points": 25, "quantity": 1})
    again = redeem(rich, option_id, key="r1")
    assert (again.json, again.headers["idempotent-replay"]) == (first, "true")
    assert redeem(rich, option_id, key="r2").json["balance_after"] == 100 - 10 - 25
    assert rich.ok("GET", "/v1/users/ada/entitlements/ai_calls")["extra"] == 20 + 1
    assert refund(rich, first["id"], key="f1").json["balance_after"] == 100 - 25


def test_stock_is_set_to_what_shall_be_left(rich: Company) -> None:
    option_id = offer(rich, cost_points=1, stock=5)
    bought = redeem(rich, option_id, key="r1", quantity=3).json["id"]
    rich.ok("PATCH", f"/v1/redemption-options/{option_id}", {"stock": 1})
    problem(redeem(rich, option_id, key="r2", quantity=2), 422, "out_of_stock")
    refund(rich, bought, key="f1")
    assert stock(rich, option_id) == 4
    rich.ok("PATCH", f"/v1/redemption-options/{option_id}", {"stock": None})
    assert redeem(rich, option_id, key="r3", quantity=50).status == 201
    assert stock(rich, option_id) is None
