"""Reviews as an administrator sees them: what opens one, what it shows, and the order in which they wait."""

from datetime import timedelta
from itertools import count

import psycopg
import pytest

from goodword.core.auth import Scope
from local.client import Client
from tests.support.answers import fields, problem, time_of
from tests.support.companies import Company
from tests.support.growth import Referrer
from tests.support.stripe_objects import invoice_paid
from tests.support.suspects import (
    ELSEWHERE,
    HOME,
    NOON,
    PHONE,
    WARY,
    OpenShop,
    ada_of,
    announced,
    awards_for,
    decide,
    queue,
    review_of,
    suspect,
)
from tests.support.trust import suspecting

DAY = timedelta(days=1)
NOTHING = "rvw_" + "0" * 32


@pytest.fixture
def shop(open_shop: OpenShop) -> Company:
    return open_shop(WARY)


@pytest.fixture
def ada(shop: Company) -> Referrer:
    return ada_of(shop)


def test_who_comes_with_their_referrers_phone_is_reviewed(
    shop: Company, ada: Referrer, superuser: psycopg.Connection
) -> None:
    answer = ada.bring("ben", device_fingerprint=PHONE, ip=ELSEWHERE)
    (review,) = queue(shop)
    assert shop.ok("GET", f"/v1/reviews/{review['id']}") == review
    assert announced(superuser, shop, "review.opened") == [
        {"id": review["id"], "referral_id": answer["referral"]["id"]}
    ]
    assert {time_of(review.pop(name)) for name in ("created_at", "updated_at")} == {NOON}
    assert time_of(review.pop("due_at")) == NOON + 7 * DAY
    found = {check["signal"]: check for check in review.pop("checks")}
    assert found.pop("same_device") == {
        "signal": "same_device", "check_type": "device_duplicate", "state": "raised", "score": 60,
        "details": {"shared_with": "referrer"}, "checked_at": "2031-01-15T12:00:00.000000Z",
    }  # fmt: skip
    assert (found["same_ip"]["state"], found["same_ip"]["check_type"]) == ("clear", "ip_duplicate")
    assert {check["state"] for signal, check in found.items() if signal != "same_ip"} == {"not_evaluated"}
    assert len(found) == 9
    assert review == {
        "id": review["id"], "referral_id": answer["referral"]["id"], "referrer": "ada", "referee": "ben",
        "fraud_score": 60, "fraud_signals": ["same_device"], "check_types": ["device_duplicate"],
        "cluster": {"referrals": 1, "rings": 1, "shared": ["device"]}, "seen": {"ip": 1, "device": 2},
        "priority": "medium", "status": "pending", "assigned_to": None, "notes": None, "reviewed_by": None,
        "reviewed_at": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("score", "priority"), [(59, None), (60, "medium"), (74, "medium"), (75, "high"), (89, "high"), (90, None)]
)
def test_a_review_is_as_pressing_as_its_score_says(open_shop: OpenShop, score: int, priority: str | None) -> None:
    shop = open_shop(suspecting(signals={"same_device": score}))
    answer = ada_of(shop).bring("ben", device_fingerprint=PHONE)
    assert [review["priority"] for review in queue(shop)] == ([priority] if priority else [])
    assert (answer["attribution"]["reason"] == "fraud_blocked") == (score >= 90)


@pytest.mark.parametrize(("device", "priority"), [(24, None), (25, "medium"), (54, "high"), (55, "critical")])
def test_a_first_payment_that_comes_at_once_opens_a_review_by_the_sum(
    open_shop: OpenShop, device: int, priority: str | None
) -> None:
    shop = open_shop(suspecting(signals={"same_device": device, "instant_qualification": 35}))
    ada = ada_of(shop)
    ada.bring("ben", device_fingerprint=PHONE)
    ada.pay("ben")
    found = [(each["priority"], each["fraud_score"], each["check_types"]) for each in queue(shop)]
    types = ["device_duplicate", "instant_qualification"]
    assert found == ([(priority, device + 35, types)] if priority else [])


