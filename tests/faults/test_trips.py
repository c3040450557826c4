"""Trips inside a warm handler, counted on the wire: the budget of docs/benchmarks.md, Trips."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from local import setup
from tests.conftest import serve
from tests.support.companies import Company
from tests.support.stripe_objects import invoice_paid
from tests.support.wire_proxy import WireProxy


@pytest.fixture(scope="module")
def watched(proxy: WireProxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    """A company whose bundle speaks to PostgreSQL through the proxy, one process a function."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOODWORD_WORKERS", "1")
        url = f"postgresql://postgres@/{setup.DATABASE}?host={proxy.folder}"
        with serve(url, tmp_path_factory.mktemp("watched")) as base_url:
            company = Company.open(base_url).trust()
            yield company
            company.close()


@pytest.fixture
def trips(proxy: WireProxy) -> Callable[[Callable[[], object]], int]:
    """How many trips a request makes once the function's process is warm: it is made twice, and counted once."""

    def count(request: Callable[[], object]) -> int:
        request()
        before = proxy.trips
        request()
        return proxy.trips - before

    return count


@pytest.fixture
def statements(proxy: WireProxy) -> Callable[[Callable[[], object]], int]:
    """How many statements a request makes, but for BEGIN and COMMIT."""

    def count(request: Callable[[], object]) -> int:
        with proxy.recording() as recorded:
            request()
        return sum(statement.text not in {"BEGIN", "COMMIT"} for statement in recorded)

    return count


@pytest.fixture(scope="module")
def ada(watched: Company) -> str:
    """Ada's code; she has points, and somebody she referred."""
    code = watched.sign_up("ada")["user"]["referral_code"]
    watched.sign_up("ben", referral_code=code)
    watched.ok("POST", "/v1/users/ada/points", {"points": 1000, "note": ""}, key="ada's")
    return code


def test_a_followed_link_is_one_trip(watched: Company, ada: str, trips: Callable[..., int]) -> None:
    assert trips(lambda: watched.browser.send("GET", f"/r/{ada}")) == 1


def test_a_reported_click_is_one_trip(watched: Company, ada: str, trips: Callable[..., int]) -> None:
    assert trips(lambda: watched.ok("POST", "/v1/clicks", {"code": ada}, status=201)) == 1


def test_a_code_check_is_one_trip(watched: Company, ada: str, trips: Callable[..., int]) -> None:
    assert trips(lambda: watched.ok("GET", f"/v1/codes/{ada}")) == 1


@pytest.mark.usefixtures("ada")
def test_points_given_or_taken_are_one_trip(watched: Company, trips: Callable[..., int]) -> None:
    keys = iter(["give-1", "give-2"])
    body = {"points": 1, "note": ""}
    assert trips(lambda: watched.ok("POST", "/v1/users/ada/points", body, key=next(keys))) == 1


@pytest.mark.usefixtures("ada")
def test_a_redemption_its_refund_a_use_and_its_return_are_one_trip_each(
    watched: Company, trips: Callable[..., int]
) -> None:
    option = {"kind": "quota", "name": "Calls", "feature": "ai_calls", "quantity": 5, "cost_points": 10}
    body = {"option_id": watched.ok("POST", "/v1/redemption-options", option)["id"]}
    keys, bought = iter(["buy-1", "buy-2"]), []
    redemptions = "/v1/users/ada/redemptions"
    assert trips(lambda: bought.append(watched.ok("POST", redemptions, body, key=next(keys))["id"])) == 1
    used = []
    assert (
        trips(lambda: used.append(watched.ok("POST", "/v1/users/ada/usage", {"feature": "ai_calls"})["usage_id"])) == 1
    )
    returns = iter([f"/v1/users/ada/usage/{each}/return" for each in used])
    assert trips(lambda: watched.ok("POST", next(returns), {})) == 1
    refunds = iter([f"/v1/redemptions/{each}/refund" for each in bought])
    assert trips(lambda: watched.ok("POST", path := next(refunds), key=path)) == 1


