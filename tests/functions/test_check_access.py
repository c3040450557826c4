"""Access: what a user may use, and using it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from local.client import Answer
from tests.support import rows
from tests.support.answers import problem, time_of
from tests.support.companies import Company

NOON = datetime(2027, 1, 15, 12, tzinfo=UTC)

# docs/rules.md, Plans and features: the limits of free, basic and premium by feature, in the order they are listed
LIMITS: dict[str, tuple[int | None, int | None, int | None]] = {
    "weight_entries": (30, None, None),
    "circumference_entries": (10, None, None),
    "caliper_entries": (10, None, None),
    "nutrition_entries": (30, None, None),
    "activity_entries": (30, None, None),
    "photos": (5, 50, None),
    "ai_calls": (0, 3, None),
    "ai_pipeline": (0, 0, 1),
    "export_csv": (0, 1, 1),
    "export_json": (0, 1, 1),
    "export_zip": (0, 1, 1),
}
BOOLEAN = ("ai_pipeline", "export_csv", "export_json", "export_zip")


@pytest.fixture
def ada(company: Company) -> Company:
    """A company with one user, Ada, on the free plan."""
    company.set_clock(NOON)
    company.sign_up("ada")
    return company


def on_plan(superuser: psycopg.Connection, company: Company, plan: str) -> None:
    superuser.execute(
        "UPDATE companies SET post_trial_plan = %(plan)s WHERE id = %(id)s", {"plan": plan, "id": company.id}
    )


def entitled(company: Company, feature: str, user: str = "ada") -> Any:  # noqa: ANN401
    return company.ok("GET", f"/v1/users/{user}/entitlements/{feature}")


def use(company: Company, feature: str, quantity: int | None = None, *, key: str | None = None) -> Answer:
    body = {"feature": feature} | ({"quantity": quantity} if quantity is not None else {})
    headers = {"idempotency-key": key} if key else None
    return company.api.send("POST", "/v1/users/ada/usage", body, headers=headers)


def give_back(company: Company, usage_id: str, body: object, user: str = "ada") -> Answer:
    return company.api.send("POST", f"/v1/users/{user}/usage/{usage_id}/return", body)


def grant(superuser: psycopg.Connection, company: Company, plan: str) -> str:
    """Ada is given a plan for good; the grant's id."""
    (grant_id,) = rows.find_one(
        superuser,
        """
        SELECT make_grant(company_id, id, jsonb_build_object('id', gen_random_uuid(), 'plan_id', %(plan)s::text,
            'source', 'admin'), company_now(company_id)) ->> 'id' AS grant_id
        FROM (SELECT users.*, hold_grants(company_id, id) FROM users) AS held
        WHERE company_id = %(id)s AND external_id = 'ada'
        """,
        plan=plan,
        id=company.id,
    ).values()
    return grant_id


def buy(company: Company, quantity: int, *, key: str) -> None:
    """Ada buys so many AI calls with points that she is given for it."""
    company.ok("POST", "/v1/users/ada/points", {"points": 1, "note": "x"}, key=f"points-{key}")
    option = {"kind": "quota", "name": "x", "feature": "ai_calls", "quantity": quantity, "cost_points": 1}
    option_id = company.ok("POST", "/v1/redemption-options", option)["id"]
    company.ok("POST", "/v1/users/ada/redemptions", {"option_id": option_id}, key=f"buy-{key}")


@pytest.mark.parametrize("plan", ["free", "basic", "premium"])
def test_all_features_are_listed_with_the_plans_limits(ada: Company, superuser: psycopg.Connection, plan: str) -> None:
    on_plan(superuser, ada, plan)
    listed = ada.ok("GET", "/v1/users/ada/entitlements")
    assert listed["has_more"] is False
    limits = {each["feature"]: each["limit"] for each in listed["data"]}
    column = ["free", "basic", "premium"].index(plan)
    assert limits == {feature: by_plan[column] for feature, by_plan in LIMITS.items()}
    assert list(limits) == list(LIMITS)
    for each in listed["data"]:
        assert each == entitled(ada, each["feature"])
        assert each.keys() == {
            "feature", "allowed", "reason", "source", "plan", "grant_id", "limit", "used", "remaining", "extra",
            "resets_at",
        }  # fmt: skip
        assert (each["source"], each["plan"], each["grant_id"]) == ("plan", plan, None)
        limit = each["limit"]
        assert each["allowed"] == (limit != 0)
        assert each["reason"] == ("unlimited" if limit is None else "ok" if limit else "disabled")
        assert each["remaining"] == (None if each["feature"] in BOOLEAN else limit)
        assert (each["resets_at"] is not None) == (each["feature"] == "ai_calls")


