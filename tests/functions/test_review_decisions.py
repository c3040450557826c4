"""Deciding on reviews: what is paid, taken back and counted by it, in the transaction of the decision."""

from datetime import timedelta
from functools import partial
from typing import Any

import psycopg
import pytest

from local.client import Answer
from tests.functions.test_reviews import NOTHING
from tests.support.answers import fields, problem, time_of
from tests.support.companies import Company
from tests.support.growth import FLAT, Referrer, amend
from tests.support.points import offer, redeem
from tests.support.suspects import (
    NOON,
    PHONE,
    WARY,
    OpenShop,
    ada_of,
    announced,
    awards_for,
    decide,
    queue,
    referral_of,
    review_of,
    suspect,
)
from tests.support.trust import suspecting

DAY = timedelta(days=1)
DOUBTING = suspecting(signals={"same_device": 25, "instant_qualification": 35}, tiers=FLAT)
"""The phone alone is nothing; with a payment as soon as somebody has come it is a review."""

MILESTONE = {"name": "first", "threshold": 1, "reward_type": "points", "reward_data": {"points": 50}}
LADDER = [{"name": "new", "from": 0, "multiplier_bps": 10_000}, {"name": "old", "from": 1, "multiplier_bps": 20_000}]


@pytest.fixture
def shop(open_shop: OpenShop) -> Company:
    return open_shop(WARY)


@pytest.fixture
def ada(shop: Company) -> Referrer:
    return ada_of(shop)


def send(company: Company, review_id: str, body: object, key: str | None = None) -> Answer:
    headers = {"idempotency-key": key} if key else None
    return company.api.send("POST", f"/v1/reviews/{review_id}/decision", body, headers=headers)


def send_all(company: Company, key: str, **body: object) -> Answer:
    return company.api.send("POST", "/v1/reviews/decisions", body, headers={"idempotency-key": key})


def test_approving_pays_what_waits_for_the_review(shop: Company, ada: Referrer, superuser: psycopg.Connection) -> None:
    review_id = suspect(ada, "ben")
    shop.ok("POST", "/v1/activations", {"user_id": "ben", "occurred_at": NOON.isoformat()})
    assert awards_for(shop, "ben") == {"registered": ("held", "review"), "welcome": ("held", "review")}
    assert (referral_of(shop, "ben")["flagged"], shop.balance("ada"), shop.balance("ben")) == (True, 0, 0)
    review = decide(shop, review_id, "approve", note="A family.", assigned_to="Dana")
    assert review == shop.ok("GET", f"/v1/reviews/{review_id}")
    assert (review["status"], review["notes"], review["assigned_to"]) == ("approved", "A family.", "Dana")
    assert review["reviewed_by"].startswith("key_")
    assert time_of(review["reviewed_at"]) == NOON
    assert awards_for(shop, "ben") == {"registered": ("paid", None), "welcome": ("paid", None)}
    referral = referral_of(shop, "ben")
    assert (referral["flagged"], referral["is_verified"], shop.balance("ada"), shop.balance("ben")) == (
        False, True, 5, 25,
    )  # fmt: skip
    assert announced(superuser, shop, "review.decided") == [
        {"id": review_id, "referral_id": referral["id"], "decision": "approve"}
    ]


def test_rejecting_rejects_what_waits(shop: Company, ada: Referrer, superuser: psycopg.Connection) -> None:
    review_id = suspect(ada, "ben")
    review = decide(shop, review_id, "reject", note="Himself.")
    assert (review["status"], review["notes"]) == ("rejected", "Himself.")
    assert set(awards_for(shop, "ben").values()) == {("rejected", "review_rejected")}
    assert (referral_of(shop, "ben")["flagged"], shop.balance("ada"), shop.balance("ben")) == (True, 0, 0)
    assert [event["decision"] for event in announced(superuser, shop, "review.decided")] == ["reject"]


def test_what_came_after_90_is_rejected_until_somebody_approves_it(shop: Company, ada: Referrer) -> None:
    review_id = suspect(ada, "ben")
    ada.pay("ben")
    assert review_of(shop, "ben")["priority"] == "critical"
    assert awards_for(shop, "ben") == {
        "registered": ("held", "review"), "welcome": ("held", "review"), "qualified": ("rejected", "fraud_rejected"),
    }  # fmt: skip
    decide(shop, review_id, "approve")
    assert set(awards_for(shop, "ben").values()) == {("paid", None)}
    assert (shop.balance("ada"), shop.balance("ben"), ada.profile()[0]) == (30, 25, 1)