@pytest.mark.usefixtures("ada")
def test_an_unlock_a_reward_and_what_becomes_of_it_are_one_trip_each(
    watched: Company, trips: Callable[..., int]
) -> None:
    unlock = {"kind": "unlock", "name": "Premium", "plan": "premium", "days": 30, "cost_points": 1, "stock": 9}
    reward = {"kind": "reward", "name": "A mug", "cost_points": 1, "stock": 9, "per_user_limit": 9}
    keys = iter(f"unlock-or-reward-{number}" for number in range(9))

    def redeem(option: dict[str, object]) -> Callable[[], object]:
        body = {"option_id": watched.ok("POST", "/v1/redemption-options", option)["id"]}
        return lambda: waiting.append(watched.ok("POST", "/v1/users/ada/redemptions", body, key=next(keys))["id"])

    waiting: list[str] = []
    assert trips(redeem(unlock)) == 1
    waiting.clear()
    assert [trips(buying) for buying in [redeem(reward)] * 2] == [1, 1]
    decisions = iter(waiting)
    assert trips(lambda: watched.ok("POST", f"/v1/redemptions/{next(decisions)}/fulfil", {})) == 1
    assert trips(lambda: watched.ok("POST", f"/v1/redemptions/{next(decisions)}/fail", {}, key=next(keys))) == 1


@pytest.mark.usefixtures("ada")
def test_an_activity_is_one_trip_and_its_counts_too(watched: Company, trips: Callable[..., int]) -> None:
    assert trips(lambda: watched.ok("POST", "/v1/users/ada/activity", {"action": "login"}, status=201)) == 1
    assert trips(lambda: watched.ok("GET", "/v1/users/ada/stats")) == 1


def test_a_signup_with_attribution_is_two_trips_and_four_statements_and_two_more_with_a_key(
    watched: Company, ada: str, trips: Callable[..., int], statements: Callable[..., int]
) -> None:
    people = iter(f"person-{number}" for number in range(9))

    def by_code() -> None:
        body = {"user": {"external_id": next(people)}, "referral_code": ada}
        answer = watched.ok("POST", "/v1/signups", body, status=201)
        assert answer["attribution"]["outcome"] == "attributed"

    def by_click_with_key() -> None:
        click = watched.ok("POST", "/v1/clicks", {"code": ada})["id"]
        person = next(people)
        watched.ok("POST", "/v1/signups", {"user": {"external_id": person}, "click_id": click}, key=person, status=201)

    assert trips(by_code) == 2
    assert statements(by_code) == 4
    assert trips(by_click_with_key) - 1 == 4


def test_a_payment_with_all_its_effects_is_three_and_four_statements_and_its_duplicate_one(
    watched: Company, ada: str, trips: Callable[..., int], statements: Callable[..., int]
) -> None:
    for person in ("ned", "tom", "kim"):
        watched.sign_up(person, referral_code=ada)
    payers, sent = iter(["ned", "tom", "kim"]), [invoice_paid("evt_0", "in_0")]

    def pay() -> None:
        person = next(payers)
        sent.append(invoice_paid(f"evt_{person}", f"in_{person}", user=person, customer=f"cus_{person}"))
        assert watched.deliver(sent[-1]).json == {"received": True, "duplicate": False, "outcome": "applied"}

    def again() -> None:
        assert watched.deliver(sent[-1]).json == {"received": True, "duplicate": True, "outcome": "applied"}

    before = watched.balance("ada")
    assert trips(pay) == 3
    assert statements(pay) == 4
    assert watched.balance("ada") == before + 3 * 25
    assert trips(again) == statements(again) == 1


def test_a_payment_that_reaches_a_milestone_costs_no_more_and_its_claim_is_three(
    watched: Company, trips: Callable[..., int]
) -> None:
    code = watched.sign_up("mila")["user"]["referral_code"]
    for person in ("max", "moe"):
        watched.sign_up(person, referral_code=code)
    unlock = {"reward_type": "product_unlock", "reward_data": {"plan": "premium", "days": 3}}
    points = {"reward_type": "points", "reward_data": {"points": 5}}
    offered = [
        watched.ok("POST", "/v1/milestones", {"name": "x", "threshold": threshold, **reward, "auto_apply": applies})[
            "id"
        ]
        for threshold in (1, 2)
        for reward, applies in ((unlock, True), (points, True), (points, False))
    ]
    payments = iter([
        invoice_paid(f"evt_{person}", f"in_{person}", user=person, customer=f"cus_{person}",
            subscription=f"sub_{person}")
        for person in ("max", "moe")
    ])  # fmt: skip
    assert trips(lambda: watched.deliver(next(payments))) == 3
    assert {each["status"] for each in watched.ok("GET", "/v1/users/mila/milestones")["data"]} == {"granted", "pending"}
    claims = iter([f"/v1/users/mila/milestones/{each}/claim" for each in (offered[2], offered[5])])
    assert trips(lambda: watched.ok("POST", next(claims))) == 3
    for each in offered:
        watched.ok("PATCH", f"/v1/milestones/{each}", {"active": False})


