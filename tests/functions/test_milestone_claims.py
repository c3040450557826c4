"""Claiming milestones and delivering them: what each status becomes, and that nothing is given twice."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from goodword.accounts import api_keys
from goodword.core.auth import Scope
from local.client import Answer, Client
from tests.functions.test_milestones import (
    CUSTOM,
    DISCOUNT,
    EVERY_TYPE,
    POINTS,
    UNLOCK,
    lose_the_plan,
    milestone_points,
    offer,
    only,
    told,
)
from tests.support import books, rows
from tests.support.answers import fields, problem
from tests.support.companies import Company
from tests.support.counted import T0, bring, pay, refund

LATER = T0 + timedelta(days=1)
AT_LATER = "2027-03-02T12:00:00.000000Z"


@pytest.fixture
def shop(company: Company) -> Company:
    """Ada has brought four, of whom nobody has paid."""
    company.set_clock(T0)
    code = company.sign_up("ada")["user"]["referral_code"]
    bring(company, code, "ben", "cleo", "dan", "eve")
    return company


@pytest.fixture(autouse=True)
def the_books_are_right(company: Company, superuser: psycopg.Connection) -> Iterator[None]:
    """Whatever a test did, scores, milestones and the ledger agree afterwards."""
    yield
    assert books.faults(superuser, company.id) == []


def ask(shop: Company, milestone_id: str, user: str = "ada", *, key: str | None = None) -> Answer:
    headers = {"idempotency-key": key} if key else None
    return shop.api.send("POST", f"/v1/users/{user}/milestones/{milestone_id}/claim", headers=headers)


def claim(shop: Company, milestone_id: str, *, key: str | None = None) -> dict[str, Any]:
    answer = ask(shop, milestone_id, key=key)
    assert answer.status == 200, answer.raw
    return answer.json


def types(superuser: psycopg.Connection, shop: Company) -> list[str]:
    return [f"{event_type} {data['status']}" for event_type, data in told(superuser, shop)]


@pytest.mark.parametrize("milestone", EVERY_TYPE, ids=lambda milestone: milestone["reward_type"])
def test_a_claim_of_what_waits_grants_and_delivers_it(
    shop: Company, superuser: psycopg.Connection, milestone: dict[str, Any]
) -> None:
    milestone_id = offer(shop, milestone, auto_apply=False)
    pay(shop, "ben")
    balance = shop.balance("ada")
    shop.set_clock(LATER)
    claimed = claim(shop, milestone_id)
    assert (claimed["status"], claimed["granted_at"], claimed["claimed_at"]) == ("claimed", AT_LATER, AT_LATER)
    assert claimed["reached_at"] == "2027-03-01T12:00:00.000000Z"
    assert claimed["reward_data"] == milestone["reward_data"]
    assert claimed == only(shop)
    assert shop.balance("ada") - balance == (50 if milestone is POINTS else 0)
    grants = shop.ok("GET", "/v1/users/ada/grants")["data"]
    assert [grant["id"] for grant in grants] == ([claimed["grant_id"]] if milestone is UNLOCK else [])
    assert types(superuser, shop) == [
        "milestone.reached pending", "milestone.granted granted", "milestone.claimed claimed",
    ]  # fmt: skip
    actions = [each["action"] for each in shop.ok("GET", "/v1/users/ada/activity")["data"]]
    assert [each for each in actions if each.startswith("milestone")] == [
        "milestone_claimed", "milestone_granted", "milestone_reached",
    ]  # fmt: skip


@pytest.mark.parametrize("milestone", EVERY_TYPE, ids=lambda milestone: milestone["reward_type"])
def test_a_claim_of_what_was_granted_acknowledges_it(
    shop: Company, superuser: psycopg.Connection, milestone: dict[str, Any]
) -> None:
    milestone_id = offer(shop, milestone)
    pay(shop, "ben")
    granted, before = only(shop), rows.count(superuser, shop.id)
    shop.set_clock(LATER)
    assert claim(shop, milestone_id) == granted | {"status": "claimed", "claimed_at": AT_LATER}
    stored = rows.count(superuser, shop.id) - before
    assert dict(stored) == {"outbox_events": 1, "activity": 1, "rate_windows": 1}
    assert types(superuser, shop) == ["milestone.granted granted", "milestone.claimed claimed"]


def test_a_second_claim_answers_the_same_and_gives_nothing(shop: Company, superuser: psycopg.Connection) -> None:
    milestone_id = offer(shop, POINTS, auto_apply=False)
    pay(shop, "ben")
    first = claim(shop, milestone_id, key="one")
    shop.set_clock(LATER)
    pay(shop, "cleo", paid_at=LATER)
    again = ask(shop, milestone_id, key="one")
    assert (again.json, again.headers["idempotent-replay"]) == (first, "true")
    assert claim(shop, milestone_id, key="two") == first | {"qualified_count": 2}
    assert claim(shop, milestone_id) == first | {"qualified_count": 2}
    assert (milestone_points(shop), len(told(superuser, shop))) == ([50], 3)


def test_what_is_not_reached_cannot_be_claimed(shop: Company, superuser: psycopg.Connection) -> None:
    milestone_id = offer(shop, POINTS, threshold=2, auto_apply=False)
    problem(ask(shop, milestone_id), 422, "milestone_not_reached")
    pay(shop, "ben")
    problem(ask(shop, milestone_id), 422, "milestone_not_reached")
    problem(ask(shop, milestone_id, "ben"), 422, "milestone_not_reached")
    problem(ask(shop, milestone_id, "nobody"), 404, "user_not_found")
    assert told(superuser, shop) == []


def test_a_pending_one_that_fell_below_waits_until_it_is_reached_again(shop: Company) -> None:
    milestone_id = offer(shop, DISCOUNT, threshold=2, auto_apply=False)
    pay(shop, "ben", "cleo")
    pending = only(shop)
    assert pending["status"] == "pending"
    refund(shop, "ben")
    fallen = only(shop)
    assert (fallen["status"], fallen["reached_at"], fallen["qualified_count"]) == (None, None, 1)
    assert shop.ok("GET", f"/v1/milestones/{milestone_id}/users")["data"] == []
    problem(ask(shop, milestone_id), 422, "milestone_not_reached")
    pay(shop, "dan")
    assert only(shop) == pending
    assert claim(shop, milestone_id)["status"] == "claimed"
    # what is claimed stays, whoever is refunded
    refund(shop, "cleo")
    refund(shop, "dan")
    assert (only(shop)["status"], only(shop)["qualified_count"]) == ("claimed", 0)


def test_an_inactive_one_can_be_claimed_only_if_it_was_granted_before(shop: Company) -> None:
    granted, pending = offer(shop, POINTS), offer(shop, CUSTOM, auto_apply=False)
    pay(shop, "ben")
    for milestone_id in (granted, pending):
        shop.ok("PATCH", f"/v1/milestones/{milestone_id}", {"active": False})
    assert claim(shop, granted)["status"] == "claimed"
    assert claim(shop, granted)["status"] == "claimed"
    problem(ask(shop, pending), 422, "milestone_inactive")
    shop.ok("PATCH", f"/v1/milestones/{pending}", {"active": True})
    assert claim(shop, pending)["status"] == "claimed"


@pytest.mark.parametrize("auto_apply", [True, False])
def test_what_failed_is_granted_anew_by_the_next_claim(
    shop: Company, superuser: psycopg.Connection, *, auto_apply: bool
) -> None:
    """By itself where it should have been, so that it is still to be acknowledged; else it is delivered too."""
    milestone_id = offer(shop, UNLOCK, auto_apply=auto_apply)
    lose_the_plan(superuser, shop)
    pay(shop, "ben")
    if not auto_apply:
        assert only(shop)["status"] == "pending"
    failed = claim(shop, milestone_id, key="one")
    assert (failed["status"], failed["error_message"]) == ("failed", "There is no such plan.")
    assert (failed["granted_at"], failed["claimed_at"], failed["grant_id"]) == (None, None, None)
    assert claim(shop, milestone_id)["status"] == "failed"
    shop.ok("PATCH", f"/v1/milestones/{milestone_id}", {"reward_data": {"plan": "premium", "days": 3}})
    assert ask(shop, milestone_id, key="one").json == failed
    got = claim(shop, milestone_id)
    assert (got["status"], got["error_message"]) == ("granted" if auto_apply else "claimed", None)
    (grant,) = shop.ok("GET", "/v1/users/ada/grants")["data"]
    assert (grant["id"], grant["remaining_days"], grant["status"]) == (got["grant_id"], 3, "active")
    assert claim(shop, milestone_id)["status"] == "claimed"
    assert types(superuser, shop)[-4:] == [
        "milestone.failed failed", "milestone.failed failed", "milestone.granted granted",
        "milestone.claimed claimed",
    ]  # fmt: skip


def test_every_request_to_claim_counts_for_the_limit(shop: Company) -> None:
    program = shop.ok("GET", "/v1/program")["program"]
    shop.ok("PUT", "/v1/program", program | {"limits": program["limits"] | {"award_claims_per_day": 4}})
    milestone_id, high = offer(shop, POINTS), offer(shop, POINTS, threshold=5)
    pay(shop, "ben")
    problem(ask(shop, high), 422, "milestone_not_reached")
    problem(ask(shop, f"mil_{'0' * 32}"), 404, "milestone_not_found")
    claim(shop, milestone_id, key="one")
    assert ask(shop, milestone_id, key="one").status == 200
    refused = ask(shop, milestone_id)
    problem(refused, 429, "rate_limited")
    assert 86_000 < int(refused.headers["retry-after"]) <= 86_400
    problem(ask(shop, milestone_id, key="one"), 429, "rate_limited")
    problem(ask(shop, milestone_id, "ben"), 422, "milestone_not_reached")


def test_points_of_a_claim_expire_by_the_program_in_force(shop: Company) -> None:
    milestone_id = offer(shop, POINTS, auto_apply=False)
    pay(shop, "ben")
    program = shop.ok("GET", "/v1/program")["program"]
    shop.ok("PUT", "/v1/program", program | {"points_expiry_months": 1})
    claim(shop, milestone_id)
    expiring = shop.ok("GET", "/v1/users/ada/balance")["expiring"]
    assert {each["expires_at"][:10]: each["points"] for each in expiring}.get("2027-04-01") == 50


# Who has reached one, and what the company delivers


def fulfil(shop: Company, milestone_id: str, user: str = "ada", **body: object) -> Answer:
    return shop.api.send("POST", f"/v1/milestones/{milestone_id}/users/{user}/fulfil", body)


def holders(shop: Company, milestone_id: str, query: str = "") -> list[str]:
    listed = shop.ok("GET", f"/v1/milestones/{milestone_id}/users?{query}")["data"]
    return [f"{each['user_id']} {each['status']}" for each in listed]


def test_what_was_granted_is_delivered_by_the_company_once(shop: Company, superuser: psycopg.Connection) -> None:
    milestone_id = offer(shop, CUSTOM)
    problem(fulfil(shop, milestone_id), 404, "milestone_not_reached")
    pay(shop, "ben")
    granted = only(shop)
    shop.set_clock(LATER)
    delivered = fulfil(shop, milestone_id, note="sent by mail")
    claimed = granted | {"status": "claimed", "claimed_at": AT_LATER}
    assert (delivered.status, delivered.json) == (200, claimed | {"user_id": "ada", "note": "sent by mail"})
    assert only(shop) == claimed
    assert fulfil(shop, milestone_id, note="sent again").json == delivered.json
    assert fulfil(shop, milestone_id).json == delivered.json
    assert shop.ok("GET", f"/v1/milestones/{milestone_id}/users")["data"] == [delivered.json]
    assert types(superuser, shop) == ["milestone.granted granted", "milestone.claimed claimed"]


def test_what_is_not_granted_cannot_be_delivered(shop: Company, superuser: psycopg.Connection) -> None:
    pending, failed = offer(shop, CUSTOM, auto_apply=False), offer(shop, UNLOCK)
    lose_the_plan(superuser, shop)
    pay(shop, "ben")
    for milestone_id in (pending, failed):
        problem(fulfil(shop, milestone_id), 409, "milestone_not_granted")
    problem(fulfil(shop, pending, "nobody"), 404, "user_not_found")
    assert fields(fulfil(shop, pending, noted="x")) == {"noted"}


def test_those_who_reached_one_are_listed_page_by_page_and_by_status(shop: Company) -> None:
    milestone_id = offer(shop, DISCOUNT)
    for referrer in ("gil", "hal", "ivy"):
        code = shop.sign_up(referrer)["user"]["referral_code"]
        bring(shop, code, f"friend_of_{referrer}")
        pay(shop, f"friend_of_{referrer}")
    fulfil(shop, milestone_id, "hal")
    assert holders(shop, milestone_id) == ["gil granted", "hal claimed", "ivy granted"]
    assert holders(shop, milestone_id, "status=granted") == ["gil granted", "ivy granted"]
    assert holders(shop, milestone_id, "limit=1&after=gil") == ["hal claimed"]
    assert holders(shop, milestone_id, "status=granted&after=gil") == ["ivy granted"]
    assert holders(shop, milestone_id, "after=ivy") == []
    assert fields(shop.api.send("GET", f"/v1/milestones/{milestone_id}/users?after=ben")) == {"after"}
    assert fields(shop.api.send("GET", f"/v1/milestones/{milestone_id}/users?status=lost")) == {"status"}


def test_a_user_lists_their_milestones_page_by_page(shop: Company) -> None:
    low, middle, high = (offer(shop, POINTS, threshold=threshold) for threshold in (1, 2, 3))
    pay(shop, "ben")
    page = shop.ok("GET", "/v1/users/ada/milestones?limit=2")
    assert ([(each["id"], each["status"]) for each in page["data"]], page["has_more"]) == (
        [(low, "granted"), (middle, None)], True,
    )  # fmt: skip
    page = shop.ok("GET", f"/v1/users/ada/milestones?limit=2&after={middle}")
    assert ([each["id"] for each in page["data"]], page["has_more"]) == ([high], False)
    assert fields(shop.api.send("GET", f"/v1/users/ada/milestones?after=mil_{'0' * 32}")) == {"after"}
    problem(shop.api.send("GET", "/v1/users/nobody/milestones"), 404, "user_not_found")


def test_apps_may_claim_and_administrators_alone_deliver(shop: Company, superuser: psycopg.Connection) -> None:
    milestone_id = offer(shop, CUSTOM)
    pay(shop, "ben")
    writes = Client(shop.url, api_keys.create(superuser, shop.id, livemode=False, scope=Scope.WRITE))
    for method, path in (
        ("POST", "/v1/milestones"),
        ("GET", f"/v1/milestones/{milestone_id}/users"),
        ("POST", f"/v1/milestones/{milestone_id}/users/ada/fulfil"),
    ):
        body = POINTS if path == "/v1/milestones" else None
        problem(writes.send(method, path, body), 403, "scope_insufficient")
    assert writes.send("POST", f"/v1/users/ada/milestones/{milestone_id}/claim", {}).status == 200
    writes.close()