def test_rejecting_takes_back_what_was_paid_the_welcome_and_level_2_too_into_debt_if_it_is_spent(
    open_shop: OpenShop,
) -> None:
    shop = open_shop(DOUBTING)
    shop.sign_up("ada", device_fingerprint=PHONE, referral_code=shop.sign_up("zoe")["user"]["referral_code"])
    ada = Referrer.known(shop, "ada", NOON)
    qualify_late(ada, "ben")
    assert [shop.balance(user) for user in ("ada", "ben", "zoe")] == [25 + 5 + 25, 25, 5 + 5]
    option_id = offer(shop, cost_points=25)
    for user in ("ada", "ben"):
        assert redeem(shop, option_id, user=user, key=user).status == 201
    ada.pay("ben")
    assert awards_for(shop, "ben") == {
        "registered": ("paid", None), "welcome": ("paid", None), "qualified": ("paid", None),
        "recurring": ("held", "review"),
    }  # fmt: skip
    decide(shop, review_of(shop, "ben")["id"], "reject")
    assert awards_for(shop, "ben") == {
        "registered": ("reversed", None), "welcome": ("reversed", None), "qualified": ("reversed", None),
        "recurring": ("rejected", "review_rejected"),
    }  # fmt: skip
    balances = {user: shop.ok("GET", f"/v1/users/{user}/balance") for user in ("ada", "ben", "zoe")}
    assert {user: (each["balance"], each["debt"]) for user, each in balances.items()} == {
        "ada": (0, 0), "ben": (0, 25), "zoe": (5, 0),
    }  # fmt: skip


def qualify_late(ada: Referrer, person: str) -> None:
    """Bring somebody with Ada's phone, who pays a month later; an earlier payment is not known yet."""
    ada.bring(person, device_fingerprint=PHONE)
    ada.company.set_clock(NOON + 31 * DAY)
    ada.pay(person, month=2)


def test_after_an_approval_later_awards_are_paid_at_once(shop: Company, ada: Referrer) -> None:
    decide(shop, suspect(ada, "ben"), "approve")
    ada.pay("ben")  # as soon as they came, which by itself is no reason for a review
    assert set(awards_for(shop, "ben").values()) == {("paid", None)}
    assert (len(queue(shop)), referral_of(shop, "ben")["flagged"]) == (1, False)


def test_after_an_approval_a_new_signal_opens_a_review_of_its_own(open_shop: OpenShop) -> None:
    shop = open_shop(suspecting(
        signals={"same_device": 60, "instant_qualification": 60}, fraud={"behavioural_cap": 100}, tiers=FLAT
    ))  # fmt: skip
    ada = ada_of(shop)
    decide(shop, suspect(ada, "ben"), "approve")
    shop.set_clock(NOON + DAY)
    ada.pay("ben")
    again = review_of(shop, "ben")
    assert (again["status"], again["priority"], again["fraud_score"]) == ("pending", "medium", 60)
    assert again["fraud_signals"] == again["check_types"] == ["instant_qualification"]
    assert [check["signal"] for check in again["checks"] if check["state"] == "raised"] == [
        "same_device", "instant_qualification",
    ]  # fmt: skip
    assert awards_for(shop, "ben") == {
        "registered": ("paid", None), "welcome": ("paid", None), "qualified": ("held", "review"),
    }  # fmt: skip
    assert referral_of(shop, "ben")["fraud_score"] == 120
    decide(shop, again["id"], "approve")
    assert set(awards_for(shop, "ben").values()) == {("paid", None)}
    assert [review["status"] for review in queue(shop)] == ["approved", "approved"]


def test_a_review_after_an_approval_is_of_what_came_since_however_it_grows(open_shop: OpenShop) -> None:
    shop = open_shop(suspecting(
        signals={"same_device": 30, "minimal_activity": 25, "instant_qualification": 20}, expects_activations=True,
        fraud={"thresholds": {"hold": 10, "review": 20, "reject": 50}}, tiers=FLAT,
    ))  # fmt: skip
    ada = ada_of(shop)
    decide(shop, suspect(ada, "ben"), "approve")
    shop.set_clock(NOON + 60 * DAY)
    ada.pay("ben", month=2)
    ada.pay("ben", month=1)  # which turns out to have been the first, as soon as he came
    ada.pay("ben", month=3)
    review = review_of(shop, "ben")
    assert (review["status"], review["fraud_score"]) == ("pending", 45)
    assert review["fraud_signals"] == ["minimal_activity", "instant_qualification"]
    assert (referral_of(shop, "ben")["fraud_score"], awards_for(shop, "ben")["recurring"]) == (75, ("held", "review"))