def test_what_the_plan_has_off_cannot_be_used(ada: Company) -> None:
    assert entitled(ada, "ai_calls") == {
        "feature": "ai_calls", "allowed": False, "reason": "disabled", "source": "plan", "plan": "free",
        "grant_id": None, "limit": 0, "used": 0, "remaining": 0, "extra": 0,
        "resets_at": "2027-02-01T00:00:00.000000Z",
    }  # fmt: skip
    problem(use(ada, "ai_calls"), 422, "feature_disabled")
    problem(use(ada, "export_csv"), 422, "feature_disabled")


def test_bought_quota_opens_what_the_plan_has_off(ada: Company) -> None:
    buy(ada, 3, key="1")
    opened = entitled(ada, "ai_calls")
    assert (opened["allowed"], opened["reason"], opened["limit"], opened["remaining"], opened["extra"]) == (
        True, "ok", 0, 3, 3,
    )  # fmt: skip
    answer = use(ada, "ai_calls", 2)
    assert answer.status == 200
    used = answer.json
    assert used.pop("usage_id").startswith("use_")
    assert used == entitled(ada, "ai_calls")
    assert (used["allowed"], used["used"], used["remaining"], used["extra"]) == (True, 0, 1, 1)
    problem(use(ada, "ai_calls", 2), 422, "limit_reached")
    assert entitled(ada, "ai_calls")["extra"] == 1
    last = use(ada, "ai_calls").json
    assert (last["allowed"], last["remaining"]) == (True, 0)
    assert entitled(ada, "ai_calls")["allowed"] is False
    assert use(ada, "ai_calls").status == 422


def test_the_plans_own_allowance_is_used_before_what_was_bought(ada: Company, superuser: psycopg.Connection) -> None:
    on_plan(superuser, ada, "basic")
    buy(ada, 10, key="1")
    assert entitled(ada, "ai_calls")["remaining"] == 13
    used = use(ada, "ai_calls", 5).json
    assert (used["used"], used["limit"], used["extra"], used["remaining"]) == (3, 3, 8, 8)


def test_quota_bought_twice_is_one_supply(ada: Company) -> None:
    buy(ada, 2, key="1")
    buy(ada, 3, key="2")
    assert use(ada, "ai_calls", 4).json["extra"] == 1
    assert use(ada, "ai_calls").json["extra"] == 0


def test_a_limit_is_reached_exactly(ada: Company) -> None:
    assert [use(ada, "photos").json["remaining"] for _ in range(5)] == [4, 3, 2, 1, 0]
    body = problem(use(ada, "photos"), 422, "limit_reached")
    assert (body["limit"], body["used"], body["remaining"]) == (5, 5, 0)
    reached = entitled(ada, "photos")
    assert (reached["allowed"], reached["reason"], reached["used"]) == (False, "limit_reached", 5)


def test_what_does_not_fit_whole_is_not_used_at_all(ada: Company, superuser: psycopg.Connection) -> None:
    use(ada, "photos", 4)
    problem(use(ada, "photos", 2), 422, "limit_reached")
    assert entitled(ada, "photos")["used"] == 4
    assert rows.count(superuser, ada.id)["usages"] == 1
    assert use(ada, "photos", 1).status == 200


def test_an_unlimited_feature_never_ends(ada: Company, superuser: psycopg.Connection) -> None:
    on_plan(superuser, ada, "premium")
    used = use(ada, "weight_entries", 1_000_000).json
    assert (used["allowed"], used["reason"], used["limit"], used["remaining"]) == (True, "unlimited", None, None)


@pytest.mark.parametrize("quantity", [0, -1, 1_000_001, 10**30, "1", 1.5, True, None])
def test_a_quantity_is_a_whole_number_up_to_a_million(ada: Company, quantity: object) -> None:
    body = {"feature": "photos", "quantity": quantity}
    (error,) = problem(ada.api.send("POST", "/v1/users/ada/usage", body), 422, "invalid_request")["errors"]
    assert error["field"] == "quantity"
    assert entitled(ada, "photos")["used"] == 0


