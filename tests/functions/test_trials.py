"""Trials: who has the plan of newcomers for how long, and that nobody has it twice."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from local import setup
from local.postgres import Cluster
from tests.support.answers import problem
from tests.support.companies import Company
from tests.support.waiting import wait_until_blocked

T0 = datetime(2027, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def shop(company: Company) -> Company:
    company.set_clock(T0)
    return company


def arrange(superuser: psycopg.Connection, shop: Company, **settings: object) -> None:
    for name, value in settings.items():
        statement = sql.SQL("UPDATE companies SET {} = %s WHERE id = %s")
        superuser.execute(statement.format(sql.Identifier(name)), (value, shop.id))


def come(shop: Company, name: str, *, verified: bool = True, **fields: str) -> dict[str, Any]:
    user = {"external_id": name, "email": f"{name}@x.example", "email_verified": verified, **fields}
    return shop.ok("POST", "/v1/signups", {"user": user}, status=201)


def test_whose_email_is_verified_begins_with_a_trial(shop: Company) -> None:
    signed_up = come(shop, "ada")
    trial = signed_up["trial"]
    assert (trial["plan"], trial["source"], trial["status"], trial["remaining_days"]) == (
        "premium", "trial", "active", 14,
    )  # fmt: skip
    assert (signed_up["user"]["plan"], signed_up["user"]["trial_ends_at"]) == ("premium", trial["ends_at"])
    again = shop.ok("POST", "/v1/signups", {"user": {"external_id": "ada"}}, status=200)
    assert (again["trial"], again["user"]["plan"]) == (trial, "premium")
    shop.set_clock(T0 + 14 * DAY)
    user = shop.ok("GET", "/v1/users/ada")
    assert (user["plan"], user["trial_ends_at"]) == ("free", trial["ends_at"])


def test_whose_email_is_not_verified_waits(shop: Company) -> None:
    signed_up = come(shop, "ada", verified=False)
    assert (signed_up["trial"], signed_up["user"]["plan"], signed_up["user"]["trial_ends_at"]) == (None, "free", None)


def test_where_no_email_has_to_be_verified_everybody_has_one(shop: Company, superuser: psycopg.Connection) -> None:
    arrange(superuser, shop, require_email_verification=False, trial_plan="basic", trial_duration_days=3)
    signed_up = shop.ok("POST", "/v1/signups", {"user": {"external_id": "ada"}}, status=201)
    assert (signed_up["trial"]["plan"], signed_up["trial"]["ends_at"]) == ("basic", "2027-03-04T12:00:00.000000Z")
    assert signed_up["user"]["plan"] == "basic"


def test_a_trial_of_no_days_is_none(shop: Company, superuser: psycopg.Connection) -> None:
    arrange(superuser, shop, trial_duration_days=0)
    assert come(shop, "ada")["trial"] is None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"email": "Ada+1@x.example"}, {"email": "ada+2@X.example"}),
        ({"whop_user_id": "user_1"}, {"whop_user_id": "user_1"}),
        ({"stripe_customer_id": "cus_1"}, {"stripe_customer_id": "cus_1"}),
    ],
)
def test_nobody_has_a_second_one_under_another_name(
    shop: Company, superuser: psycopg.Connection, first: dict[str, str], second: dict[str, str]
) -> None:
    """A provider's id is free again once its user was erased."""
    assert come(shop, "ada", verified=True, **first)["trial"] is not None
    superuser.execute(
        "UPDATE users SET whop_user_id = NULL, stripe_customer_id = NULL WHERE company_id = %s", (shop.id,)
    )
    assert come(shop, "ben", verified=True, **second)["trial"] is None
    assert come(shop, "cleo")["trial"] is not None


def test_of_two_names_of_one_person_at_once_one_has_a_trial(
    shop: Company, cluster: Cluster, superuser: psycopg.Connection
) -> None:
    """Ada's trial is about to be committed when Ben, whose mailbox is hers, signs up."""
    come(shop, "ada")
    taken = "DELETE FROM identity_marks WHERE company_id = %s RETURNING company_id, occasion, hash, hash_key_id"
    marks = superuser.execute(taken, (shop.id,)).fetchall()
    with ThreadPoolExecutor(1) as thread, psycopg.connect(cluster.superuser_url(setup.DATABASE)) as first:
        first.cursor().executemany("INSERT INTO goodword.identity_marks VALUES (%s, %s, %s, %s)", marks)
        signed_up = thread.submit(come, shop, "ben", email="ada+2@x.example")
        wait_until_blocked(superuser)
        first.commit()
    assert (signed_up.result()["trial"], signed_up.result()["user"]["plan"]) == (None, "free")
    of_ben = superuser.execute("SELECT count(*) FROM identity_marks WHERE company_id = %s", (shop.id,)).fetchone()
    assert of_ben == (len(marks),), "who was given nothing is not known by it"