def test_after_a_rejection_the_stage_moves_on_and_counts_nowhere(shop: Company, ada: Referrer) -> None:
    review_id = suspect(ada, "ben")
    decide(shop, review_id, "reject")
    ada.pay("ben")
    assert awards_for(shop, "ben")["qualified"] == ("rejected", "review_rejected")
    referral = referral_of(shop, "ben")
    assert (referral["stage"], referral["flagged"], ada.profile()[0]) == ("qualified", True, 0)
    assert [review["id"] for review in queue(shop)] == [review_id]


def growth_of(ada: Referrer) -> tuple[int, str, list[tuple[str, int, int]], str | None]:
    """What counts for Ada: her referrals and their tier, the leaderboard, and how far her milestone is."""
    board = ada.company.ok("GET", "/v1/leaderboard")["data"]
    (milestone,) = ada.company.ok("GET", "/v1/users/ada/milestones")["data"]
    ranks = [(each["user_id"], each["qualified"], each["points"]) for each in board]
    return *ada.profile(), ranks, milestone["status"]


def test_an_approval_moves_count_tier_milestone_and_leaderboard_with_it(shop: Company, ada: Referrer) -> None:
    amend(shop, tiers=LADDER)
    shop.ok("POST", "/v1/milestones", MILESTONE)
    review_id = suspect(ada, "ben")
    shop.set_clock(NOON + 31 * DAY)
    ada.pay("ben", month=2)
    assert referral_of(shop, "ben")["stage"] == "qualified"
    assert growth_of(ada) == (0, "new", [], None)
    decide(shop, review_id, "approve")
    assert growth_of(ada) == (1, "old", [("ada", 1, 30)], "granted")
    assert shop.balance("ada") == 5 + 25 + 50


def test_a_referral_that_is_flagged_late_counts_no_more_until_it_is_approved(open_shop: OpenShop) -> None:
    shop = open_shop(DOUBTING)
    ada = ada_of(shop)
    amend(shop, tiers=LADDER)
    shop.ok("POST", "/v1/milestones", MILESTONE)
    qualify_late(ada, "ben")
    assert growth_of(ada) == (1, "old", [("ada", 1, 30)], "granted")
    ada.pay("ben")
    review = review_of(shop, "ben")
    assert (review["priority"], review["check_types"]) == ("medium", ["device_duplicate", "instant_qualification"])
    # what was granted is granted
    assert growth_of(ada) == (0, "new", [], "granted")
    decide(shop, review["id"], "approve")
    qualified, tier, ((_, counted, points),), status = growth_of(ada)
    assert (qualified, tier, counted, status) == (1, "old", 1, "granted")
    # the second month was twice its worth: it comes after the qualification, however that counted then
    assert points == 5 + 25 + 20
    assert shop.balance("ada") == points + 50


def test_a_decision_is_taken_once(shop: Company, ada: Referrer, superuser: psycopg.Connection) -> None:
    review_id = suspect(ada, "ben")
    approved = decide(shop, review_id, "approve", note="A family.")
    shop.set_clock(NOON + DAY)
    assert send(shop, review_id, {"decision": "approve", "note": "Again.", "assigned_to": "Eli"}).json == approved
    problem(send(shop, review_id, {"decision": "reject", "note": "No."}), 409, "review_decided")
    problem(send(shop, review_id, {"decision": "escalate"}), 409, "review_decided")
    assert shop.ok("GET", f"/v1/reviews/{review_id}") == approved
    assert len(announced(superuser, shop, "review.decided")) == 1


def test_a_review_is_handed_on_once_and_to_others_after_that(
    shop: Company, ada: Referrer, superuser: psycopg.Connection
) -> None:
    review_id = suspect(ada, "ben")
    escalated = decide(shop, review_id, "escalate", note="Odd.", assigned_to="Dana")
    assert (escalated["status"], escalated["notes"], escalated["assigned_to"]) == ("escalated", "Odd.", "Dana")
    assert (escalated["reviewed_by"], escalated["reviewed_at"]) == (None, None)
    again = decide(shop, review_id, "escalate", assigned_to="Eli")
    assert again == escalated | {"assigned_to": "Eli"}
    assert announced(superuser, shop, "review.escalated") == [
        {"id": review_id, "referral_id": escalated["referral_id"]}
    ]
    assert set(awards_for(shop, "ben").values()) == {("held", "review")}
    assert decide(shop, review_id, "reject")["status"] == "rejected"


