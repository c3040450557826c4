"""Milestones: what a company may offer, and what those reach whose referrals come to count."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from tests.support import books, rows
from tests.support.answers import fields, problem
from tests.support.companies import Company
from tests.support.counted import T0, bring, pay, qualified_count, refund
from tests.support.stripe_objects import invoice_paid

AT_T0 = "2027-03-01T12:00:00.000000Z"
DAY = timedelta(days=1)

POINTS: dict[str, Any] = {"name": "Fan", "threshold": 1, "reward_type": "points", "reward_data": {"points": 50}}
UNLOCK: dict[str, Any] = {
    "name": "Friend", "threshold": 1, "reward_type": "product_unlock",
    "reward_data": {"plan": "premium", "days": 30, "product_id": "prod_gold"},
}  # fmt: skip
DISCOUNT: dict[str, Any] = {
    "name": "Saver", "threshold": 1, "reward_type": "discount", "reward_data": {"discount_code": "HALF-OFF"},
}  # fmt: skip
CUSTOM: dict[str, Any] = {"name": "Mug", "threshold": 1, "reward_type": "custom", "reward_data": {"colour": "blue"}}
EVERY_TYPE = [POINTS, UNLOCK, DISCOUNT, CUSTOM]


@pytest.fixture
def shop(company: Company) -> Company:
    """Ada has brought five, of whom nobody has paid."""
    company.set_clock(T0)
    code = company.sign_up("ada")["user"]["referral_code"]
    bring(company, code, "ben", "cleo", "dan", "eve", "fay")
    return company


@pytest.fixture(autouse=True)
def the_books_are_right(company: Company, superuser: psycopg.Connection) -> Iterator[None]:
    """Whatever a test did, scores, milestones and the ledger agree afterwards."""
    yield
    assert books.faults(superuser, company.id) == []


def offer(shop: Company, milestone: dict[str, Any], **changed: object) -> str:
    return shop.ok("POST", "/v1/milestones", milestone | changed, status=201)["id"]


def standing(shop: Company, user: str = "ada") -> list[dict[str, Any]]:
    return shop.ok("GET", f"/v1/users/{user}/milestones")["data"]


def only(shop: Company, user: str = "ada") -> dict[str, Any]:
    (milestone,) = standing(shop, user)
    return milestone


def told(superuser: psycopg.Connection, company: Company) -> list[tuple[str, dict[str, Any]]]:
    """The events of what people reached, in order."""
    found = rows.find(
        superuser,
        "SELECT type, data FROM outbox_events WHERE company_id = %(id)s AND type LIKE 'milestone.%%'"
        " AND type NOT IN ('milestone.created', 'milestone.updated') ORDER BY id",
        id=company.id,
    )
    return [(row["type"], row["data"]) for row in found]


def milestone_points(company: Company, user: str = "ada") -> list[int]:
    listed = company.ok("GET", f"/v1/users/{user}/transactions?type=MILESTONE")["data"]
    return [entry["delta"] for entry in listed]


# What is offered


@pytest.mark.parametrize("milestone", EVERY_TYPE, ids=lambda milestone: milestone["reward_type"])
def test_a_milestone_is_shown_whole(shop: Company, milestone: dict[str, Any]) -> None:
    made = shop.ok("POST", "/v1/milestones", milestone, status=201)
    assert made == milestone | {
        "id": made["id"], "description": None, "auto_apply": True, "active": True, "created_at": AT_T0,
        "updated_at": AT_T0,
    }  # fmt: skip
    assert made["id"].startswith("mil_")
    assert shop.ok("GET", f"/v1/milestones/{made['id']}") == made
    assert shop.ok("GET", "/v1/milestones")["data"] == [made]


def test_milestones_are_listed_by_threshold_page_by_page(shop: Company) -> None:
    high, low, middle = (offer(shop, POINTS, threshold=threshold) for threshold in (9, 1, 5))
    page = shop.ok("GET", "/v1/milestones?limit=2")
    assert ([each["id"] for each in page["data"]], page["has_more"]) == ([low, middle], True)
    page = shop.ok("GET", f"/v1/milestones?limit=2&after={middle}")
    assert ([each["id"] for each in page["data"]], page["has_more"]) == ([high], False)
    assert fields(shop.api.send("GET", f"/v1/milestones?after=mil_{'0' * 32}")) == {"after"}


@pytest.mark.parametrize(
    ("reward_type", "data", "field"),
    [
        ("points", {}, "points"),
        ("points", {"points": 0}, "points"),
        ("points", {"points": "50"}, "points"),
        ("points", {"points": 50, "bonus": 1}, "bonus"),
        ("product_unlock", {"plan": "premium"}, "days"),
        ("product_unlock", {"plan": "premium", "days": 0}, "days"),
        ("product_unlock", {"plan": "platinum", "days": 30}, "plan"),
        ("product_unlock", {"plan": "premium", "days": 30, "product_id": ""}, "product_id"),
        ("discount", {"discount_code": None}, "discount_code"),
        ("discount", {"code": "X", "discount_code": "X"}, "code"),
    ],
)
def test_what_a_reward_cannot_be_is_named(
    shop: Company, superuser: psycopg.Connection, reward_type: str, data: dict[str, Any], field: str
) -> None:
    before = rows.count(superuser, shop.id)
    reward = {"reward_type": reward_type, "reward_data": data}
    assert fields(shop.api.send("POST", "/v1/milestones", POINTS | reward)) == {f"reward_data.{field}"}
    assert rows.count(superuser, shop.id) == before
    path = f"/v1/milestones/{offer(shop, CUSTOM)}"
    assert fields(shop.api.send("PATCH", path, reward)) == {f"reward_data.{field}"}
    assert shop.ok("GET", path)["reward_data"] == CUSTOM["reward_data"]


def test_a_custom_reward_is_anything_that_can_be_kept(shop: Company) -> None:
    for data in ({"a": "\x00"}, {"\x00": 1}, {"a": "x" * 4096}, []):
        assert fields(shop.api.send("POST", "/v1/milestones", CUSTOM | {"reward_data": data})) == {"reward_data"}
    for data in ({}, {"sizes": [1, 2.5, None, {"deep": True}]}):
        assert shop.ok("POST", "/v1/milestones", CUSTOM | {"reward_data": data})["reward_data"] == data


def test_a_reward_is_changed_with_its_data(shop: Company) -> None:
    path = f"/v1/milestones/{offer(shop, POINTS)}"
    assert fields(shop.api.send("PATCH", path, {"reward_type": "discount"})) == {
        "reward_data.discount_code", "reward_data.points",
    }  # fmt: skip
    assert fields(shop.api.send("PATCH", path, {"reward_data": {"points": 0}})) == {"reward_data.points"}
    assert fields(shop.api.send("PATCH", path, {"created_at": AT_T0})) == {"created_at"}
    assert fields(shop.api.send("PATCH", path, {"threshold": None})) == {"threshold"}
    shop.set_clock(T0 + DAY)
    changed = shop.ok("PATCH", path, {"reward_type": "discount", "reward_data": {"discount_code": "X"}, "threshold": 3})
    assert (changed["reward_type"], changed["reward_data"], changed["threshold"]) == (
        "discount", {"discount_code": "X"}, 3,
    )  # fmt: skip
    assert (changed["created_at"], changed["updated_at"]) == (AT_T0, "2027-03-02T12:00:00.000000Z")
    assert shop.ok("PATCH", path, {}) == changed


def test_an_unknown_milestone_and_another_companys_are_not_found_and_no_id_at_all_is_refused(
    shop: Company, other: Company
) -> None:
    theirs = other.ok("POST", "/v1/milestones", POINTS)["id"]
    other.sign_up("ada")
    for id_ in (theirs, f"mil_{'0' * 32}", "mil_1"):
        for method, path in (
            ("GET", f"/v1/milestones/{id_}"),
            ("PATCH", f"/v1/milestones/{id_}"),
            ("GET", f"/v1/milestones/{id_}/users"),
            ("POST", f"/v1/milestones/{id_}/users/ada/fulfil"),
            ("POST", f"/v1/users/ada/milestones/{id_}/claim"),
        ):
            body = None if method == "GET" else {}
            answer = shop.api.send(method, path, body)
            if id_ == "mil_1":
                assert fields(answer) == {"id"}
            else:
                problem(answer, 404, "milestone_not_found")


# Reaching


def test_points_are_booked_as_the_milestone_is_reached(shop: Company, superuser: psycopg.Connection) -> None:
    milestone_id = offer(shop, POINTS, threshold=2)
    pay(shop, "ben")
    assert only(shop) == {
        "id": milestone_id, "name": "Fan", "description": None, "threshold": 2, "reward_type": "points",
        "reward_data": {"points": 50}, "auto_apply": True, "qualified_count": 1, "status": None, "reached_at": None,
        "granted_at": None, "claimed_at": None, "grant_id": None, "error_message": None,
    }  # fmt: skip
    before = shop.balance("ada")
    shop.set_clock(T0 + DAY)
    pay(shop, "cleo", paid_at=T0 + DAY)
    reached = only(shop)
    assert (reached["status"], reached["qualified_count"]) == ("granted", 2)
    assert reached["reached_at"] == reached["granted_at"] == "2027-03-02T12:00:00.000000Z"
    assert milestone_points(shop) == [50]
    assert shop.balance("ada") == before + 25 + 50
    ((event_type, data),) = told(superuser, shop)
    assert event_type == "milestone.granted"
    assert data == {
        "id": milestone_id, "user_id": shop.ok("GET", "/v1/users/ada")["id"], "external_id": "ada",
        "status": "granted", "threshold": 2, "reward_type": "points", "transaction_id": data["transaction_id"],
    }  # fmt: skip
    actions = [each["action"] for each in shop.ok("GET", "/v1/users/ada/activity")["data"]]
    assert "milestone_granted" in actions


def test_a_plan_is_given_as_the_milestone_is_reached(shop: Company, superuser: psycopg.Connection) -> None:
    milestone_id = offer(shop, UNLOCK)
    pay(shop, "ben")
    reached = only(shop)
    (grant,) = shop.ok("GET", "/v1/users/ada/grants")["data"]
    assert (grant["id"], grant["plan"], grant["source"], grant["milestone_id"], grant["remaining_days"]) == (
        reached["grant_id"], "premium", "milestone", milestone_id, 30,
    )  # fmt: skip
    assert shop.ok("GET", "/v1/users/ada")["plan"] == "premium"
    ((event_type, data),) = told(superuser, shop)
    assert (event_type, data["product_id"], data["grant_id"]) == ("milestone.granted", "prod_gold", grant["id"])


@pytest.mark.parametrize("milestone", [DISCOUNT, CUSTOM], ids=lambda milestone: milestone["reward_type"])
def test_what_a_discount_or_a_custom_reward_is_shows_once_it_is_granted(
    shop: Company, milestone: dict[str, Any]
) -> None:
    offer(shop, milestone)
    assert (only(shop)["status"], only(shop)["reward_data"]) == (None, None)
    pay(shop, "ben")
    assert (only(shop)["status"], only(shop)["reward_data"]) == ("granted", milestone["reward_data"])


@pytest.mark.parametrize("milestone", EVERY_TYPE, ids=lambda milestone: milestone["reward_type"])
def test_what_is_not_applied_by_itself_waits_and_gives_nothing(
    shop: Company, superuser: psycopg.Connection, milestone: dict[str, Any]
) -> None:
    offer(shop, milestone, auto_apply=False)
    before = rows.count(superuser, shop.id)
    pay(shop, "ben")
    reached = only(shop)
    assert (reached["status"], reached["granted_at"], reached["grant_id"]) == ("pending", None, None)
    assert reached["reward_data"] == (milestone["reward_data"] if milestone in (POINTS, UNLOCK) else None)
    assert milestone_points(shop) == []
    assert rows.count(superuser, shop.id)["access_grants"] == before["access_grants"]
    assert [event_type for event_type, _ in told(superuser, shop)] == ["milestone.reached"]


def test_making_or_changing_one_grants_nothing_by_itself(shop: Company) -> None:
    pay(shop, "ben", "cleo")
    new = offer(shop, POINTS)
    high = offer(shop, POINTS, threshold=5)
    shop.ok("PATCH", f"/v1/milestones/{high}", {"threshold": 2})
    assert {each["id"]: each["status"] for each in standing(shop)} == {new: None, high: None}
    problem(shop.api.send("POST", f"/v1/users/ada/milestones/{new}/claim"), 422, "milestone_not_reached")
    # the next one that counts is when both are judged, though it is one more than they take
    pay(shop, "dan")
    assert {each["id"]: each["status"] for each in standing(shop)} == {new: "granted", high: "granted"}
    assert milestone_points(shop) == [50, 50]


def test_an_inactive_one_is_not_reached_and_not_shown(shop: Company) -> None:
    milestone_id = offer(shop, POINTS, active=False)
    pay(shop, "ben")
    assert standing(shop) == []
    shop.ok("PATCH", f"/v1/milestones/{milestone_id}", {"active": True})
    assert only(shop)["status"] is None
    pay(shop, "cleo")
    shop.ok("PATCH", f"/v1/milestones/{milestone_id}", {"active": False})
    assert only(shop)["status"] == "granted"


def test_a_batch_reaches_each_milestone_once_however_many_referrals_come_to_count(
    shop: Company, superuser: psycopg.Connection
) -> None:
    """What nobody has settled yet, the job that advances referrals settles in one go."""
    first, second, third = (offer(shop, POINTS, threshold=threshold) for threshold in (1, 2, 4))
    for referee in ("ben", "cleo", "dan"):
        shop.deliver(invoice_paid(f"evt_{referee}", f"in_{referee}", customer=f"cus_{referee}", paid_at=T0))
    superuser.execute(
        """UPDATE payments SET user_id = users.id, claimed_by = 'key' FROM users
        WHERE payments.company_id = %(id)s AND users.company_id = %(id)s
            AND payment_key = 'in_' || users.external_id""",
        {"id": shop.id},
    )
    superuser.execute("UPDATE referrals SET advances_at = %(at)s WHERE company_id = %(id)s", {"id": shop.id, "at": T0})
    answer = shop.browser.send("POST", "/_local/functions/AdvanceReferralsFunction/invocations", {})
    assert answer.status == 200, answer.raw
    assert {each["id"]: each["status"] for each in standing(shop)} == {
        first: "granted", second: "granted", third: None,
    }  # fmt: skip
    assert (milestone_points(shop), qualified_count(shop, "ada")) == ([50, 50], 3)


def test_refunds_change_nothing_of_what_was_granted(shop: Company, superuser: psycopg.Connection) -> None:
    offer(shop, POINTS, threshold=2)
    offer(shop, UNLOCK, threshold=2)
    pay(shop, "ben", "cleo")
    reached = standing(shop)
    refund(shop, "ben")
    refund(shop, "cleo")
    assert qualified_count(shop, "ada") == 0
    assert standing(shop) == [each | {"qualified_count": 0} for each in reached]
    assert milestone_points(shop) == [50]
    assert [each["status"] for each in shop.ok("GET", "/v1/users/ada/grants")["data"]] == ["active"]
    # who has reached one has reached it for ever: it is not granted again
    pay(shop, "dan", "eve")
    assert [each["status"] for each in standing(shop)] == ["granted", "granted"]
    assert (milestone_points(shop), len(told(superuser, shop))) == ([50], 2)


def test_a_grant_that_fails_leaves_the_payment_as_it_is(shop: Company, superuser: psycopg.Connection) -> None:
    offer(shop, UNLOCK)
    offer(shop, POINTS)
    lose_the_plan(superuser, shop)
    before = shop.balance("ada")
    pay(shop, "ben")
    assert qualified_count(shop, "ada") == 1
    assert shop.balance("ada") == before + 25 + 50
    statuses = {each["reward_type"]: each["status"] for each in standing(shop)}
    assert statuses == {"points": "granted", "product_unlock": "failed"}
    (failed,) = [each for each in standing(shop) if each["status"] == "failed"]
    assert (failed["error_message"], failed["granted_at"], failed["grant_id"]) == (
        "There is no such plan.", None, None,
    )  # fmt: skip
    assert shop.ok("GET", "/v1/users/ada/grants")["data"] == []
    assert {event_type for event_type, _ in told(superuser, shop)} == {"milestone.granted", "milestone.failed"}


def lose_the_plan(superuser: psycopg.Connection, company: Company) -> None:
    """Let milestones name a plan that is not there, as no request can."""
    superuser.execute(
        """UPDATE milestones SET reward_data = reward_data || '{"plan": "gone"}'
        WHERE company_id = %(id)s AND reward_type = 'product_unlock'""",
        {"id": company.id},
    )
