"""Plans by the admin API: what is sold, as which prices, with which limits."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.support import rows
from tests.support.answers import fields, problem
from tests.support.companies import Company

NOON = datetime(2031, 1, 15, 12, tzinfo=UTC)
PRO: dict[str, Any] = {"id": "pro", "name": "Pro", "price_monthly_cents": 2900, "sort_order": 5}

# What a company begins with: docs/rules.md, Plans and features. None is unlimited.
PLANS = {
    "free": ("Free", None, None), "basic": ("Basic", 499, 4990), "premium": ("Premium", 999, 9990),
    "selfhosted": ("Self-Hosted", None, None),
}  # fmt: skip
FEATURES = (
    "weight_entries", "circumference_entries", "caliper_entries", "nutrition_entries", "activity_entries", "photos",
    "ai_calls", "ai_pipeline", "export_csv", "export_json", "export_zip",
)  # fmt: skip
LIMITS = {
    "free": (30, 10, 10, 30, 30, 5, 0, 0, 0, 0, 0),
    "basic": (None, None, None, None, None, 50, 3, 0, 1, 1, 1),
    "premium": (None, None, None, None, None, None, None, 1, 1, 1, 1),
    "selfhosted": (None, None, None, None, None, None, None, 1, 1, 1, 1),
}


def test_a_company_begins_with_four_plans_and_44_limits(company: Company) -> None:
    page = company.ok("GET", "/v1/plans")
    assert page["has_more"] is False
    shown = {
        each["id"]: (each["name"], each["price_monthly_cents"], each["price_yearly_cents"]) for each in page["data"]
    }
    assert list(shown.items()) == list(PLANS.items())
    limits = {each["id"]: each["limits"] for each in page["data"]}
    assert limits == {plan: dict(zip(FEATURES, values, strict=True)) for plan, values in LIMITS.items()}
    assert sum(len(each) for each in limits.values()) == 44
    assert [(each["sort_order"], each["active"]) for each in page["data"]] == [
        (1, True), (2, True), (3, True), (4, False),
    ]  # fmt: skip
    assert all(each["description"] for each in page["data"])
    basic = page["data"][1]
    assert company.ok("GET", "/v1/plans/basic") == basic
    assert basic == {
        "id": "basic", "name": "Basic", "description": "The core features, without AI", "price_monthly_cents": 499,
        "price_yearly_cents": 4990, "created_at": basic["created_at"], "updated_at": basic["created_at"],
        "currency": "usd", "stripe_price_id_monthly": None, "stripe_price_id_yearly": None,
        "former_stripe_price_ids": [], "whop_plan_ids": [], "active": True, "sort_order": 2, "limits": {
            "weight_entries": None, "circumference_entries": None, "caliper_entries": None, "nutrition_entries": None,
            "activity_entries": None, "photos": 50, "ai_calls": 3, "ai_pipeline": 0, "export_csv": 1, "export_json": 1,
            "export_zip": 1,
        },
    }  # fmt: skip


def test_plans_are_paged(company: Company) -> None:
    first = company.ok("GET", "/v1/plans?limit=3")
    assert (len(first["data"]), first["has_more"]) == (3, True)
    rest = company.ok("GET", "/v1/plans?after=premium")
    assert ([each["id"] for each in rest["data"]], rest["has_more"]) == (["selfhosted"], False)
    assert company.ok("GET", "/v1/plans?after=selfhosted")["data"] == []
    refused = problem(company.api.send("GET", "/v1/plans?after=nobodys"), 422, "invalid_request")
    assert refused["errors"][0]["field"] == "after"


def test_a_plan_is_made_once(company: Company, superuser: psycopg.Connection) -> None:
    wanted = PRO | {"stripe_price_id_monthly": "price_pro", "whop_plan_ids": ["plan_b", "plan_a"]}
    made = company.ok("POST", "/v1/plans", wanted, status=201)
    assert (made["stripe_price_id_monthly"], made["whop_plan_ids"]) == ("price_pro", ["plan_a", "plan_b"])
    assert (made["active"], made["currency"], made["limits"]) == (True, "usd", {})
    assert (made["price_monthly_cents"], made["price_yearly_cents"]) == (2900, None)
    for again in (wanted, PRO):
        problem(company.api.send("POST", "/v1/plans", again), 409, "plan_exists")
    assert company.ok("GET", "/v1/plans/pro") == made
    assert rows.count(superuser, company.id)["plans"] == 5


def test_a_plan_is_not_called_as_no_plan_is(company: Company) -> None:
    assert fields(company.api.send("POST", "/v1/plans", PRO | {"id": "disabled"})) == {"id"}


def test_a_plan_may_be_for_sale_at_no_price(company: Company) -> None:
    free_of_charge = company.ok("POST", "/v1/plans", PRO | {"price_monthly_cents": 0}, status=201)
    assert free_of_charge["price_monthly_cents"] == 0
    assert company.ok("PATCH", "/v1/plans/pro", {"price_monthly_cents": None})["price_monthly_cents"] is None


def test_a_plan_is_changed_where_something_is_said(company: Company) -> None:
    company.set_clock(NOON)
    before = company.ok("POST", "/v1/plans", PRO, status=201)
    assert before["created_at"] == before["updated_at"] == "2031-01-15T12:00:00.000000Z"
    company.set_clock(NOON + timedelta(hours=1))
    assert company.ok("PATCH", "/v1/plans/pro", {}) == before
    changed = company.ok("PATCH", "/v1/plans/pro", {"description": "For teams", "active": False})
    changes = {"description": "For teams", "active": False, "updated_at": "2031-01-15T13:00:00.000000Z"}
    assert changed == before | changes
    assert company.ok("PATCH", "/v1/plans/pro", {"description": None})["description"] is None


def test_prices_are_replaced_and_remembered(company: Company) -> None:
    company.ok(
        "POST", "/v1/plans", PRO | {"stripe_price_id_monthly": "price_1", "whop_plan_ids": ["plan_1"]}, status=201
    )

    def change(**wanted: object) -> tuple[Any, ...]:
        plan = company.ok("PATCH", "/v1/plans/pro", wanted)
        names = ("stripe_price_id_monthly", "stripe_price_id_yearly", "former_stripe_price_ids", "whop_plan_ids")
        return tuple(plan[name] for name in names)

    assert change(stripe_price_id_monthly="price_1") == ("price_1", None, [], ["plan_1"])
    assert change(stripe_price_id_monthly="price_2") == ("price_2", None, ["price_1"], ["plan_1"])
    assert change(stripe_price_id_yearly="price_3") == ("price_2", "price_3", ["price_1"], ["plan_1"])
    assert change(stripe_price_id_monthly=None) == (None, "price_3", ["price_1", "price_2"], ["plan_1"])
    assert change(stripe_price_id_monthly="price_1") == ("price_1", "price_3", ["price_2"], ["plan_1"])
    assert change(former_stripe_price_ids=["price_0"]) == ("price_1", "price_3", ["price_0"], ["plan_1"])
    assert change(whop_plan_ids=["plan_2"]) == ("price_1", "price_3", ["price_0"], ["plan_2"])
    assert change(whop_plan_ids=[]) == ("price_1", "price_3", ["price_0"], [])


def test_a_price_is_one_plans_alone(company: Company) -> None:
    company.ok("PATCH", "/v1/plans/basic", {"stripe_price_id_monthly": "price_1", "whop_plan_ids": ["plan_1"]})
    company.ok("PATCH", "/v1/plans/basic", {"stripe_price_id_monthly": "price_2"})
    for wanted in (
        {"stripe_price_id_yearly": "price_1"}, {"stripe_price_id_yearly": "price_2"}, {"whop_plan_ids": ["plan_1"]},
        {"former_stripe_price_ids": ["price_9", "price_2"], "name": "Not this either"},
    ):  # fmt: skip
        problem(company.api.send("PATCH", "/v1/plans/premium", wanted), 409, "price_taken")
    problem(company.api.send("POST", "/v1/plans", PRO | {"whop_plan_ids": ["plan_1"]}), 409, "price_taken")
    premium = company.ok("GET", "/v1/plans")["data"][2]
    assert (premium["name"], premium["former_stripe_price_ids"]) == ("Premium", [])
    company.ok("PATCH", "/v1/plans/basic", {"former_stripe_price_ids": []})
    assert company.ok("PATCH", "/v1/plans/premium", {"stripe_price_id_monthly": "price_1"})


def test_a_limit_is_put(company: Company) -> None:
    company.ok("POST", "/v1/plans", PRO, status=201)
    for limit in (20, 0, None):
        assert company.ok("PUT", "/v1/plans/pro/limits/ai_calls", {"limit": limit})["limits"] == {"ai_calls": limit}


def test_a_limit_that_is_taken_away_leaves_the_feature_its_default(company: Company) -> None:
    company.sign_up("ada")

    def photos() -> tuple[object, ...]:
        entitlement = company.ok("GET", "/v1/users/ada/entitlements/photos")
        return entitlement["source"], entitlement["limit"]

    company.ok("PATCH", "/v1/features/photos", {"default_limit": 1})
    assert photos() == ("plan", 5)
    for _ in range(2):
        company.ok("DELETE", "/v1/plans/free/limits/photos", status=204)
        assert "photos" not in company.ok("GET", "/v1/plans/free")["limits"]
        assert photos() == ("default", 1)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/v1/plans", {**PRO, "id": "Not a slug"}, 422, "invalid_request"),
        ("POST", "/v1/plans", {**PRO, "price_monthly_cents": -1}, 422, "invalid_request"),
        ("POST", "/v1/plans", {**PRO, "whop_plan_ids": ["a", "a"]}, 422, "invalid_request"),
        (
            "POST", "/v1/plans", {**PRO, "stripe_price_id_monthly": "a", "former_stripe_price_ids": ["a"]},
            422, "invalid_request",
        ),
        ("POST", "/v1/plans", {**PRO, "stripe_price_id_monthly": "a\u0000"}, 422, "invalid_request"),
        ("PATCH", "/v1/plans/basic", {"name": None}, 422, "invalid_request"),
        ("PATCH", "/v1/plans/basic", {"id": "other"}, 422, "invalid_request"),
        ("GET", "/v1/plans/nobodys", None, 404, "plan_not_found"),
        ("GET", "/v1/plans/%00", None, 404, "plan_not_found"),
        ("DELETE", "/v1/plans/nobodys/limits/photos", None, 404, "plan_not_found"),
        ("DELETE", "/v1/plans/basic/limits/flying", None, 404, "feature_unknown"),
        ("PATCH", "/v1/plans/nobodys", {"name": "x"}, 404, "plan_not_found"),
        ("PATCH", "/v1/plans/%00", {"name": "x"}, 404, "plan_not_found"),
        ("PUT", "/v1/plans/nobodys/limits/photos", {"limit": 1}, 404, "plan_not_found"),
        ("PUT", "/v1/plans/basic/limits/flying", {"limit": 1}, 404, "feature_unknown"),
        ("PUT", "/v1/plans/basic/limits/%00", {"limit": 1}, 404, "feature_unknown"),
        ("PUT", "/v1/plans/basic/limits/photos", {}, 422, "invalid_request"),
        ("PUT", "/v1/plans/basic/limits/photos", {"limit": -1}, 422, "invalid_request"),
    ],
)  # fmt: skip
def test_nonsense_is_refused(
    company: Company, method: str, path: str, body: dict[str, Any] | None, status: int, code: str
) -> None:
    problem(company.api.send(method, path, body), status, code)