def test_use_never_counts_against_a_feature_that_is_only_on_or_off(ada: Company, superuser: psycopg.Connection) -> None:
    on_plan(superuser, ada, "basic")
    for _ in range(3):
        answer = use(ada, "export_csv", 5)
        assert answer.status == 200
    allowed = entitled(ada, "export_csv")
    assert (allowed["allowed"], allowed["reason"], allowed["limit"], allowed["remaining"]) == (True, "ok", 1, None)
    problem(use(ada, "ai_pipeline"), 422, "feature_disabled")


def test_a_monthly_allowance_begins_again_with_the_month(ada: Company, superuser: psycopg.Connection) -> None:
    on_plan(superuser, ada, "basic")
    assert use(ada, "ai_calls", 3).json["resets_at"] == "2027-02-01T00:00:00.000000Z"
    month_end = datetime(2027, 2, 1, tzinfo=UTC)
    ada.set_clock(month_end - timedelta(microseconds=1))
    problem(use(ada, "ai_calls"), 422, "limit_reached")
    ada.set_clock(month_end)
    fresh = entitled(ada, "ai_calls")
    assert (fresh["used"], fresh["remaining"]) == (0, 3)
    assert time_of(fresh["resets_at"]) == datetime(2027, 3, 1, tzinfo=UTC)
    assert use(ada, "ai_calls").json["used"] == 1


def test_what_was_bought_outlives_the_month(ada: Company, superuser: psycopg.Connection) -> None:
    on_plan(superuser, ada, "basic")
    buy(ada, 10, key="1")
    use(ada, "ai_calls", 7)
    ada.set_clock(datetime(2027, 2, 1, tzinfo=UTC))
    fresh = entitled(ada, "ai_calls")
    assert (fresh["used"], fresh["extra"], fresh["remaining"]) == (0, 6, 9)


def test_what_never_resets_never_does(ada: Company) -> None:
    use(ada, "photos", 5)
    ada.set_clock(NOON + timedelta(days=10_000))
    assert entitled(ada, "photos")["used"] == 5


def test_months_are_the_companys_own(ada: Company, superuser: psycopg.Connection) -> None:
    superuser.execute("UPDATE companies SET time_zone = 'America/New_York' WHERE id = %(id)s", {"id": ada.id})
    assert entitled(ada, "ai_calls")["resets_at"] == "2027-02-01T05:00:00.000000Z"


@pytest.mark.parametrize(
    ("zone", "begins", "resets"),
    [
        ("America/Santiago", "2026-09-06T04:00:00+00:00", "2026-09-07T03:00:00+00:00"),
        ("America/Havana", "2026-11-01T04:00:00+00:00", "2026-11-02T05:00:00+00:00"),
        # the day begins at 01:00; the next one at midnight, 23 hours later
        ("America/Santiago", "2027-09-05T04:00:00+00:00", "2027-09-06T03:00:00+00:00"),
        # the day before the one whose midnight comes twice, and that day, of 25 hours
        ("America/Havana", "2027-11-06T04:00:00+00:00", "2027-11-07T04:00:00+00:00"),
        ("America/Havana", "2027-11-07T04:00:00+00:00", "2027-11-08T05:00:00+00:00"),
    ],
)
def test_a_daily_feature_resets_when_it_said_it_would(
    company: Company, superuser: psycopg.Connection, zone: str, begins: str, resets: str
) -> None:
    superuser.execute("UPDATE companies SET time_zone = %(zone)s WHERE id = %(id)s", {"zone": zone, "id": company.id})
    superuser.execute(
        "UPDATE features SET reset = 'daily' WHERE company_id = %(id)s AND key = 'photos'", {"id": company.id}
    )
    first, last = datetime.fromisoformat(begins), datetime.fromisoformat(resets)
    company.set_clock(first - timedelta(microseconds=1))
    company.sign_up("ada")
    assert use(company, "photos", 5).status == 200
    company.set_clock(first)
    assert entitled(company, "photos")["used"] == 0
    assert time_of(use(company, "photos", 5).json["resets_at"]) == last
    company.set_clock(last - timedelta(microseconds=1))
    assert time_of(entitled(company, "photos")["resets_at"]) == last
    problem(use(company, "photos"), 422, "limit_reached")
    company.set_clock(last)
    assert entitled(company, "photos")["used"] == 0
    assert use(company, "photos").json["used"] == 1