def test_a_trial_is_a_grant_as_any_other(shop: Company) -> None:
    trial = come(shop, "ada")["trial"]
    shop.ok("POST", "/v1/coupons", {"type": "wellpass", "plan": "basic", "duration_days": 5, "code": "PASS"})
    shop.ok("POST", "/v1/users/ada/coupons", {"code": "PASS"}, key="pass")
    paused = next(each for each in shop.ok("GET", "/v1/users/ada/grants")["data"] if each["id"] == trial["id"])
    assert (paused["status"], paused["remaining_days"]) == ("paused", 14)
    shop.set_clock(T0 + 5 * DAY)
    assert shop.ok("GET", "/v1/users/ada")["trial_ends_at"] == "2027-03-20T12:00:00.000000Z"


def test_the_first_day_leaves_its_trace(shop: Company, superuser: psycopg.Connection) -> None:
    come(shop, "ada")
    rows = superuser.execute("SELECT action FROM activity WHERE company_id = %s ORDER BY id", (shop.id,)).fetchall()
    assert sorted(action for (action,) in rows) == ["plan_changed", "signed_up", "trial_started"]


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"self_registration_enabled": False}, "registration_closed"),
        ({"self_registration_enabled": False, "require_invite": True}, "registration_closed"),
        ({"require_invite": True}, "invite_invalid"),
    ],
)
def test_where_invites_are_needed_nobody_comes_without(
    shop: Company, superuser: psycopg.Connection, settings: dict[str, bool], code: str
) -> None:
    come(shop, "ada")
    arrange(superuser, shop, **settings)
    for user in ({"external_id": "ben"}, {"external_id": "cleo", "email": "c@x.example", "email_verified": True}):
        problem(shop.api.send("POST", "/v1/signups", {"user": user}), 422, code)
        problem(shop.api.send("GET", f"/v1/users/{user['external_id']}"), 404, "user_not_found")
    assert shop.ok("POST", "/v1/signups", {"user": {"external_id": "ada"}}, status=200)["trial"] is not None


def test_a_trial_begins_when_the_email_is_verified(shop: Company, superuser: psycopg.Connection) -> None:
    come(shop, "ada", verified=False)
    shop.set_clock(T0 + DAY)
    user = shop.ok("PATCH", "/v1/users/ada", {"email_verified": True})
    assert (user["plan"], user["trial_ends_at"]) == ("premium", "2027-03-16T12:00:00.000000Z")
    (trial,) = shop.ok("GET", "/v1/users/ada/grants")["data"]
    shop.ok("POST", f"/v1/users/ada/grants/{trial['id']}/end", {"reason": "enough"})
    shop.ok("PATCH", "/v1/users/ada", {"email_verified": True})
    assert len(shop.ok("GET", "/v1/users/ada/grants")["data"]) == 1, "once for ever"
    actions = superuser.execute("SELECT action FROM activity WHERE company_id = %s", (shop.id,)).fetchall()
    assert sorted(action for (action,) in actions) == ["plan_changed", "plan_changed", "signed_up", "trial_started"]


def test_none_is_used_up_while_its_plan_is_had_anyway(shop: Company) -> None:
    come(shop, "ada", verified=False)
    by_hand = shop.ok("POST", "/v1/users/ada/grants", {"plan": "premium", "days": None, "reason": "a friend"})
    assert shop.ok("PATCH", "/v1/users/ada", {"email_verified": True})["trial_ends_at"] is None
    shop.ok("POST", f"/v1/users/ada/grants/{by_hand['id']}/end", {"reason": "no longer"})
    assert shop.ok("GET", "/v1/users/ada")["plan"] == "free"
    assert shop.ok("PATCH", "/v1/users/ada", {"email_verified": True})["plan"] == "premium"


def test_switching_verification_off_starts_nothing_until_the_next_word(shop: Company) -> None:
    come(shop, "ada", verified=False)
    shop.ok("PATCH", "/v1/settings", {"require_email_verification": False})
    assert shop.ok("GET", "/v1/users/ada")["plan"] == "free"
    assert shop.ok("PATCH", "/v1/users/ada", {"username": "Ada"})["plan"] == "premium"
