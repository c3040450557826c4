"""Whoever subscribes at a provider has the plan that is sold as that price, for as long as the subscription runs."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.support import rows, stripe_objects, whop_objects
from tests.support.companies import Company

NOON = datetime(2031, 1, 15, 12, tzinfo=UTC)
DAY = timedelta(days=1)
PERIOD_ENDS = NOON + 31 * DAY


@pytest.fixture
def seller(company: Company) -> Company:
    """A company that sells basic and premium at both providers, and Ben, whom both know."""
    company.set_clock(NOON)
    for plan in ("basic", "premium"):
        prices = {
            "stripe_price_id_monthly": f"price_{plan}",
            "stripe_price_id_yearly": f"price_{plan}_year",
            "whop_plan_ids": [f"plan_{plan}"],
        }
        company.ok("PATCH", f"/v1/plans/{plan}", prices)
    ben = {"external_id": "ben", "stripe_customer_id": "cus_ben", "whop_user_id": "user_ben"}
    company.ok("POST", "/v1/signups", {"user": ben}, status=201)
    return company


def stripe(status: str, at: datetime, *prices: str, **fields: object) -> dict[str, Any]:
    items = [stripe_objects.item(price, PERIOD_ENDS) for price in prices or ("price_premium",)]
    value = stripe_objects.subscription(*items, status=status, customer="cus_ben", created=NOON) | fields
    kind = "deleted" if status == "canceled" else "updated"
    return stripe_objects.event(f"customer.subscription.{kind}", value, sent_at=at, id=f"evt_{status}_{at.timestamp()}")


def whop(status: str, at: datetime, **fields: object) -> dict[str, Any]:
    value = whop_objects.membership(
        id="mem_1", status=status, user={"id": "user_ben"}, plan={"id": "plan_premium"},
        renewal_period_end=PERIOD_ENDS, created_at=NOON,
    ) | fields  # fmt: skip
    kind = "deactivated" if status in {"expired", "canceled"} else "activated"
    return whop_objects.event(f"membership.{kind}", value, sent_at=at, id=f"msg_{status}_{at.timestamp()}")


def tell(company: Company, *events: dict[str, Any]) -> None:
    for event in events:
        answer = company.deliver(event) if event.get("object") == "event" else company.deliver_whop(event)
        assert (answer.status, answer.json["outcome"]) == (200, "applied"), answer.raw


def plan(company: Company, user: str = "ben") -> str:
    return company.ok("GET", f"/v1/users/{user}")["plan"]


def entitled(company: Company, feature: str) -> tuple[int | None, str]:
    """The limit of a feature, and what it comes from."""
    found = company.ok("GET", f"/v1/users/ben/entitlements/{feature}")
    return found["limit"], found["source"]


@pytest.mark.parametrize(
    ("status", "has_it"),
    [
        ("incomplete", False), ("trialing", True), ("active", True), ("past_due", True), ("unpaid", False),
        ("paused", False), ("canceled", False), ("incomplete_expired", False), ("of_the_future", False),
    ],
)  # fmt: skip
def test_a_stripe_subscription_gives_its_plan_while_it_runs(seller: Company, status: str, *, has_it: bool) -> None:
    assert plan(seller) == "free"
    ended = {"ended_at": int(NOON.timestamp())} if status == "canceled" else {}
    event = stripe(status, NOON, **ended)
    assert seller.deliver(event).json["outcome"] == "applied"
    assert plan(seller) == ("premium" if has_it else "free")
    assert entitled(seller, "ai_calls") == ((None, "subscription") if has_it else (0, "plan"))


@pytest.mark.parametrize(
    ("status", "has_it"),
    [
        ("trialing", True), ("active", True), ("canceling", True), ("completed", True), ("past_due", True),
        ("expired", False), ("canceled", False), ("drafted", False),
    ],
)  # fmt: skip
def test_a_whop_membership_gives_its_plan_while_it_runs(seller: Company, status: str, *, has_it: bool) -> None:
    assert seller.deliver_whop(whop(status, NOON)).json["outcome"] == "applied"
    assert plan(seller) == ("premium" if has_it else "free")


def test_what_is_used_counts_against_the_plan_that_is_subscribed_to(seller: Company) -> None:
    used = {"feature": "ai_calls", "quantity": 3}
    assert seller.api.send("POST", "/v1/users/ben/usage", used).status == 422
    tell(seller, stripe("active", NOON, "price_basic"))
    assert seller.ok("POST", "/v1/users/ben/usage", used)["remaining"] == 0
    assert seller.api.send("POST", "/v1/users/ben/usage", {"feature": "ai_calls"}).json["code"] == "limit_reached"
    tell(seller, stripe("active", NOON + DAY, "price_premium"))
    assert seller.ok("POST", "/v1/users/ben/usage", used)["reason"] == "unlimited"


def test_an_end_that_was_announced_comes_to_the_microsecond_and_may_be_taken_back(seller: Company) -> None:
    tell(seller, stripe("active", NOON), stripe("active", NOON + DAY, cancel_at_period_end=True))
    seller.set_clock(PERIOD_ENDS - timedelta(microseconds=1))
    assert plan(seller) == "premium"
    seller.set_clock(PERIOD_ENDS)
    assert (plan(seller), entitled(seller, "export_zip")) == ("free", (0, "plan"))
    tell(seller, stripe("active", NOON + 2 * DAY))
    assert plan(seller) == "premium"


def test_an_end_may_be_announced_for_later_than_the_period(seller: Company) -> None:
    tell(seller, stripe("active", NOON, cancel_at=int((NOON + 90 * DAY).timestamp())))
    seller.set_clock(PERIOD_ENDS + DAY)
    assert plan(seller) == "premium"
    seller.set_clock(NOON + 90 * DAY)
    assert plan(seller) == "free"


def test_a_membership_that_is_canceling_ends_with_its_period(seller: Company) -> None:
    tell(seller, whop("canceling", NOON))
    seller.set_clock(PERIOD_ENDS)
    assert plan(seller) == "free"


def test_what_is_told_late_changes_nothing(seller: Company) -> None:
    ended = stripe("canceled", NOON + 2 * DAY, ended_at=int((NOON + 2 * DAY).timestamp()))
    seller.set_clock(NOON + 3 * DAY)
    tell(seller, ended, stripe("active", NOON + DAY), stripe("trialing", NOON))
    assert plan(seller) == "free"


def test_a_subscription_waits_for_its_person_and_a_price_for_its_plan(company: Company) -> None:
    company.set_clock(NOON)
    tell(company, stripe("active", NOON, "price_gold"))
    signed_up = {"user": {"external_id": "ben", "stripe_customer_id": "cus_ben"}}
    assert company.ok("POST", "/v1/signups", signed_up, status=201)["user"]["plan"] == "free"
    company.ok("PATCH", "/v1/plans/basic", {"stripe_price_id_monthly": "price_gold"})
    assert plan(company) == "basic"
    assert company.ok("GET", "/v1/users/ben/entitlements/photos")["limit"] == 50


def test_a_signup_shows_the_plan_that_was_paid_before_it(seller: Company) -> None:
    event = stripe("active", NOON, customer="cus_cleo", id="sub_2")
    tell(seller, event)
    cleo = {"user": {"external_id": "cleo", "stripe_customer_id": "cus_cleo"}}
    assert seller.ok("POST", "/v1/signups", cleo, status=201)["user"]["plan"] == "premium"


def test_of_several_plans_the_highest_is_shown_and_the_most_generous_counts_feature_by_feature(seller: Company) -> None:
    pro = {"id": "pro", "name": "Pro", "sort_order": 9, "stripe_price_id_monthly": "price_pro"}
    seller.ok("POST", "/v1/plans", pro, status=201)
    seller.ok("PUT", "/v1/plans/pro/limits/photos", {"limit": 20})
    seller.ok("PUT", "/v1/plans/pro/limits/ai_calls", {"limit": 1000})
    tell(seller, stripe("active", NOON, "price_pro", "price_basic"))
    assert plan(seller) == "pro"
    assert entitled(seller, "photos") == (50, "subscription")
    assert entitled(seller, "ai_calls") == (1000, "subscription")
    assert entitled(seller, "export_csv") == (1, "subscription")
    # neither plan sets anything of its own for what pro leaves out and basic has as it is
    assert entitled(seller, "weight_entries") == (None, "subscription")


def test_a_plan_without_a_limit_of_its_own_leaves_it_to_the_free_one(seller: Company) -> None:
    bare = {"id": "bare", "name": "Bare", "sort_order": 5, "whop_plan_ids": ["plan_bare"]}
    seller.ok("POST", "/v1/plans", bare, status=201)
    tell(seller, whop("active", NOON, plan={"id": "plan_bare"}))
    assert plan(seller) == "bare"
    assert entitled(seller, "ai_calls") == (0, "plan")
    assert entitled(seller, "photos") == (5, "plan")


def test_whoever_subscribed_to_a_price_that_was_replaced_keeps_the_plan(seller: Company) -> None:
    tell(seller, stripe("active", NOON, "price_basic"))
    changed = seller.ok("PATCH", "/v1/plans/basic", {"stripe_price_id_monthly": "price_basic_2032"})
    assert (changed["stripe_price_id_monthly"], changed["former_stripe_price_ids"]) == (
        "price_basic_2032", ["price_basic"],
    )  # fmt: skip
    assert plan(seller) == "basic"
    seller.ok("PATCH", "/v1/plans/basic", {"former_stripe_price_ids": []})
    assert plan(seller) == "free"


def test_a_plan_that_is_sold_no_more_stays_with_those_who_have_it(seller: Company) -> None:
    tell(seller, stripe("active", NOON))
    seller.ok("PATCH", "/v1/plans/premium", {"active": False})
    assert plan(seller) == "premium"


def test_a_price_of_another_company_or_provider_means_nothing(seller: Company, server: str) -> None:
    another_company = Company.open(server)
    ben = {"user": {"external_id": "ben", "stripe_customer_id": "cus_ben", "whop_user_id": "user_ben"}}
    another_company.ok("POST", "/v1/signups", ben, status=201)
    tell(another_company, stripe("active", NOON))
    tell(seller, whop("active", NOON, plan={"id": "price_premium"}))
    assert (plan(another_company), plan(seller)) == ("free", "free")
    another_company.close()


def test_others_get_to_hear_of_each_change_that_stands(seller: Company, superuser: psycopg.Connection) -> None:
    canceling = {"cancel_at_period_end": True}
    tell(seller, stripe("active", NOON), stripe("active", NOON + 2 * DAY, **canceling))
    tell(seller, stripe("past_due", NOON + DAY))
    heard = rows.find(
        superuser,
        "SELECT data FROM outbox_events WHERE company_id = %(id)s AND type = 'subscription.changed' ORDER BY id",
        id=seller.id,
    )
    assert [(row["data"]["status"], row["data"]["cancels_at"]) for row in heard] == [
        ("active", None), ("active", "2031-02-15T12:00:00.000000Z"),
    ]  # fmt: skip
    assert (heard[0]["data"]["user_id"], heard[0]["data"]["plans"]) == ("ben", ["premium"])


def test_a_subscription_event_that_changes_the_plan_is_among_the_activity(
    seller: Company, superuser: psycopg.Connection
) -> None:
    tell(seller, stripe("active", NOON), stripe("past_due", NOON + DAY))
    seller.set_clock(NOON + 2 * DAY)
    tell(seller, stripe("canceled", NOON + 2 * DAY, ended_at=int((NOON + 2 * DAY).timestamp())))
    changes = superuser.execute(
        "SELECT details FROM activity WHERE company_id = %s AND action = 'plan_changed' ORDER BY id", (seller.id,)
    ).fetchall()
    assert changes == [({"from": "free", "to": "premium"},), ({"from": "premium", "to": "free"},)]