@pytest.mark.parametrize("feature", ["no_such", "AI_CALLS", "ai-calls", "%00", "ai_calls%00", "ai_calls%0A", "x" * 500])
def test_an_unknown_feature_is_not_allowed_but_no_error(ada: Company, feature: str) -> None:
    found = entitled(ada, feature)
    assert (found["allowed"], found["reason"]) == (False, "feature_unknown")
    assert (found["source"], found["plan"], found["grant_id"]) == (None, None, None)


def test_an_unknown_feature_cannot_be_used(ada: Company, superuser: psycopg.Connection) -> None:
    before = rows.count(superuser, ada.id)
    problem(use(ada, "no_such"), 422, "feature_unknown")
    assert rows.count(superuser, ada.id) == before


def test_an_inactive_feature_is_off(ada: Company, superuser: psycopg.Connection) -> None:
    superuser.execute("UPDATE features SET active = false WHERE company_id = %(id)s AND key = 'photos'", {"id": ada.id})
    found = entitled(ada, "photos")
    assert (found["allowed"], found["reason"]) == (False, "feature_inactive")
    problem(use(ada, "photos"), 422, "feature_disabled")


def test_a_plan_without_a_limit_for_a_feature_falls_back_to_the_features_own(
    ada: Company, superuser: psycopg.Connection
) -> None:
    superuser.execute(
        "DELETE FROM plan_limits WHERE company_id = %(id)s AND feature IN ('photos', 'ai_calls')", {"id": ada.id}
    )
    photos, calls = entitled(ada, "photos"), entitled(ada, "ai_calls")
    assert (photos["source"], photos["limit"], photos["reason"]) == ("default", None, "unlimited")
    assert (calls["source"], calls["limit"], calls["reason"]) == ("default", 0, "disabled")


def test_a_plan_without_a_limit_leaves_a_feature_to_the_plan_after_a_trial(
    ada: Company, superuser: psycopg.Connection
) -> None:
    """And under `disabled` everything is off that no plan of one's own opens, whatever the default says."""
    given = grant(superuser, ada, "basic")
    superuser.execute(
        "DELETE FROM plan_limits WHERE company_id = %(id)s AND plan_id = 'basic' AND feature = 'photos'", {"id": ada.id}
    )
    found = entitled(ada, "photos")
    assert (found["source"], found["plan"], found["grant_id"], found["limit"]) == ("plan", "free", None, 5)
    on_plan(superuser, ada, "disabled")
    off, calls = entitled(ada, "photos"), entitled(ada, "ai_calls")
    assert (off["source"], off["plan"], off["limit"], off["reason"]) == ("plan", "disabled", 0, "disabled")
    problem(use(ada, "photos"), 422, "feature_disabled")
    assert (calls["source"], calls["plan"], calls["grant_id"], calls["limit"]) == ("grant", "basic", given, 3)
    assert use(ada, "ai_calls").json["grant_id"] == given


def test_what_came_to_nothing_is_returned(ada: Company, superuser: psycopg.Connection) -> None:
    used = use(ada, "photos", 4).json
    part = give_back(ada, used["usage_id"], {"quantity": 1})
    assert part.status == 200
    assert part.json == {
        **used, "used": 3, "remaining": 2, "returnable": 3,
    }  # fmt: skip
    rest = give_back(ada, used["usage_id"], {}).json
    assert (rest["used"], rest["returnable"]) == (0, 0)
    assert problem(give_back(ada, used["usage_id"], {}), 422, "return_exceeds_usage")["returnable"] == 0
    assert rows.count(superuser, ada.id)["usage_returns"] == 2


def test_more_than_is_left_of_a_use_is_not_returned_at_all(ada: Company) -> None:
    used = use(ada, "photos", 4).json["usage_id"]
    give_back(ada, used, {"quantity": 1})
    assert problem(give_back(ada, used, {"quantity": 4}), 422, "return_exceeds_usage")["returnable"] == 3
    assert entitled(ada, "photos")["used"] == 3