def test_a_review_that_is_open_becomes_more_pressing_and_is_not_opened_twice(
    shop: Company, ada: Referrer, superuser: psycopg.Connection
) -> None:
    review_id = suspect(ada, "ben", ip=HOME)
    assert review_of(shop, "ben")["priority"] == "high"
    shop.set_clock(NOON + timedelta(hours=1))
    ada.pay("ben")
    (review,) = queue(shop)
    assert (review["id"], review["priority"], review["fraud_score"]) == (review_id, "critical", 110)
    assert review["fraud_signals"] == ["same_ip", "same_device", "instant_qualification"]
    assert review["check_types"] == ["ip_duplicate", "device_duplicate", "instant_qualification"]
    assert time_of(review["due_at"]) == NOON + 7 * DAY
    assert len(announced(superuser, shop, "review.opened")) == 1
    checked_at = {each["signal"]: time_of(each["checked_at"]) for each in review["checks"] if each["score"]}
    assert checked_at == {"same_ip": NOON, "same_device": NOON, "instant_qualification": NOON + timedelta(hours=1)}


def test_who_comes_over_a_limit_waits_for_a_review_of_low_priority_but_is_welcomed(open_shop: OpenShop) -> None:
    shop = open_shop(suspecting(signals={}, limits={"registrations_per_referrer_per_day": 1}))
    ada = ada_of(shop)
    ada.bring("ben")
    ada.bring("cleo")
    (review,) = queue(shop)
    assert (review["referee"], review["priority"], review["fraud_score"]) == ("cleo", "low", 0)
    assert review["check_types"] == review["fraud_signals"] == ["velocity_limit"]
    assert review["checks"][-1]["details"] == {"registrations_per_referrer_per_day": 1}
    assert awards_for(shop, "cleo") == {"registered": ("held", "review"), "welcome": ("paid", None)}
    assert decide(shop, review["id"], "approve")["status"] == "approved"
    assert awards_for(shop, "cleo") == {"registered": ("paid", None), "welcome": ("paid", None)}


def test_who_is_attributed_by_a_payment_with_their_referrers_phone_is_reviewed(shop: Company, ada: Referrer) -> None:
    shop.sign_up("ben", device_fingerprint=PHONE)
    named = {"goodword_user": "ben", "goodword_code": ada.code}
    answer = shop.deliver(invoice_paid("evt_1", "in_1", paid_at=NOON, named=named))
    assert answer.json["outcome"] == "applied"
    (review,) = queue(shop)
    assert (review["referee"], review["fraud_score"], review["priority"]) == ("ben", 95, "critical")
    assert awards_for(shop, "ben") == {
        "registered": ("rejected", "fraud_rejected"), "welcome": ("rejected", "fraud_rejected"),
        "qualified": ("rejected", "fraud_rejected"),
    }  # fmt: skip


@pytest.fixture
def crowd(shop: Company, ada: Referrer) -> list[str]:
    """Nine reviews in the order in which they wait, by referee: high, medium, low; and the oldest first."""
    turns = count()
    eve = Referrer(shop, "eve", code=shop.sign_up("eve", device_fingerprint="eves-phone")["user"]["referral_code"])
    people = list[tuple[int, str]]()
    for number in range(9):
        shop.set_clock(NOON + next(turns) * DAY)
        person = f"person_{number}"
        if number == 4:
            eve.bring(person, device_fingerprint="eves-phone")
        else:
            ada.bring(person, device_fingerprint=PHONE, ip=HOME if number % 3 == 0 else f"9.9.{number}.9")
        people.append((number % 3, person))
    for number in (2, 5, 8):
        review_id = review_of(shop, f"person_{number}")["id"]
        shop.ok("PATCH", f"/v1/reviews/{review_id}", {"priority": "low", "assigned_to": f"agent {number}"})
    return [person for _, person in sorted(people)]


def test_the_queue_is_by_priority_then_by_age_and_paged(shop: Company, crowd: list[str]) -> None:
    assert [review["referee"] for review in queue(shop)] == crowd
    pages, after, more = list[str](), "", True
    while more:
        page = shop.ok("GET", f"/v1/reviews?limit=2{after}")
        pages += [review["referee"] for review in page["data"]]
        after, more = f"&after={page['data'][-1]['id']}", page["has_more"]
    assert pages == crowd
    assert queue(shop, after=review_of(shop, crowd[-1])["id"]) == []


