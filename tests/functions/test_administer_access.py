"""Plans by the admin API: what is sold, as which prices, with which limits."""

from typing import Any

import psycopg
import pytest

from tests.support import rows
from tests.support.answers import problem
from tests.support.companies import Company

PRO: dict[str, Any] = {"id": "pro", "name": "Pro", "price_monthly_cents": 2900, "sort_order": 5}


def test_a_company_begins_with_four_plans(company: Company) -> None:
    page = company.ok("GET", "/v1/plans")
    assert page["has_more"] is False
    assert [each["id"] for each in page["data"]] == ["free", "basic", "premium", "selfhosted"]
    basic = page["data"][1]
    assert basic == {
        "id": "basic", "name": "Basic", "description": None, "price_monthly_cents": 499, "price_yearly_cents": 4990,
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
    assert company.ok("POST", "/v1/plans", wanted, status=201) == made
    problem(company.api.send("POST", "/v1/plans", PRO), 409, "plan_exists")
    assert rows.count(superuser, company.id)["plans"] == 5


def test_a_plan_is_changed_where_something_is_said(company: Company) -> None:
    before = company.ok("POST", "/v1/plans", PRO, status=201)
    assert company.ok("PATCH", "/v1/plans/pro", {}) == before
    changed = company.ok("PATCH", "/v1/plans/pro", {"description": "For teams", "active": False})
    assert changed == before | {"description": "For teams", "active": False}
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
    company: Company, method: str, path: str, body: dict[str, Any], status: int, code: str
) -> None:
    problem(company.api.send(method, path, body), status, code)