@pytest.mark.parametrize(
    "body", [{"quantity": 0}, {"quantity": None}, {"quantity": "1"}, {"quantity": 1, "feature": "x"}]
)
def test_a_return_that_cannot_be_changes_nothing(ada: Company, body: object) -> None:
    problem(give_back(ada, use(ada, "photos", 4).json["usage_id"], body), 422, "invalid_request")
    assert entitled(ada, "photos")["used"] == 4


def test_nobody_returns_what_is_not_theirs(ada: Company, other: Company) -> None:
    used = use(ada, "photos").json["usage_id"]
    ada.sign_up("ben")
    other.sign_up("ada")
    for usage_id in (f"use_{'0' * 32}", "use_1", "nothing", "%00"):
        problem(give_back(ada, usage_id, {}), 404, "usage_not_found")
    problem(give_back(ada, used, {}, user="ben"), 404, "usage_not_found")
    problem(give_back(ada, used, {}, user="nobody"), 404, "user_not_found")
    problem(give_back(other, used, {}), 404, "usage_not_found")
    assert entitled(ada, "photos")["used"] == 1


def test_what_is_returned_after_its_period_gives_nothing_and_what_was_bought_does(
    ada: Company, superuser: psycopg.Connection
) -> None:
    on_plan(superuser, ada, "basic")
    buy(ada, 4, key="1")
    used = use(ada, "ai_calls", 5).json
    assert (used["used"], used["extra"]) == (3, 2)
    ada.set_clock(datetime(2027, 2, 1, tzinfo=UTC))
    back = give_back(ada, used["usage_id"], {}).json
    assert (back["used"], back["extra"], back["remaining"], back["returnable"]) == (0, 4, 7, 0)


def test_uses_are_listed_newest_first_by_feature_and_page_by_page(ada: Company) -> None:
    ids = [use(ada, feature, 2).json["usage_id"] for feature in ("photos", "weight_entries", "photos")]
    give_back(ada, ids[0], {"quantity": 1})
    listed = ada.ok("GET", "/v1/users/ada/usage")
    assert ([each["usage_id"] for each in listed["data"]], listed["has_more"]) == (ids[::-1], False)
    assert listed["data"][-1] == {
        "usage_id": ids[0], "feature": "photos", "quantity": 2, "returned": 1,
        "occurred_at": "2027-01-15T12:00:00.000000Z",
    }  # fmt: skip
    first = ada.ok("GET", "/v1/users/ada/usage?feature=photos&limit=1")
    assert ([each["usage_id"] for each in first["data"]], first["has_more"]) == ([ids[2]], True)
    second = ada.ok("GET", f"/v1/users/ada/usage?feature=photos&limit=1&after={ids[2]}")
    assert ([each["usage_id"] for each in second["data"]], second["has_more"]) == ([ids[0]], False)
    assert ada.ok("GET", "/v1/users/ada/usage?feature=no_such")["data"] == []
    problem(ada.api.send("GET", f"/v1/users/ada/usage?after=use_{'0' * 32}"), 422, "invalid_request")
    problem(ada.api.send("GET", "/v1/users/nobody/usage"), 404, "user_not_found")


def test_nobodys_entitlements_are_not_found(ada: Company, other: Company) -> None:
    for each, user in ((ada, "nobody"), (other, "ada")):
        for path in (f"/v1/users/{user}/entitlements", f"/v1/users/{user}/entitlements/photos"):
            problem(each.api.send("GET", path), 404, "user_not_found")
        problem(each.api.send("POST", f"/v1/users/{user}/usage", {"feature": "photos"}), 404, "user_not_found")


def test_a_use_under_a_key_is_one_use(ada: Company) -> None:
    first, again = use(ada, "photos", 2, key="u1"), use(ada, "photos", 2, key="u1")
    assert (again.status, again.raw, again.headers["idempotent-replay"]) == (200, first.raw, "true")
    problem(use(ada, "photos", 1, key="u1"), 409, "idempotency_key_reused")
    assert entitled(ada, "photos")["used"] == 2


def test_uses_without_a_key_are_uses_of_their_own(ada: Company) -> None:
    assert use(ada, "photos").json["usage_id"] != use(ada, "photos").json["usage_id"]
    assert entitled(ada, "photos")["used"] == 2