def test_a_decision_under_a_key_is_answered_once(shop: Company, ada: Referrer) -> None:
    review_id = suspect(ada, "ben")
    first, again = (send(shop, review_id, {"decision": "approve"}, key="once") for _ in range(2))
    assert (first.status, again.raw) == (200, first.raw)
    assert again.headers["idempotent-replay"] == "true"


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"decision": "reject"}, {"note"}),
        ({"decision": "reject", "note": None}, {"note"}),
        ({"decision": "approve", "note": ""}, {"note"}),
        ({"decision": "approve", "note": "x" * 2001}, {"note"}),
        ({"decision": "approve", "note": "\x00"}, {"note"}),
        ({"decision": "decline"}, {"decision"}),
        ({"note": "x"}, {"decision"}),
        ({"decision": "escalate", "assigned_to": ""}, {"assigned_to"}),
        ({"decision": "approve", "status": "approved"}, {"status"}),
    ],
)
def test_a_decision_that_makes_no_sense_is_refused(shared: Company, body: object, wrong: set[str]) -> None:
    assert fields(send(shared, NOTHING, body)) == wrong


def test_many_are_decided_alike_and_those_that_cannot_be_are_named(
    shop: Company, ada: Referrer, superuser: psycopg.Connection
) -> None:
    people = [f"person_{number}" for number in range(4)]
    reviews = [suspect(ada, person) for person in people]
    decide(shop, reviews[0], "approve")
    decide(shop, reviews[1], "escalate")
    answer = send_all(shop, "k", ids=[*reviews, NOTHING, reviews[2]], decision="reject", note="A farm.")
    assert (answer.status, answer.json) == (200, {
        "decided": 3,
        "skipped": [
            {"id": reviews[0], "reason": "review_decided"}, {"id": NOTHING, "reason": "review_not_found"},
        ],
    })  # fmt: skip
    assert [(each["status"], each["notes"]) for each in map(partial(review_of, shop), people)] == [
        ("approved", None), *[("rejected", "A farm.")] * 3,
    ]  # fmt: skip
    assert [awards_for(shop, person)["welcome"][0] for person in people] == ["paid", *["rejected"] * 3]
    assert len(announced(superuser, shop, "review.decided")) == 4
    again = send_all(shop, "k", ids=[*reviews, NOTHING, reviews[2]], decision="reject", note="A farm.")
    assert again.raw == answer.raw
    later = send_all(shop, "l", ids=reviews, decision="reject", note="A farm.").json
    assert (later["decided"], [each["reason"] for each in later["skipped"]]) == (0, ["review_decided"] * 4)


def test_of_two_reviews_of_one_referral_the_open_one_is_decided(open_shop: OpenShop) -> None:
    shop = open_shop(suspecting(
        signals={"same_device": 60, "instant_qualification": 60}, fraud={"behavioural_cap": 100}, tiers=FLAT
    ))  # fmt: skip
    ada = ada_of(shop)
    first = suspect(ada, "ben")
    decide(shop, first, "approve")
    shop.set_clock(NOON + DAY)
    ada.pay("ben")
    second = review_of(shop, "ben")["id"]
    answer = send_all(shop, "k", ids=[first, second], decision="reject", note="Himself after all.").json
    assert answer == {"decided": 1, "skipped": [{"id": first, "reason": "review_decided"}]}
    assert set(awards_for(shop, "ben").values()) == {("reversed", None), ("rejected", "review_rejected")}


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"ids": [], "decision": "approve"}, {"ids"}),
        ({"ids": [NOTHING] * 501, "decision": "approve"}, {"ids"}),
        ({"ids": [NOTHING, "ref_1"], "decision": "approve"}, {"ids.1"}),
        ({"ids": NOTHING, "decision": "approve"}, {"ids"}),
        ({"decision": "approve"}, {"ids"}),
        ({"ids": [NOTHING], "decision": "reject"}, {"note"}),
        ({"ids": [NOTHING], "decision": "approve", "assigned_to": "Dana"}, {"assigned_to"}),
    ],
)
def test_decisions_that_make_no_sense_are_refused(shared: Company, body: dict[str, Any], wrong: set[str]) -> None:
    assert fields(send_all(shared, "k", **body)) == wrong


def test_decisions_on_many_need_a_key(shared: Company) -> None:
    answer = shared.api.send("POST", "/v1/reviews/decisions", {"ids": [NOTHING], "decision": "approve"})
    problem(answer, 400, "idempotency_key_required")