def test_a_page_of_a_leaderboard_is_one_trip(watched: Company, trips: Callable[..., int]) -> None:
    code = watched.sign_up("lea")["user"]["referral_code"]
    watched.sign_up("leo", referral_code=code)
    watched.deliver(invoice_paid("evt_leo", "in_leo", user="leo", customer="cus_leo", subscription="sub_leo"))
    assert trips(lambda: watched.ok("GET", "/v1/leaderboard")) == 1
    (first, *_) = watched.ok("GET", "/v1/leaderboard")["data"]
    assert trips(lambda: watched.ok("GET", f"/v1/leaderboard?after={first['user_id']}")) == 1


def test_what_is_linked_by_an_e_mail_costs_no_more(watched: Company, ada: str, trips: Callable[..., int]) -> None:
    """The payment of one whose signup came first, and the signup of one whose payment came first."""

    def user(person: str) -> dict[str, object]:
        names = {"stripe_customer_id": f"cus_of_{person}", "whop_user_id": f"user_{person}"}
        return {"external_id": person, "email": f"{person}@app.example", "email_verified": True, **names}

    def pay(person: str, outcome: str) -> None:
        event = invoice_paid(f"evt_{person}", f"in_{person}", customer=f"cus_{person}")
        event["data"]["object"]["customer_email"] = f"{person}@app.example"
        event["data"]["object"]["parent"]["subscription_details"]["subscription"] = f"sub_{person}"
        assert watched.deliver(event).json["outcome"] == outcome

    def sign_up(person: str) -> None:
        body = {"user": user(person), "referral_code": ada}
        answer = watched.ok("POST", "/v1/signups", body, status=201)
        assert answer["referral"]["stage"] == ("qualified" if person in {"sue", "val"} else "registered")

    for person in ("mia", "noa"):
        sign_up(person)
    payers = iter(["mia", "noa"])
    before = watched.balance("ada")
    assert trips(lambda: pay(next(payers), "applied")) == 3
    assert watched.balance("ada") == before + 2 * 25
    for person in ("sue", "val"):
        pay(person, "parked")
    people = iter(["sue", "val"])
    assert trips(lambda: sign_up(next(people))) <= 8


def test_a_refund_with_all_its_effects_is_three_and_its_duplicate_one(
    watched: Company, ada: str, trips: Callable[..., int]
) -> None:
    for person in ("pam", "rob"):
        watched.sign_up(person, referral_code=ada)
        paid = invoice_paid(f"evt_{person}", f"in_{person}", user=person, customer=f"cus_{person}")
        paid["data"]["object"]["payment_intent"] = f"pi_{person}"
        assert watched.deliver(paid).json["outcome"] == "applied"
    payers = iter(["pam", "rob"])
    sent: list[dict[str, Any]] = []

    def give_back() -> None:
        person = next(payers)
        refund = {
            "id": f"re_{person}", "object": "refund", "amount": 1900, "currency": "usd", "status": "succeeded",
            "created": int(time.time()), "charge": f"ch_{person}", "payment_intent": f"pi_{person}",
        }  # fmt: skip
        event = {"id": f"evt_re_{person}", "object": "event", "type": "refund.created", "livemode": False}
        sent.append(event | {"created": refund["created"], "data": {"object": refund}})
        assert watched.deliver(sent[-1]).json == {"received": True, "duplicate": False, "outcome": "applied"}

    def again() -> None:
        assert watched.deliver(sent[-1]).json == {"received": True, "duplicate": True, "outcome": "applied"}

    before = watched.balance("ada")
    assert trips(give_back) == 3
    assert watched.balance("ada") == before - 2 * 38
    assert trips(again) == 1


@pytest.mark.usefixtures("ada")
def test_reads_are_one_trip(watched: Company, trips: Callable[..., int]) -> None:
    assert trips(lambda: watched.ok("GET", "/v1/users/ada")) == 1
    assert trips(lambda: watched.ok("GET", "/v1/users/ada/entitlements")) == 1
    assert trips(lambda: watched.ok("GET", "/v1/users/ada/statement?from=2026-01-01")) == 1
    assert trips(lambda: watched.ok("GET", "/v1/users/ada/balance")) == 1
