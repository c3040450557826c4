"""Coupons: who may redeem one, how often and until when; and what each refusal says."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from goodword.access.coupons import ALPHABET
from tests.support import rows
from tests.support.answers import problem
from tests.support.companies import Company

T0 = datetime(2027, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
PERIOD: dict[str, Any] = {"type": "period", "plan": "premium", "duration_days": 30, "code": "SPRING-26"}


@pytest.fixture
def shop(company: Company) -> Company:
    company.set_clock(T0)
    for name in ("ada", "ben", "cleo"):
        company.sign_up(name)
    return company


def offer(shop: Company, **fields: object) -> dict[str, Any]:
    return shop.ok("POST", "/v1/coupons", PERIOD | fields, status=201)


def redeem(shop: Company, user: str, code: str = "SPRING-26") -> dict[str, Any]:
    return shop.ok("POST", f"/v1/users/{user}/coupons", {"code": code}, key=f"{user}-{code.strip()}", status=201)


def refuse(shop: Company, user: str, reason: str, code: str = "SPRING-26") -> None:
    """Refused with this reason."""
    answer = shop.api.send(
        "POST", f"/v1/users/{user}/coupons", {"code": code}, headers={"idempotency-key": f"no-{user}-{reason}"}
    )
    problem(answer, 422, reason)


def test_a_coupon_is_shown_whole(shop: Company) -> None:
    coupon = offer(shop, max_redemptions=3, valid_until="2028-01-01T00:00:00Z", description="for the spring")
    assert coupon == {
        "id": coupon["id"], "code": "SPRING-26", "type": "period", "plan": "premium", "duration_days": 30,
        "max_redemptions": 3, "redemption_count": 0, "valid_from": None, "valid_until": "2028-01-01T00:00:00.000000Z",
        "active": True, "description": "for the spring", "referral_code": None, "created_by": coupon["created_by"],
        "created_at": "2027-03-01T12:00:00.000000Z", "updated_at": "2027-03-01T12:00:00.000000Z",
    }  # fmt: skip
    assert coupon["created_by"].startswith("key_")
    assert shop.ok("GET", f"/v1/coupons/{coupon['id']}") == coupon
    assert shop.ok("GET", "/v1/coupons")["data"] == [coupon]


def test_a_coupon_gives_its_plan_once_and_counts_itself(shop: Company) -> None:
    coupon = offer(shop)
    redeemed = redeem(shop, "ada", " spring-26 ")
    assert redeemed["coupon"] == coupon | {"redemption_count": 1}
    grant = redeemed["grant"]
    assert (grant["plan"], grant["source"], grant["coupon_id"], grant["remaining_days"]) == (
        "premium", "coupon", coupon["id"], 30,
    )  # fmt: skip
    assert shop.ok("GET", "/v1/users/ada")["plan"] == "premium"
    assert redeem(shop, "ada", " spring-26 ") == redeemed
    assert shop.ok("GET", f"/v1/coupons/{coupon['id']}")["redemption_count"] == 1
    refuse(shop, "ada", "coupon_already_redeemed")
    redeem(shop, "ben")
    history = shop.ok("GET", f"/v1/coupons/{coupon['id']}/redemptions")["data"]
    assert [each["user_id"] for each in history] == ["ben", "ada"]
    assert history[1] == {
        "user_id": "ada", "redeemed_at": "2027-03-01T12:00:00.000000Z", "grant_id": grant["id"],
    }  # fmt: skip


def test_a_single_use_is_used_once_by_whoever_comes_first(shop: Company) -> None:
    coupon = offer(shop, type="single_use")
    assert coupon["max_redemptions"] == 1
    redeem(shop, "ben")
    refuse(shop, "ada", "coupon_used_up")
    refuse(shop, "ben", "coupon_already_redeemed")


def test_a_window_begins_at_its_first_instant_and_ends_before_its_last(shop: Company) -> None:
    offer(shop, valid_from=(T0 + DAY).isoformat(), valid_until=(T0 + 2 * DAY).isoformat())
    for moment, reason in (
        (T0 + DAY - timedelta(microseconds=1), "coupon_not_yet_valid"),
        (T0 + DAY, None),
        (T0 + 2 * DAY - timedelta(microseconds=1), None),
        (T0 + 2 * DAY, "coupon_expired"),
    ):
        shop.set_clock(moment)
        if reason:
            refuse(shop, "cleo", reason)
        else:
            redeem(shop, "ada" if moment == T0 + DAY else "ben")


def test_the_first_reason_counts(shop: Company) -> None:
    coupon = offer(shop, valid_from=(T0 + DAY).isoformat(), valid_until=(T0 + 2 * DAY).isoformat(), max_redemptions=1)
    path = f"/v1/coupons/{coupon['id']}"
    shop.ok("PATCH", path, {"active": False})
    refuse(shop, "ada", "coupon_unknown", "WINTER-26")
    refuse(shop, "ada", "coupon_inactive")
    shop.ok("PATCH", path, {"active": True, "valid_from": None})
    redeem(shop, "ben")
    shop.ok("PATCH", path, {"active": False, "max_redemptions": 0})
    refuse(shop, "ben", "coupon_already_redeemed")
    shop.ok("PATCH", path, {"active": True})
    shop.ok("POST", "/v1/users/ada/grants", {"plan": "premium", "days": None, "reason": "x"})
    refuse(shop, "ada", "coupon_used_up")
    shop.ok("PATCH", path, {"max_redemptions": None})
    refuse(shop, "ada", "plan_already_held")
    shop.set_clock(T0 + 2 * DAY)
    refuse(shop, "ada", "coupon_expired")


def test_a_plan_that_ends_by_itself_is_no_reason(shop: Company) -> None:
    offer(shop)
    shop.ok("POST", "/v1/users/ada/grants", {"plan": "premium", "days": 10, "reason": "x"})
    assert redeem(shop, "ada")["grant"]["status"] == "scheduled"


def test_once_per_person_whatever_account_they_come_by(shop: Company) -> None:
    """Their mailbox says so, with another tag and in other letters."""
    offer(shop)
    for name, email in (("dan", "Dan+a@x.example"), ("dan2", "dan+b@X.example"), ("eve", "eve@x.example")):
        shop.ok("POST", "/v1/signups", {"user": {"external_id": name, "email": email, "email_verified": True}})
    redeem(shop, "dan")
    refuse(shop, "dan2", "coupon_already_redeemed")
    redeem(shop, "eve")


def test_many_are_made_at_once(shop: Company) -> None:
    wanted = {"type": "single_use", "plan": "basic", "duration_days": 7, "count": 1000}
    made = shop.ok("POST", "/v1/coupons", wanted, key="many", status=201)
    codes = {each["code"] for each in made["data"]}
    assert (len(codes), made["has_more"]) == (1000, False)
    assert {letter for code in codes for letter in code} <= set(ALPHABET)
    assert shop.ok("POST", "/v1/coupons", wanted, key="many", status=201) == made
    problem(shop.api.send("POST", "/v1/coupons", wanted), 400, "idempotency_key_required")
    assert redeem(shop, "ada", made["data"][500]["code"])["grant"]["plan"] == "basic"


def test_a_code_is_one_coupons_alone(shop: Company) -> None:
    offer(shop)
    problem(shop.api.send("POST", "/v1/coupons", PERIOD | {"code": "spring-26"}), 409, "coupon_exists")


def test_a_coupon_is_listed_and_changed(shop: Company) -> None:
    made = [offer(shop, code=f"CODE-{number}") for number in range(3)]
    page = shop.ok("GET", "/v1/coupons?limit=2")
    assert ([each["code"] for each in page["data"]], page["has_more"]) == (["CODE-2", "CODE-1"], True)
    after = page["data"][-1]["id"]
    assert [each["code"] for each in shop.ok("GET", f"/v1/coupons?after={after}")["data"]] == ["CODE-0"]
    code = shop.ok("GET", "/v1/users/ada")["referral_code"]
    shop.set_clock(T0 + DAY)
    changed = shop.ok("PATCH", f"/v1/coupons/{made[0]['id']}", {"referral_code": code.lower(), "description": "hers"})
    assert changed == made[0] | {
        "referral_code": code, "description": "hers", "updated_at": "2027-03-02T12:00:00.000000Z",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"plan": "gold"}, "plan"),
        ({"type": "forever"}, "type"),
        ({"duration_days": 0}, "duration_days"),
        ({"duration_days": None}, "duration_days"),
        ({"duration_days": 3651}, "duration_days"),
        ({"max_redemptions": 0}, "max_redemptions"),
        ({"max_redemptions": 1.5}, "max_redemptions"),
        ({"max_redemptions": 10**30}, "max_redemptions"),
        ({"type": "single_use", "max_redemptions": 2}, "max_redemptions"),
        ({"valid_from": "2027-03-02T00:00:00Z", "valid_until": "2027-03-02T00:00:00Z"}, "valid_until"),
        ({"code": "ab"}, "code"),
        ({"code": "A" * 41}, "code"),
        ({"code": "SPRÜNG"}, "code"),
        ({"active": "yes"}, "active"),
        ({"referral_code": "NOBODYS"}, "referral_code"),
        ({"redemption_count": 3}, "redemption_count"),
        ({"count": 1}, "count"),
        ({"count": 1001}, "count"),
    ],
)
def test_what_cannot_be_offered_is_refused_by_its_field(
    shop: Company, superuser: psycopg.Connection, fields: dict[str, object], field: str
) -> None:
    refused = problem(shop.api.send("POST", "/v1/coupons", PERIOD | fields), 422, "invalid_request")
    assert [each["field"] for each in refused["errors"]] == [field]
    assert rows.count(superuser, shop.id)["coupons"] == 0


@pytest.mark.parametrize("field", ["type", "plan", "duration_days", "code", "created_by"])
def test_what_a_coupon_gives_is_fixed(shop: Company, field: str) -> None:
    coupon = offer(shop)
    refused = problem(
        shop.api.send("PATCH", f"/v1/coupons/{coupon['id']}", {field: coupon[field]}), 422, "invalid_request"
    )
    assert [each["field"] for each in refused["errors"]] == [field]


@pytest.mark.parametrize("is_known", [True, False])
def test_who_signs_up_with_a_coupon_has_come_by_the_code_it_names(shop: Company, is_known: bool) -> None:  # noqa: FBT001
    code = shop.ok("GET", "/v1/users/ada")["referral_code"]
    coupon = offer(shop, referral_code=code, max_redemptions=1, valid_until=(T0 + DAY).isoformat())
    redeem(shop, "ben")

    def sign_up(name: str, **fields: object) -> dict[str, Any]:
        user = {"external_id": name} | ({"email": f"{name}@x.example", "email_verified": True} if is_known else {})
        signed_up: dict[str, Any] = shop.ok("POST", "/v1/signups", {"user": user, **fields}, status=201)
        return signed_up

    brought = sign_up("dan", coupon_code=" spring-26")
    assert brought["attribution"] == {
        "outcome": "attributed", "reason": None, "source": "coupon", "click_id": None,
    }  # fmt: skip
    assert (brought["referral"]["referrer"], brought["referral"]["source"]) == ("ada", "coupon")
    assert shop.ok("GET", f"/v1/coupons/{coupon['id']}")["redemption_count"] == 1

    named = sign_up("eve", coupon_code="SPRING-26", referral_code=shop.ok("GET", "/v1/users/ben")["referral_code"])
    assert (named["referral"]["referrer"], named["attribution"]["source"]) == ("ben", "code")

    offer(shop, code="NOBODYS")
    assert sign_up("fay", coupon_code="nobodys")["attribution"]["outcome"] == "none"
    assert sign_up("gil", coupon_code="unknown")["attribution"]["reason"] == "unknown_code"
    shop.set_clock(T0 + DAY)
    assert sign_up("hal", coupon_code="SPRING-26")["attribution"]["reason"] == "expired_code"
    shop.ok("PATCH", f"/v1/coupons/{coupon['id']}", {"active": False})
    assert sign_up("ida", coupon_code="SPRING-26")["attribution"]["reason"] == "inactive_code"
