"""The program, what points can buy, and points given or taken by hand."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.support import rows
from tests.support.answers import fields, problem, time_of
from tests.support.companies import Company

NOON = datetime(2027, 1, 15, 12, tzinfo=UTC)
OPTION = {"kind": "quota", "name": "20 AI calls", "feature": "ai_calls", "quantity": 20, "cost_points": 30}

POINTS = {
    "registered": 5, "welcome": 25, "activated": 10, "qualified": 25, "recurring": 10, "l2": 5, "retained": 15,
    "cross_app": 5,
}  # fmt: skip
DEFAULTS = {
    "schema_version": 1,
    "timezone": "UTC",
    "attribution": {"window_days": 90, "model": "last_touch", "signup_grace_days": 7},
    "points_per_unit": {"usd": 100},
    "recurring_months": [2, 12],
    "l2_months": [1, 6],
    "tiers": [
        {"name": "bronze", "from": 0, "multiplier_bps": 10_000},
        {"name": "silver", "from": 5, "multiplier_bps": 15_000},
        {"name": "gold", "from": 15, "multiplier_bps": 20_000},
        {"name": "platinum", "from": 30, "multiplier_bps": 30_000},
    ],
    "timing": {
        "activation_min_minutes": 5, "qualification_min_hours": 24, "retention_days": 30, "pending_expiry_days": 90,
        "risk_hold_hours": 48, "review_days": 7,
    },
    "apps": None,
    "expects_activations": False,
    "caps": {"per_user_points": None, "per_user_per_day_points": None},
    "points_expiry_months": 12,
}  # fmt: skip
SIGNALS = {
    "same_ip": 30, "same_device": 50, "disposable_email": 20, "similar_email": 25, "rapid_registration": 15,
    "bulk_registrations": 40, "vpn_proxy": 20, "new_account_referrer": 15, "instant_qualification": 35,
    "minimal_activity": 25,
}  # fmt: skip


def test_a_company_begins_with_the_default_program(company: Company) -> None:
    answer = company.ok("GET", "/v1/program")
    assert answer.keys() == {"version", "created_at", "program"}
    assert answer["version"] == 1
    time_of(answer["created_at"])
    program = answer["program"]
    assert {name: program[name] for name in DEFAULTS} == DEFAULTS
    assert program.keys() == DEFAULTS.keys() | {"awards", "fraud", "limits"}


def test_the_default_awards_are_points(company: Company) -> None:
    awards = company.ok("GET", "/v1/program")["program"]["awards"]
    assert {event: terms["points"] for event, terms in awards.items()} == POINTS
    assert {terms["hold_days"] for terms in awards.values()} == {0}
    assert not any(terms.get("bps") for terms in awards.values())


def test_the_default_fraud_rules_and_limits(judging: Company) -> None:
    program = judging.ok("GET", "/v1/program")["program"]
    assert program["fraud"]["signals"] == SIGNALS
    assert program["fraud"]["thresholds"] == {"hold": 30, "review": 60, "reject": 90}
    assert program["fraud"]["on_registration_limit"] == "review"
    assert sorted(program["fraud"]["windows"].values()) == [3, 10, 10, 24, 24, 30]
    assert sorted(program["limits"].values()) == [10, 20, 20, 50, 100]


def test_an_option_is_offered_as_it_was_given(company: Company) -> None:
    company.set_clock(NOON)
    given = OPTION | {"stock": 7, "per_user_limit": 2, "active": False}
    option = company.ok("POST", "/v1/redemption-options", given, status=201)
    assert option.pop("id").startswith("opt_")
    assert {time_of(option.pop(name)) for name in ("created_at", "updated_at")} == {NOON}
    assert option == given | {"days": None, "plan": None}


def test_an_option_for_a_feature_that_is_none_is_refused(company: Company, superuser: psycopg.Connection) -> None:
    for key in (None, "k"):
        headers = {"idempotency-key": key} if key else None
        answer = company.api.send("POST", "/v1/redemption-options", OPTION | {"feature": "no_such"}, headers=headers)
        problem(answer, 422, "feature_unknown")
    assert not rows.count(superuser, company.id)["redemption_options"]


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"kind": "voucher"}, "kind"),
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"feature": None}, "feature"),
        ({"quantity": 0}, "quantity"),
        ({"cost_points": 0}, "cost_points"),
        ({"cost_points": -1}, "cost_points"),
        ({"cost_points": 1.5}, "cost_points"),
        ({"cost_points": "30"}, "cost_points"),
        ({"stock": -1}, "stock"),
        ({"per_user_limit": 0}, "per_user_limit"),
        ({"active": "yes"}, "active"),
        ({"price": 1}, "price"),
    ],
)
def test_an_option_that_cannot_be_is_refused_by_field(
    shared: Company, superuser: psycopg.Connection, change: dict[str, object], wrong: str
) -> None:
    before = rows.count(superuser, shared.id)
    assert fields(shared.api.send("POST", "/v1/redemption-options", OPTION | change)) == {wrong}
    assert rows.count(superuser, shared.id) == before


def test_an_offer_is_made_once_per_key(company: Company, superuser: psycopg.Connection) -> None:
    headers = {"idempotency-key": "offer-1"}
    first, again = (company.api.send("POST", "/v1/redemption-options", OPTION, headers=headers) for _ in range(2))
    assert (first.status, again.status, again.raw) == (201, 201, first.raw)
    assert rows.count(superuser, company.id)["redemption_options"] == 1


def test_points_can_be_given_and_taken(company: Company) -> None:
    company.set_clock(NOON)
    company.sign_up("ada")
    given = company.ok("POST", "/v1/users/ada/points", {"points": 50, "note": "for a talk"}, key="a1", status=201)
    assert given.pop("id").startswith("txn_")
    assert given.pop("ref").startswith("adj_")
    assert [time_of(given.pop(name)) for name in ("effective_at", "created_at")] == [NOON, NOON]
    assert given == {
        "type": "ADMIN_GRANT", "delta": 50, "debt_delta": 0, "balance_after": 50, "debt_after": 0, "version": 1,
        "note": "for a talk",
    }  # fmt: skip
    taken = company.ok("POST", "/v1/users/ada/points", {"points": -20, "note": ""}, key="a2", status=201)
    assert (taken["type"], taken["delta"], taken["balance_after"], taken["note"]) == ("ADMIN_GRANT", -20, 30, "")
    balance = company.ok("GET", "/v1/users/ada/balance")
    assert (balance["total_earned"], balance["total_spent"]) == (50, -20)


def test_no_more_can_be_taken_than_is_there(company: Company) -> None:
    company.sign_up("ada")
    company.ok("POST", "/v1/users/ada/points", {"points": 5, "note": "x"}, key="a1")
    taking = {"points": -6, "note": "x"}
    answer = company.api.send("POST", "/v1/users/ada/points", taking, headers={"idempotency-key": "a2"})
    body = problem(answer, 422, "insufficient_points")
    assert (body["balance"], body["required"]) == (5, 6)
    assert company.balance("ada") == 5


def test_given_points_expire_when_it_is_said_and_else_after_the_programs_months(company: Company) -> None:
    at = datetime(2028, 2, 29, 12, tzinfo=UTC)
    company.set_clock(at)
    company.sign_up("ada")
    company.ok("POST", "/v1/users/ada/points", {"points": 1, "note": "x"}, key="a1")
    soon = (at + timedelta(microseconds=1)).isoformat()
    company.ok("POST", "/v1/users/ada/points", {"points": 2, "note": "x", "expires_at": soon}, key="a2")
    assert company.ok("GET", "/v1/users/ada/balance")["expiring"] == [
        {"points": 2, "expires_at": "2028-02-29T12:00:00.000001Z"},
        {"points": 1, "expires_at": "2029-02-28T12:00:00.000000Z"},  # the month's end is clamped
    ]


def test_points_of_a_lower_priority_are_spent_first(company: Company) -> None:
    company.set_clock(NOON)
    company.sign_up("ada")
    for key, points, fields_ in (
        ("first", 10, {}),
        ("second", 20, {"priority": 99, "expires_at": "2030-01-01T00:00:00Z"}),
        ("third", 30, {"priority": 101, "expires_at": "2027-02-01T00:00:00Z"}),
    ):
        company.ok("POST", "/v1/users/ada/points", {"points": points, "note": "", **fields_}, key=key)
    company.ok("POST", "/v1/users/ada/points", {"points": -25, "note": ""}, key="taken")
    assert company.ok("GET", "/v1/users/ada/balance")["expiring"] == [
        {"points": 30, "expires_at": "2027-02-01T00:00:00.000000Z"},
        {"points": 5, "expires_at": "2028-01-15T12:00:00.000000Z"},  # without one it is 100
    ]


@pytest.mark.parametrize("priority", [-1, 1001, 1.5, "1", True, None])
def test_a_priority_that_cannot_be_is_refused(shared: Company, priority: object) -> None:
    body = {"points": 1, "note": "x", "priority": priority}
    answer = shared.api.send("POST", "/v1/users/ada/points", body, headers={"idempotency-key": "a1"})
    assert fields(answer) == {"priority"}


def test_points_cannot_be_given_for_the_past(company: Company) -> None:
    company.set_clock(NOON)
    company.sign_up("ada")
    body = {"points": 1, "note": "x", "expires_at": NOON.isoformat()}
    answer = company.api.send("POST", "/v1/users/ada/points", body, headers={"idempotency-key": "a1"})
    problem(answer, 422, "expires_in_the_past")
    assert company.balance("ada") == 0


def test_an_adjustment_needs_an_idempotency_key_and_is_done_once_under_it(
    company: Company, other: Company, superuser: psycopg.Connection
) -> None:
    company.sign_up("ada")
    other.sign_up("eve")
    body = {"points": 1, "note": "x"}
    problem(company.api.send("POST", "/v1/users/ada/points", body), 400, "idempotency_key_required")
    headers = {"idempotency-key": "a1"}
    first = company.api.send("POST", "/v1/users/ada/points", body, headers=headers)
    before = rows.count(superuser, company.id)
    again = company.api.send("POST", "/v1/users/ada/points", body, headers=headers)
    assert (again.status, again.raw, again.headers["idempotent-replay"]) == (201, first.raw, "true")
    changed = company.api.send("POST", "/v1/users/ada/points", body | {"note": "y"}, headers=headers)
    problem(changed, 409, "idempotency_key_reused")
    assert rows.count(superuser, company.id) == before
    stranger = company.api.send("POST", "/v1/users/eve/points", body, headers={"idempotency-key": "a2"})
    problem(stranger, 404, "user_not_found")
    assert company.balance("ada") == 1


@pytest.mark.parametrize("points", [0, 10**12 + 1, -(10**12) - 1, 1.5, "1", True, None])
def test_an_amount_that_cannot_be_is_refused(shared: Company, points: object) -> None:
    before = shared.balance("ada")
    body = {"points": points, "note": "x"}
    answer = shared.api.send("POST", "/v1/users/ada/points", body, headers={"idempotency-key": "a1"})
    assert fields(answer) == {"points"}
    assert shared.balance("ada") == before