def test_the_queue_shows_what_is_asked_for(shop: Company, crowd: list[str]) -> None:
    decide(shop, review_of(shop, crowd[0])["id"], "approve")
    decide(shop, review_of(shop, crowd[1])["id"], "escalate")

    def asked(**filters: object) -> list[str]:
        return [review["referee"] for review in queue(shop, **filters)]

    assert asked(status="approved") == crowd[:1]
    assert asked(status="escalated") == crowd[1:2]
    assert asked(status="pending") == crowd[2:]
    assert asked(status="rejected") == []
    assert asked(priority="high") == crowd[:3]
    assert asked(priority="medium", status="pending") == crowd[3:6]
    assert asked(priority="critical") == []
    assert asked(check_type="ip_duplicate") == crowd[:3]
    assert asked(check_type="device_duplicate") == crowd
    assert asked(check_type="something_else") == []
    assert asked(referrer="eve") == ["person_4"]
    assert asked(referrer="nobody") == []
    assert asked(assigned_to="agent%205") == ["person_5"]
    assert asked(status="pending", after=review_of(shop, crowd[0])["id"]) == crowd[2:]


@pytest.mark.parametrize(
    ("question", "wrong"),
    [
        ("status=open", {"status"}),
        ("priority=1", {"priority"}),
        ("check_type=", {"check_type"}),
        ("referrer=a%20b", {"referrer"}),
        ("assigned_to=", {"assigned_to"}),
        ("limit=101", {"limit"}),
        ("after=ref_1", {"after"}),
        (f"after={NOTHING}", {"after"}),
        ("state=pending", {"state"}),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(shared: Company, question: str, wrong: set[str]) -> None:
    assert fields(shared.api.send("GET", f"/v1/reviews?{question}")) == wrong


def test_a_review_is_somebodys_work(shop: Company, ada: Referrer) -> None:
    path = f"/v1/reviews/{suspect(ada, 'ben')}"
    before = shop.ok("GET", path)
    shop.set_clock(NOON + DAY)
    assert shop.ok("PATCH", path, {}) == before
    changed = {"assigned_to": "Dana", "priority": "critical", "notes": "Called them."}
    assert shop.ok("PATCH", path, changed) == before | changed | {"updated_at": "2031-01-16T12:00:00.000000Z"}
    after = shop.ok("PATCH", path, {"assigned_to": None})
    assert (after["assigned_to"], after["notes"], after["priority"]) == (None, "Called them.", "critical")
    assert shop.ok("PATCH", path, {"notes": None})["notes"] is None


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"priority": "urgent"}, {"priority"}),
        ({"priority": None}, {"priority"}),
        ({"notes": ""}, {"notes"}),
        ({"notes": "x" * 2001}, {"notes"}),
        ({"assigned_to": ""}, {"assigned_to"}),
        ({"assigned_to": 5}, {"assigned_to"}),
        ({"status": "approved"}, {"status"}),
    ],
)
def test_a_change_that_makes_no_sense_is_refused(shared: Company, body: object, wrong: set[str]) -> None:
    assert fields(shared.api.send("PATCH", f"/v1/reviews/{NOTHING}", body)) == wrong


def test_there_is_no_review_but_ones_own(ada: Referrer, other: Company) -> None:
    for review_id in (suspect(ada, "ben"), NOTHING):
        for method, path, body in (
            ("GET", "", None), ("PATCH", "", {}), ("PATCH", "", {"notes": "x"}),
            ("POST", "/decision", {"decision": "approve"}),
        ):  # fmt: skip
            problem(other.api.send(method, f"/v1/reviews/{review_id}{path}", body), 404, "review_not_found")
    assert queue(other) == []


def test_reviews_are_for_administrators(shop: Company, ada: Referrer) -> None:
    review_id = suspect(ada, "ben")
    key = shop.ok("POST", "/v1/api-keys", {"name": "app", "scope": Scope.WRITE.name.lower()})["secret"]
    client = Client(shop.url, key)
    for method, path, body in (
        ("GET", "", None), ("GET", f"/{review_id}", None), ("PATCH", f"/{review_id}", {}),
        ("POST", f"/{review_id}/decision", {"decision": "approve"}),
        ("POST", "/decisions", {"ids": [review_id], "decision": "approve"}),
    ):  # fmt: skip
        problem(
            client.send(method, f"/v1/reviews{path}", body, headers={"idempotency-key": "k"}), 403, "scope_insufficient"
        )
    client.close()
    assert review_of(shop, "ben")["status"] == "pending"
