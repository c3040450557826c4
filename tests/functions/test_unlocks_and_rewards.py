"""Points turned into a plan for a time, and into what the company gives by itself."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from goodword.accounts import api_keys
from goodword.core.auth import Scope
from local.client import Client
from tests.support import books, rows, stripe_objects
from tests.support.answers import fields, problem, time_of
from tests.support.companies import Company
from tests.support.points import OPTION, REWARD, UNLOCK, decide, give, offer, redeem, refund, stock, transactions

NOON = datetime(2027, 1, 15, 12, tzinfo=UTC)
DAY = timedelta(days=1)
NOTHING = f"red_{'0' * 32}"


@pytest.fixture
def rich(company: Company) -> Company:
    """A company where Ada has 100 points."""
    company.set_clock(NOON)
    company.sign_up("ada")
    give(company, 100, key="start")
    return company


@pytest.fixture(autouse=True)
def the_books_are_right(company: Company, superuser: psycopg.Connection) -> Iterator[None]:
    """Whatever a test did, redemptions agree with entries, grants and quota afterwards."""
    yield
    assert books.faults(superuser, company.id) == []
    assert company.ok("GET", "/v1/integrity")["ok"]


def plan(company: Company) -> str:
    return company.ok("GET", "/v1/users/ada")["plan"]


def actions(company: Company) -> list[str]:
    """What Ada did, oldest first, since she signed up."""
    done = company.ok("GET", "/v1/users/ada/activity?limit=100")["data"]
    return [each["action"] for each in reversed(done)][1:]


def told(superuser: psycopg.Connection, company: Company) -> list[dict[str, Any]]:
    """The outbox events of redemptions, oldest first."""
    statement = """
        SELECT type, data FROM outbox_events WHERE company_id = %(id)s AND type LIKE 'redemption.%%' ORDER BY id
    """
    return rows.find(superuser, statement, id=company.id)


def test_an_unlock_gives_a_plan_for_its_days(rich: Company) -> None:
    option_id = offer(rich, UNLOCK)
    answer = redeem(rich, option_id, key="r1")
    assert answer.status == 201
    made = answer.json
    assert (made["kind"], made["status"], made["cost_points"], made["balance_after"]) == ("unlock", "fulfilled", 30, 70)
    assert (made["fulfilled_at"], made["note"]) == (made["created_at"], None)
    grant = made["grant"]
    assert (grant["plan"], grant["source"], grant["redemption_id"]) == ("premium", "redemption", made["id"])
    assert (grant["status"], grant["remaining_days"]) == ("active", 30)
    assert (time_of(grant["starts_at"]), time_of(grant["ends_at"])) == (NOON, NOON + 30 * DAY)
    assert plan(rich) == "premium"
    rich.set_clock(NOON + 30 * DAY)
    assert plan(rich) == "free"
    (entry,) = transactions(rich, "?type=REDEMPTION_UNLOCK")["data"]
    assert (entry["delta"], entry["ref"]) == (-30, made["id"])
    assert actions(rich) == ["points_adjusted", "redeemed", "plan_changed"]


def test_a_quantity_multiplies_the_days_of_an_unlock(rich: Company) -> None:
    grant = redeem(rich, offer(rich, UNLOCK, cost_points=1), key="r1", quantity=3).json["grant"]
    assert (grant["remaining_days"], time_of(grant["ends_at"])) == (90, NOON + 90 * DAY)


def test_more_days_than_there_can_be_are_refused_and_cost_nothing(rich: Company) -> None:
    option_id = offer(rich, UNLOCK, days=3650, cost_points=1, stock=100)
    assert fields(redeem(rich, option_id, key="r1", quantity=11)) == {"quantity"}
    assert (rich.balance("ada"), stock(rich, option_id)) == (100, 100)
    assert redeem(rich, option_id, key="r2", quantity=10).status == 201


def test_a_plan_is_not_sold_past_the_end_of_the_calendar(rich: Company) -> None:
    """Nobody can write a time of the year 10000: once a plan is had for that long, it is had for good."""
    rich.set_clock(datetime(8999, 12, 31, tzinfo=UTC))
    give(rich, 100_000, key="more")
    option_id = offer(rich, UNLOCK, days=3650, cost_points=1, stock=1000)
    answers = [redeem(rich, option_id, key=f"r{number}", quantity=10) for number in range(10)]
    assert [answer.status for answer in answers] == [201] * 9 + [422]
    problem(answers[-1], 422, "plan_already_held")
    assert stock(rich, option_id) == 910
    by_hand = {"plan": "premium", "days": 3650, "reason": "x"}
    given = [rich.api.send("POST", "/v1/users/ada/grants", by_hand) for _ in range(10)]
    assert {answer.status for answer in given[:9]} == {201}
    problem(given[-1], 422, "plan_already_held")
    rich.ok("PATCH", "/v1/users/ada", {"email": "ada@x.example", "email_verified": True})
    assert len(rich.ok("GET", "/v1/users/ada/grants?limit=100")["data"]) == 18


def test_a_second_unlock_of_a_plan_waits_for_the_first(rich: Company) -> None:
    option_id = offer(rich, UNLOCK, cost_points=1)
    first, second = (redeem(rich, option_id, key=key).json["grant"] for key in ("r1", "r2"))
    assert (first["status"], second["status"]) == ("active", "scheduled")
    assert second["starts_at"] == first["ends_at"]


def test_a_plan_that_a_subscription_gives_for_good_is_not_sold(rich: Company, superuser: psycopg.Connection) -> None:
    """Neither points nor stock are taken; once the subscription is cancelled, it is."""
    rich.ok("PATCH", "/v1/plans/premium", {"stripe_price_id_monthly": "price_premium"})
    rich.ok("POST", "/v1/signups", {"user": {"external_id": "ben", "stripe_customer_id": "cus_ben"}})
    give(rich, 100, key="ben", user="ben")
    option_id = offer(rich, UNLOCK, stock=1, per_user_limit=1)

    def subscribe(**change: object) -> None:
        item = stripe_objects.item("price_premium", NOON + 31 * DAY)
        value = stripe_objects.subscription(item, status="active", customer="cus_ben", created=NOON) | change
        at = NOON + (DAY if change else 0 * DAY)
        event = stripe_objects.event("customer.subscription.updated", value, sent_at=at, id=f"evt_{len(change)}")
        assert rich.deliver(event).json["outcome"] == "applied"

    subscribe()
    before = rows.count(superuser, rich.id)
    refused = redeem(rich, option_id, key="r1", user="ben")
    problem(refused, 422, "plan_already_held")
    assert redeem(rich, option_id, key="r1", user="ben").raw == refused.raw
    # the answer is kept; the lock of Ben's grants stays, and says nothing
    stored = rows.count(superuser, rich.id) - before
    assert stored == {"idempotent_answers": 1, "grant_schedules": 1}
    assert (rich.balance("ben"), stock(rich, option_id)) == (100, 1)
    subscribe(cancel_at_period_end=True)
    assert redeem(rich, option_id, key="r2", user="ben").status == 201


def test_a_refund_ends_the_plan_now(rich: Company) -> None:
    option_id = offer(rich, UNLOCK, stock=1)
    bought = redeem(rich, option_id, key="r1").json
    rich.set_clock(NOON + 10 * DAY)
    refunded = refund(rich, bought["id"], key="f1").json
    assert (refunded["status"], refunded["balance_after"], rich.balance("ada")) == ("refunded", 100, 100)
    grant = refunded["grant"]
    assert (grant["id"], grant["status"], grant["remaining_seconds"]) == (bought["grant"]["id"], "ended", 0)
    assert time_of(grant["ends_at"]) == time_of(refunded["refunded_at"]) == NOON + 10 * DAY
    assert (plan(rich), stock(rich, option_id)) == ("free", 1)
    assert actions(rich)[-2:] == ["redemption_refunded", "plan_changed"]
    assert rich.ok("GET", f"/v1/redemptions/{bought['id']}") == refunded


def test_a_refund_of_a_plan_whose_time_is_over_leaves_the_grant_as_it_is(rich: Company) -> None:
    bought = redeem(rich, offer(rich, UNLOCK), key="r1").json
    rich.set_clock(NOON + 40 * DAY)
    refunded = refund(rich, bought["id"], key="f1").json
    assert (refunded["grant"]["status"], time_of(refunded["grant"]["ends_at"])) == ("ended", NOON + 30 * DAY)


def test_a_reward_waits_until_the_company_has_given_it(rich: Company, superuser: psycopg.Connection) -> None:
    option_id = offer(rich, REWARD, stock=5)
    bought = redeem(rich, option_id, key="r1", quantity=2).json
    assert (bought["kind"], bought["status"], bought["fulfilled_at"]) == ("reward", "pending", None)
    assert (bought["balance_after"], bought["grant"], stock(rich, option_id)) == (40, None, 3)
    rich.set_clock(NOON + DAY)
    answer = decide(rich, bought["id"], "fulfil", note="sent by mail")
    now = "2027-01-16T12:00:00.000000Z"
    assert answer.status == 200
    given = bought | {"status": "fulfilled", "note": "sent by mail", "fulfilled_at": now, "updated_at": now}
    assert answer.json == given == rich.ok("GET", f"/v1/redemptions/{bought['id']}")
    assert rich.balance("ada") == 40
    events = told(superuser, rich)
    assert [event["type"] for event in events] == ["redemption.pending", "redemption.fulfilled"]
    assert events[1]["data"] == {name: value for name, value in given.items() if name != "note"}  # words of people
    assert actions(rich) == ["points_adjusted", "redeemed"]


def test_a_decision_on_which_nothing_is_said_needs_no_body(rich: Company) -> None:
    option_id = offer(rich, REWARD)
    for decision, status in (("fulfil", "fulfilled"), ("fail", "failed")):
        bought = redeem(rich, option_id, key=decision).json["id"]
        assert rich.ok("POST", f"/v1/redemptions/{bought}/{decision}")["status"] == status


def test_a_reward_that_cannot_be_given_gives_everything_back(rich: Company, superuser: psycopg.Connection) -> None:
    option_id = offer(rich, REWARD, stock=1, per_user_limit=1)
    bought = redeem(rich, option_id, key="r1").json
    problem(redeem(rich, option_id, key="r2"), 422, "out_of_stock")
    rich.set_clock(NOON + DAY)
    failed = decide(rich, bought["id"], "fail", note="sold out").json
    now = "2027-01-16T12:00:00.000000Z"
    assert failed == bought | {
        "status": "failed", "note": "sold out", "balance_after": 100, "failed_at": now, "updated_at": now,
    }  # fmt: skip
    assert (rich.balance("ada"), stock(rich, option_id)) == (100, 1)
    (entry,) = transactions(rich, "?type=REDEMPTION_REFUND")["data"]
    assert (entry["delta"], entry["ref"], time_of(entry["effective_at"])) == (30, bought["id"], NOON + DAY)
    assert actions(rich) == ["points_adjusted", "redeemed", "redemption_refunded"]
    assert told(superuser, rich)[-1]["type"] == "redemption.failed"
    assert redeem(rich, option_id, key="r3").status == 201


def test_a_decision_is_made_once(rich: Company) -> None:
    option_id = offer(rich, REWARD)
    given, failed, refunded = (redeem(rich, option_id, key=key).json["id"] for key in ("r1", "r2", "r3"))
    quota = redeem(rich, offer(rich, cost_points=1), key="r4").json["id"]
    decide(rich, given, "fulfil")
    decide(rich, failed, "fail")
    refund(rich, refunded, key="f1")
    for redemption_id in (given, failed, refunded, quota):
        for decision in ("fulfil", "fail"):
            problem(decide(rich, redemption_id, decision), 409, "redemption_not_pending")
    problem(refund(rich, failed, key="f2"), 409, "redemption_failed")
    problem(refund(rich, refunded, key="f3"), 409, "redemption_refunded")
    assert refund(rich, given, key="f4").json["status"] == "refunded"
    assert rich.balance("ada") == 99


def test_a_pending_reward_can_be_refunded(rich: Company) -> None:
    option_id = offer(rich, REWARD, stock=1)
    bought = redeem(rich, option_id, key="r1").json
    refunded = refund(rich, bought["id"], key="f1").json
    assert (refunded["status"], refunded["fulfilled_at"], refunded["balance_after"]) == ("refunded", None, 100)
    assert stock(rich, option_id) == 1


def test_a_decision_under_a_key_is_answered_again_byte_for_byte(rich: Company) -> None:
    option_id = offer(rich, REWARD)
    first, second = (redeem(rich, option_id, key=key).json["id"] for key in ("r1", "r2"))
    failed = decide(rich, first, "fail", key="d1", note="x")
    again = decide(rich, first, "fail", key="d1", note="x")
    assert (again.status, again.raw, again.headers["idempotent-replay"]) == (200, failed.raw, "true")
    problem(decide(rich, first, "fail", key="d1"), 409, "idempotency_key_reused")
    problem(decide(rich, second, "fail", key="d1", note="x"), 409, "idempotency_key_reused")
    refused = decide(rich, first, "fulfil", key="d2")
    problem(refused, 409, "redemption_not_pending")
    assert decide(rich, first, "fulfil", key="d2").raw == refused.raw
    assert rich.balance("ada") == 70


def test_redemptions_are_listed_newest_first_for_their_user_and_for_the_company(rich: Company) -> None:
    rich.sign_up("ben")
    give(rich, 10, key="ben", user="ben")
    mug, calls = offer(rich, REWARD, cost_points=1), offer(rich, OPTION, cost_points=1)
    ids = [redeem(rich, option, key=f"r{number}").json["id"] for number, option in enumerate((mug, calls, mug))]
    bens = redeem(rich, mug, key="ben-1", user="ben").json["id"]

    def listed(path: str) -> list[str]:
        return [each["id"] for each in rich.ok("GET", path)["data"]]

    assert listed("/v1/users/ada/redemptions") == ids[::-1]
    assert listed("/v1/users/ada/redemptions?status=pending") == [ids[2], ids[0]]
    assert listed("/v1/redemptions") == [bens, *ids[::-1]]
    assert listed("/v1/redemptions?status=fulfilled") == [ids[1]]
    first = rich.ok("GET", "/v1/redemptions?status=pending&limit=2")
    assert ([each["id"] for each in first["data"]], first["has_more"]) == ([bens, ids[2]], True)
    assert listed(f"/v1/redemptions?status=pending&limit=2&after={ids[2]}") == [ids[0]]
    assert {each["user_id"] for each in first["data"]} == {"ada", "ben"}
    assert listed(f"/v1/users/ada/redemptions?after={ids[0]}") == []
    assert fields(rich.api.send("GET", f"/v1/users/ben/redemptions?after={ids[0]}")) == {"after"}
    assert fields(rich.api.send("GET", f"/v1/redemptions?after={NOTHING}")) == {"after"}


def test_what_is_shown_of_a_redemption_is_what_was_answered(rich: Company) -> None:
    for key, option in (("r1", OPTION), ("r2", UNLOCK), ("r3", REWARD)):
        made = redeem(rich, offer(rich, option), key=key).json
        assert rich.ok("GET", f"/v1/redemptions/{made['id']}") == made
        assert rich.ok("GET", "/v1/users/ada/redemptions?limit=1")["data"] == [made]


def test_a_redemption_of_somewhere_else_is_not_found(rich: Company, other: Company) -> None:
    made = redeem(rich, offer(rich, REWARD), key="r1").json["id"]
    problem(other.api.send("GET", f"/v1/redemptions/{made}"), 404, "redemption_not_found")
    for decision in ("fulfil", "fail"):
        problem(decide(other, made, decision), 404, "redemption_not_found")
        for unknown in (NOTHING, made.replace("red", "opt"), "nonsense", "%00"):
            problem(decide(rich, unknown, decision), 404, "redemption_not_found")
    assert rich.ok("GET", f"/v1/redemptions/{made}")["status"] == "pending"


def test_a_write_key_may_list_a_users_redemptions_and_read_options_but_decides_nothing(
    rich: Company, superuser: psycopg.Connection
) -> None:
    option_id = offer(rich, REWARD)
    made = redeem(rich, option_id, key="r1").json["id"]
    lesser = Client(rich.url, api_keys.create(superuser, rich.id, livemode=False, scope=Scope.WRITE))
    for path in ("/v1/users/ada/redemptions", f"/v1/redemption-options/{option_id}"):
        assert lesser.send("GET", path).status == 200
    for path in ("/v1/redemptions", f"/v1/redemptions/{made}"):
        problem(lesser.send("GET", path), 403, "scope_insufficient")
    for decision in ("fulfil", "fail"):
        problem(lesser.send("POST", f"/v1/redemptions/{made}/{decision}", {}), 403, "scope_insufficient")
    problem(lesser.send("PATCH", f"/v1/redemption-options/{option_id}", {}), 403, "scope_insufficient")
    lesser.close()


@pytest.mark.parametrize("note", [1, True, [], "x" * 2001, "a\0b"])
def test_a_note_that_cannot_be_is_refused_by_its_field(rich: Company, note: object) -> None:
    made = redeem(rich, offer(rich, REWARD), key="r1").json["id"]
    assert fields(decide(rich, made, "fail", note=note)) == {"note"}
    assert rich.balance("ada") == 70
