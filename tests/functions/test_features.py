"""Features by the admin API: what can be limited."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.support import rows
from tests.support.answers import fields, problem
from tests.support.companies import Company
from tests.support.points import buy, give

NOON = datetime(2031, 1, 15, 12, tzinfo=UTC)
MINUTES: dict[str, Any] = {"id": "voice_minutes", "name": "Voice minutes"}


def test_a_company_begins_with_eleven_features(company: Company) -> None:
    page = company.ok("GET", "/v1/features")
    assert page["has_more"] is False
    assert [(each["id"], each["name"]) for each in page["data"]] == [
        ("weight_entries", "Weight entries"), ("circumference_entries", "Circumference entries"),
        ("caliper_entries", "Caliper entries"), ("nutrition_entries", "Nutrition entries"),
        ("activity_entries", "Activity entries"), ("photos", "Progress photos"), ("ai_calls", "AI calls"),
        ("ai_pipeline", "AI pipeline"), ("export_csv", "CSV export"), ("export_json", "JSON export"),
        ("export_zip", "ZIP export"),
    ]  # fmt: skip
    assert all(each["description"] and each["active"] for each in page["data"])
    assert [(each["category"], each["limit_type"], each["reset_period"]) for each in page["data"]] == [
        *[("data", "count", "never")] * 6, ("ai", "count", "monthly"), ("ai", "boolean", "never"),
        *[("export", "boolean", "never")] * 3,
    ]  # fmt: skip
    assert [each["default_limit"] for each in page["data"]] == [None] * 6 + [0] * 5


def test_a_feature_is_made_with_defaults_and_is_listed_last(company: Company, other: Company) -> None:
    company.set_clock(NOON)
    made = company.ok("POST", "/v1/features", MINUTES, status=201)
    at = "2031-01-15T12:00:00.000000Z"
    assert made == MINUTES | {
        "description": None, "category": "data", "limit_type": "count", "reset_period": "never", "default_limit": None,
        "active": True, "created_at": at, "updated_at": at,
    }  # fmt: skip
    assert company.ok("GET", "/v1/features/voice_minutes") == made
    assert company.ok("GET", "/v1/features")["data"][-1] == made
    company.sign_up("ada")
    assert company.ok("GET", "/v1/users/ada/entitlements")["data"][-1]["feature"] == "voice_minutes"
    problem(other.api.send("GET", "/v1/features/voice_minutes"), 404, "feature_unknown")


def test_the_id_of_a_feature_is_taken_once(company: Company, superuser: psycopg.Connection) -> None:
    company.ok("POST", "/v1/features", MINUTES, key="k", status=201)
    company.ok("POST", "/v1/features", MINUTES, key="k", status=201)
    for again in (MINUTES, MINUTES | {"name": "Others"}, MINUTES | {"id": "photos"}):
        problem(company.api.send("POST", "/v1/features", again), 409, "feature_exists")
    assert rows.count(superuser, company.id)["features"] == 12


def test_features_are_paged(company: Company, other: Company) -> None:
    other.ok("POST", "/v1/features", MINUTES)
    first = company.ok("GET", "/v1/features?limit=6")
    assert (first["data"][-1]["id"], first["has_more"]) == ("photos", True)
    rest = company.ok("GET", "/v1/features?after=photos")
    assert (rest["data"][0]["id"], len(rest["data"]), rest["has_more"]) == ("ai_calls", 5, False)
    assert company.ok("GET", "/v1/features?after=export_zip")["data"] == []
    assert fields(company.api.send("GET", "/v1/features?after=voice_minutes")) == {"after"}


def test_a_feature_is_changed_where_something_is_said(company: Company) -> None:
    company.set_clock(NOON)
    before = company.ok("POST", "/v1/features", MINUTES | {"default_limit": 3}, status=201)
    company.set_clock(NOON + timedelta(hours=1))
    assert company.ok("PATCH", "/v1/features/voice_minutes", {}) == before
    wanted = {"name": "Minutes", "category": "ai", "limit_type": "quota", "reset_period": "daily"}
    changed = company.ok("PATCH", "/v1/features/voice_minutes", wanted)
    assert changed == before | wanted | {"updated_at": "2031-01-15T13:00:00.000000Z"}
    assert company.ok("PATCH", "/v1/features/voice_minutes", {"default_limit": None})["default_limit"] is None


def test_a_feature_that_is_off_is_off_for_everybody(company: Company) -> None:
    company.sign_up("ada")
    company.ok("PATCH", "/v1/features/photos", {"active": False})
    entitlement = company.ok("GET", "/v1/users/ada/entitlements/photos")
    assert (entitlement["allowed"], entitlement["reason"]) == (False, "feature_inactive")
    company.ok("PATCH", "/v1/features/photos", {"active": True})
    assert company.ok("GET", "/v1/users/ada/entitlements/photos")["allowed"] is True


def test_how_a_used_feature_is_counted_and_reset_stays(company: Company, other: Company) -> None:
    for each in (company, other):
        each.sign_up("ada")
    problem(company.api.send("POST", "/v1/users/ada/usage", {"feature": "ai_calls"}), 422, "feature_disabled")
    company.ok("PATCH", "/v1/features/ai_calls", {"reset_period": "daily"})  # nobody has used it yet
    other.ok("POST", "/v1/users/ada/usage", {"feature": "photos"})
    company.ok("PATCH", "/v1/features/photos", {"limit_type": "quota"})
    company.ok("POST", "/v1/users/ada/usage", {"feature": "photos"})
    for change in ({"limit_type": "count"}, {"reset_period": "monthly"}, {"name": "x", "limit_type": "boolean"}):
        problem(company.api.send("PATCH", "/v1/features/photos", change), 422, "feature_in_use")
    same = {"limit_type": "quota", "reset_period": "never", "name": "Pictures"}
    assert company.ok("PATCH", "/v1/features/photos", same)["name"] == "Pictures"


def test_how_a_bought_feature_is_counted_stays(company: Company) -> None:
    company.sign_up("ada")
    give(company, 100, key="gift")
    buy(company, key="purchase")
    problem(company.api.send("PATCH", "/v1/features/ai_calls", {"limit_type": "boolean"}), 422, "feature_in_use")


def test_a_plan_of_one_row_opens_one_feature_and_no_other(company: Company) -> None:
    company.ok("POST", "/v1/plans", {"id": "export", "name": "Export", "sort_order": 9}, status=201)
    company.ok("PUT", "/v1/plans/export/limits/export_csv", {"limit": 1})
    company.sign_up("ada")

    def entitlements() -> dict[str, Any]:
        return {each.pop("feature"): each for each in company.ok("GET", "/v1/users/ada/entitlements")["data"]}

    before = entitlements()
    assert before["export_csv"]["allowed"] is False
    company.ok("POST", "/v1/users/ada/grants", {"plan": "export", "days": 30, "reason": "a friend"}, status=201)
    after = entitlements()
    assert (after["export_csv"]["allowed"], after["export_csv"]["source"]) == (True, "grant")
    assert {feature for feature in before if before[feature] != after[feature]} == {"export_csv"}


@pytest.mark.parametrize(
    ("method", "path", "body", "wrong"),
    [
        ("POST", "", {"id": "a"}, "name"),
        ("POST", "", MINUTES | {"id": "Voice"}, "id"),
        ("POST", "", MINUTES | {"id": "x" * 65}, "id"),
        ("POST", "", MINUTES | {"default_limit": -1}, "default_limit"),
        ("POST", "", MINUTES | {"default_limit": "5"}, "default_limit"),
        ("POST", "", MINUTES | {"default_limit": 1.5}, "default_limit"),
        ("POST", "", MINUTES | {"default_limit": True}, "default_limit"),
        ("POST", "", MINUTES | {"default_limit": 10**30}, "default_limit"),
        ("POST", "", MINUTES | {"active": "yes"}, "active"),
        ("POST", "", MINUTES | {"active": None}, "active"),
        ("POST", "", MINUTES | {"category": "other"}, "category"),
        ("POST", "", MINUTES | {"limit_type": "static"}, "limit_type"),
        ("POST", "", MINUTES | {"reset_period": "yearly"}, "reset_period"),
        ("POST", "", MINUTES | {"description": "x" * 2001}, "description"),
        ("POST", "", MINUTES | {"created_at": "2031-01-15T12:00:00Z"}, "created_at"),
        ("POST", "", MINUTES | {"sort_order": 1}, "sort_order"),
        ("PATCH", "/photos", {"id": "pictures"}, "id"),
        ("PATCH", "/photos", {"name": None}, "name"),
        ("PATCH", "/photos", {"limit_type": None}, "limit_type"),
        ("PATCH", "/photos", {"updated_at": None}, "updated_at"),
    ],
)
def test_a_feature_that_cannot_be_is_refused_by_field(
    shared: Company, superuser: psycopg.Connection, method: str, path: str, body: dict[str, object], wrong: str
) -> None:
    before = rows.count(superuser, shared.id)
    assert fields(shared.api.send(method, f"/v1/features{path}", body)) == {wrong}
    assert rows.count(superuser, shared.id) == before


@pytest.mark.parametrize("unknown", ["flying", "%00", "x" * 65, "Photos"])
def test_a_feature_that_nobody_made_is_unknown(shared: Company, unknown: str) -> None:
    problem(shared.api.send("GET", f"/v1/features/{unknown}"), 404, "feature_unknown")
    problem(shared.api.send("PATCH", f"/v1/features/{unknown}", {"name": "x"}), 404, "feature_unknown")
